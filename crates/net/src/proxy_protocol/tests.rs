use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::v1::LINE;
use super::v2::{LARGEST, crc32c};
use super::write::push_tlv;
use super::*;

fn stream(source: &str, destination: &str) -> Addresses {
    Addresses::Stream { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

fn v4_and(tlvs: &[u8]) -> Vec<u8> {
    [&V4[..], tlvs].concat()
}

#[test]
fn sl_04_headers_of_version_1() {
    let known = |line: &str, addresses| {
        let header = Header { version: Version::One, addresses, tlvs: Vec::new() };
        let bytes = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        let expect = Parsed::Header { header, consumed: line.len() };
        assert_eq!(parse(&bytes), Ok(expect), "{line}");
        for end in 0..line.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end} of {line}");
        }
    };
    known("PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n", stream("192.0.2.1:12345", "10.0.0.1:443"));
    known("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", stream("[2001:db8::1]:0", "[::1]:65535"));
    known("PROXY TCP6 ::ffff:10.1.1.1 ::1 1 2\r\n", stream("10.1.1.1:1", "[::1]:2"));
    known("PROXY UNKNOWN\r\n", Addresses::Unspecified);
    known("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", Addresses::Unspecified);

    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for (bytes, error) in [
        (&long[..], Error::LineTooLong),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Error::BadLine),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Error::BadLine),
        (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", Error::BadLine),
        (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Error::BadLine),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", Error::BadLine),
        (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", Error::BadLine),
        (b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n", Error::BadLine),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", Error::BadLine),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Error::BadLine),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Error::BadLine),
        (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Error::BadLine),
        (b"PROXY \r\n", Error::BadLine),
        (b"PROXY\r\n", Error::NotProxy),
        (b"proxy TCP4", Error::NotProxy),
        (b"GET / HTTP/1.1\r\n", Error::NotProxy),
    ] {
        assert_eq!(parse(bytes), Err(error), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(parse(&long[..106]), Ok(Parsed::Incomplete));
    assert_eq!(parse(&long[..107]), Err(Error::LineTooLong));
}

#[test]
fn sl_04_headers_of_version_2() {
    let v4 = stream("192.0.2.1:12345", "10.0.0.1:443");
    let mut v6 = [0; 36];
    v6[15] = 1;
    v6[26..32].copy_from_slice(&[0xff, 0xff, 10, 1, 1, 1]);
    for (bytes, addresses, tlvs) in [
        (v2(0x21, 0x11, &V4), v4, 0),
        (v2(0x21, 0x21, &v6), stream("[::1]:0", "10.1.1.1:0"), 0),
        (v2(0x21, 0x11, &v4_and(&[5, 0, 1, 7, 4, 0, 0])), v4, 2),
        (v2(0x20, 0x11, &V4), Addresses::Local, 0),
        (v2(0x20, 0x00, &[]), Addresses::Local, 0),
        (v2(0x20, 0x77, &[1, 2]), Addresses::Local, 0),
        // Known families whose block is too short, or holds what is none.
        (v2(0x20, 0x11, &V4[..3]), Addresses::Local, 0),
        (v2(0x20, 0x21, &[]), Addresses::Local, 0),
        (v2(0x20, 0x11, &v4_and(&[1, 0])), Addresses::Local, 0),
        (v2(0x20, 0x31, &V4), Addresses::Local, 0),
        (v2(0x21, 0x00, &[]), Addresses::Unspecified, 0),
        (v2(0x21, 0x00, &[4, 0, 0]), Addresses::Unspecified, 1),
        (v2(0x21, 0x31, &[0; 216]), Addresses::Unix, 0),
    ] {
        let whole = [&bytes[..], b"more"].concat();
        let Ok(Parsed::Header { header, consumed }) = parse(&whole) else {
            panic!("{bytes:?}: {:?}", parse(&whole));
        };
        assert_eq!((header.addresses, header.tlvs.len()), (addresses, tlvs), "{bytes:?}");
        assert_eq!(consumed, bytes.len());
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end}");
        }
    }
    for (bytes, error) in [
        (v2(0x21, 0x11, &[0; 0xffff])[..20].to_vec(), Error::TooLarge),
        (v2(0x21, 0x11, &[0; 4081]), Error::TooLarge),
        (v2(0x21, 0x11, &V4[..11]), Error::TooShort),
        (v2(0x21, 0x21, &V4), Error::TooShort),
        (v2(0x21, 0x31, &V4), Error::TooShort),
        (v2(0x21, 0x77, &V4), Error::BadFamily),
        (v2(0x21, 0x13, &V4), Error::BadFamily),
        (v2(0x22, 0x11, &V4), Error::BadCommand),
        (v2(0x11, 0x11, &V4), Error::BadCommand),
        (v2(0x21, 0x11, &v4_and(&[1, 0])), Error::BadTlv),
        (v2(0x21, 0x11, &v4_and(&[1, 0, 2, 9])), Error::BadTlv),
        (v2(0x21, 0x11, &v4_and(&[3, 0, 4, 1, 2, 3, 4])), Error::BadChecksum),
        (v2(0x21, 0x11, &v4_and(&[3, 0, 2, 1, 2])), Error::BadTlv),
        (v2(0x21, 0x11, &v4_and(&[0x20, 0, 1, 1])), Error::BadTlv),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Error::NotProxy),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn the_client_s_tls_is_read() {
    let mut value = vec![7, 0, 0, 0, 0];
    push_tlv(&mut value, kind::SSL_VERSION, b"TLSv1.3");
    push_tlv(&mut value, kind::SSL_CN, b"alice");
    let mut tlvs = Vec::new();
    push_tlv(&mut tlvs, kind::SSL, &value);
    let Ok(Parsed::Header { header, .. }) = parse(&v2(0x21, 0x11, &v4_and(&tlvs))) else {
        panic!("must parse");
    };
    let ssl = header.ssl().unwrap();
    assert!(ssl.tls && ssl.verified && ssl.certificate_in_session);
    assert_eq!(ssl.common_name.as_deref(), Some(&b"alice"[..]));
    assert_eq!(Tlv::from(&ssl), Tlv::new(kind::SSL, value));
}

#[test]
fn the_checksum_is_castagnoli_s() {
    // RFC 3720 §B.4.
    assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
    assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283);
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let four = || any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from);
    // Mapped addresses are undressed, so they would not come back.
    let six = || {
        any::<(Ipv6Addr, u16)>()
            .prop_filter("mapped", |(ip, _)| ip.to_ipv4_mapped().is_none())
            .prop_map(SocketAddr::from)
    };
    let pair = prop_oneof![(four(), four()), (six(), six())];
    let one = |(source, destination)| Addresses::Stream { source, destination };
    prop_oneof![
        pair.prop_map(one),
        (four(), six())
            .prop_map(|(source, destination)| Addresses::Datagram { source, destination }),
        Just(Addresses::Local),
        Just(Addresses::Unspecified),
        Just(Addresses::Unix),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, command: u8, family: u8) {
        let _ = parse(&bytes);
        let _ = parse(&v2(command, family, &bytes));
        let _ = parse(&v2(0x21, 0x11, &v4_and(&bytes)));
        let _ = parse(&[b"PROXY TCP4 ", &bytes[..]].concat());
    }

    #[test]
    fn what_is_written_is_read_back(
        addresses in addresses(),
        tlvs: Vec<(u8, Vec<u8>)>,
        crc: bool,
    ) {
        // Nested, or counted apart.
        let plain = |kind: &u8| *kind != kind::SSL && *kind != kind::CRC32C;
        let tlvs = tlvs.into_iter().filter(|(kind, _)| plain(kind));
        let tlvs: Vec<_> = tlvs.map(|(kind, value)| Tlv { kind, value }).take(20).collect();
        let header = Header { version: Version::Two, addresses, tlvs };
        let bytes = encode(&header, crc);
        prop_assume!(bytes.len() <= LARGEST);
        let Ok(Parsed::Header { header: mut read, consumed }) = parse(&bytes) else {
            panic!("{:?}", parse(&bytes));
        };
        prop_assert_eq!(consumed, bytes.len());
        if addresses == Addresses::Local {
            prop_assert_eq!(read, Header { tlvs: Vec::new(), ..header });
            return Ok(());
        }
        if crc {
            prop_assert_eq!(read.tlvs.pop().map(|tlv| tlv.kind), Some(kind::CRC32C));
        }
        prop_assert_eq!(&read, &header);

        let one = Header { version: Version::One, addresses, tlvs: Vec::new() };
        let bytes = encode(&one, false);
        prop_assert!(bytes.len() <= LINE);
        let Ok(Parsed::Header { header: read, .. }) = parse(&bytes) else {
            panic!("{:?}", parse(&bytes));
        };
        let expect = match addresses {
            Addresses::Stream { .. } => addresses,
            _ => Addresses::Unspecified,
        };
        prop_assert_eq!(read.addresses, expect);
    }
}
