//! # security-headers
//!
//! **What it does.** Tells browsers to be careful with a response: to come back over TLS only, not
//! to guess types, not to show it inside of other sites. A field that the endpoint has set itself is
//! left as it is.
//!
//! **When it runs.** Stage `admit`: so that answers that Transom makes itself have them too.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   careful: { security-headers: { content-security-policy: "default-src 'self'" } }
//! ```
//!
//! **What the client sees.** The fields; never a fault.

use std::sync::Arc;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::Fields;
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, HeaderValue, Limit, settings};

use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Tells browsers to be careful with responses.
    pub struct SecurityHeaders {
        /// For how long browsers use TLS alone (`Strict-Transport-Security`, RFC 6797). Sent where the
        /// client uses TLS.
        pub transport_security: Limit<Duration> = Limit::At(Duration::hours(365 * 24)),
        /// Whether that holds for the names below, too.
        pub subdomains: bool = false,
        /// Whether types are believed as they are declared (`X-Content-Type-Options: nosniff`).
        pub no_sniff: bool = true,
        /// Who may show it in a frame (`X-Frame-Options`).
        pub frames: Frames = Frames::SameOrigin,
        /// What other sites are told of where a visitor comes from (`Referrer-Policy`).
        pub referrer: Option<HeaderValue> = None,
        /// From where scripts, pictures and the like may come (`Content-Security-Policy`).
        pub content_security_policy: Option<HeaderValue> = None,
        /// Which abilities of the browser may be used (`Permissions-Policy`).
        pub permissions: Option<HeaderValue> = None,
    }

    /// Who may show a page in a frame.
    pub enum Frames {
        /// Nobody.
        Deny = "deny",
        /// Pages of the same origin.
        SameOrigin = "same-origin",
        /// Everybody.
        Any = "any",
    }
}

impl Kind for SecurityHeaders {
    const NAME: &'static str = "security-headers";
    const SUMMARY: &'static str = "Tells browsers to be careful with responses.";
    const STAGE: Stage = Stage::Admit;

    fn build(&self, _: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let mut always = Vec::new();
        if self.no_sniff {
            always.push(("X-Content-Type-Options", "nosniff".to_owned()));
        }
        match self.frames {
            Frames::Deny => always.push(("X-Frame-Options", "DENY".to_owned())),
            Frames::SameOrigin => always.push(("X-Frame-Options", "SAMEORIGIN".to_owned())),
            Frames::Any => {}
        }
        for (name, value) in [
            ("Referrer-Policy", &self.referrer),
            ("Content-Security-Policy", &self.content_security_policy),
            ("Permissions-Policy", &self.permissions),
        ] {
            always.extend(value.iter().map(|value| (name, value.to_string())));
        }
        let transport = self.transport_security.get().map(|time| {
            let below = if self.subdomains { "; includeSubDomains" } else { "" };
            format!("max-age={}{below}", time.get().as_secs())
        });
        Some(Arc::new(Careful { always, transport }))
    }
}

struct Careful {
    always: Vec<(&'static str, String)>,
    /// Over TLS only.
    transport: Option<String>,
}

impl Careful {
    fn apply(&self, over_tls: bool, fields: &mut Fields) {
        let transport = self.transport.as_ref().filter(|_| over_tls);
        let transport = transport.map(|value| ("Strict-Transport-Security", value));
        let always = self.always.iter().map(|(name, value)| (*name, value));
        for (name, value) in always.chain(transport) {
            if !fields.has(name) {
                fields.append(name, value.as_bytes());
            }
        }
    }
}

impl Policy for Careful {
    fn kind(&self) -> &'static str {
        SecurityHeaders::NAME
    }

    fn stage(&self) -> Stage {
        SecurityHeaders::STAGE
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.always.iter().map(|(name, _)| *name).collect();
        format!("adds {}", names.join(", "))
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
    fn what_the_endpoint_says_itself_is_left() {
        let careful = Careful {
            always: vec![("X-Frame-Options", "DENY".to_owned())],
            transport: Some("max-age=1".to_owned()),
        };
        for (tls, own, expected) in [
            (false, None, "X-Frame-Options: DENY\r\n"),
            (true, None, "X-Frame-Options: DENY\r\nStrict-Transport-Security: max-age=1\r\n"),
            (false, Some("SAMEORIGIN"), "X-Frame-Options: SAMEORIGIN\r\n"),
        ] {
            let mut fields = Fields::new();
            if let Some(own) = own {
                fields.append("X-Frame-Options", own.as_bytes());
            }
            careful.apply(tls, &mut fields);
            let mut written = Vec::new();
            fields.write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
