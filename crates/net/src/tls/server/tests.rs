use std::future::poll_fn;
use std::io;

use rcgen::{KeyPair, PKCS_RSA_SHA256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::tls::client::{self, ClientTls, Roots, connect, server_name};
use crate::tls::hello;
use crate::tls::session::Session;
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
    let (mut made_client, mut made_server) = tokio::join!(connect(&mut a, client, &name), async {
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
            assert!(handshake(&server, &client, "shop.example").await.server.unwrap().1.resumed);

            let next = authority.issue(&["shop.example"]);
            server.install(&[pem(&next)]).unwrap();
            assert!(handshake(&server, &client, "shop.example").await.server.unwrap().1.resumed);
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
