//! Accepting TLS: the hello is read, its name chooses the policy and the certificate.
//!
//! ```text
//! hello ─▶ name ─▶ policy (client certificates, versions, ALPN)  ─▶ rustls configuration
//!               └▶ certificates for it ─▶ the one the client can verify
//! ```
//!
//! A *policy* is everything that must be equal for a session to be taken up again or for a request
//! of one host to arrive over a connection made for another: [`Facts::policy`] against
//! [`ServerTls::policy_of`]. Policies that ask for client certificates resume nothing, since a
//! ticket would stand in for the certificate.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use super::certificates::{Certificate, CertificateError, Certificates, Pem, UnknownNames};
use super::certificates::{Names, canonical};
pub use super::tickets::TicketKeys;
pub use super::turns::Turns;

mod facts;
mod handshake;
mod subject;

pub use facts::{ClientCertificate, Facts};
pub use handshake::{HandshakeError, accept, accept_in_turn};

/// What a listener with TLS is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one. Names are taken from the certificates; for a name that several are for, the
    /// client's abilities decide (ECDSA before RSA).
    pub certificates: Vec<Pem>,
    /// How all names are served that `policies` does not list.
    pub policy: Policy,
    /// Names (exact, or `*.` for one label) that are served in another way.
    pub policies: Vec<(Vec<String>, Policy)>,
    /// Default: refused.
    pub unknown_names: UnknownNames,
    /// Kept across reloads.
    pub tickets: Arc<TicketKeys>,
}

/// How connections for a name are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Default: none is asked for.
    pub client_auth: ClientAuth,
    /// Default: 1.2.
    pub min_version: Version,
    /// Protocols by preference; a client that offers only others is refused. Empty: no ALPN.
    pub alpn: Vec<Vec<u8>>,
}

/// Whether clients show certificates, and who must have signed them (in PEM).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClientAuth {
    #[default]
    None,
    /// A client without a certificate passes; one with a bad certificate does not.
    Optional(Vec<u8>),
    Required(Vec<u8>),
}

/// A protocol version. With 1.2 only ECDHE with AEAD ciphers is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

impl Version {
    pub(super) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Version::Tls12 => &BOTH,
            Version::Tls13 => &BOTH[..1],
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("no certificate is given")]
    NoCertificates,
    #[error("the file of authorities has no certificate in PEM form")]
    NoAuthority,
    #[error("an authority cannot be used: {0}")]
    BadAuthority(String),
    #[error("`{0}` is not a host name or address")]
    BadName(String),
    #[error("{0}")]
    Other(String),
}

/// Something an operator should know and that does not keep TLS from working.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    Expired {
        label: String,
        not_after: i64,
    },
    NotYetValid {
        label: String,
        not_before: i64,
    },
    /// No client can ask for it: it names no host and no address.
    NoNames {
        label: String,
    },
}

/// Identifies what must be equal between connections that may stand in for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyId(u128);

impl PolicyId {
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut all = Vec::new();
        for part in parts {
            // With its length, so that no two lists read the same.
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        }
        let hash = digest(&SHA256, &all);
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u128::from_be_bytes(first))
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The TLS of one listener, shared by all workers.
pub struct ServerTls {
    certificates: Arc<Certificates>,
    policy: Built,
    policies: Names<Built>,
    warnings: Vec<Warning>,
}

#[derive(Clone)]
struct Built {
    id: PolicyId,
    client_auth: PolicyId,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads certificates and makes one configuration per policy.
    pub fn build(settings: &Settings) -> Result<Self, TlsError> {
        let provider = crypto();
        let (certificates, warnings) = load(&settings.certificates, &provider, SystemTime::now())?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificates);
        }
        let certificates = Arc::new(Certificates::new(&certificates, settings.unknown_names));
        let build = |policy| build(policy, &certificates, &settings.tickets, &provider);
        let policy = build(&settings.policy)?;
        let mut policies = Names::default();
        for (names, of_names) in &settings.policies {
            let built = build(of_names)?;
            for name in names {
                policies.entry(name).or_insert_with(|| built.clone());
            }
        }
        Ok(Self { certificates, policy, policies, warnings })
    }

    /// Replaces the certificates of a running listener, all or none.
    pub fn install(&self, certificates: &[Pem]) -> Result<Vec<Warning>, TlsError> {
        let (certificates, warnings) = load(certificates, &crypto(), SystemTime::now())?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificates);
        }
        self.certificates.install(&certificates);
        Ok(warnings)
    }

    /// What was noticed while building.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The policy for a host name, or for a client that names none.
    ///
    /// A request for `host` may be served over a connection only if this equals its
    /// [`Facts::policy`]; otherwise it is misdirected (RFC 9110 §15.5.20).
    pub fn policy_of(&self, host: Option<&str>) -> PolicyId {
        self.find(host).id
    }

    /// Whether clients that name no host, or one without a policy of its own, show certificates, and who
    /// must have signed those. A connection whose [`Facts::client_auth`] is another was made when other
    /// ones were asked for.
    pub fn client_auth(&self) -> PolicyId {
        self.policy.client_auth
    }

    /// Whether a client that asks for `name`, or for none, is shown a certificate.
    pub fn serves(&self, name: Option<&str>) -> bool {
        self.certificates.serves(name)
    }

    fn find(&self, name: Option<&str>) -> &Built {
        name.and_then(|name| self.policies.find(&canonical(name))).unwrap_or(&self.policy)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("policy", &self.policy.id).finish_non_exhaustive()
    }
}

/// Whether a certificate and its key can be used, and what should be known about them.
pub fn examine(pem: &Pem) -> Result<Vec<Warning>, TlsError> {
    load(std::slice::from_ref(pem), &crypto(), SystemTime::now()).map(|(_, warnings)| warnings)
}

/// aws-lc-rs with its defaults: X25519MLKEM768, X25519, P-256, P-384; AEAD ciphers only.
pub(super) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

fn load(
    pems: &[Pem],
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(Vec<Certificate>, Vec<Warning>), TlsError> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let (mut certificates, mut warnings) = (Vec::new(), Vec::new());
    for pem in pems {
        let one = Certificate::from_pem(pem, provider)?;
        let label = || pem.label.clone();
        if one.not_after < now {
            warnings.push(Warning::Expired { label: label(), not_after: one.not_after });
        }
        if one.not_before > now {
            warnings.push(Warning::NotYetValid { label: label(), not_before: one.not_before });
        }
        if one.names.is_empty() {
            warnings.push(Warning::NoNames { label: label() });
        }
        certificates.push(one);
    }
    Ok((certificates, warnings))
}

fn build(
    policy: &Policy,
    certificates: &Arc<Certificates>,
    tickets: &Arc<TicketKeys>,
    provider: &Arc<CryptoProvider>,
) -> Result<Built, TlsError> {
    let other = |error: rustls::Error| TlsError::Other(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(policy.min_version.and_newer())
        .map_err(other)?;
    let (authorities, required) = match &policy.client_auth {
        ClientAuth::None => (None, false),
        ClientAuth::Optional(pem) => (Some(pem), false),
        ClientAuth::Required(pem) => (Some(pem), true),
    };
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = Arc::new(roots(pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            let verifier =
                if required { verifier } else { verifier.allow_unauthenticated() }.build();
            let verifier = verifier.map_err(|error| TlsError::BadAuthority(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut parts: Vec<&[u8]> =
        vec![authorities.map_or(&b""[..], |pem| pem), if required { b"required" } else { b"" }];
    let client_auth = PolicyId::of(&parts);
    parts.push(if policy.min_version == Version::Tls13 { b"1.3" } else { b"1.2" });
    parts.extend(policy.alpn.iter().map(Vec::as_slice));
    let id = PolicyId::of(&parts);

    let mut config = builder.with_cert_resolver(certificates.clone());
    config.alpn_protocols = policy.alpn.clone();
    config.max_early_data_size = 0;
    // Tickets need no store, so workers share nothing but the keys.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if authorities.is_none() {
        config.ticketer = tickets.ticketer(id);
    } else {
        // Resuming would take the place of showing the certificate.
        config.send_tls13_tickets = 0;
    }
    Ok(Built { id, client_auth, config: Arc::new(config) })
}

/// Authorities from PEM: every certificate must be usable, and there must be one.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| TlsError::BadAuthority(error.to_string()))?;
        roots.add(certificate).map_err(|error| TlsError::BadAuthority(error.to_string()))?;
    }
    if roots.is_empty() { Err(TlsError::NoAuthority) } else { Ok(roots) }
}

#[cfg(test)]
mod tests;
