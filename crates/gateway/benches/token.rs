//! What it costs to believe a token: `cargo bench -p transom-gateway --bench token`.
//!
//! "checked" is all of it: taken apart, the signature, the claims, who it is. "remembered" is what a
//! request pays whose token was checked before: a keyed hash over it and a comparison, with as many
//! other tokens remembered. Prints nanoseconds, the median of nine rounds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use transom_gateway::token::algorithm::Algorithm;
use transom_gateway::token::claims::Rules;
use transom_gateway::token::jws::Jws;
use transom_gateway::token::keys::Keys;
use transom_gateway::token::reading::Reading;
use transom_gateway::token::remembered::Remembered;

const NOW: i64 = 1_700_000_000;

fn main() {
    println!("{:<8}{:>10}{:>12}{:>12}", "", "bytes", "checked", "remembered");
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let n = encode(&rsa.public_key().as_ref()[9..][..256]);
    let rsa_jwk = format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#);
    measure("RS256", &rsa_jwk, |message| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
        signature
    });
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let point = ec.public_key().as_ref();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
    let ec_jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    measure("ES256", &ec_jwk, |message| {
        ec.sign(&random, message).expect("signed").as_ref().to_vec()
    });
    let ed = Ed25519KeyPair::generate().expect("a key");
    let x = encode(ed.public_key().as_ref());
    let ed_jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    measure("EdDSA", &ed_jwk, |message| ed.sign(message).as_ref().to_vec());
    let secret = [7; 32];
    let hs_jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, encode(&secret));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    measure("HS256", &hs_jwk, |message| hmac::sign(&key, message).as_ref().to_vec());
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn measure(algorithm: &str, jwk: &str, sign: impl Fn(&[u8]) -> Vec<u8>) {
    let set = format!(r#"{{"keys":[{jwk}]}}"#);
    let (keys, _) = Keys::of_jwks(set.as_bytes(), &Algorithm::ALL).expect("a set");
    let token = |subject: usize| {
        let header = encode(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#).as_bytes());
        let claims = format!(
            r#"{{"iss":"https://id.example","aud":"shop","sub":"user-{subject}","exp":{},"iat":{NOW},"scope":"orders:read orders:write","groups":["staff","sales"],"email":"user@shop.example"}}"#,
            NOW + 3600
        );
        let signed = format!("{header}.{}", encode(claims.as_bytes()));
        let signature = encode(&sign(signed.as_bytes()));
        format!("{signed}.{signature}").into_bytes()
    };
    let rules = Rules {
        issuers: vec!["https://id.example".into()],
        audiences: vec!["shop".into()],
        required: vec!["exp".into()],
        kinds: vec!["jwt".into()],
        leeway: 60,
    };
    let reading = Reading {
        name: "sub".into(),
        groups: Some("groups".into()),
        scopes: None,
        plan: None,
        headers: Vec::new(),
    };
    let one = token(0);
    let check = || {
        let jws = Jws::parse(&one).expect("a token");
        keys.verify(&jws).expect("the right key");
        let claims = jws.claims().expect("claims");
        rules.judge(&claims, jws.kind.as_deref(), NOW).expect("for us and now");
        reading.identity(claims, "jwt")
    };
    let remembered = Remembered::new(10_000);
    let tokens: Vec<_> = (0..500).map(token).collect();
    for token in &tokens {
        remembered.insert(token, Arc::new(()), NOW + 3600, NOW);
    }
    let checked = median(2_000, |_| drop(black_box(check())));
    let known = median(200_000, |n| drop(black_box(remembered.get(&tokens[n % 500], NOW))));
    println!("{algorithm:<8}{:>10}{checked:>12.0}{known:>12.1}", one.len());
}

/// Nanoseconds per call.
fn median(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(&mut call);
            start.elapsed().as_secs_f64() * 1e9 / calls as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
