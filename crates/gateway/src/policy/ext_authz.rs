//! # ext-authz
//!
//! **What it does.** Asks a service that speaks Envoy's gRPC interface
//! `envoy.service.auth.v3.Authorization/Check` whether a request may pass, so that one written for
//! Envoy can be used as it is. It is told method, path, query, host, scheme, the fields that you list,
//! and the addresses; its answer may set, append and remove fields of the request, add fields to the
//! response, and say with what a request is refused.
//!
//! **When it runs.** Stage `authorize`: after who asks was found out.
//!
//! **Example.**
//!
//! ```yaml
//! pools:
//!   authz: { endpoints: "127.0.0.1:9191", http: "2" }
//! policies:
//!   ask: { ext-authz: { to: authz, send: [authorization, x-tenant], context: { area: shop } } }
//! ```
//!
//! **What the client sees.** The status, the fields and the body of a denied response, 403 where it
//! says none; 503 while nobody answers (`authority-unavailable`), unless `unanswered` is `pass`.
//!
//! **What to know at night.**
//!
//! - gRPC needs HTTP/2: without TLS, `to` must be a pool with `http: "2"`.
//! - The body of the request is sent with `body: 16KiB` only. The request then waits until all of it is there
//!   (not for streams), and a longer one is `too-large`, also in a dry run.
//! - Fields that frame a message or belong to one hop are never taken over.
//! - An endpoint that believes a field of the answer needs it in `take`: or a client sends it itself, where an answer
//!   neither sets nor removes it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Request};
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, HeaderName, Map, Name, Spanned, Target, settings};

use crate::authority::{
    Asking, Authority, Changes, Field, LONGEST_ANSWER, Memory, Refusal, Unanswered, Verdict,
    may_set,
};
use crate::call::{Called, Caller};
use crate::kind::Kind;
use crate::making::Making;

mod messages;

use messages as pb;

settings! {
    /// Asks a service that speaks Envoy's gRPC interface whether a request may pass.
    pub struct ExtAuthz short(to) {
        /// Who is asked: a pool that speaks HTTP/2, or an address with TLS.
        pub to: Spanned<Target>,
        /// Fields of the request that it is told.
        pub send: Vec<HeaderName> =
            vec![HeaderName::known("authorization"), HeaderName::known("cookie")],
        /// The longest body that it is told; a longer one is `too-large`. Default: it is told none.
        pub body: Option<ByteSize> = None,
        /// What it is told besides (`context_extensions`).
        pub context: Map<Name, String> = Map::default(),
        /// Fields that only its answer may set: what clients send in them is removed, and no other field is taken
        /// over. Default: any, and what clients send stays where it says nothing of it.
        pub take: Vec<HeaderName> = Vec::new(),
        /// How long it may take.
        pub timeout: Duration = Duration::seconds(2),
        /// What happens while nobody answers.
        pub unanswered: Unanswered = Unanswered::Refuse,
        /// For how long answers are remembered. Default: not at all.
        pub remember: Option<Memory> = None,
        /// Whether everything passes, and the log tells what would have been refused.
        pub dry_run: bool = false,
    }
}

const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

impl Kind for ExtAuthz {
    const NAME: &'static str = "ext-authz";
    const SUMMARY: &'static str =
        "Asks a service that speaks Envoy's gRPC interface whether a request may pass.";
    const STAGE: Stage = Stage::Authorize;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        vec![("to", &self.to)]
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if matches!(self.to.value, Target::Address { tls: false, .. }) {
            let what = "gRPC needs HTTP/2, which an address without TLS does not speak by itself";
            let hint = "name a pool with `http: \"2\"`, or write `https://`";
            making.error(self.to.span, "to", what, hint);
            return None;
        }
        let destination = making.destination(&self.to, "to")?;
        let context = self.context.iter();
        let context = context.map(|(name, value)| (name.to_string(), value.clone())).collect();
        Some(Arc::new(Asking {
            authority: Service { settings: self.clone(), context },
            caller: Caller::new(destination, self.timeout.get(), LONGEST_ANSWER),
            unanswered: self.unanswered,
            dry_run: self.dry_run.then(|| making.name.into()),
            remembered: self.remember.as_ref().map(|memory| memory.kept(self, making)),
        }))
    }
}

struct Service {
    settings: ExtAuthz,
    context: HashMap<String, String>,
}

impl Authority for Service {
    const KIND: &'static str = ExtAuthz::NAME;

    fn describe(&self) -> String {
        format!("{} over gRPC", self.settings.to.value)
    }

    fn reserved(&self) -> &[HeaderName] {
        &self.settings.take
    }

    fn told(&self) -> Option<usize> {
        self.settings.body.map(ByteSize::len)
    }

    fn question(
        &self,
        exchange: &Exchange,
        request: &Request,
        body: &Bytes,
    ) -> Result<Request, Fault> {
        let tls = self.settings.to.is_tls();
        let mut question = Request::new(Method::Post, "", PATH);
        question.scheme = if tls { "https" } else { "http" };
        question.fields.append(Known::ContentType, b"application/grpc");
        question.takes_trailers = true;
        let check = self.check(exchange, request, body);
        let mut framed = vec![0; 5];
        // Writing into a vector cannot fail.
        let _ = check.encode(&mut framed);
        let length = (framed.len() - 5) as u32;
        framed[1..5].copy_from_slice(&length.to_be_bytes());
        question.body = Body::of(framed);
        Ok(question)
    }

    fn verdict(&self, answer: Called) -> Result<Verdict, String> {
        let status = |fields: &transom_proxy::fields::Fields| {
            let status = fields.get("grpc-status")?;
            std::str::from_utf8(status).ok()?.parse::<u32>().ok()
        };
        let trailers = answer.trailers.as_ref().and_then(status);
        match (answer.status, trailers.or_else(|| status(&answer.fields))) {
            (200, Some(0)) => {}
            (200, Some(code)) => return Err(format!("the call fails with status {code}")),
            (200, None) => return Err("the call has no status".to_owned()),
            (other, _) => return Err(format!("it answers {other}")),
        }
        let message = match answer.body.split_first_chunk::<5>() {
            Some(([0, length @ ..], message))
                if message.len() == u32::from_be_bytes(*length) as usize =>
            {
                message
            }
            _ => return Err("its answer is not one message without compression".to_owned()),
        };
        let response = pb::CheckResponse::decode(message).map_err(|error| error.to_string())?;
        Ok(match judged(response) {
            Verdict::Pass(changes) => Verdict::Pass(changes.only(&self.settings.take)),
            refused => refused,
        })
    }
}

impl Service {
    fn check(&self, exchange: &Exchange, request: &Request, body: &Bytes) -> pb::CheckRequest {
        // a field of texts can only have texts
        let (text_body, raw_body) = match std::str::from_utf8(body) {
            Ok(text) => (text.to_owned(), Vec::new()),
            Err(_) => (String::new(), body.to_vec()),
        };
        let size = self.settings.body.map_or(-1, |_| body.len() as i64);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = self.settings.send.iter().filter_map(|name| {
            let values: Vec<_> = request.fields.all(&**name).map(text).collect();
            (!values.is_empty()).then(|| (name.to_string(), values.join(",")))
        });
        let mut path = request.path.to_string();
        if let Some(query) = &request.query {
            path = format!("{path}?{query}");
        }
        let peer = |address: String, port: u16, principal: String| {
            let port = pb::socket_address::Port::Value(u32::from(port));
            let socket = pb::SocketAddress { address, port: Some(port), ..Default::default() };
            let kind = pb::address::Kind::Socket(socket);
            let address = Some(pb::Address { kind: Some(kind) });
            pb::Peer { address, principal, ..Default::default() }
        };
        let local = exchange.peer.local;
        let name = exchange.identity.as_ref().map(|who| who.name.to_string());
        let attributes = pb::AttributeContext {
            source: Some(peer(exchange.client.to_string(), 0, name.unwrap_or_default())),
            destination: Some(peer(local.ip().to_string(), local.port(), String::new())),
            request: Some(pb::Question {
                http: Some(pb::HttpRequest {
                    method: request.method.as_str().to_owned(),
                    headers: headers.collect(),
                    path,
                    host: request.authority.to_string(),
                    scheme: request.scheme.to_owned(),
                    protocol: format!("HTTP/{}", request.version.as_str()),
                    size,
                    body: text_body,
                    raw_body,
                    ..Default::default()
                }),
            }),
            context_extensions: self.context.clone(),
        };
        pb::CheckRequest { attributes: Some(attributes) }
    }
}

fn fields(options: &[pb::HeaderValueOption]) -> impl Iterator<Item = (Field, bool)> {
    options.iter().filter_map(|option| {
        let header = option.header.as_ref()?;
        let value = match header.raw_value.is_empty() {
            true => header.value.as_bytes(),
            false => &header.raw_value,
        };
        let field = (header.key.to_ascii_lowercase().into(), Box::from(value));
        let append = option.append.as_ref().is_some_and(|append| append.value);
        may_set(&header.key, value).then_some((field, append))
    })
}

/// Status 0 passes, whatever else it says; any other refuses.
fn judged(response: pb::CheckResponse) -> Verdict {
    let code = response.status.as_ref().map_or(0, |status| status.code);
    let said = response.status.map(|status| status.message).unwrap_or_default();
    match response.http {
        Some(pb::check_response::Http::Ok(ok)) if code == 0 => {
            let mut changes = Changes::default();
            for (field, append) in fields(&ok.headers) {
                match append {
                    true => changes.append.push(field),
                    false => changes.set.push(field),
                }
            }
            let removable = |name: &String| may_set(name, b"") && !name.starts_with(':');
            let remove = ok.headers_to_remove.into_iter().filter(removable);
            changes.remove = remove.map(String::into_boxed_str).collect();
            changes.response = fields(&ok.response_headers_to_add).map(|(f, _)| f).collect();
            Verdict::Pass(changes)
        }
        None if code == 0 => Verdict::Pass(Changes::default()),
        other => {
            let denied = match other {
                Some(pb::check_response::Http::Denied(denied)) => denied,
                _ => pb::DeniedHttpResponse::default(),
            };
            let status = denied.status.map_or(0, |status| status.code);
            let status = u16::try_from(status).ok().filter(|s| (300..600).contains(s));
            Verdict::Refuse(Refusal {
                status: status.unwrap_or(403),
                fields: fields(&denied.headers).map(|(field, _)| field).collect(),
                body: denied.body.into(),
                why: format!("ext-authz: status {code} {said}").trim_end().to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(key: &str, value: &str, append: Option<bool>) -> pb::HeaderValueOption {
        pb::HeaderValueOption {
            header: Some(pb::HeaderValue {
                key: key.into(),
                value: value.into(),
                ..Default::default()
            }),
            append: append.map(|value| pb::BoolValue { value }),
        }
    }

    fn field(name: &str, value: &str) -> Field {
        (name.into(), value.as_bytes().into())
    }

    #[test]
    fn an_answer_passes_only_with_status_zero() {
        let status = |code, message: &str| Some(pb::Status { code, message: message.into() });
        let ok = pb::OkHttpResponse {
            headers: vec![
                option("X-User", "ada", None),
                option("x-more", "b", Some(true)),
                option("host", "evil", None),
                option("x-bad", "a\nb", None),
            ],
            headers_to_remove: vec!["authorization".into(), "host".into(), ":path".into()],
            response_headers_to_add: vec![option("set-cookie", "a=b", None)],
        };
        let with = |code, http| pb::CheckResponse { status: status(code, "no"), http };
        let pass = Verdict::Pass(Changes {
            set: vec![field("x-user", "ada")],
            append: vec![field("x-more", "b")],
            remove: vec!["authorization".into()],
            response: vec![field("set-cookie", "a=b")],
            name: None,
        });
        let ok = || Some(pb::check_response::Http::Ok(ok.clone()));
        assert_eq!(judged(with(0, ok())), pass);
        let refused = |status, fields, body: &'static str, code| {
            let why = format!("ext-authz: status {code} no");
            Verdict::Refuse(Refusal { status, fields, body: body.into(), why })
        };
        assert_eq!(judged(with(7, ok())), refused(403, vec![], "", 7));
        assert_eq!(judged(with(16, None)), refused(403, vec![], "", 16));
        let denied = pb::DeniedHttpResponse {
            status: Some(pb::HttpStatus { code: 401 }),
            headers: vec![option("www-authenticate", "Bearer", None)],
            body: "go away".into(),
        };
        let denied = || Some(pb::check_response::Http::Denied(denied.clone()));
        let expected =
            |code| refused(401, vec![field("www-authenticate", "Bearer")], "go away", code);
        assert_eq!(judged(with(7, denied())), expected(7));
        // two answers at once: the one that refuses holds
        assert_eq!(judged(with(0, denied())), expected(0));
        assert_eq!(judged(pb::CheckResponse::default()), Verdict::Pass(Changes::default()));
    }
}
