//! # hmac
//!
//! **What it does.** Finds out who asks by an HMAC of the request, made with a secret that a consumer
//! shares with us, in the form that clients of other gateways send (draft-cavage-http-signatures):
//! `Authorization: Signature keyId="ann", algorithm="hmac-sha256", headers="(request-target) date
//! digest", signature="..."`; `hmac` in place of `Signature`, and `username` in place of `keyId`, are
//! taken too. For clients that are written anew, [http-signature](http-signature.md) is the standard.
//!
//! What is signed is a line for each of `headers`: `(request-target)` (or `@request-target`) is the method
//! in lower case, a space, path and query; `request-line` the line of HTTP/1.1; any other its name in
//! lower case, `: ` and its value. The request must have `Date` or `X-Date`, not further off than `skew`,
//! and a body its `Digest` (or `Content-Digest`) with SHA-256 or SHA-512; all of that must be signed. A
//! request that is caught on its way can be sent again within `skew`, unless `nonce` names a field
//! that must be there, signed and new.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { secrets: [{ secret: "${SECRET_OF_ANN}" }] }
//! policies:
//!   signed: { hmac: { nonce: X-Nonce } }
//! ```
//!
//! **What the client sees.** 401 `unauthenticated` with `WWW-Authenticate: Signature`; 413 `too-large`
//! where the body is longer than `max-body`. Which rule was broken, only `detail` in the access log says.
//!
//! **Limits.** Nonces are remembered for as long as a signature with one could come again (twice `skew`),
//! 262,144 of each such time. Beyond that, who has used more than 1,024 is refused until it is over, and the
//! others once there are twice as many; `detail` says `more nonces were used within the window than are
//! remembered`.

use std::sync::Arc;

use data_encoding::BASE64;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Known, Values};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, HeaderName, settings};

use crate::consumer::Consumers;
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::signing::{self, Key, Message, Replays, Signer, content};

settings! {
    /// Finds out who asks by an HMAC of the request.
    pub struct Hmac {
        /// How far the date of a request may be from now.
        pub skew: Duration = Duration::minutes(5),
        /// A field that must be there, signed, and never twice.
        pub nonce: Option<HeaderName> = None,
        /// Longest body that is read to verify its digest.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// Whether the signature is taken off before the endpoint sees the request.
        pub hide: bool = true,
    }
}

impl Kind for Hmac {
    const NAME: &'static str = "hmac";
    const SUMMARY: &'static str = "Finds out who asks by an HMAC of the request.";
    const STAGE: Stage = Stage::Identify;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let consumers = making.lender.consumers();
        let secret = |signer: &Signer| matches!(signer.key, Key::Secret(_));
        if !consumers.written.signers.values().any(secret) {
            let hint = "give consumers `secrets`";
            making.error(making.place, "", "nobody has a secret to sign with", hint);
            return None;
        }
        let replays = making.keep(|_: &Replays| true, Replays::default);
        Some(Arc::new(Identify(Signed { settings: self.clone(), consumers, replays })))
    }
}

struct Signed {
    settings: Hmac,
    consumers: Consumers,
    replays: Arc<Replays>,
}

/// What `Authorization` says of a signature.
#[derive(Debug, Default, PartialEq)]
struct Claim {
    id: String,
    algorithm: Option<String>,
    covered: Vec<String>,
    signature: Vec<u8>,
}

/// Lines that one signature may cover.
const MOST_COVERED: usize = 32;

impl Claim {
    /// What stands behind `Signature` or `hmac`; nothing where it is not well-formed.
    fn read(text: &str) -> Option<Self> {
        let mut claim = Claim::default();
        let mut rest = text.trim();
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=')?;
            let value = value.strip_prefix('"')?;
            let (value, after) = value.split_once('"')?;
            let name = name.trim();
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match name {
                "keyId" | "username" => claim.id = value.to_owned(),
                "algorithm" => claim.algorithm = Some(value.to_owned()),
                "headers" => {
                    let names = value.split(' ').filter(|name| !name.is_empty());
                    claim.covered = names.map(str::to_ascii_lowercase).collect();
                }
                "signature" => claim.signature = BASE64.decode(value.as_bytes()).ok()?,
                _ => return None,
            }
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        let whole = !claim.id.is_empty() && !claim.signature.is_empty();
        (whole && claim.covered.len() <= MOST_COVERED).then_some(claim)
    }

    fn covers(&self, name: &str) -> bool {
        self.covered.iter().any(|known| known == name)
    }

    /// What is signed.
    fn text(&self, message: &Message<'_>) -> Option<String> {
        let query = message.query.map(|query| format!("?{query}")).unwrap_or_default();
        let (method, path) = (message.method, message.path);
        let line = |name: &String| {
            Some(match &**name {
                "(request-target)" | "@request-target" => {
                    format!("{name}: {} {path}{query}", method.to_ascii_lowercase())
                }
                "request-line" => format!("{method} {path}{query} HTTP/1.1"),
                _ => format!("{name}: {}", message.field(name)?),
            })
        };
        let lines: Option<Vec<String>> = self.covered.iter().map(line).collect();
        lines.map(|lines| lines.join("\n"))
    }
}

/// What stands behind the scheme, if it is one of ours.
fn behind_scheme(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let known = ["signature", "hmac"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then_some(rest)
}

impl Signed {
    fn verify(
        &self,
        claim: &Claim,
        message: &Message<'_>,
        body: bool,
        now: u64,
    ) -> Result<&Signer, String> {
        let signer = self.consumers.written.signers.get(&claim.id);
        let signer = signer.filter(|signer| matches!(signer.key, Key::Secret(_)));
        let signer = signer.ok_or("the key of the signature is not known")?;
        let target = ["(request-target)", "@request-target", "request-line"];
        if !target.iter().any(|name| claim.covers(name)) {
            return Err("the signature does not cover the target of the request".to_owned());
        }
        let date = ["x-date", "date"].into_iter().find(|name| claim.covers(name));
        let date = date.and_then(|name| message.field(name));
        let date = date.ok_or("the signature does not cover a date")?;
        let at = httpdate::parse_http_date(&date).map_err(|_| "the date is none of HTTP")?;
        let at = at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if at.abs_diff(now) > self.settings.skew.as_secs() {
            return Err(
                "the date is too far from now: it is old, or the clocks are apart".to_owned()
            );
        }
        if body && !claim.covers("digest") && !claim.covers("content-digest") {
            return Err("the signature does not cover the digest of the body".to_owned());
        }
        let text = claim.text(message).ok_or("the signature covers what is not there")?;
        if !signer.key.verifies(claim.algorithm.as_deref(), text.as_bytes(), &claim.signature) {
            return Err("the signature is wrong".to_owned());
        }
        if let Some(name) = &self.settings.nonce {
            let nonce = message.field(name).filter(|nonce| !nonce.is_empty() && claim.covers(name));
            let nonce = nonce.ok_or("the signature does not cover a nonce")?;
            self.replays.take(&claim.id, &nonce, now, self.settings.skew.get() * 2)?;
        }
        Ok(signer)
    }

    /// Whether the body is the one whose digest was signed.
    async fn read_body(&self, claim: &Claim, request: &mut Request) -> Result<(), Found> {
        let named = ["digest", "content-digest"].into_iter().filter(|name| claim.covers(name));
        let digests: Vec<String> =
            named.filter_map(|name| Message::of(request).field(name)).collect();
        let body = request.body.whole(self.settings.max_body.len()).await.map_err(Found::Wrong)?;
        let body = body.ok_or_else(|| Found::Wrong(signing::too_long()))?;
        let right = digests.iter().all(|digest| content::is_of(digest, &body).is_ok());
        request.body = Body::Bytes(body);
        match right {
            true => Ok(()),
            false => Err(Found::wrong(self, "the body is not the one that was signed")),
        }
    }
}

impl Way for Signed {
    fn kind(&self) -> &'static str {
        Hmac::NAME
    }

    fn describe(&self) -> String {
        "an HMAC of the request".to_owned()
    }

    fn challenge(&self) -> Option<&str> {
        Some("Signature headers=\"(request-target) date\"")
    }

    async fn find(&self, _: &mut Exchange, request: &mut Request) -> Found {
        let claim = match request.fields.only(Known::Authorization) {
            Values::None => return Found::Nothing,
            Values::Many => {
                return Found::Wrong(Fault::new(Code::BadRequest, "Authorization stands twice"));
            }
            Values::One(value) => match behind_scheme(value) {
                Some(text) => Claim::read(text),
                None => return Found::Nothing,
            },
        };
        let Some(claim) = claim else {
            return Found::wrong(self, "the signature is not well-formed");
        };
        let body = !matches!(request.body, Body::Empty);
        let verified = self.verify(&claim, &Message::of(request), body, signing::now());
        let signer = match verified {
            Ok(signer) => signer.clone(),
            Err(why) => return Found::wrong(self, why),
        };
        if body && let Err(found) = self.read_body(&claim, request).await {
            return found;
        }
        match self.consumers.named(&signer.consumer) {
            Some(consumer) => Found::Known(consumer.identity(Hmac::NAME, None)),
            None => Found::wrong(self, "the consumer of the key is not there any more"),
        }
    }

    fn hide(&self, _: &mut Exchange, request: &mut Request) {
        if self.settings.hide {
            let ours = |value: &[u8]| behind_scheme(value).is_some();
            request.fields.retain(|f| f.known != Some(Known::Authorization) || !ours(f.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use transom_proxy::fields::Fields;

    use super::*;

    #[test]
    fn gw_09_claims_are_taken_apart_and_what_is_none_is_refused() {
        let claim = Claim::read(
            "keyId=\"ann\", algorithm=\"hmac-sha256\",headers=\"(request-target) Date\" , signature=\"YQ==\"",
        );
        let expected = Claim {
            id: "ann".into(),
            algorithm: Some("hmac-sha256".into()),
            covered: vec!["(request-target)".into(), "date".into()],
            signature: b"a".to_vec(),
        };
        assert_eq!(claim, Some(expected));
        for text in [
            "",
            "keyId=\"ann\"",
            "signature=\"YQ==\"",
            "keyId=\"ann\",signature=\"?\"",
            "keyId=ann,signature=\"YQ==\"",
            "keyId=\"ann\" signature=\"YQ==\"",
            "keyId=\"ann\",keyId=\"bob\",signature=\"YQ==\"",
            "keyId=\"ann\",other=\"x\",signature=\"YQ==\"",
            "keyId=\"ann\",signature=\"YQ==",
        ] {
            assert_eq!(Claim::read(text), None, "{text}");
        }
    }

    /// draft-cavage-http-signatures-12, appendix C.3, the form of the text.
    #[test]
    fn gw_09_what_is_signed_is_a_line_each() {
        let mut fields = Fields::new();
        fields.append("Date", b"Sun, 05 Jan 2014 21:31:40 GMT");
        fields.append("Content-Type", b"application/json");
        let message = Message {
            method: "POST",
            scheme: "http",
            authority: "example.com",
            path: "/foo",
            query: Some("param=value&pet=dog"),
            fields: &fields,
            length: Some(18),
        };
        let covered =
            ["(request-target)", "host", "date", "content-type", "content-length", "request-line"];
        let claim = Claim { covered: covered.map(str::to_owned).to_vec(), ..Claim::default() };
        let expected = "(request-target): post /foo?param=value&pet=dog\nhost: example.com\n\
            date: Sun, 05 Jan 2014 21:31:40 GMT\ncontent-type: application/json\n\
            content-length: 18\nPOST /foo?param=value&pet=dog HTTP/1.1";
        assert_eq!(claim.text(&message).as_deref(), Some(expected));
        let claim = Claim { covered: vec!["x-missing".into()], ..Claim::default() };
        assert_eq!(claim.text(&message), None);
    }
}
