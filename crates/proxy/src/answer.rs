//! The responses that Transom makes itself. This file alone renders faults.

use bytes::Bytes;

use crate::body::Body;
use crate::exchange::{Exchange, RequestId, Wants};
use crate::fault::{Code, Fault, Place, Violation};
use crate::fields::{Fields, Known, list};
use crate::message::{Response, reason};
use crate::site::{Page, Pages, RequestIdRule};
use transom_settings::json::{Value as Json, json};

/// Records the fault and makes the answer to this exchange from it.
pub fn to(exchange: &mut Exchange, fault: Fault) -> Response {
    let page = {
        let status = fault.http_status();
        let of_route = exchange.route().and_then(|route| route.pages.for_status(status));
        of_route.or_else(|| exchange.site.pages.for_status(status)).cloned()
    };
    let id = (&exchange.id, exchange.site.request_id.field.as_deref());
    let response = render(&fault, exchange.asked.wants, id, page.as_ref());
    exchange.record.fail(fault);
    response
}

/// The answer to a request that could not be read so far that an exchange would have begun.
pub fn unread(fault: &Fault, id: &RequestId, rule: &RequestIdRule, pages: &Pages) -> Response {
    let page = pages.for_status(fault.http_status());
    render(fault, Wants::Text, (id, rule.field.as_deref()), page)
}

/// One fault as a response: gRPC, an own page, problem+json (RFC 9457), or one plain sentence.
/// Nothing internal stands in it. The id stands in the field of that name, too: pages and gRPC have
/// no other place for it.
fn render(
    fault: &Fault,
    wants: Wants,
    (id, field): (&RequestId, Option<&str>),
    page: Option<&Page>,
) -> Response {
    let (row, status) = (fault.code().row(), fault.http_status());
    let mut response = match (wants, page) {
        (Wants::Grpc, _) => grpc(fault.grpc_status(), row.sentence),
        (_, Some(page)) => with_body(status, &page.content_type, page.body.clone()),
        (Wants::Json, None) => {
            let body = problem(status, row.code, row.sentence, fault.told(), id);
            with_body(status, "application/problem+json", body.into())
        }
        (Wants::Text, None) => {
            let told: String = fault.told().iter().map(|told| format!("{told}\n")).collect();
            let body = format!(
                "{} {}\n{}\n{told}Request id: {id}\n",
                status,
                reason(status),
                row.sentence
            );
            with_body(status, "text/plain; charset=utf-8", body.into())
        }
    };
    let fields = &mut response.fields;
    // RFC 9209 §2: who answered, and why.
    fields.append(Known::ProxyStatus, format!("transom; error={}", row.proxy_status).as_bytes());
    fields.append(Known::CacheControl, b"no-store");
    if let Some(field) = field {
        let mut text = Vec::with_capacity(32);
        id.write(&mut text);
        fields.append(field, &text);
    }
    if let Some(seconds) = fault.retry_after_seconds() {
        fields.append(Known::RetryAfter, seconds.to_string().as_bytes());
    }
    if let Some(challenge) = fault.challenge_text() {
        fields.append(Known::WwwAuthenticate, challenge.as_bytes());
    }
    if let Some(methods) = fault.allow_text() {
        fields.append(Known::Allow, methods.as_bytes());
    }
    if fault.closes() {
        fields.append(Known::Connection, b"close");
    }
    response
}

/// A response with a body in memory.
pub fn with_body(status: u16, content_type: &str, body: Bytes) -> Response {
    let mut response = Response::new(status);
    response.fields.append(Known::ContentType, content_type.as_bytes());
    response.body = Body::of(body);
    response
}

/// A gRPC answer without messages: the trailers stand in the head ("trailers-only").
fn grpc(code: u8, sentence: &str) -> Response {
    let mut response = Response::new(200);
    response.fields.append(Known::ContentType, b"application/grpc");
    response.fields.append("grpc-status", code.to_string().as_bytes());
    response.fields.append("grpc-message", sentence.as_bytes());
    response
}

/// RFC 9457. All parts but the id and what did not fit are our own text, and the id was checked:
/// nothing to escape.
fn problem(status: u16, code: &str, sentence: &str, told: &[Violation], id: &RequestId) -> String {
    let errors = match told.is_empty() {
        true => String::new(),
        false => format!(r#","errors":{}"#, Json::from_iter(told.iter().map(error))),
    };
    format!(
        r#"{{"type":"about:blank","title":"{}","status":{status},"detail":"{sentence}","code":"{code}"{errors},"request_id":"{id}"}}"#,
        reason(status),
    ) + "\n"
}

/// RFC 9457 §3: where a pointer leads into the body, as a fragment.
fn error(told: &Violation) -> Json {
    match &told.place {
        Place::Pointer(pointer) => {
            json!({ "detail": told.detail, "pointer": format!("#{pointer}") })
        }
        Place::Parameter(place, name) => {
            json!({ "detail": told.detail, "in": place, "parameter": name })
        }
    }
}

/// In which form a client with these fields takes an answer.
pub fn wanted(fields: &Fields) -> Wants {
    if let Some(content_type) = fields.get(Known::ContentType)
        && content_type.len() >= 16
        && content_type[..16].eq_ignore_ascii_case(b"application/grpc")
        && content_type.get(16).is_none_or(|b| matches!(b, b'+' | b';'))
    {
        return Wants::Grpc;
    }
    let json = fields.all(Known::Accept).flat_map(list).any(|range| {
        let media = range.split(|b| *b == b';').next().unwrap_or(range).trim_ascii();
        media.eq_ignore_ascii_case(b"application/json")
            || media.len() > 5 && media[media.len() - 5..].eq_ignore_ascii_case(b"+json")
    });
    if json { Wants::Json } else { Wants::Text }
}

/// Every code in every form, for the golden files.
pub fn all_renderings() -> String {
    let id = RequestId::Own(0, 1);
    let mut out = String::new();
    for code in Code::ALL {
        for wants in [Wants::Text, Wants::Json, Wants::Grpc] {
            let fault = Fault::new(*code, "secret detail");
            let response = render(&fault, wants, (&id, Some("X-Request-Id")), None);
            let mut head = Vec::new();
            response.fields.write(&mut head);
            let body = response.body.look(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let head = String::from_utf8_lossy(&head).replace("\r\n", "\n");
            out += &format!(
                "== {} {wants:?}\n{}\n{head}\n{}\n",
                code.as_str(),
                response.status,
                body.unwrap_or_default()
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rs_22_no_answer_holds_the_detail() {
        assert!(!all_renderings().contains("secret detail"));
    }

    #[test]
    fn every_answer_carries_the_id_as_a_field() {
        let (fault, pages) = (Fault::new(Code::BadRequest, ""), Pages::default());
        let id = RequestId::Given("abc-1".into());
        for (field, shown) in [
            (Some("X-Request-Id"), "X-Request-Id: abc-1"),
            (Some("X-Trace"), "X-Trace: abc-1"),
            (None, ""),
        ] {
            let rule = RequestIdRule { field: field.map(str::to_owned), trust: false };
            let mut head = Vec::new();
            unread(&fault, &id, &rule, &pages).fields.write(&mut head);
            let head = String::from_utf8(head).unwrap();
            let line = head.lines().find(|line| line.ends_with("abc-1"));
            assert_eq!(line.unwrap_or_default(), shown);
        }
        let renderings = all_renderings();
        assert_eq!(renderings.matches("X-Request-Id: ").count(), renderings.matches("== ").count());
    }

    #[test]
    fn the_client_is_told_where_its_request_does_not_fit() {
        let told = |place, detail: &str| Violation { place, detail: detail.to_owned() };
        let fault = Fault::new(Code::Invalid, "").violations(vec![
            told(Place::Pointer("/a~1b/0".to_owned()), "\"x\" is no number"),
            told(Place::Parameter("query", "limit".to_owned()), "it is missing"),
        ]);
        let id = (&RequestId::Own(0, 1), None);
        let shown = |wants| {
            let body = render(&fault, wants, id, None).body;
            body.look(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        let problem: Json = transom_settings::json::from_str(&shown(Wants::Json)).unwrap();
        assert_eq!(
            problem["errors"],
            json!([
                { "pointer": "#/a~1b/0", "detail": "\"x\" is no number" },
                { "in": "query", "parameter": "limit", "detail": "it is missing" },
            ])
        );
        assert!(shown(Wants::Text).contains("body /a~1b/0: \"x\" is no number\nquery limit:"));
    }

    #[test]
    fn the_form_follows_what_the_client_takes() {
        for (name, value, expected) in [
            ("Accept", "*/*", Wants::Text),
            ("Accept", "text/html,application/xhtml+xml", Wants::Text),
            ("Accept", "application/json", Wants::Json),
            ("Accept", "text/html, application/problem+json;q=0.5", Wants::Json),
            ("Content-Type", "application/grpc", Wants::Grpc),
            ("Content-Type", "application/grpc+proto", Wants::Grpc),
            ("Content-Type", "application/grpc-web", Wants::Text),
        ] {
            let mut fields = Fields::new();
            fields.append(name, value.as_bytes());
            assert_eq!(wanted(&fields), expected, "{name}: {value}");
        }
    }
}
