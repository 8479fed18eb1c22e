//! What programs and templates are told of an exchange, besides the body.

use transom_proxy::exchange::Exchange;
use transom_settings::json::{Value as Json, json};

use crate::escapes;

/// `request` and `identity`, as programs and templates see them.
pub fn of(exchange: &Exchange) -> Json {
    let asked = &exchange.asked;
    let router = &exchange.site.router;
    let captures = exchange.captures.as_ref().map(|captures| {
        let values = router.captures(captures, asked.path.as_bytes());
        let text = |value: &[u8]| Json::from(escapes::text(&escapes::undone(value)));
        values.map(|(name, value)| (name.to_owned(), text(value))).collect::<Json>()
    });
    json!({
        "request": {
            "method": asked.method.as_str(),
            "scheme": asked.scheme,
            "host": &*asked.authority,
            "path": &*asked.path,
            "query": query(asked.query.as_deref().unwrap_or_default()),
            "capture": captures,
            "client": exchange.client.to_string(),
            "id": exchange.id.to_string(),
        },
        "identity": exchange.identity.as_ref().map(|identity| json!({
            "name": &*identity.name,
            "groups": identity.groups,
            "scopes": identity.scopes,
            "plan": identity.plan.as_deref(),
            "claims": identity.claims.as_deref(),
        })),
    })
}

fn query(text: &str) -> Json {
    super::form::read(text.as_bytes()).unwrap_or_else(|_| json!({}))
}
