//! TLS to an endpoint. Verification is on unless it was switched off by name.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};

use super::certificates::{Certificate, Pem};
use super::server::{HandshakeError, PolicyId, TlsError, Version, crypto, roots};
use super::session::Session;

/// What connections to the endpoints of a pool are made of.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The name to ask for and to verify, instead of the endpoint's own.
    pub name: Option<String>,
    pub roots: Roots,
    /// The certificate to show if the endpoint asks for one.
    pub identity: Option<Pem>,
    /// Accept any certificate. The connection is encrypted, but to whom is not known.
    pub insecure_skip_verify: bool,
    /// Default: 1.2.
    pub min_version: Version,
    /// Protocols by preference. Empty: no ALPN.
    pub alpn: Vec<Vec<u8>>,
}

/// Who may have signed an endpoint's certificate.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// The authorities of Mozilla, as of the build.
    #[default]
    Bundled,
    /// Only these, in PEM.
    Own(Vec<u8>),
    /// Those of the system: [`system_roots`].
    System(Arc<RootCertStore>),
}

/// The authorities the operating system trusts; Mozilla's where it has none.
///
/// Reads files and takes milliseconds: once per start or reload, off the path.
pub fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots = bundled();
    }
    Arc::new(roots)
}

fn bundled() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// How to make TLS connections to the endpoints of a pool; sessions are taken up again.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    identity: Identity,
}

/// Equal for connections that may be used in each other's place: part of the key they are kept by.
///
/// It covers everything in [`Settings`]; the endpoint's own address and name are the caller's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(PolicyId);

impl ClientTls {
    pub fn build(settings: &Settings) -> Result<Self, TlsError> {
        let provider = crypto();
        let other = |error: Error| TlsError::Other(error.to_string());
        let name = settings.name.as_deref().map(server_name).transpose()?;
        let mut parts = vec![settings.name.clone().unwrap_or_default().into_bytes()];
        let roots = match &settings.roots {
            Roots::Bundled => {
                parts.push(b"bundled".into());
                Arc::new(bundled())
            }
            Roots::Own(pem) => {
                parts.push(pem.clone());
                Arc::new(roots(pem)?)
            }
            Roots::System(roots) => {
                parts.push(b"system".into());
                roots.clone()
            }
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(settings.min_version.and_newer())
            .map_err(other)?;
        let builder = if settings.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider.clone())))
        } else {
            builder.with_root_certificates(roots)
        };
        parts.push(vec![u8::from(settings.insecure_skip_verify), settings.min_version as u8]);
        let mut config = match &settings.identity {
            None => {
                parts.push(Vec::new());
                builder.with_no_client_auth()
            }
            Some(pem) => {
                parts.push(pem.certificate.clone());
                let own = Certificate::from_pem(pem, &provider)?;
                let resolver = rustls::sign::SingleCertAndKey::from(own.certified);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols = settings.alpn.clone();
        parts.extend(settings.alpn.iter().cloned());
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let identity = Identity(PolicyId::of(&parts));
        Ok(Self { config: Arc::new(config), name, identity })
    }

    /// The same, with these protocols by preference. Sessions are taken up by either.
    pub fn offering(&self, alpn: &[&[u8]]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self { config: Arc::new(config), name: self.name.clone(), identity: self.identity }
    }

    /// See [`Identity`].
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// A host name or address as TLS verifies it. Parse once per endpoint, not per connection.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::BadName(host.to_owned()))
}

/// Makes a connected socket a TLS connection to `name`, or to the name of the settings.
///
/// Keeps no time: the caller wraps it in one deadline.
pub async fn connect<T>(
    io: &mut T,
    tls: &ClientTls,
    name: &ServerName<'static>,
) -> Result<Session, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = tls.name.as_ref().unwrap_or(name).clone();
    let mut session = Session::client(tls.config.clone(), name).map_err(HandshakeError::Tls)?;
    poll_fn(|cx| session.poll_handshake(io, cx)).await?;
    Ok(session)
}

/// Believes any certificate; that the peer has its key is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
