//! Settings of TLS, toward clients and toward endpoints.

use std::path::PathBuf;

use transom_settings::{HostPattern, OneOrMany, Spanned, settings};

settings! {
    /// TLS toward clients.
    pub struct Tls {
        /// Certificates, chosen by the name that a client asks for.
        pub certificates: Vec<CertificateFiles> = Vec::new(),
        /// A single certificate: a PEM file with it and what is between it and the root.
        pub certificate: Option<Spanned<PathBuf>> = None,
        /// The private key of the single certificate, a PEM file.
        pub key: Option<Spanned<PathBuf>> = None,
        /// Names for which a certificate is made at start that nobody trusts, for development.
        pub self_signed: Option<OneOrMany<Spanned<HostPattern>>> = None,
        /// The oldest version that is accepted.
        pub min_version: TlsVersion = TlsVersion::V1_2,
        /// Whether clients prove who they are with certificates of their own.
        pub client_certificates: ClientCertificates = ClientCertificates::default(),
        /// What a client gets that asks for a name without a certificate.
        pub unknown_names: Spanned<UnknownNames> = UnknownNames::Refuse.into(),
    }

    /// A certificate and its key.
    pub struct CertificateFiles {
        /// A PEM file with the certificate and what is between it and the root.
        pub certificate: Spanned<PathBuf>,
        /// A PEM file with the private key.
        pub key: Spanned<PathBuf>,
    }

    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2, with forward secrecy and authenticated encryption only.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }

    /// Whether clients prove who they are with certificates of their own.
    pub struct ClientCertificates {
        /// Whether one is asked for.
        pub mode: ClientAuth = ClientAuth::Off,
        /// The PEM file of the authorities that sign clients' certificates.
        pub ca: Option<Spanned<PathBuf>> = None,
    }

    /// Whether a client's certificate is asked for.
    pub enum ClientAuth {
        /// Never.
        Off = "off",
        /// It may be left out, but one that is sent must be valid.
        Optional = "optional",
        /// Without a valid one there is no connection.
        Required = "required",
    }

    /// What a client gets that asks for a name without a certificate.
    pub enum UnknownNames {
        /// No connection.
        Refuse = "refuse",
        /// The first certificate.
        First = "first",
    }

    /// TLS toward endpoints.
    pub struct UpstreamTls {
        /// The name that is asked for and that the certificate must hold. By default the host of
        /// the endpoint.
        pub name: Option<Spanned<String>> = None,
        /// The PEM file of the authorities that are trusted. By default those of the system.
        pub ca: Option<Spanned<PathBuf>> = None,
        /// The certificate with which Transom proves who it is.
        pub client_certificate: Option<CertificateFiles> = None,
        /// Accepts any certificate, so that anyone on the way can read and change everything.
        pub insecure_skip_verify: Spanned<bool> = false.into(),
    }
}

impl Tls {
    /// Every certificate with its key, whichever way they are written.
    pub fn pairs(&self) -> Vec<(&Spanned<PathBuf>, &Spanned<PathBuf>)> {
        let single = self.certificate.as_ref().zip(self.key.as_ref());
        let many = self.certificates.iter().map(|files| (&files.certificate, &files.key));
        single.into_iter().chain(many).collect()
    }
}
