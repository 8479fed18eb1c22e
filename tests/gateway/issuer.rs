//! Somebody who issues tokens and publishes the keys.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use transom_testkit::Endpoint;
use transom_testkit::endpoint::ok;

/// What signs.
pub(super) enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    Hs256(Vec<u8>),
}

impl Key {
    pub(super) fn rs256() -> Self {
        Key::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(super) fn es256() -> Self {
        Key::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn hs256(secret: impl Into<Vec<u8>>) -> Self {
        Key::Hs256(secret.into())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Key::Rs256(_) => "RS256",
            Key::Es256(_) => "ES256",
            Key::Hs256(_) => "HS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Hs256(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
        }
    }

    /// The public key as it is published.
    pub(super) fn jwk(&self, id: &str) -> Value {
        match self {
            Key::Rs256(key) => {
                // PKCS #1: a sequence of a positive number of 2048 bits, and 65537
                let n = encode(&key.public_key().as_ref()[9..][..256]);
                json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": n, "e": "AQAB"})
            }
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y})
            }
            Key::Hs256(secret) => json!({"kty": "oct", "kid": id, "k": encode(secret)}),
        }
    }

    pub(super) fn pem(&self) -> String {
        let der = match self {
            Key::Rs256(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Es256(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Hs256(_) => panic!("a secret is not public"),
        };
        let body = BASE64.encode(&der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// A token with this header, in which `alg` is that of the key unless it says otherwise.
    pub(super) fn token_with(&self, header: Value, claims: &Value) -> String {
        let mut whole = json!({"alg": self.algorithm()});
        for (name, value) in header.as_object().unwrap() {
            whole[name] = value.clone();
        }
        self.signed(&whole.to_string(), &claims.to_string())
    }

    pub(super) fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(json!({"kid": id, "typ": "JWT"}), claims)
    }

    /// A token of these very texts.
    pub(super) fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// So many seconds from now.
pub(super) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// Claims of Ada for the shop that are good for an hour, with changes; `null` takes one away.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "shop", "sub": "ada", "exp": in_seconds(3600),
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// What `Authorization` says with this token.
pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The address where keys are published.
pub(super) struct Issuer {
    pub(super) endpoint: Endpoint,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Issuer {
    pub(super) fn publishing(keys: &[Value]) -> Self {
        let answer = Arc::new(Mutex::new(set(keys)));
        let said = answer.clone();
        let endpoint = Endpoint::new(move |_, line| {
            let said = said.lock().unwrap().clone();
            line.send(said);
        });
        Issuer { endpoint, answer }
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answer_with(set(keys));
    }

    pub(super) fn answer_with(&self, bytes: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = bytes.into();
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/keys", self.endpoint.address)
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.endpoint.requests().len()
    }
}

fn set(keys: &[Value]) -> Vec<u8> {
    ok(&json!({"keys": keys}).to_string())
}
