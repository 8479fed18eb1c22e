//! Certificates and who signs those of clients.

use transom_settings::Spanned;

use super::Check;
use crate::config::{ClientAuth, Tls};

impl Check<'_> {
    pub(super) fn tls(&mut self, tls: &Spanned<Tls>, path: &str) {
        match (&tls.certificate, &tls.key) {
            (Some(certificate), None) => {
                self.error(
                    certificate.span,
                    format!("{path}.certificate"),
                    "a certificate needs its key",
                )
                .hint("add `key:` with the file of the private key")
                .done();
            }
            (None, Some(key)) => {
                self.error(key.span, format!("{path}.key"), "a key needs its certificate")
                    .hint("add `certificate:` with the file of the certificate")
                    .done();
            }
            (None, None) if tls.certificates.is_empty() && tls.self_signed.is_none() => {
                self.error(tls.span, path, "there is no certificate")
                    .hint("add `certificate:` and `key:`, or `self-signed: [localhost]` to try things out")
                    .done();
            }
            _ => {}
        }
        let client = &tls.client_certificates;
        match &client.ca {
            None if client.mode != ClientAuth::Off => {
                let what = "clients' certificates cannot be verified without `ca`";
                self.error(tls.span, format!("{path}.client-certificates"), what)
                    .hint("add `ca:` with the file of the authorities that sign them")
                    .done();
            }
            Some(ca) if client.mode == ClientAuth::Off => {
                let path = format!("{path}.client-certificates.ca");
                self.warning(ca.span, path, "it is not used, the mode is `off`")
                    .hint("add `mode: required` or `mode: optional`")
                    .done();
            }
            _ => {}
        }
    }
}
