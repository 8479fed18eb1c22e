//! Who a connection to an endpoint is for: the header of the PROXY protocol that goes before all
//! else.

use std::net::SocketAddr;

use transom_net::proxy_protocol::{self, Addresses, Header, Ssl, Tlv, Version, kind};

use crate::peer::Peer;

/// What an endpoint is told of the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announce {
    pub version: Version,
    /// Beside the addresses; version 2 only.
    pub facts: Vec<Fact>,
}

/// One thing that version 2 can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The name the client asked for in TLS.
    Authority,
    /// The protocol that was agreed in TLS, or the first one the client offered.
    Alpn,
    /// Whether TLS ended here, its version and cipher, and the name in the client's certificate.
    Ssl,
    /// An id that no other connection has.
    UniqueId,
    /// A checksum of the header.
    Checksum,
}

/// What is known of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub name: Option<&'a str>,
    pub alpn: Option<&'a [u8]>,
    /// The connection as it ended here.
    pub tls: Option<&'a transom_net::tls::server::Facts>,
    pub id: &'a [u8],
}

impl<'a> Client<'a> {
    /// The client of a connection whose TLS, if any, ended here.
    pub fn of(peer: &'a Peer, id: &'a [u8]) -> Self {
        let tls = peer.tls.as_ref();
        Client {
            source: peer.address,
            destination: peer.local,
            name: tls.and_then(|tls| tls.sni.as_deref()),
            alpn: tls.and_then(|tls| tls.alpn.as_deref()),
            tls,
            id,
        }
    }
}

impl Announce {
    /// The header for a stream on behalf of `client`.
    pub fn stream(&self, client: &Client<'_>) -> Vec<u8> {
        let (source, destination) = (client.source, client.destination);
        self.header(client, Addresses::Stream { source, destination })
    }

    /// The header that stands before each datagram of `client`.
    pub fn datagram(&self, client: &Client<'_>) -> Vec<u8> {
        let (source, destination) = (client.source, client.destination);
        self.header(client, Addresses::Datagram { source, destination })
    }

    /// The header of a connection that is ours and nobody's else, such as that of a probe.
    pub fn own(&self) -> Vec<u8> {
        let header =
            Header { version: self.version, addresses: Addresses::Local, tlvs: Vec::new() };
        proxy_protocol::encode(&header, false)
    }

    fn header(&self, client: &Client<'_>, addresses: Addresses) -> Vec<u8> {
        let nobody = client.source == Peer::NOWHERE;
        // A client on a Unix socket has no address that would mean anything elsewhere.
        let addresses = if nobody { Addresses::Unspecified } else { addresses };
        let tlvs = self.facts.iter().filter_map(|fact| fact.tlv(client)).collect();
        let header = Header { version: self.version, addresses, tlvs };
        proxy_protocol::encode(&header, self.facts.contains(&Fact::Checksum))
    }
}

impl Fact {
    fn tlv(self, client: &Client<'_>) -> Option<Tlv> {
        match self {
            Fact::Authority => client.name.map(|name| Tlv::new(kind::AUTHORITY, name)),
            Fact::Alpn => client.alpn.map(|alpn| Tlv::new(kind::ALPN, alpn)),
            Fact::Ssl => client.tls.map(|tls| Tlv::from(&ssl(tls))),
            // PP §2.2.5: at most 128 bytes; ours have 32.
            Fact::UniqueId => Some(Tlv::new(kind::UNIQUE_ID, client.id)),
            // Written by the encoder, over all else.
            Fact::Checksum => None,
        }
    }
}

fn ssl(tls: &transom_net::tls::server::Facts) -> Ssl {
    let shown = tls.client_certificate();
    Ssl {
        tls: true,
        // A resumed session took it over from the one before.
        certificate_on_connection: shown.is_some() && !tls.resumed,
        certificate_in_session: shown.is_some(),
        // One that does not verify gets no connection.
        verified: shown.is_some(),
        version: Some(tls.version.as_bytes().to_vec()),
        common_name: shown.and_then(|shown| shown.common_name.clone()).map(Into::into),
        cipher: Some(tls.cipher.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use transom_net::proxy_protocol::{Parsed, parse};

    use super::*;

    fn read(bytes: &[u8]) -> Header {
        match parse(bytes) {
            Ok(Parsed::Header { header, consumed }) if consumed == bytes.len() => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_header_tells_what_is_known_and_asked_for() {
        let client = Client {
            source: "192.0.2.7:5000".parse().unwrap(),
            destination: "10.0.0.1:443".parse().unwrap(),
            name: Some("shop.example"),
            alpn: Some(b"h2"),
            tls: None,
            id: b"0123456789abcdef",
        };
        let all = vec![Fact::Authority, Fact::Alpn, Fact::Ssl, Fact::UniqueId, Fact::Checksum];
        let two = Announce { version: Version::Two, facts: all };
        let header = read(&two.stream(&client));
        assert_eq!(header.source(), Some(client.source));
        assert_eq!(header.destination(), Some(client.destination));
        let kinds: Vec<u8> = header.tlvs.iter().map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, [kind::AUTHORITY, kind::ALPN, kind::UNIQUE_ID, kind::CRC32C]);
        assert_eq!(header.tlv(kind::AUTHORITY), Some(&b"shop.example"[..]));
        assert!(matches!(read(&two.datagram(&client)).addresses, Addresses::Datagram { .. }));

        let one = Announce { version: Version::One, facts: Vec::new() };
        assert_eq!(one.stream(&client), b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n");
        let nobody = Client { source: Peer::NOWHERE, ..client };
        assert_eq!(one.stream(&nobody), b"PROXY UNKNOWN\r\n");
        assert_eq!(one.own(), b"PROXY UNKNOWN\r\n");
        assert_eq!(read(&two.own()).addresses, Addresses::Local);
        let bare = Announce { version: Version::Two, facts: Vec::new() };
        assert_eq!(read(&bare.stream(&nobody)).addresses, Addresses::Unspecified);
    }
}
