//! # cookies
//!
//! **What it does.** Gives the cookies that endpoints set the flags they should have had: `Secure`,
//! `HttpOnly`, `SameSite`, `Partitioned`. What an endpoint has flagged already keeps its flags; only
//! `SameSite` is replaced.
//!
//! **When it runs.** Stage `shape`.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   careful-cookies: { cookies: { same-site: lax, except: [theme] } }
//! ```
//!
//! **What the client sees.** The flags; never a fault.
//!
//! **Traps.** `Secure` is set where the client uses TLS: on a plain port a browser would throw such
//! a cookie away. Behind something that ends TLS, trust it (`trusted-proxies`), so that its
//! `X-Forwarded-Proto` counts. A cookie that scripts read, such as a CSRF token, belongs in `except`.

use std::sync::Arc;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::{Fields, Known};
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{List, settings};

use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Gives the cookies of endpoints their flags.
    pub struct Cookies {
        /// Whether cookies go over TLS only (`Secure`). Set where the client uses TLS.
        pub secure: bool = true,
        /// Whether scripts cannot read them (`HttpOnly`).
        pub http_only: bool = true,
        /// Whether they come along from other sites (`SameSite`).
        pub same_site: Site = Site::Lax,
        /// Whether each site that embeds this one has its own (`Partitioned`).
        pub partitioned: bool = false,
        /// The cookies that are meant; without them, all.
        pub names: List<String> = List::default(),
        /// Cookies that are left as they are.
        pub except: List<String> = List::default(),
    }

    /// Which requests from other sites a cookie comes along with.
    pub enum Site {
        /// None.
        Strict = "strict",
        /// Following a link.
        Lax = "lax",
        /// All; only over TLS.
        None = "none",
        /// As the endpoint says.
        Keep = "keep",
    }
}

impl Kind for Cookies {
    const NAME: &'static str = "cookies";
    const SUMMARY: &'static str = "Gives the cookies of endpoints their flags.";
    const STAGE: Stage = Stage::Shape;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if self.same_site == Site::None && !self.secure {
            let what = "`same-site: none` without `secure`: browsers refuse such cookies";
            making.error(making.place, "same-site", what, "leave `secure` as it is");
            return None;
        }
        Some(Arc::new(Flags(self.clone())))
    }
}

struct Flags(Cookies);

impl Flags {
    fn is_meant(&self, name: &[u8]) -> bool {
        let named = |names: &List<String>| names.iter().any(|one| one.as_bytes() == name);
        !named(&self.0.except) && (self.0.names.is_empty() || named(&self.0.names))
    }

    fn apply(&self, over_tls: bool, fields: &mut Fields) {
        if !fields.has(Known::SetCookie) {
            return;
        }
        let cookies: Vec<_> =
            fields.all(Known::SetCookie).map(|line| self.flagged(over_tls, line)).collect();
        fields.remove(Known::SetCookie);
        for cookie in cookies {
            fields.append(Known::SetCookie, &cookie);
        }
    }

    fn flagged(&self, over_tls: bool, line: &[u8]) -> Vec<u8> {
        let name = line.split(|b| matches!(b, b'=' | b';')).next().unwrap_or_default();
        if !self.is_meant(name.trim_ascii()) {
            return line.to_vec();
        }
        let (replaced, value) = match self.0.same_site {
            Site::Keep => (false, ""),
            Site::Strict => (true, "; SameSite=Strict"),
            Site::Lax => (true, "; SameSite=Lax"),
            Site::None => (true, if over_tls { "; SameSite=None" } else { "" }),
        };
        let parts = line.split(|b| *b == b';');
        let kept: Vec<&[u8]> =
            parts.filter(|part| !(replaced && is_flag(part, b"samesite"))).collect();
        let mut made = kept.join(&b';');
        made.truncate(made.trim_ascii_end().len());
        for (wanted, flag, text) in [
            (self.0.secure && over_tls, &b"secure"[..], "; Secure"),
            (self.0.http_only, b"httponly", "; HttpOnly"),
            (self.0.partitioned && over_tls, b"partitioned", "; Partitioned"),
        ] {
            if wanted && !kept.iter().skip(1).any(|part| is_flag(part, flag)) {
                made.extend_from_slice(text.as_bytes());
            }
        }
        made.extend_from_slice(value.as_bytes());
        made
    }
}

/// Whether a part of a cookie is the attribute of this name.
fn is_flag(part: &[u8], name: &[u8]) -> bool {
    let own = part.split(|b| *b == b'=').next().unwrap_or(part);
    own.trim_ascii().eq_ignore_ascii_case(name)
}

impl Policy for Flags {
    fn kind(&self) -> &'static str {
        Cookies::NAME
    }

    fn stage(&self) -> Stage {
        Cookies::STAGE
    }

    fn describe(&self) -> String {
        let flags = [
            (self.0.secure, "Secure".to_owned()),
            (self.0.http_only, "HttpOnly".to_owned()),
            (self.0.same_site != Site::Keep, format!("SameSite={}", self.0.same_site)),
            (self.0.partitioned, "Partitioned".to_owned()),
        ];
        let flags: Vec<_> = flags.into_iter().filter(|one| one.0).map(|one| one.1).collect();
        format!("flags cookies {}", flags.join(", "))
    }

    fn ahead(&self, _: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        Ok(Ahead::Behind)
    }

    fn behind(&self, exchange: &mut Exchange, response: &mut Response) {
        self.apply(exchange.asked.scheme == "https", &mut response.fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_16_flags_are_added_once_and_only_where_they_are_meant() {
        let usual =
            Flags(Cookies { except: vec!["theme".to_owned()].into(), ..Cookies::default() });
        let none = Flags(Cookies { same_site: Site::None, ..Cookies::default() });
        let keep = Flags(Cookies { same_site: Site::Keep, ..Cookies::default() });
        for (flags, tls, line, expected) in [
            (&usual, true, "a=1", "a=1; Secure; HttpOnly; SameSite=Lax"),
            (&usual, false, "a=1; Path=/", "a=1; Path=/; HttpOnly; SameSite=Lax"),
            (&usual, true, "a=1; secure ;HTTPONLY", "a=1; secure ;HTTPONLY; SameSite=Lax"),
            (&usual, true, "a=1; samesite=none; Secure", "a=1; Secure; HttpOnly; SameSite=Lax"),
            (&usual, true, "secure=1", "secure=1; Secure; HttpOnly; SameSite=Lax"),
            (&usual, true, "theme=dark", "theme=dark"),
            (&none, true, "a=1", "a=1; Secure; HttpOnly; SameSite=None"),
            (&none, false, "a=1", "a=1; HttpOnly"),
            (&keep, true, "a=1; SameSite=Strict;", "a=1; SameSite=Strict;; Secure; HttpOnly"),
        ] {
            let made = flags.flagged(tls, line.as_bytes());
            assert_eq!(String::from_utf8(made).unwrap(), expected);
        }
    }
}
