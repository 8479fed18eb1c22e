//! The one form of a host: lower case, stable, and never an address that others read otherwise.
#![no_main]

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use transom_proxy::normalize::{Host, host};
use transom_proxy::route::HostMatch;
use transom_settings::{FromText as _, HostPattern};

fuzz_target!(|raw: &[u8]| {
    if let Ok(text) = std::str::from_utf8(raw) {
        a_pattern_reads_back(text);
    }
    let Ok(found) = host(raw) else { return };
    let name = &*found.name;
    assert!(!name.is_empty() && name.is_ascii() && name.len() <= 255);
    assert!(!name.bytes().any(|b| b.is_ascii_uppercase() || b <= b' ' || b"/?#@%,".contains(&b)));
    assert!(found.port != Some(0));
    assert_eq!(host(name.as_bytes()), Ok(Host { name: Cow::Borrowed(name), port: None }));
    if let Some(port) = found.port {
        let written = format!("{name}:{port}");
        assert_eq!(host(written.as_bytes()), Ok(found.clone()));
        assert!(raw.ends_with(format!(":{port}").as_bytes()));
    }
    match name.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']').unwrap();
            assert_eq!(address.parse::<Ipv6Addr>().unwrap().to_string(), address);
        }
        None => {
            assert!(!name.contains([':', '[', ']']) && !name.split('.').any(str::is_empty));
            let last = name.rsplit('.').next().unwrap();
            // WHATWG URL, "ends in a number": such a host is an address or nothing.
            if last.bytes().all(|b| b.is_ascii_digit()) {
                assert_eq!(name.parse::<Ipv4Addr>().unwrap().to_string(), name);
            }
            let port = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
            let written = raw[..port].strip_suffix(b".").unwrap_or(&raw[..port]);
            assert!(written.eq_ignore_ascii_case(name.as_bytes()));
        }
    }
    assert_eq!(HostMatch::parse(name), Ok(HostMatch::Exact(name.to_owned())));
});

fn a_pattern_reads_back(text: &str) {
    if let Ok(pattern) = HostMatch::parse(text) {
        assert_eq!(HostMatch::parse(&pattern.to_string()), Ok(pattern));
    }
    // A route for a host that no request can name would never be found.
    if let Ok(HostPattern::Exact(name)) = HostPattern::from_text(text) {
        assert_eq!(HostMatch::parse(&name), Ok(HostMatch::Exact(name)));
    }
}
