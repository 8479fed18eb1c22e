//! Who may log in to the shop, and the tokens they get.
//!
//! The user service signs them with a key that only it has, and publishes how to check them; the
//! gateway fetches that. Nothing secret stands in a file.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Name, plan, and what they may. Edsger may look, and not buy.
const PEOPLE: [(&str, &str, &str); 3] = [
    ("ada", "vip", "orders checkout"),
    ("grace", "ordinary", "orders checkout"),
    ("edsger", "ordinary", "orders"),
];

/// How long a token is good, in seconds.
const GOOD_FOR: u64 = 3600;

/// `/login` and `/keys` of the user service.
pub(super) fn login() -> std::io::Result<Router> {
    let refused = |_| std::io::Error::other("no key could be made");
    let key = Arc::new(Ed25519KeyPair::generate().map_err(refused)?);
    Ok(Router::new().route("/login", post(log_in)).route("/keys", get(keys)).with_state(key))
}

/// The public half (RFC 8037).
async fn keys(State(key): State<Arc<Ed25519KeyPair>>) -> Json<Value> {
    let public = BASE64URL_NOPAD.encode(key.public_key().as_ref());
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "shop", "x": public });
    Json(json!({ "keys": [key] }))
}

/// Anybody who knows a name: it is a demo.
async fn log_in(State(key): State<Arc<Ed25519KeyPair>>, body: String) -> (StatusCode, String) {
    let said = serde_json::from_str::<Value>(&body).unwrap_or_default();
    let named = said["name"].as_str().unwrap_or_default();
    let Some((name, plan, scope)) = PEOPLE.iter().find(|(name, ..)| *name == named) else {
        let hint = "send {\"name\": \"ada\"}, or grace, or edsger\n";
        return (StatusCode::UNPROCESSABLE_ENTITY, hint.to_owned());
    };
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let head = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "shop" });
    let claims = json!({
        "iss": "https://www.myshop.com", "aud": "shop", "sub": name, "plan": plan, "scope": scope,
        "iat": now, "exp": now + GOOD_FOR,
    });
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(head), part(claims));
    let signature = BASE64URL_NOPAD.encode(key.sign(signed.as_bytes()).as_ref());
    (StatusCode::OK, format!("{signed}.{signature}"))
}
