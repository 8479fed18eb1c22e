//! Where the keys come from that tokens are checked with.

use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use super::{Encoding, Jwks, Jwt, KeySource, SharedSecret};
use crate::call::Caller;
use crate::making::Making;
use crate::token::algorithm::Algorithm;
use crate::token::key::Key;
use crate::token::keys::Keys;
use crate::token::remote::{Fetching, Published, Rhythm};

/// The longest set of keys that is read, in bytes.
const LONGEST_SET: usize = 1 << 20;

pub(super) enum Source {
    Fixed(Keys),
    Published(Arc<Published>, Rhythm),
}

impl Jwt {
    pub(super) fn source(&self, making: &mut Making<'_>) -> Option<Source> {
        let place = making.place;
        let refuse = |making: &mut Making<'_>, key: &str, place, what: String, hint: &str| {
            making.error(place, key, what, hint);
            None
        };
        match &self.keys {
            KeySource::Published(jwks) => self.published(jwks, making),
            KeySource::File(path) => {
                let text = making.file(path)?;
                match Keys::of_jwks(&text, &self.algorithms(true)) {
                    Ok((keys, wrong)) => {
                        for why in wrong {
                            let hint = "the other keys of the file are used";
                            making.warning(path.span, "jwks-file", why, hint);
                        }
                        Some(Source::Fixed(keys))
                    }
                    Err(why) => {
                        let what = format!("the file is no set of keys: {why}");
                        let hint = "write a JWK set: `{\"keys\": [{\"kty\": ...}]}`";
                        refuse(making, "jwks-file", path.span, what, hint)
                    }
                }
            }
            KeySource::Pem(path) => {
                let text = making.file(path)?;
                match Key::of_pem(&text, self.algorithms.first().copied()) {
                    Ok(key) => Some(Source::Fixed(Keys::of(vec![key]))),
                    Err(why) => {
                        let what = format!("the file cannot be used: {why}");
                        let hint =
                            "write the public key of the issuer, `-----BEGIN PUBLIC KEY-----`";
                        refuse(making, "public-key", path.span, what, hint)
                    }
                }
            }
            KeySource::Secret(secret) => {
                let algorithm = self.algorithms.first().copied().unwrap_or(Algorithm::Hs256);
                let hint = "make one with `openssl rand -base64 48`, and give it to the issuer too";
                match secret.bytes().and_then(|bytes| Key::of_secret(algorithm, &bytes)) {
                    Ok(key) => Some(Source::Fixed(Keys::of(vec![key]))),
                    Err(why) => {
                        let what = format!("the secret cannot be used: {why}");
                        let place = if secret.span.line > 0 { secret.span } else { place };
                        refuse(making, "secret", place, what, hint)
                    }
                }
            }
        }
    }

    /// With what keys of a set may be used: never with a secret where others can read the set.
    fn algorithms(&self, secrets: bool) -> Vec<Algorithm> {
        let fits = |each: &Algorithm| secrets || each.hmac().is_none();
        match self.algorithms.is_empty() {
            true => Algorithm::ALL.into_iter().filter(fits).collect(),
            false => self.algorithms.iter().copied().filter(fits).collect(),
        }
    }

    fn published(&self, jwks: &Jwks, making: &mut Making<'_>) -> Option<Source> {
        let allowed = self.algorithms(false);
        if allowed.is_empty() {
            let hint = "secrets cannot be published: use `secret`, or name other algorithms";
            making.error(making.place, "algorithms", "no key of the set could be used", hint);
            return None;
        }
        let destination = making.destination(&jwks.url.target, "jwks")?;
        let timeout = jwks.timeout.get();
        let rhythm = Rhythm {
            refresh: jwks.refresh.get(),
            stale: jwks.stale.get(),
            pause: jwks.pause.get(),
            wait: timeout,
        };
        let published = making.keep(
            |kept: &Published| kept.is_at(&jwks.url, &allowed),
            || Published::at(jwks.url.clone(), allowed.clone()),
        );
        let fetching = Fetching {
            name: format!("policy {}", making.name),
            published: published.clone(),
            caller: Caller::new(destination, timeout, LONGEST_SET),
            rhythm,
            log: making.log(),
        };
        making.task("jwks", Arc::new(fetching));
        Some(Source::Published(published, rhythm))
    }
}

impl SharedSecret {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let text = self.text.expose();
        match self.encoding {
            Encoding::Text => Ok(text.as_bytes().to_vec()),
            Encoding::Base64 => {
                let one: String = text.trim_end_matches('=').chars().map(url_safe).collect();
                let decoded = BASE64URL_NOPAD.decode(one.as_bytes());
                decoded.map_err(|_| "it is not base64".to_owned())
            }
            Encoding::Hex => {
                let decoded = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
                decoded.map_err(|_| "it is not hexadecimal".to_owned())
            }
        }
    }
}

/// A letter of the usual alphabet of base64 in that of URLs.
fn url_safe(letter: char) -> char {
    match letter {
        '+' => '-',
        '/' => '_',
        other => other,
    }
}
