//! One key with which tokens are checked: always with one algorithm, which the key has and no token
//! chooses (RFC 8725 §3.1).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use transom_settings::json::{Map, Value as Json};

use super::algorithm::Algorithm;

/// A key.
pub struct Key {
    /// `kid`: how tokens name it. One without is tried for any that fits.
    pub id: Option<String>,
    pub algorithm: Algorithm,
    print: Print,
    check: Check,
}

/// Tells keys apart by what they are made of.
pub type Print = [u8; 16];

enum Check {
    /// Boxed: it holds the state of its hash.
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// Whether the key has signed this.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            Check::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Check::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    /// The same for the same key with the same algorithm.
    pub fn print(&self) -> Print {
        self.print
    }

    fn new(algorithm: Algorithm, material: &[u8], check: Check) -> Self {
        let hash = digest(&SHA256, &[algorithm.word().as_bytes(), b".", material].concat());
        let mut print = Print::default();
        print.copy_from_slice(&hash.as_ref()[..16]);
        Key { id: None, algorithm, print, check }
    }

    /// A key that both sides know.
    ///
    /// # Errors
    /// Why it cannot be one. RFC 7518 §3.2: it is at least as long as the hash.
    pub fn of_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        let hmac = algorithm.hmac().ok_or_else(|| format!("{algorithm} takes no secret"))?;
        let least = hmac.digest_algorithm().output_len();
        if secret.len() < least {
            let has = secret.len();
            return Err(format!("it has {has} bytes, and {algorithm} needs at least {least}"));
        }
        Ok(Key::new(algorithm, secret, Check::Secret(Box::new(hmac::Key::new(hmac, secret)))))
    }

    /// A public key in PEM. Without a wish, RSA is RS256, and the others are what their curve says.
    ///
    /// # Errors
    /// Why it is none.
    pub fn of_pem(text: &[u8], wish: Option<Algorithm>) -> Result<Self, String> {
        let der = der(text)?;
        let tried = match wish {
            Some(algorithm) => vec![algorithm],
            None => vec![
                Algorithm::Rs256,
                Algorithm::Es256,
                Algorithm::Es384,
                Algorithm::Es512,
                Algorithm::EdDsa,
            ],
        };
        for algorithm in tried {
            let Some(public) = algorithm.public() else {
                return Err(format!("{algorithm} has no public keys"));
            };
            if let Ok(key) = ParsedPublicKey::new(public, &der) {
                // an RSA key of 2048 bits takes 270 bytes in its shortest form
                if algorithm.rsa().is_some() && der.len() < 270 {
                    return Err("it is an RSA key of less than 2048 bits".to_owned());
                }
                return Ok(Key::new(algorithm, &der, Check::Public(key)));
            }
        }
        match wish {
            Some(algorithm) => Err(format!("it is no public key for {algorithm}")),
            None => Err("it is no public key of RSA, P-256, P-384, P-521 or Ed25519".to_owned()),
        }
    }

    /// A key of a JWK set (RFC 7517 §4), if it is one that tokens are checked with. Where it does not
    /// say for which algorithm, it is the first of `allowed` that it can be used with.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn of_jwk(jwk: &Json, allowed: &[Algorithm]) -> Result<Option<Self>, String> {
        let Json::Object(jwk) = jwk else { return Err("it is no object".to_owned()) };
        if text(jwk, "use").is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let verifies = |all: &Vec<Json>| all.iter().any(|each| each == "verify");
        if !jwk.get("key_ops").and_then(Json::as_array).is_none_or(verifies) {
            return Ok(None);
        }
        let kind = text(jwk, "kty").ok_or("it has no `kty`")?;
        let curve = text(jwk, "crv").unwrap_or_default();
        let fits = |algorithm: Algorithm| match kind {
            "RSA" => algorithm.rsa().is_some(),
            "EC" => algorithm.curve().is_some_and(|(_, name, _)| name == curve),
            "OKP" => algorithm == Algorithm::EdDsa && curve == "Ed25519",
            "oct" => algorithm.hmac().is_some(),
            _ => false,
        };
        let algorithm = match text(jwk, "alg") {
            // RFC 9864: the name of EdDSA on this curve alone
            Some("Ed25519") => Some(Algorithm::EdDsa),
            Some(name) => Algorithm::named(name),
            None => allowed.iter().copied().find(|each| fits(*each)),
        };
        let Some(algorithm) = algorithm.filter(|each| allowed.contains(each)) else {
            return Ok(None);
        };
        if !fits(algorithm) {
            return Err(format!("it is for {algorithm}, and of another kind"));
        }
        let bytes = |name: &str| bytes(jwk, name);
        let public = |key: Result<ParsedPublicKey, _>, material: &[u8]| match key {
            Ok(key) => Ok(Key::new(algorithm, material, Check::Public(key))),
            Err(_) => Err("it is no valid key".to_owned()),
        };
        let key = match (algorithm.rsa(), algorithm.curve()) {
            (Some(rsa), _) => {
                let (n, e) = (whole(bytes("n")?), whole(bytes("e")?));
                if n.len() < 256 {
                    return Err("it has less than 2048 bits".to_owned());
                }
                if e.len() > 5 || e == [1] || e.last().is_none_or(|last| last % 2 == 0) {
                    return Err("its exponent is none that is used".to_owned());
                }
                let material = [&n[..], b".", &e[..]].concat();
                public(RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa), &material)
            }
            (_, Some((curve, _, size))) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != size || y.len() != size {
                    return Err("its coordinates do not have the length of the curve".to_owned());
                }
                let point = [&[4][..], &x, &y].concat();
                public(ParsedPublicKey::new(curve, &point), &point)
            }
            _ if algorithm == Algorithm::EdDsa => {
                let x = bytes("x")?;
                if x.len() != 32 {
                    return Err("it does not have 32 bytes".to_owned());
                }
                public(ParsedPublicKey::new(&aws_lc_rs::signature::ED25519, &x), &x)
            }
            _ => Key::of_secret(algorithm, &bytes("k")?),
        };
        key.map(|key| Some(Key { id: text(jwk, "kid").map(str::to_owned), ..key }))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, {})", self.id, self.algorithm)
    }
}

fn text<'j>(jwk: &'j Map<String, Json>, name: &str) -> Option<&'j str> {
    jwk.get(name).and_then(Json::as_str)
}

fn bytes(jwk: &Map<String, Json>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name).ok_or_else(|| format!("it has no `{name}`"))?;
    let decoded = BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes());
    decoded.map_err(|_| format!("its `{name}` is not base64url"))
}

/// Without leading zeros, which some write against RFC 7518 §6.3.1.1.
fn whole(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

/// What stands between the lines of a PEM.
fn der(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no PEM")?;
    let (_, rest) = text.split_once("-----BEGIN ").ok_or("it has no line `-----BEGIN ...`")?;
    let (label, rest) = rest.split_once("-----").ok_or("it is no PEM")?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            return Err(
                "it is a certificate; `openssl x509 -pubkey -noout` takes the key out".to_owned()
            );
        }
        _ if label.contains("PRIVATE") => {
            return Err(
                "it is a private key; `openssl pkey -pubout` makes the public one".to_owned()
            );
        }
        _ => return Err(format!("it is a {}", label.to_lowercase())),
    }
    let (body, _) = rest.split_once("-----END ").ok_or("it has no line `-----END ...`")?;
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&body).map_err(|_| "what it holds is not base64".to_owned())
}
