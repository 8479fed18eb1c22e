//! TLS toward clients.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use transom_net::tls::server::{
    self, CertificateError, ClientAuth, Pem, Policy, ServerTls, Settings, TlsError, UnknownNames,
    Version, Warning, examine,
};
use transom_proxy::serve::ALPN_H2;
use transom_settings::{Diagnostic, Span, Spanned, quote};

use super::Build;
use crate::config::{self, Tls, TlsVersion};

/// What is spoken inside TLS (RFC 7301).
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";

/// Where a certificate and its key are written.
pub(super) struct Place {
    pub(super) certificate: Span,
    pub(super) key: Span,
    pub(super) path: String,
}

/// Offered where HTTP is spoken inside TLS, the preferred one first.
pub(super) fn http(http2: bool) -> Vec<Vec<u8>> {
    match http2 {
        true => vec![ALPN_H2.to_vec(), HTTP_1_1.to_vec()],
        false => vec![HTTP_1_1.to_vec()],
    }
}

impl Build<'_> {
    /// The TLS of a listener, if all of it can be used.
    pub(super) fn server_tls(
        &mut self,
        listener: &str,
        tls: &Spanned<Tls>,
        alpn: Vec<Vec<u8>>,
        at: &str,
    ) -> Option<Arc<ServerTls>> {
        let mut certificates = Vec::new();
        let mut whole = true;
        for (index, (certificate, key)) in tls.pairs().into_iter().enumerate() {
            let single = usize::from(tls.certificate.is_some() && tls.key.is_some());
            let path = match index.checked_sub(single) {
                None => format!("{at}.certificate"),
                Some(index) => format!("{at}.certificates[{index}]"),
            };
            let pem = self.pem(certificate, key)?;
            let place = Place { certificate: certificate.span, key: key.span, path };
            match examine(&pem) {
                Ok(warnings) => self.warnings(&warnings, &place),
                Err(error) => {
                    self.certificate_error(&error, &place);
                    whole = false;
                }
            }
            certificates.push(pem);
        }
        certificates.extend(self.materials.self_signed(listener).cloned());
        let clients = &tls.client_certificates;
        let authorities = match &clients.ca {
            Some(ca) => self.materials.file(ca)?.to_vec(),
            None => Vec::new(),
        };
        let tickets = self.shared.tickets(listener);
        let settings = Settings {
            certificates,
            policy: Policy {
                client_auth: match clients.mode {
                    config::ClientAuth::Off => ClientAuth::None,
                    config::ClientAuth::Optional => ClientAuth::Optional(authorities),
                    config::ClientAuth::Required => ClientAuth::Required(authorities),
                },
                min_version: match tls.min_version {
                    TlsVersion::V1_2 => Version::Tls12,
                    TlsVersion::V1_3 => Version::Tls13,
                },
                alpn,
            },
            policies: Vec::new(),
            unknown_names: match tls.unknown_names.value {
                config::UnknownNames::Refuse => UnknownNames::Refuse,
                config::UnknownNames::First => UnknownNames::First,
            },
            tickets,
        };
        if !whole {
            return None;
        }
        match ServerTls::build(&settings) {
            Ok(built) => Some(Arc::new(built)),
            Err(error @ (TlsError::NoAuthority | TlsError::BadAuthority(_))) => {
                let place = clients.ca.as_ref().map_or(tls.span, |ca| ca.span);
                let hint = "give the file of the authorities that sign clients' certificates";
                self.error(place, format!("{at}.client-certificates.ca"), error.to_string(), hint);
                None
            }
            Err(error) => {
                self.error(tls.span, at, error.to_string(), "correct the settings of TLS");
                None
            }
        }
    }

    /// A certificate and its key; nothing where they could not be read, which is found already.
    pub(super) fn pem(&self, certificate: &Path, key: &Path) -> Option<Pem> {
        Some(Pem {
            label: quote(&certificate.display().to_string()),
            certificate: self.materials.file(certificate)?.to_vec(),
            key: self.materials.file(key)?.to_vec(),
        })
    }

    /// A certificate that cannot be used, as a finding where it or its key is named.
    pub(super) fn certificate_error(&mut self, error: &TlsError, place: &Place) {
        let (span, hint) = match error {
            TlsError::Certificate(CertificateError::NoCertificate(_)) => (
                place.certificate,
                "the file must hold `-----BEGIN CERTIFICATE-----`, the server's own first",
            ),
            TlsError::Certificate(CertificateError::NoKey(_)) => {
                (place.key, "the file of the key must hold `-----BEGIN PRIVATE KEY-----`")
            }
            TlsError::Certificate(CertificateError::KeyMismatch(_)) => {
                (place.key, "give the key that the certificate was made for")
            }
            TlsError::Certificate(CertificateError::UnusableKey(..)) => {
                (place.key, "use an ECDSA P-256 or P-384, an Ed25519, or an RSA key")
            }
            _ => (place.certificate, "give a certificate in PEM form"),
        };
        self.error(span, &place.path, error.to_string(), hint);
    }

    fn warnings(&mut self, warnings: &[Warning], place: &Place) {
        for warning in warnings {
            let (what, hint) = match warning {
                server::Warning::Expired { label, not_after } => (
                    format!("the certificate {label} expired on {}", date(*not_after)),
                    "clients refuse it, renew it",
                ),
                server::Warning::NotYetValid { label, not_before } => (
                    format!("the certificate {label} is valid only from {}", date(*not_before)),
                    "clients refuse it until then; check the clock of this machine",
                ),
                server::Warning::NoNames { label } => (
                    format!("the certificate {label} names no host"),
                    "no client can ask for it; make one with the names as `subjectAltName`",
                ),
            };
            let finding = Diagnostic::warning(place.certificate, &place.path, what).hint(hint);
            self.findings.push(finding);
        }
    }
}

/// Seconds since 1970 as a date.
fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).map_or_else(String::new, httpdate::fmt_http_date)
}
