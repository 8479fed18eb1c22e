//! What is known of the TLS of an accepted connection, and of the certificate its client has shown.

use std::net::IpAddr;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::{PolicyId, ServerTls, subject};
use crate::tls::certificates::{self, canonical};
use crate::tls::session::Session;

/// What is known of the TLS of an accepted connection.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: &'static str,
    pub cipher: &'static str,
    pub group: &'static str,
    /// The name the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    pub alpn: Option<Box<[u8]>>,
    pub resumed: bool,
    pub policy: PolicyId,
    /// Which certificates clients were asked for; see [`ServerTls::client_auth`].
    pub client_auth: PolicyId,
    /// The client's own certificate, verified.
    shown: Option<CertificateDer<'static>>,
    read: OnceLock<Option<Box<ClientCertificate>>>,
}

impl Facts {
    /// What would be known of a connection without a client's certificate, for `transom explain`.
    pub fn imagined(sni: Option<&str>, tls: &ServerTls) -> Self {
        Self {
            version: "1.3",
            cipher: "",
            group: "",
            sni: sni.map(|name| canonical(name).into()),
            alpn: None,
            resumed: false,
            policy: tls.policy_of(sni),
            client_auth: tls.client_auth(),
            shown: None,
            read: OnceLock::new(),
        }
    }

    pub(super) fn of(session: &Session, policy: PolicyId, client_auth: PolicyId) -> Self {
        Self {
            version: session.version(),
            cipher: session.cipher(),
            group: session.group(),
            sni: session.sni().map(|name| canonical(name).into()),
            alpn: session.alpn().map(Into::into),
            resumed: session.resumed(),
            policy,
            client_auth,
            shown: session.peer_certificates().first().cloned(),
            read: OnceLock::new(),
        }
    }

    /// The client's certificate, read when first asked for. None if it showed none.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        let read = || {
            let shown = self.shown.as_ref()?;
            Some(Box::new(ClientCertificate::from_der(shown)?))
        };
        self.read.get_or_init(read).as_deref()
    }
}

/// Who a verified client certificate speaks of.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// Distinguished name, such as `CN=alice, O=Shop`; what stands in a value is escaped.
    pub subject: String,
    /// The first `CN` of that, as it is.
    pub common_name: Option<String>,
    pub issuer: String,
    pub dns_names: Vec<String>,
    /// Also SPIFFE identities.
    pub uris: Vec<String>,
    pub emails: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// Hexadecimal, lower case, without separators.
    pub serial: String,
    /// SHA-256 of the whole certificate; hexadecimal, lower case, without separators.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl ClientCertificate {
    fn from_der(der: &[u8]) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        let mut own = Self {
            subject: subject::text(parsed.subject()),
            common_name: subject::common_name(parsed.subject()),
            issuer: subject::text(parsed.issuer()),
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            addresses: Vec::new(),
            serial: hex(parsed.raw_serial()),
            fingerprint: hex(digest(&SHA256, der).as_ref()),
            not_after: parsed.validity.not_after.timestamp(),
        };
        if let Ok(Some(names)) = parsed.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => own.dns_names.push(name.to_ascii_lowercase()),
                    GeneralName::URI(uri) => own.uris.push((*uri).to_owned()),
                    GeneralName::RFC822Name(email) => own.emails.push((*email).to_owned()),
                    GeneralName::IPAddress(bytes) => {
                        own.addresses.extend(certificates::address(bytes));
                    }
                    _ => {}
                }
            }
        }
        Some(own)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|n| DIGITS[usize::from(n)] as char);
    bytes.iter().flat_map(digits).collect()
}
