//! A signed token and a set of keys: nothing is believed that was not signed, nothing that can be read
//! in two ways is read, and what endpoints are told of it can stand in a header.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use transom_gateway::token::algorithm::Algorithm;
use transom_gateway::token::claims::Rules;
use transom_gateway::token::jws::Jws;
use transom_gateway::token::keys::Keys;
use transom_gateway::token::reading::Reading;
use transom_proxy::fields::Fields;
use transom_settings::HeaderName;

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let set = br#"{"keys":[
        {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
        {"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    Keys::of_jwks(set, &Algorithm::ALL).expect("a set").0
});

/// All that these keys have ever signed (RFC 7515 A.1 and A.3, RFC 8037 A.4).
const SIGNED: [&[u8]; 3] = [
    b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
];

fuzz_target!(|raw: &[u8]| {
    if let Ok((keys, wrong)) = Keys::of_jwks(raw, &Algorithm::ALL) {
        assert!(!keys.is_empty() && keys.len() + wrong.len() <= Keys::MOST);
    }
    let Ok(jws) = Jws::parse(raw) else { return };
    assert!(raw.starts_with(jws.signed) && raw.iter().filter(|b| **b == b'.').count() == 2);
    if KEYS.verify(&jws).is_ok() {
        assert!(SIGNED.contains(&jws.signed), "{}", raw.escape_ascii());
    }
    let Ok(claims) = jws.claims() else { return };
    let rules = Rules {
        issuers: vec!["joe".to_owned()],
        audiences: Vec::new(),
        required: vec!["exp".to_owned()],
        kinds: vec!["jwt".to_owned()],
        leeway: 60,
    };
    for now in [i64::MIN, 0, 1_300_000_000, i64::MAX] {
        if let Ok(until) = rules.judge(&claims, jws.kind.as_deref(), now) {
            assert!(now < until && claims["iss"] == "joe" && !claims["exp"].is_null());
        }
    }
    let reading = Reading {
        name: "iss".to_owned(),
        groups: Some("a.b.c".to_owned()),
        scopes: None,
        plan: Some("plan".to_owned()),
        headers: ["iss", "a", "a.b", "scope"]
            .map(|claim| (HeaderName::known("x-claim"), claim.to_owned()))
            .into(),
    };
    let mut fields = Fields::new();
    reading.tell(&reading.headers(&claims), &mut fields);
    for value in fields.all("x-claim") {
        let text = std::str::from_utf8(value).expect("claims are text");
        assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    }
});
