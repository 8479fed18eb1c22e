//! # forward-auth
//!
//! **What it does.** Asks another service over HTTP whether a request may pass: by a `GET` without a
//! body that tells it method, path, host and address of the request in `X-Forwarded-*`, and the fields
//! that you list. An answer from 200 to 299 lets it pass, with the fields that you list taken over;
//! any other from 300 to 499 is given to the client. What Traefik calls `forwardAuth` and nginx
//! `auth_request`.
//!
//! **When it runs.** Stage `authorize`: after who asks was found out.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   ask:
//!     forward-auth:
//!       url: https://auth.example/verify
//!       take: [x-user, x-groups]
//!       name: x-user
//!       remember: 10s
//! ```
//!
//! **What the client sees.** The status, the body and the listed fields of the answer that refused
//! it, so that a service can send browsers to its login; 503 while nobody answers
//! (`authority-unavailable`), unless `unanswered` is `pass`.
//!
//! **What to know at night.**
//!
//! - Nothing passes unasked: a timeout, a 5xx, a body over 64 KiB or a broken answer are no answer.
//! - Fields in `take` are removed from every request first, so a client cannot set them itself; a
//!   field that is not listed is never taken over, whatever the service sends.
//! - Redirects of the service go to the client; they are not followed.
//! - `remember` keeps an answer for the same question: the same client address, method, host, path,
//!   query, `send` and `body`. Who loses a right keeps it for so long.
//! - With `body: 16KiB` the service gets the body, too, and the request waits until all of it is there: not
//!   for streams. One that is longer is `too-large`, also in a dry run.

use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Request};
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, HeaderName, Spanned, Target, Url, settings};

use crate::authority::{
    Asking, Authority, Changes, LONGEST_ANSWER, Memory, Refusal, Unanswered, Verdict, copied,
    name_in,
};
use crate::call::{self, Called, Caller};
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Asks another service over HTTP whether a request may pass.
    pub struct ForwardAuth short(url) {
        /// Who is asked: a URL, or a pool and a path.
        pub url: Url,
        /// Fields of the request that it is told.
        pub send: Vec<HeaderName> =
            vec![HeaderName::known("authorization"), HeaderName::known("cookie")],
        /// The longest body that it is told, by a `POST` then; a longer one is `too-large`. Default: it is
        /// told none.
        pub body: Option<ByteSize> = None,
        /// Fields of its answer that the endpoint is told.
        pub take: Vec<HeaderName> = Vec::new(),
        /// Fields of its answer that the client gets with the response, such as `set-cookie`.
        pub give: Vec<HeaderName> = Vec::new(),
        /// Fields of an answer that refuses which the client gets.
        pub refuse_with: Vec<HeaderName> = vec![
            HeaderName::known("content-type"),
            HeaderName::known("location"),
            HeaderName::known("set-cookie"),
            HeaderName::known("www-authenticate"),
            HeaderName::known("retry-after"),
        ],
        /// The field of its answer that names who asks, where that is not known yet.
        pub name: Option<HeaderName> = None,
        /// How long it may take.
        pub timeout: Duration = Duration::seconds(5),
        /// What happens while nobody answers.
        pub unanswered: Unanswered = Unanswered::Refuse,
        /// For how long answers are remembered. Default: not at all.
        pub remember: Option<Memory> = None,
        /// Whether everything passes, and the log tells what would have been refused.
        pub dry_run: bool = false,
    }
}

impl Kind for ForwardAuth {
    const NAME: &'static str = "forward-auth";
    const SUMMARY: &'static str = "Asks another service over HTTP whether a request may pass.";
    const STAGE: Stage = Stage::Authorize;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        vec![("url", &self.url.target)]
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let destination = making.destination(&self.url.target, "url")?;
        let mut reserved = self.take.clone();
        reserved.extend(self.name.clone().filter(|name| !self.take.contains(name)));
        Some(Arc::new(Asking {
            authority: Service { settings: self.clone(), reserved },
            caller: Caller::new(destination, self.timeout.get(), LONGEST_ANSWER),
            unanswered: self.unanswered,
            dry_run: self.dry_run.then(|| making.name.into()),
            remembered: self.remember.as_ref().map(|memory| memory.kept(self, making)),
        }))
    }
}

struct Service {
    settings: ForwardAuth,
    reserved: Vec<HeaderName>,
}

impl Authority for Service {
    const KIND: &'static str = ForwardAuth::NAME;

    fn describe(&self) -> String {
        self.settings.url.to_string()
    }

    fn reserved(&self) -> &[HeaderName] {
        &self.reserved
    }

    fn told(&self) -> Option<usize> {
        self.settings.body.map(ByteSize::len)
    }

    fn question(&self, _: &Exchange, request: &Request, body: &Bytes) -> Result<Request, Fault> {
        let method = if body.is_empty() { Method::Get } else { Method::Post };
        let mut question = call::request(method, &self.settings.url);
        let fields = &mut question.fields;
        for name in &self.settings.send {
            for value in request.fields.all(&**name) {
                fields.append(&**name, value);
            }
        }
        // Host, scheme and address are told as to every endpoint.
        fields.set("X-Forwarded-Method", request.method.as_str().as_bytes());
        let mut uri = request.path.as_bytes().to_vec();
        if let Some(query) = &request.query {
            uri.push(b'?');
            uri.extend_from_slice(query.as_bytes());
        }
        fields.set("X-Forwarded-Uri", &uri);
        if !body.is_empty() {
            for name in [Known::ContentType, Known::ContentEncoding] {
                fields.remove(name);
                request.fields.all(name).for_each(|value| fields.append(name, value));
            }
            question.body = Body::of(body.clone());
        }
        Ok(question)
    }

    fn verdict(&self, answer: Called) -> Result<Verdict, String> {
        let rules = &self.settings;
        match answer.status {
            200..300 => Ok(Verdict::Pass(Changes {
                set: copied(&rules.take, &answer.fields),
                response: copied(&rules.give, &answer.fields),
                name: rules.name.as_ref().and_then(|name| name_in(&answer.fields, name)),
                ..Changes::default()
            })),
            status @ 300..500 => Ok(Verdict::Refuse(Refusal {
                status,
                fields: copied(&rules.refuse_with, &answer.fields),
                body: answer.body,
                why: format!("{} answers {status}", rules.url),
            })),
            status => Err(format!("it answers {status}")),
        }
    }
}
