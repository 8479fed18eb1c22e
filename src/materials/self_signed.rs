//! Certificates that are made and not read, to try things out.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use transom_net::tls::server::Pem;
use transom_settings::{HostPattern, Spanned};

/// A certificate made for a listener that asked for one.
#[derive(Clone, Debug)]
pub(super) struct SelfSigned {
    pub(super) names: Vec<String>,
    pub(super) pem: Pem,
}

/// A certificate that nobody trusts, with a new key. It lives in memory only.
pub(super) fn self_signed(names: &[Spanned<HostPattern>]) -> Result<Pem, String> {
    let names = names.iter().map(|name| match &name.value {
        HostPattern::Any => Err("`*` is no name, write `localhost` or `*.dev.example`".to_owned()),
        // an IPv6 address stands in brackets in a host, and without them in a certificate
        HostPattern::Exact(host) => Ok(host.trim_matches(['[', ']']).to_owned()),
        HostPattern::Wildcard(_) => Ok(name.to_string()),
    });
    let make = |names: Vec<String>| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Transom, self-signed");
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) =
        make(names.collect::<Result<_, _>>()?).map_err(|error: rcgen::Error| error.to_string())?;
    Ok(Pem {
        label: "the self-signed certificate".to_owned(),
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    })
}
