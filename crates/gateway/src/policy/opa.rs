//! # opa
//!
//! **What it does.** Asks an Open Policy Agent whether a request may pass: `POST /v1/data/...` with
//! an `input` that tells method, path, query, the fields that you list, the address of the client and
//! who it is. The result is `true`, or an object with `allow: true`, which may have `headers` for the
//! endpoint. Everything else refuses it, a rule that is not defined too.
//!
//! **When it runs.** Stage `authorize`: after who asks was found out.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   rules: { opa: { url: "http://127.0.0.1:8181/v1/data/shop/allow", send: [x-tenant] } }
//! ```
//!
//! **What the client sees.** 403 (`forbidden`), or the `status` of the result from 400 to 499; 503
//! while OPA does not answer (`authority-unavailable`), unless `unanswered` is `pass`.
//!
//! **The input.**
//!
//! ```json
//! {"input": {"method": "GET", "host": "shop.example", "path": "/orders/7", "segments": ["orders", "7"],
//!   "query": {"full": ["1"]}, "headers": {"x-tenant": "a"}, "client": "192.0.2.1", "scheme": "https",
//!   "identity": {"name": "ada", "groups": [], "scopes": ["read"], "plan": null, "claims": {}}}}
//! ```
//!
//! Names and values of the query are there without escapes, as endpoints read them.
//!
//! With `body: 16KiB` it has the `body`, too: the value of JSON, any other as text, null where it is no text or
//! compressed. JSON that is none, or names something twice, is a `bad-request`; a longer body is `too-large`, also
//! in a dry run. The request waits until all of it is there: not for streams.
//!
//! **What to know at night.**
//!
//! - A result that is missing means that OPA has no such rule: `detail` says `undefined`. Look at the
//!   path in `url`, and whether the bundle is loaded.
//! - `reason` of the result goes to the log, never to the client.
//! - An endpoint that believes a field in `headers` needs it in `take`: or a client sends it itself, where a rule
//!   leaves it out.

use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};
use transom_proxy::message::{Method, Request};
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::json::{self, Map, Value as Json, json};
use transom_settings::{ByteSize, Duration, HeaderName, Spanned, Target, Url, settings};

use crate::authority::{
    Asking, Authority, Changes, LONGEST_ANSWER, Memory, Refusal, Unanswered, Verdict, may_set,
};
use crate::call::{self, Called, Caller};
use crate::content::strict;
use crate::kind::Kind;
use crate::making::Making;
use crate::media;
use crate::pairs;

settings! {
    /// Asks an Open Policy Agent whether a request may pass.
    pub struct Opa short(url) {
        /// The rule that decides: a URL, or a pool and a path.
        pub url: Url,
        /// Fields of the request that stand in the input.
        pub send: Vec<HeaderName> = Vec::new(),
        /// The longest body that stands in the input; a longer one is `too-large`. Default: none does.
        pub body: Option<ByteSize> = None,
        /// Fields that only its result may set: what clients send in them is removed, and no other field is taken
        /// over. Default: any, and what clients send stays where it says nothing of it.
        pub take: Vec<HeaderName> = Vec::new(),
        /// How long it may take.
        pub timeout: Duration = Duration::seconds(2),
        /// What happens while OPA does not answer.
        pub unanswered: Unanswered = Unanswered::Refuse,
        /// For how long answers are remembered. Default: not at all.
        pub remember: Option<Memory> = None,
        /// Whether everything passes, and the log tells what would have been refused.
        pub dry_run: bool = false,
    }
}

impl Kind for Opa {
    const NAME: &'static str = "opa";
    const SUMMARY: &'static str = "Asks an Open Policy Agent whether a request may pass.";
    const STAGE: Stage = Stage::Authorize;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        vec![("url", &self.url.target)]
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let destination = making.destination(&self.url.target, "url")?;
        Some(Arc::new(Asking {
            authority: Agent(self.clone()),
            caller: Caller::new(destination, self.timeout.get(), LONGEST_ANSWER),
            unanswered: self.unanswered,
            dry_run: self.dry_run.then(|| making.name.into()),
            remembered: self.remember.as_ref().map(|memory| memory.kept(self, making)),
        }))
    }
}

struct Agent(Opa);

impl Authority for Agent {
    const KIND: &'static str = Opa::NAME;

    fn describe(&self) -> String {
        self.0.url.to_string()
    }

    fn reserved(&self) -> &[HeaderName] {
        &self.0.take
    }

    fn told(&self) -> Option<usize> {
        self.0.body.map(ByteSize::len)
    }

    fn question(
        &self,
        exchange: &Exchange,
        request: &Request,
        body: &Bytes,
    ) -> Result<Request, Fault> {
        let mut question = call::request(Method::Post, &self.0.url);
        question.fields.append(Known::ContentType, b"application/json");
        let mut input = input(&self.0.send, exchange, request);
        if self.0.body.is_some() {
            input["body"] = told(&request.fields, body)?;
        }
        question.body = Body::of(json!({ "input": input }).to_string());
        Ok(question)
    }

    fn verdict(&self, answer: Called) -> Result<Verdict, String> {
        if answer.status != 200 {
            return Err(format!("it answers {}", answer.status));
        }
        let answer: Json =
            json::from_slice(&answer.body).map_err(|error| format!("its answer: {error}"))?;
        Ok(match judged(answer.get("result")) {
            Verdict::Pass(changes) => Verdict::Pass(changes.only(&self.0.take)),
            refused => refused,
        })
    }
}

/// A body of JSON as its value, any other as text; null where it is neither, or there is none. JSON that
/// names something twice would be decided by one reading and done by another.
fn told(fields: &Fields, body: &[u8]) -> Result<Json, Fault> {
    let content_type = fields.get(Known::ContentType).unwrap_or_default();
    let essence = media::essence(std::str::from_utf8(content_type).unwrap_or_default());
    if body.is_empty() || !fields.all(Known::ContentEncoding).all(media::is_identity) {
        return Ok(Json::Null);
    }
    if media::is_json(&essence) {
        return strict::parse(body)
            .map_err(|why| Fault::new(Code::BadRequest, format!("opa: the body: {why}")));
    }
    Ok(std::str::from_utf8(body).map_or(Json::Null, Json::from))
}

fn input(send: &[HeaderName], exchange: &Exchange, request: &Request) -> Json {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = send.iter().filter_map(|name| {
        let values: Vec<_> = request.fields.all(&**name).map(text).collect();
        (!values.is_empty()).then(|| (name.to_string(), Json::from(values.join(","))))
    });
    let mut query = Map::new();
    for (name, value) in pairs::of_query(request.query.as_deref().unwrap_or_default()) {
        let values = query.entry(text(&name)).or_insert_with(|| json!([]));
        if let Json::Array(values) = values {
            values.push(text(&value).into());
        }
    }
    let identity = exchange.identity.as_ref().map(|who| {
        json!({
            "name": &*who.name, "groups": who.groups, "scopes": who.scopes,
            "plan": who.plan.as_deref(), "claims": who.claims.as_deref(),
        })
    });
    let segments: Vec<_> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    json!({
        "method": request.method.as_str(),
        "scheme": request.scheme,
        "host": &*request.authority,
        "path": &*request.path,
        "segments": segments,
        "query": query,
        "headers": headers.collect::<Map<_, _>>(),
        "client": exchange.client.to_string(),
        "identity": identity,
    })
}

/// `true`, or an object that allows it.
fn judged(result: Option<&Json>) -> Verdict {
    let refuse = |status, why: &str| {
        let (fields, body, why) = (Vec::new(), Default::default(), format!("opa: {why}"));
        Verdict::Refuse(Refusal { status, fields, body, why })
    };
    let object = match result {
        Some(Json::Bool(true)) => return Verdict::Pass(Changes::default()),
        Some(Json::Object(object)) => object,
        Some(Json::Bool(false)) => return refuse(403, "false"),
        Some(_) => return refuse(403, "the result is neither true nor false nor an object"),
        None => return refuse(403, "the rule is undefined"),
    };
    if object.get("allow") != Some(&Json::Bool(true)) {
        let status = object.get("status").and_then(Json::as_u64);
        let status = status.filter(|status| (400..500).contains(status)).unwrap_or(403);
        let why = object.get("reason").and_then(Json::as_str).unwrap_or("false");
        return refuse(status as u16, why);
    }
    let headers = object.get("headers").and_then(Json::as_object);
    let fields = headers.into_iter().flatten().filter_map(|(name, value)| {
        let value = value.as_str()?.as_bytes();
        may_set(name, value).then(|| (Box::from(&**name), Box::from(value)))
    });
    Verdict::Pass(Changes { set: fields.collect(), ..Changes::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_so_passes() {
        for (result, expected) in [
            (Some(json!(true)), Ok(0)),
            (Some(json!({"allow": true})), Ok(0)),
            (Some(json!({"allow": true, "headers": {"x-a": "b", "host": "c", "x-n": 1}})), Ok(1)),
            (Some(json!(false)), Err((403, "opa: false"))),
            (Some(json!({"allow": false, "reason": "no staff"})), Err((403, "opa: no staff"))),
            (Some(json!({"allow": false, "status": 404})), Err((404, "opa: false"))),
            (Some(json!({"allow": false, "status": 200})), Err((403, "opa: false"))),
            (Some(json!({"allow": "true"})), Err((403, "opa: false"))),
            (Some(json!({})), Err((403, "opa: false"))),
            (
                Some(json!("true")),
                Err((403, "opa: the result is neither true nor false nor an object")),
            ),
            (Some(json!(1)), Err((403, "opa: the result is neither true nor false nor an object"))),
            (None, Err((403, "opa: the rule is undefined"))),
        ] {
            let found = match judged(result.as_ref()) {
                Verdict::Pass(changes) => Ok(changes.set.len()),
                Verdict::Refuse(refusal) => Err((refusal.status, refusal.why)),
            };
            let expected = expected.map_err(|(status, why)| (status, why.to_owned()));
            assert_eq!(found, expected, "{result:?}");
        }
    }
}
