//! # client-certificate
//!
//! **What it does.** Finds out who asks by the certificate that the client has shown in TLS. The
//! listener verifies it (`tls.client-certificates`: against which authorities); here it is found whose
//! it is: of the consumer one of whose `certificates` fits, by its whole subject, a name in it, or its
//! fingerprint. With `unlisted: san`, a certificate that fits none is of whom its one name names, such as
//! a service by its SPIFFE identity: for authorities that give certificates to nobody else. A subject is
//! compared as text; where an authority lets others choose parts of it, go by names or fingerprints.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   billing: { groups: [internal], certificates: [{ san: billing.internal }] }
//! policies:
//!   mutual: { client-certificate: {} }
//! ```
//!
//! **What the client sees.** 401 `unauthenticated` where it has shown none, or one that is nobody's.

use std::sync::Arc;

use transom_net::tls::server::ClientCertificate as Shown;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::settings;

use crate::consumer::Consumers;
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Finds out who asks by the certificate of the client.
    pub struct ClientCertificate {
        /// Who a certificate is of that fits no consumer.
        pub unlisted: Unlisted = Unlisted::Nobody,
    }

    /// Who a certificate is of that fits no consumer.
    pub enum Unlisted {
        /// Nobody: it is refused.
        Nobody = "nobody",
        /// Who the one DNS name, URI or mail address in it names.
        San = "san",
        /// Another policy may find somebody.
        Next = "next",
    }
}

impl Kind for ClientCertificate {
    const NAME: &'static str = "client-certificate";
    const SUMMARY: &'static str = "Finds out who asks by the certificate of the client.";
    const STAGE: Stage = Stage::Identify;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let consumers = making.lender.consumers();
        if consumers.written.certificates.is_empty() && self.unlisted == Unlisted::Nobody {
            let hint = "give consumers `certificates`, or say `unlisted: san`";
            making.error(making.place, "", "no certificate is anybody's", hint);
            return None;
        }
        Some(Arc::new(Identify(Certificates { consumers, unlisted: self.unlisted })))
    }
}

struct Certificates {
    consumers: Consumers,
    unlisted: Unlisted,
}

impl Certificates {
    fn judge(&self, shown: &Shown) -> Found {
        let listed = self.consumers.written.certificates.find(shown);
        if let Some(consumer) = listed.and_then(|name| self.consumers.named(name)) {
            return Found::Known(consumer.identity(ClientCertificate::NAME, None));
        }
        match (self.unlisted, only_name(shown)) {
            (Unlisted::San, Some(name)) => Found::Known(match self.consumers.named(name) {
                Some(consumer) => consumer.identity(ClientCertificate::NAME, None),
                None => Arc::new(Identity {
                    name: name.into(),
                    by: ClientCertificate::NAME,
                    ..Identity::default()
                }),
            }),
            (Unlisted::Next, _) => Found::Nothing,
            _ => {
                let why = format!("the certificate `{}` is nobody's", shown.subject);
                Found::wrong(self, why)
            }
        }
    }
}

/// The name in it, where there is exactly one.
fn only_name(shown: &Shown) -> Option<&str> {
    let mut names = shown.dns_names.iter().chain(&shown.uris).chain(&shown.emails);
    names.next().filter(|name| !name.is_empty() && names.next().is_none()).map(String::as_str)
}

impl Way for Certificates {
    fn kind(&self) -> &'static str {
        ClientCertificate::NAME
    }

    fn describe(&self) -> String {
        format!("a client certificate; {} are listed", self.consumers.written.certificates.len())
    }

    fn challenge(&self) -> Option<&str> {
        // TLS has asked for it already
        None
    }

    fn at_once(&self, exchange: &mut Exchange, _: &mut Request) -> Option<Found> {
        let shown = exchange.peer.tls.as_ref().and_then(|tls| tls.client_certificate());
        Some(shown.map_or(Found::Nothing, |shown| self.judge(shown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_a_name_and_two_are_none() {
        let shown = |dns: &[&str], uris: &[&str]| Shown {
            subject: "CN=root".into(),
            common_name: None,
            issuer: String::new(),
            dns_names: dns.iter().map(ToString::to_string).collect(),
            uris: uris.iter().map(ToString::to_string).collect(),
            emails: Vec::new(),
            addresses: Vec::new(),
            serial: String::new(),
            fingerprint: String::new(),
            not_after: 0,
        };
        for (dns, uris, expected) in [
            (&["billing"][..], &[][..], Some("billing")),
            (&[], &["spiffe://shop/billing"], Some("spiffe://shop/billing")),
            (&["a", "b"], &[], None),
            (&["a"], &["spiffe://b"], None),
            (&[], &[], None),
        ] {
            assert_eq!(only_name(&shown(dns, uris)), expected);
        }
    }
}
