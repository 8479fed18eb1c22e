//! A PROXY header: the verdict does not depend on how the bytes are cut, and what is read can be
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_net::proxy_protocol::{Addresses, Error, Header, Parsed, Version, encode, kind, parse};

fuzz_target!(|bytes: &[u8]| {
    cuts_agree(bytes);
    let Ok(Parsed::Header { header, consumed }) = parse(bytes) else { return };
    assert!(consumed <= bytes.len() && consumed <= 4096);
    assert!(header.version == Version::Two || (consumed <= 107 && header.tlvs.is_empty()));
    let _ = (header.ssl(), header.source(), header.destination());
    if header.addresses == Addresses::Local {
        assert_eq!(reread(&encode(&header, true)), Ok(header));
        return;
    }
    let mut plain = header.clone();
    plain.tlvs.retain(|tlv| tlv.kind != kind::CRC32C);
    let written = encode(&header, false);
    assert!(header.version == Version::One || written.len() <= consumed);
    assert_eq!(reread(&written), Ok(plain.clone()));
    match reread(&encode(&header, true)) {
        Ok(mut read) => {
            if header.version == Version::Two {
                assert_eq!(read.tlvs.pop().map(|tlv| tlv.kind), Some(kind::CRC32C));
            }
            assert_eq!(read, plain);
        }
        Err(error) => assert!(error == Error::TooLarge && consumed > 4096 - 7, "{error}"),
    }
});

fn reread(bytes: &[u8]) -> Result<Header, Error> {
    match parse(bytes)? {
        Parsed::Header { header, consumed } => {
            assert_eq!(consumed, bytes.len());
            Ok(header)
        }
        Parsed::Incomplete => panic!("what was written is incomplete"),
    }
}

fn cuts_agree(bytes: &[u8]) {
    let mut last = Ok(Parsed::Incomplete);
    for end in (0..=bytes.len()).filter(|at| *at < 600 || at % 97 == 0 || bytes.len() - at < 20) {
        let verdict = parse(&bytes[..end]);
        match (&last, &verdict) {
            (Ok(Parsed::Incomplete), Ok(Parsed::Header { consumed, .. })) => {
                assert!(*consumed <= end);
                assert_eq!(parse(&bytes[..consumed - 1]), Ok(Parsed::Incomplete));
            }
            (Ok(Parsed::Incomplete), _) => {}
            _ => assert_eq!(last, verdict, "the verdict changes at {end}"),
        }
        last = verdict;
    }
}
