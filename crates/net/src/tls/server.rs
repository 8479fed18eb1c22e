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
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

pub use super::certificates::{Certificate, CertificateError, Certificates, Pem, UnknownNames};
use super::certificates::{Names, canonical};
use super::hello;
use super::session::Session;
pub use super::tickets::TicketKeys;

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
    let mut parts: Vec<&[u8]> = vec![
        authorities.map_or(&b""[..], |pem| pem),
        if required { b"required" } else { b"" },
        if policy.min_version == Version::Tls13 { b"1.3" } else { b"1.2" },
    ];
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
    Ok(Built { id, config: Arc::new(config) })
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

/// Why a handshake did not complete. Nobody is left to answer, except for [`Self::PlainHttp`].
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer left; `received` 0 is a connection that never said anything, such as a port check.
    #[error("the peer closed the connection after {received} bytes")]
    Closed { received: usize },
    #[error("the hello is too large")]
    HelloTooLarge,
    #[error(transparent)]
    Io(io::Error),
    #[error("what the peer sent is not TLS")]
    NotTls,
    /// An HTTP request in clear: the caller may answer 400 in clear.
    #[error("the peer speaks HTTP without TLS")]
    PlainHttp,
    #[error(transparent)]
    Tls(rustls::Error),
    #[error("no certificate is for the name the client asked for")]
    UnknownName(Option<String>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Io(error),
        }
    }
}

/// Reads the hello, chooses by its name, and completes the handshake.
///
/// Keeps no time: the caller wraps it in one deadline. On failure an alert was sent where the
/// protocol has one.
pub async fn accept<T>(io: &mut T, tls: &ServerTls) -> Result<(Session, Facts), HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // RFC 8446 §6.2: alert, legacy version, length 2, fatal, unrecognized_name.
    const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

    let accepted = hello::read(io).await?;
    let hello = accepted.client_hello();
    let name = hello.server_name();
    if !tls.certificates.serves(name) {
        let name = name.map(str::to_owned);
        // Best effort: the client may be gone already.
        let _ = io.write_all(&UNRECOGNIZED_NAME).await;
        return Err(HandshakeError::UnknownName(name));
    }
    let Built { id, config } = tls.find(name).clone();
    let conn = match accepted.into_connection(config) {
        Ok(conn) => conn,
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            let _ = alert.write_all(&mut bytes);
            let _ = io.write_all(&bytes).await;
            return Err(HandshakeError::Tls(error));
        }
    };
    let mut session = Session::server(conn);
    poll_fn(|cx| session.poll_handshake(io, cx)).await?;
    let facts = Facts::of(&session, id);
    Ok((session, facts))
}

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
    /// The client's own certificate, verified.
    shown: Option<CertificateDer<'static>>,
    read: OnceLock<Option<Box<ClientCertificate>>>,
}

impl Facts {
    /// What would be known of a connection without a client's certificate, for `transom explain`.
    pub fn imagined(sni: Option<&str>, policy: PolicyId) -> Self {
        Self {
            version: "1.3",
            cipher: "",
            group: "",
            sni: sni.map(|name| canonical(name).into()),
            alpn: None,
            resumed: false,
            policy,
            shown: None,
            read: OnceLock::new(),
        }
    }

    fn of(session: &Session, policy: PolicyId) -> Self {
        Self {
            version: session.version(),
            cipher: session.cipher(),
            group: session.group(),
            sni: session.sni().map(|name| canonical(name).into()),
            alpn: session.alpn().map(Into::into),
            resumed: session.resumed(),
            policy,
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
    /// Distinguished name, such as `CN=alice, O=Shop`.
    pub subject: String,
    pub issuer: String,
    pub dns_names: Vec<String>,
    /// Also SPIFFE identities.
    pub uris: Vec<String>,
    pub emails: Vec<String>,
    pub addresses: Vec<std::net::IpAddr>,
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
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
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
                        own.addresses.extend(super::certificates::address(bytes));
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

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_RSA_SHA256};
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::tls::client::{self, ClientTls, Roots, connect, server_name};
    use crate::tls::testing::{Authority, Issued, block_on};

    fn pem(issued: &Issued) -> Pem {
        Pem {
            label: "test".into(),
            certificate: issued.certificate.clone().into(),
            key: issued.key.clone().into(),
        }
    }

    fn settings(certificates: &[&Issued]) -> Settings {
        Settings {
            certificates: certificates.iter().map(|issued| pem(issued)).collect(),
            policy: Policy::default(),
            policies: Vec::new(),
            unknown_names: UnknownNames::Refuse,
            tickets: TicketKeys::new(),
        }
    }

    fn to(authority: &Authority) -> client::Settings {
        let roots = Roots::Own(authority.pem.clone().into());
        client::Settings { roots, ..client::Settings::default() }
    }

    struct Made {
        client: Result<Session, HandshakeError>,
        server: Result<(Session, Facts), HandshakeError>,
    }

    /// A handshake, then one byte each way, so that tickets and alerts arrive.
    async fn handshake(server: &ServerTls, client: &ClientTls, name: &str) -> Made {
        let (mut a, mut b) = duplex(64 * 1024);
        let name = server_name(name).unwrap();
        let (mut made_client, mut made_server) =
            tokio::join!(connect(&mut a, client, &name), async {
                let made = accept(&mut b, server).await;
                if made.is_err() {
                    let _ = b.shutdown().await;
                }
                made
            });
        if let (Ok(one), Ok((two, _))) = (&mut made_client, &mut made_server) {
            let byte = [io::IoSlice::new(b"x")];
            poll_fn(|cx| two.poll_write(&mut b, cx, &byte)).await.unwrap();
            poll_fn(|cx| one.poll_read(&mut a, cx, &mut [0; 8])).await.unwrap();
        } else if let Ok(one) = &mut made_client {
            let read = poll_fn(|cx| one.poll_read(&mut a, cx, &mut [0; 8])).await;
            made_client = Err(read.unwrap_err().into());
        }
        Made { client: made_client, server: made_server }
    }

    fn shown(made: &Made) -> CertificateDer<'static> {
        made.client.as_ref().unwrap().peer_certificates()[0].clone()
    }

    #[test]
    fn the_name_chooses_the_certificate() {
        block_on(async {
            let authority = Authority::new();
            let shop = authority.issue(&["shop.example"]);
            let wild = authority.issue(&["*.shop.example"]);
            let address = authority.issue(&["127.0.0.1"]);
            let server = ServerTls::build(&settings(&[&shop, &wild, &address])).unwrap();
            let client = ClientTls::build(&to(&authority)).unwrap();
            for (name, expect) in [
                ("shop.example", &shop),
                ("SHOP.example", &shop),
                ("www.shop.example", &wild),
                ("127.0.0.1", &address),
            ] {
                assert_eq!(shown(&handshake(&server, &client, name).await), expect.der, "{name}");
            }
        });
    }

    #[test]
    fn an_unknown_name_is_refused_unless_the_first_is_asked_for() {
        block_on(async {
            let authority = Authority::new();
            let shop = authority.issue(&["shop.example"]);
            let mut settings = settings(&[&shop]);
            let mut asking = to(&authority);
            asking.insecure_skip_verify = true;
            let client = ClientTls::build(&asking).unwrap();
            let server = ServerTls::build(&settings).unwrap();
            for name in ["a.b.shop.example", "other.example", "127.0.0.1"] {
                let made = handshake(&server, &client, name).await;
                assert!(matches!(made.server, Err(HandshakeError::UnknownName(_))), "{name}");
                let error = made.client.err().unwrap().to_string();
                assert!(error.contains("UnrecognisedName"), "{error}");
            }
            settings.unknown_names = UnknownNames::First;
            let server = ServerTls::build(&settings).unwrap();
            for name in ["other.example", "127.0.0.1"] {
                assert_eq!(shown(&handshake(&server, &client, name).await), shop.der);
            }
        });
    }

    #[test]
    fn ecdsa_is_shown_to_who_can_verify_it() {
        block_on(async {
            let authority = Authority::new();
            let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
            let rsa = authority.issue_with(&["shop.example"], rsa, |_| ());
            let ecdsa = authority.issue(&["shop.example"]);
            let server = ServerTls::build(&settings(&[&rsa, &ecdsa])).unwrap();
            let client = ClientTls::build(&to(&authority)).unwrap();
            assert_eq!(shown(&handshake(&server, &client, "shop.example").await), ecdsa.der);

            let only_rsa = ServerTls::build(&settings(&[&rsa])).unwrap();
            assert_eq!(shown(&handshake(&only_rsa, &client, "shop.example").await), rsa.der);
        });
    }

    #[test]
    fn sessions_are_resumed_across_a_reload_of_certificates() {
        for version in [Version::Tls12, Version::Tls13] {
            block_on(async {
                let authority = Authority::new();
                let mut settings = settings(&[&authority.issue(&["shop.example"])]);
                settings.policy.min_version = version;
                let server = ServerTls::build(&settings).unwrap();
                let client = ClientTls::build(&to(&authority)).unwrap();
                let made = handshake(&server, &client, "shop.example").await;
                assert!(!made.server.unwrap().1.resumed);
                assert!(
                    handshake(&server, &client, "shop.example").await.server.unwrap().1.resumed
                );

                let next = authority.issue(&["shop.example"]);
                server.install(&[pem(&next)]).unwrap();
                assert!(
                    handshake(&server, &client, "shop.example").await.server.unwrap().1.resumed
                );
                let fresh = ClientTls::build(&to(&authority)).unwrap();
                assert_eq!(shown(&handshake(&server, &fresh, "shop.example").await), next.der);

                let reloaded = ServerTls::build(&settings).unwrap();
                let made = handshake(&reloaded, &client, "shop.example").await;
                assert!(made.server.unwrap().1.resumed);
            });
        }
    }

    #[test]
    fn tl_05_a_session_is_not_resumed_under_another_policy() {
        block_on(async {
            let authority = Authority::new();
            let mut settings = settings(&[&authority.issue(&["a.example", "b.example"])]);
            let server = ServerTls::build(&settings).unwrap();
            let client = ClientTls::build(&to(&authority)).unwrap();
            handshake(&server, &client, "a.example").await.client.unwrap();

            let optional = ClientAuth::Optional(authority.pem.clone().into());
            settings.policy.client_auth = optional;
            let other = ServerTls::build(&settings).unwrap();
            for _ in 0..3 {
                let made = handshake(&other, &client, "a.example").await;
                assert!(!made.server.unwrap().1.resumed, "and those who ask resume nothing");
            }
            assert_ne!(server.policy_of(None), other.policy_of(None));
        });
    }

    #[test]
    fn client_certificates_are_asked_for_by_name() {
        block_on(async {
            let authority = Authority::new();
            let mut settings = settings(&[&authority.issue(&["a.example", "*.b.example"])]);
            let ca = || authority.pem.clone().into_bytes();
            let policy = |client_auth| Policy { client_auth, ..Policy::default() };
            settings.policies = vec![
                (vec!["*.b.example".into()], policy(ClientAuth::Required(ca()))),
                (vec!["o.b.example".into()], policy(ClientAuth::Optional(ca()))),
            ];
            let server = ServerTls::build(&settings).unwrap();
            let nobody = ClientTls::build(&to(&authority)).unwrap();
            let mut asking = to(&authority);
            asking.identity = Some(pem(&authority.issue_with(
                &["alice.example"],
                KeyPair::generate().unwrap(),
                |params| {
                    let uri = "spiffe://shop/alice".try_into().unwrap();
                    params.subject_alt_names.push(rcgen::SanType::URI(uri));
                    params.distinguished_name = rcgen::DistinguishedName::new();
                    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
                    params.serial_number = Some(0x1234.into());
                },
            )));
            let alice = ClientTls::build(&asking).unwrap();
            let stranger = Authority::new();
            asking.identity = Some(pem(&stranger.issue(&["alice.example"])));
            let mallory = ClientTls::build(&asking).unwrap();

            for (name, client, passes, knows) in [
                ("a.example", &nobody, true, false),
                ("a.example", &alice, true, false),
                ("o.b.example", &nobody, true, false),
                ("o.b.example", &alice, true, true),
                ("o.b.example", &mallory, false, false),
                ("r.b.example", &nobody, false, false),
                ("r.b.example", &alice, true, true),
                ("r.b.example", &mallory, false, false),
            ] {
                let made = handshake(&server, client, name).await;
                assert_eq!(made.client.is_ok(), passes, "{name}");
                assert_eq!(made.server.is_ok(), passes, "{name}");
                let Ok((_, facts)) = made.server else { continue };
                assert_eq!(facts.policy, server.policy_of(Some(name)));
                let certificate = facts.client_certificate();
                assert_eq!(certificate.is_some(), knows, "{name}");
                if let Some(certificate) = certificate {
                    assert_eq!(certificate.subject, "CN=alice");
                    assert_eq!(certificate.dns_names, ["alice.example"]);
                    assert_eq!(certificate.uris, ["spiffe://shop/alice"]);
                    assert_eq!(certificate.serial, "1234");
                    assert_eq!(certificate.fingerprint.len(), 64);
                }
            }
        });
    }

    #[test]
    fn tl_08_an_upstream_is_verified_unless_switched_off() {
        block_on(async {
            let authority = Authority::new();
            let expired =
                authority.issue_with(&["shop.example"], KeyPair::generate().unwrap(), |params| {
                    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
                });
            let good = authority.issue(&["shop.example"]);
            let other = Authority::new();
            let mut first = settings(&[&good]);
            first.unknown_names = UnknownNames::First;
            let good = ServerTls::build(&first).unwrap();
            let expired = ServerTls::build(&settings(&[&expired])).unwrap();
            assert!(matches!(expired.warnings(), [Warning::Expired { .. }]));

            for (server, authority, name, passes) in [
                (&good, &authority, "shop.example", true),
                (&good, &authority, "other.example", false),
                (&good, &other, "shop.example", false),
                (&expired, &authority, "shop.example", false),
            ] {
                let mut settings = to(authority);
                let client = ClientTls::build(&settings).unwrap();
                assert_eq!(handshake(server, &client, name).await.client.is_ok(), passes);
                settings.insecure_skip_verify = true;
                let careless = ClientTls::build(&settings).unwrap();
                assert!(handshake(server, &careless, name).await.client.is_ok());
                assert_ne!(client.identity(), careless.identity());
                settings.insecure_skip_verify = false;
                settings.name = Some("shop.example".into());
                let named = ClientTls::build(&settings).unwrap();
                assert_ne!(client.identity(), named.identity());
                let verified = std::ptr::eq(server, &good) && !std::ptr::eq(authority, &other);
                assert_eq!(handshake(server, &named, name).await.client.is_ok(), verified);
            }
        });
    }

    #[test]
    fn tl_12_protocols_that_do_not_overlap_are_refused() {
        block_on(async {
            let authority = Authority::new();
            let mut serving = settings(&[&authority.issue(&["shop.example"])]);
            serving.policy.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let server = ServerTls::build(&serving).unwrap();
            for (offered, expect) in [
                (vec![], Some(None)),
                (vec!["http/1.1"], Some(Some("http/1.1"))),
                (vec!["http/1.1", "h2"], Some(Some("h2"))),
                (vec!["ftp"], None),
            ] {
                let mut asking = to(&authority);
                asking.alpn = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
                let client = ClientTls::build(&asking).unwrap();
                let made = handshake(&server, &client, "shop.example").await;
                let agreed = made.server.ok().map(|(_, facts)| facts.alpn);
                let expect = expect.map(|name| name.map(|name| name.as_bytes().into()));
                assert_eq!(agreed, expect, "{offered:?}");
            }
        });
    }

    #[test]
    fn bad_material_is_refused_with_its_reason() {
        let authority = Authority::new();
        let (a, b) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
        let refused = |change: &dyn Fn(&mut Settings)| {
            let mut settings = settings(&[&a]);
            change(&mut settings);
            ServerTls::build(&settings).unwrap_err().to_string()
        };
        for (error, expect) in [
            (refused(&|s| s.certificates.clear()), "no certificate is given"),
            (
                refused(&|s| s.certificates[0].key = b.key.clone().into()),
                "the key of test does not belong to its certificate",
            ),
            (
                refused(&|s| s.certificates[0].certificate = a.key.clone().into()),
                "test has no certificate in PEM form",
            ),
            (
                refused(&|s| s.certificates[0].key = b"half".into()),
                "test has no private key in PEM form",
            ),
            (
                refused(&|s| s.policy.client_auth = ClientAuth::Required(b"".into())),
                "the file of authorities has no certificate in PEM form",
            ),
        ] {
            assert_eq!(error, expect);
        }
        let half = &a.certificate[..a.certificate.len() / 2];
        assert!(refused(&|s| s.certificates[0].certificate = half.into()).starts_with("test "));
    }

    #[test]
    fn tl_04_a_hello_in_pieces_is_served_like_any_other() {
        block_on(async {
            let authority = Authority::new();
            let mut settings = settings(&[&authority.issue(&["a.example", "b.example"])]);
            let required = ClientAuth::Required(authority.pem.clone().into());
            let policy = Policy { client_auth: required, ..Policy::default() };
            settings.policies = vec![(vec!["b.example".into()], policy)];
            let server = ServerTls::build(&settings).unwrap();
            let client = ClientTls::build(&to(&authority)).unwrap();
            let (mut a, mut b) = duplex(1);
            let name = server_name("b.example").unwrap();
            let (_, made) = tokio::join!(connect(&mut a, &client, &name), async {
                let made = accept(&mut b, &server).await;
                drop(b);
                made
            });
            let Err(HandshakeError::Tls(error)) = made else { panic!("must not pass") };
            assert_eq!(error, rustls::Error::NoCertificatesPresented);

            // The same hello, its body cut into records of 20 bytes.
            let mut hello = Vec::new();
            let config = crate::tls::testing::client_config(&authority, rustls::ALL_VERSIONS);
            let mut client = rustls::ClientConnection::new(config, name).unwrap();
            client.write_tls(&mut hello).unwrap();
            let mut cut = Vec::new();
            for piece in hello[5..].chunks(20) {
                cut.extend_from_slice(&[22, 3, 1, 0, piece.len() as u8]);
                cut.extend_from_slice(piece);
            }
            let (mut a, mut b) = duplex(64 * 1024);
            let (_, accepted) = tokio::join!(a.write_all(&cut), hello::read(&mut b));
            assert_eq!(accepted.unwrap().client_hello().server_name(), Some("b.example"));
        });
    }

    /// What came in the same read as the hello was looked at only when more came.
    #[test]
    fn what_follows_the_hello_at_once_is_judged_at_once() {
        block_on(async {
            let authority = Authority::new();
            let server = ServerTls::build(&settings(&[&authority.issue(&["a.example"])])).unwrap();
            let config = crate::tls::testing::client_config(&authority, rustls::ALL_VERSIONS);
            let name = server_name("a.example").unwrap();
            let mut bytes = Vec::new();
            let mut client = rustls::ClientConnection::new(config, name).unwrap();
            client.write_tls(&mut bytes).unwrap();
            // No record is of type 1.
            bytes.extend_from_slice(&[1, 3, 3, 0, 1, 0]);
            let (mut a, mut b) = duplex(64 * 1024);
            a.write_all(&bytes).await.unwrap();
            assert!(matches!(accept(&mut b, &server).await, Err(HandshakeError::Tls(_))));
        });
    }

    #[test]
    fn h1_51_what_is_not_tls_is_its_own_error() {
        block_on(async {
            let authority = Authority::new();
            let server = ServerTls::build(&settings(&[&authority.issue(&["a.example"])])).unwrap();
            let mut large = Vec::new();
            for _ in 0..6 {
                large.extend_from_slice(&[22, 3, 1, 0x40, 0]);
                large.extend_from_slice(&[0; 0x4000]);
            }
            large[5..9].copy_from_slice(&[1, 0, 0xff, 0xff]);
            for (bytes, expect) in [
                (&b""[..], "the peer closed the connection after 0 bytes"),
                (b"\x16\x03\x01\x02", "the peer closed the connection after 4 bytes"),
                (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP without TLS"),
                (b"SSH-2.0-x\r\n", "what the peer sent is not TLS"),
                (&large, "the hello is too large"),
            ] {
                let (mut a, mut b) = duplex(200_000);
                a.write_all(bytes).await.unwrap();
                a.shutdown().await.unwrap();
                let error = accept(&mut b, &server).await.err().unwrap();
                assert_eq!(error.to_string(), expect);
            }
            // Garbage in a record is answered with an alert.
            let (mut a, mut b) = duplex(1000);
            a.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
            assert!(matches!(accept(&mut b, &server).await, Err(HandshakeError::Tls(_))));
            drop(b);
            let mut alert = Vec::new();
            a.read_to_end(&mut alert).await.unwrap();
            assert_eq!((alert[0], alert[5]), (21, 2));
        });
    }
}
