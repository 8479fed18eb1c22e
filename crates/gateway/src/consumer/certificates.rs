//! Whose a client certificate is.

use std::collections::HashMap;
use std::sync::Arc;

use transom_net::tls::server::ClientCertificate;

use super::settings::ConsumerCertificate;

/// What tells certificates, by the narrowest of it.
#[derive(Clone, Debug, Default)]
pub struct Certificates(HashMap<String, Vec<(Arc<str>, ConsumerCertificate)>>);

impl Certificates {
    /// Adds what tells a certificate of this consumer; whether it tells anything.
    pub fn add(&mut self, consumer: &Arc<str>, written: &ConsumerCertificate) -> bool {
        let fingerprint = written.fingerprint.map(|digest| digest.to_string());
        let by = fingerprint.or_else(|| written.san.clone()).or_else(|| written.subject.clone());
        let Some(by) = by else { return false };
        self.0.entry(by).or_default().push((consumer.clone(), written.clone()));
        true
    }

    /// The consumer whose certificate this is.
    pub fn find(&self, shown: &ClientCertificate) -> Option<&Arc<str>> {
        let names = shown.dns_names.iter().chain(&shown.uris).chain(&shown.emails);
        let by = [&shown.fingerprint].into_iter().chain(names).chain([&shown.subject]);
        let listed = by.filter_map(|by| self.0.get(by)).flatten();
        let mut fitting = listed.filter(|(_, written)| fits(written, shown));
        fitting.next().map(|(consumer, _)| consumer)
    }

    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether all that is written holds.
fn fits(written: &ConsumerCertificate, shown: &ClientCertificate) -> bool {
    let mut names = shown.dns_names.iter().chain(&shown.uris).chain(&shown.emails);
    let fingerprint = written.fingerprint.map(|digest| digest.to_string());
    written.subject.as_ref().is_none_or(|subject| *subject == shown.subject)
        && written.san.as_ref().is_none_or(|san| names.any(|name| name == san))
        && fingerprint.is_none_or(|digest| digest == shown.fingerprint)
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::super::digest::Digest;
    use super::*;

    #[test]
    fn gw_08_all_that_is_written_of_a_certificate_must_hold() {
        let digest = "0".repeat(64);
        let shown = ClientCertificate {
            subject: "CN=ann, O=Shop".into(),
            common_name: Some("ann".into()),
            issuer: String::new(),
            dns_names: vec!["ann.shop".into()],
            uris: vec!["spiffe://shop/ann".into()],
            emails: Vec::new(),
            addresses: Vec::new(),
            serial: String::new(),
            fingerprint: digest.clone(),
            not_after: 0,
        };
        let fingerprint = Digest::from_text(&digest).ok();
        for (subject, san, fingerprint, expected) in [
            (Some("CN=ann, O=Shop"), None, None, true),
            (Some("CN=ann"), None, None, false),
            (None, Some("ann.shop"), None, true),
            (None, Some("spiffe://shop/ann"), None, true),
            (None, Some("bob.shop"), None, false),
            (None, None, fingerprint, true),
            (Some("CN=bob"), Some("ann.shop"), None, false),
            (Some("CN=ann, O=Shop"), Some("ann.shop"), fingerprint, true),
            (None, Some("bob.shop"), fingerprint, false),
            (None, None, None, false),
        ] {
            let (subject, san) = (subject.map(str::to_owned), san.map(str::to_owned));
            let written = ConsumerCertificate { subject, san, fingerprint };
            let mut certificates = Certificates::default();
            certificates.add(&"ann".into(), &written);
            assert_eq!(certificates.find(&shown).is_some(), expected, "{written:?}");
        }
    }
}
