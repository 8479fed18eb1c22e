//! # http-signature
//!
//! **What it does.** Finds out who asks by the signature of the request (RFC 9421): made with a secret
//! that a consumer shares with us (`secrets`), or with a private key whose public one we have
//! (`public-keys`). It must cover `components`, and the digest of the body (`Content-Digest`, RFC 9530)
//! where there is one, be made not longer than `max-age` ago, and be used once where it has a nonce.
//!
//! The algorithm follows from the key, so that a public key is never taken for a secret: HMAC-SHA-256
//! or -512 for secrets; Ed25519, ECDSA on P-256 and P-384, RSA-PSS-SHA-512 and RSA-v1.5-SHA-256 for
//! public keys. What is signed is the path in the form in which it is forwarded. Clocks must agree to
//! within `skew`. To verify a digest, the body is read up to `max-body` before the endpoint gets it.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { secrets: [{ id: ann-2026, secret: "${SECRET_OF_ANN}" }] }
//! policies:
//!   signed: { http-signature: { nonce: required } }
//! ```
//!
//! **What the client sees.** 401 `unauthenticated` with `WWW-Authenticate: Signature`; 413 `too-large`
//! where the body is longer than `max-body`. Which rule was broken, only `detail` in the access log says.
//!
//! **Limits.** Nonces are remembered for as long as a signature with one could come again (`max-age` and twice `skew`),
//! 262,144 of each such time. Beyond that, who has used more than 1,024 is refused until it is over, and the
//! others once there are twice as many; `detail` says `more nonces were used within the window than are
//! remembered`.

use std::sync::Arc;

use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fields::Name;
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, settings};

use crate::consumer::Consumers;
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::signing::content::{self, Mismatch};
use crate::signing::{self, Message, Replays, Signer};

mod base;
mod parse;

use parse::Input;

settings! {
    /// Finds out who asks by the signature of the request.
    pub struct HttpSignature {
        /// What a signature must cover. `@target-uri` stands for `@scheme`, `@authority`, `@path` and
        /// `@query` too, `@request-target` for `@path` and `@query`.
        pub components: Vec<String> = ["@method", "@authority", "@path", "@query"].map(str::to_owned).to_vec(),
        /// Whether a body must be covered by its digest.
        pub content_digest: bool = true,
        /// How old a signature may be.
        pub max_age: Duration = Duration::minutes(5),
        /// How far clocks may be apart.
        pub skew: Duration = Duration::seconds(60),
        /// Whether there must be a nonce. One that is there is never taken twice.
        pub nonce: Nonce = Nonce::Optional,
        /// Longest body that is read to verify its digest.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// Whether the signature is taken off before the endpoint sees the request.
        pub hide: bool = true,
    }

    /// Whether there must be a nonce.
    pub enum Nonce {
        /// There may be one.
        Optional = "optional",
        /// There must be one.
        Required = "required",
    }
}

impl Kind for HttpSignature {
    const NAME: &'static str = "http-signature";
    const SUMMARY: &'static str = "Finds out who asks by the signature of the request.";
    const STAGE: Stage = Stage::Identify;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let consumers = making.lender.consumers();
        if consumers.written.signers.is_empty() {
            let hint = "give consumers `secrets` or `public-keys`";
            making.error(making.place, "", "nobody can sign", hint);
            return None;
        }
        let covered = self.components.iter().map(|name| format!("\"{name}\""));
        let covered = covered.collect::<Vec<_>>().join(" ");
        // RFC 9421 §5: what is asked for
        let challenge = format!("Signature components=({covered})").replace('\n', " ");
        let replays = making.keep(|_: &Replays| true, Replays::default);
        let settings = self.clone();
        Some(Arc::new(Identify(Signatures { settings, consumers, replays, challenge })))
    }
}

struct Signatures {
    settings: HttpSignature,
    consumers: Consumers,
    replays: Arc<Replays>,
    challenge: String,
}

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";

impl Signatures {
    /// Whether a signature covers all that it must.
    fn covers(&self, input: &Input<'_>, has_body: bool) -> Result<(), String> {
        let has = |name: &str| {
            input.components.iter().any(|known| known.name == name && known.parameters.is_empty())
        };
        for name in &self.settings.components {
            let by_target = matches!(&**name, "@path" | "@query") && has("@request-target");
            let in_uri = matches!(&**name, "@scheme" | "@authority" | "@path" | "@query");
            let by_uri = in_uri && has("@target-uri");
            if !(has(name) || by_target || by_uri) {
                return Err(format!("the signature does not cover `{name}`"));
            }
        }
        match has_body && self.settings.content_digest && !has("content-digest") {
            true => Err("the signature does not cover `content-digest`".to_owned()),
            false => Ok(()),
        }
    }

    /// Whether it was made in time.
    fn is_timely(&self, input: &Input<'_>, now: u64) -> Result<(), &'static str> {
        let (skew, age) = (self.settings.skew.as_secs(), self.settings.max_age.as_secs());
        let created = input.number("created").and_then(|at| u64::try_from(at).ok());
        let created = created.ok_or("the signature does not say when it was created")?;
        if created > now.saturating_add(skew) {
            return Err("the signature is from the future: the clocks are apart");
        }
        if created.saturating_add(age).saturating_add(skew) < now {
            return Err("the signature is too old");
        }
        match input.parameter("expires") {
            None => Ok(()),
            Some(parse::Bare::Integer(at)) if *at >= 0 && *at as u64 + skew >= now => Ok(()),
            Some(_) => Err("the signature has expired"),
        }
    }

    /// Who has signed it, if the signature is right.
    fn verify(&self, message: &Message<'_>, has_body: bool, now: u64) -> Result<&Signer, String> {
        let inputs = message.field(INPUT).unwrap_or_default();
        let signatures = message.field(SIGNATURE).unwrap_or_default();
        let all = parse::inputs(&inputs).ok_or("Signature-Input is not well-formed")?;
        let known = |input: &Input<'_>| {
            let id = input.text("keyid")?;
            self.consumers.written.signers.get(id)
        };
        let found = all.iter().find_map(|input| Some((input, known(input)?)));
        let (input, signer) = found.ok_or("the key of the signature is not known")?;
        self.covers(input, has_body)?;
        self.is_timely(input, now)?;
        if self.settings.nonce == Nonce::Required && input.text("nonce").is_none() {
            return Err("the signature has no nonce".to_owned());
        }
        let text = base::base(input, message).ok_or("the signature covers what is not there")?;
        let signature = parse::signature(&signatures, input.label);
        let signature = signature.ok_or("Signature is not well-formed, or has another label")?;
        if !signer.key.verifies(input.text("alg"), text.as_bytes(), &signature) {
            return Err("the signature is wrong".to_owned());
        }
        if let Some(nonce) = input.text("nonce") {
            let window = self.settings.max_age.get() + self.settings.skew.get() * 2;
            let id = input.text("keyid").unwrap_or_default();
            self.replays.take(id, nonce, now, window)?;
        }
        Ok(signer)
    }
}

impl Way for Signatures {
    fn kind(&self) -> &'static str {
        HttpSignature::NAME
    }

    fn describe(&self) -> String {
        format!("a signature over {}", self.settings.components.join(", "))
    }

    fn challenge(&self) -> Option<&str> {
        Some(&self.challenge)
    }

    async fn find(&self, _: &mut Exchange, request: &mut Request) -> Found {
        if !request.fields.has(INPUT) && !request.fields.has(SIGNATURE) {
            return Found::Nothing;
        }
        let has_body = !matches!(request.body, Body::Empty);
        // before the body is read: who cannot sign cannot make us read
        let verified = self.verify(&Message::of(request), has_body, signing::now());
        let signer = match verified {
            Ok(signer) => signer.clone(),
            Err(why) => return Found::wrong(self, why),
        };
        if has_body && self.settings.content_digest {
            let digests = Message::of(request).field("content-digest").unwrap_or_default();
            match request.body.whole(self.settings.max_body.len()).await {
                Ok(Some(body)) => {
                    let checked = content::is_of(&digests, &body);
                    request.body = Body::Bytes(body);
                    match checked {
                        Ok(()) => {}
                        Err(Mismatch::Wrong) => {
                            return Found::wrong(self, "the body is not the one that was signed");
                        }
                        Err(Mismatch::Unknown) => {
                            return Found::wrong(
                                self,
                                "Content-Digest has neither SHA-256 nor SHA-512",
                            );
                        }
                    }
                }
                Ok(None) => return Found::Wrong(signing::too_long()),
                Err(fault) => return Found::Wrong(fault),
            }
        }
        match self.consumers.named(&signer.consumer) {
            Some(consumer) => Found::Known(consumer.identity(HttpSignature::NAME, None)),
            None => Found::wrong(self, "the consumer of the key is not there any more"),
        }
    }

    fn hide(&self, _: &mut Exchange, request: &mut Request) {
        if self.settings.hide {
            request.fields.remove(Name::of(INPUT.as_bytes()));
            request.fields.remove(Name::of(SIGNATURE.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests;
