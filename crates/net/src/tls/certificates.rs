//! The certificates a listener shows, found by name, replaced while it runs.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// A certificate chain and its key as they stand in files.
#[derive(Clone)]
pub struct Pem {
    /// How messages call it, such as the file's path.
    pub label: String,
    /// The chain, the own certificate first.
    pub certificate: Vec<u8>,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: Vec<u8>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("label", &self.label).finish_non_exhaustive()
    }
}

/// A chain and a key that belong together.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// The names it is for: DNS names in lower case, `*.` first for wildcards, and addresses.
    pub names: Vec<String>,
    /// Seconds since 1970 from which it is valid.
    pub not_before: i64,
    /// Seconds since 1970 after which it is not.
    pub not_after: i64,
}

/// Why a certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CertificateError {
    #[error("{0} has no certificate in PEM form")]
    NoCertificate(String),
    #[error("{0} has no private key in PEM form")]
    NoKey(String),
    #[error("the key of {0} does not belong to its certificate")]
    KeyMismatch(String),
    #[error("{0} cannot be read as a certificate: {1}")]
    Malformed(String, String),
    #[error("the key of {0} cannot be used: {1}")]
    UnusableKey(String, String),
}

impl Certificate {
    /// Reads a chain and its key, and checks that they belong together.
    pub fn from_pem(pem: &Pem, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let label = || pem.label.clone();
        let chain = CertificateDer::pem_slice_iter(&pem.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Malformed(label(), error.to_string()))?;
        let Some(own) = chain.first() else {
            return Err(CertificateError::NoCertificate(label()));
        };
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|_| CertificateError::NoKey(label()))?;
        let (_, parsed) = parse_x509_certificate(own)
            .map_err(|error| CertificateError::Malformed(label(), error.to_string()))?;
        let names = subject_names(&parsed);
        let (not_before, not_after) =
            (parsed.validity.not_before.timestamp(), parsed.validity.not_after.timestamp());
        let certified =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateError::KeyMismatch(label())
                }
                Error::InvalidCertificate(why) => {
                    CertificateError::Malformed(label(), format!("{why:?}"))
                }
                other => CertificateError::UnusableKey(label(), other.to_string()),
            })?;
        Ok(Self { certified: Arc::new(certified), names, not_before, not_after })
    }

    fn has_address(&self) -> bool {
        self.names.iter().any(|name| name.parse::<IpAddr>().is_ok())
    }
}

fn subject_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A map from host names to `V`: exact names first, then `*.` for one label.
#[derive(Debug)]
pub(super) struct Names<V> {
    exact: HashMap<Box<str>, V>,
    /// Without the `*.`.
    wildcard: HashMap<Box<str>, V>,
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<V> Names<V> {
    pub(super) fn entry(
        &mut self,
        name: &str,
    ) -> std::collections::hash_map::Entry<'_, Box<str>, V> {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(rest) => self.wildcard.entry(rest.into()),
            None => self.exact.entry(name.into()),
        }
    }

    /// `name` is canonical: lower case, no dot at its end.
    pub(super) fn find(&self, name: &str) -> Option<&V> {
        self.exact.get(name).or_else(|| {
            // RFC 9525 §6.3: a wildcard stands for exactly one label.
            let (label, rest) = name.split_once('.')?;
            if label.is_empty() { None } else { self.wildcard.get(rest) }
        })
    }
}

/// Lower case and without the dot that ends an absolute name; no copy if it is so already.
pub(super) fn canonical(name: &str) -> std::borrow::Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// What to do for a client that asks for a name no certificate is for, or for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// Refuse the handshake with `unrecognized_name`. A client that names nothing is served by a
    /// certificate for an address, if there is one.
    #[default]
    Refuse,
    /// Show the first certificate.
    First,
}

/// The table of certificates. Cheap to look into, replaced as a whole.
#[derive(Debug)]
pub struct Certificates {
    table: ArcSwap<Table>,
    unknown: UnknownNames,
}

/// Certificates for the same name, in order of preference.
type Choice = Vec<Arc<CertifiedKey>>;

#[derive(Debug, Default)]
struct Table {
    names: Names<Choice>,
    /// For clients that ask for no name, and with [`UnknownNames::First`] for unknown ones.
    nameless: Option<Choice>,
}

impl Certificates {
    pub(super) fn new(certificates: &[Certificate], unknown: UnknownNames) -> Self {
        Self { table: ArcSwap::from_pointee(Table::new(certificates, unknown)), unknown }
    }

    /// Replaces all certificates. New handshakes see them at once; connections are not touched,
    /// and tickets given out before stay good.
    pub fn install(&self, certificates: &[Certificate]) {
        self.table.store(Arc::new(Table::new(certificates, self.unknown)));
    }

    /// Whether a client asking for `name` can be served.
    pub fn serves(&self, name: Option<&str>) -> bool {
        self.table.load().choose(name, self.unknown).is_some()
    }
}

impl Table {
    fn new(certificates: &[Certificate], unknown: UnknownNames) -> Self {
        let mut table = Self::default();
        for certificate in certificates {
            for name in &certificate.names {
                let choice = table.names.entry(name).or_default();
                choice.push(certificate.certified.clone());
                // Stable: among keys of one kind the first in the file stays first.
                choice.sort_by_key(|certified| preference(certified));
            }
        }
        let nameless = match unknown {
            UnknownNames::First => certificates.first(),
            UnknownNames::Refuse => certificates.iter().find(|one| one.has_address()),
        };
        table.nameless = nameless.map(|one| vec![one.certified.clone()]);
        table
    }

    fn choose(&self, name: Option<&str>, unknown: UnknownNames) -> Option<&Choice> {
        let known = name.and_then(|name| self.names.find(&canonical(name)));
        match (known, name, unknown) {
            (Some(choice), ..) => Some(choice),
            (None, Some(_), UnknownNames::Refuse) => None,
            _ => self.nameless.as_ref(),
        }
    }
}

/// ECDSA and Ed25519 sign an order of magnitude faster than RSA.
fn preference(certified: &CertifiedKey) -> u8 {
    match certified.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let choice = table.choose(hello.server_name(), self.unknown)?;
        let signs = |certified: &&Arc<CertifiedKey>| {
            certified.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        choice.iter().find(signs).or(choice.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_exactly_then_by_one_label() {
        let mut names = Names::default();
        for (value, name) in
            ["shop.example", "*.shop.example", "API.shop.example"].iter().enumerate()
        {
            names.entry(name).or_insert(value);
        }
        for (name, expect) in [
            ("shop.example", Some(0)),
            ("SHOP.example.", Some(0)),
            ("www.shop.example", Some(1)),
            ("api.shop.example", Some(2)),
            ("a.b.shop.example", None),
            (".shop.example", None),
            ("xshop.example", None),
            ("example", None),
            ("", None),
        ] {
            assert_eq!(names.find(&canonical(name)).copied(), expect, "{name}");
        }
    }
}
