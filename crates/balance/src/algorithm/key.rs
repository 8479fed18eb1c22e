//! What of a request a consistent hash goes by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use transom_proxy::destination::Ask;
use transom_proxy::fields::Known;
use transom_proxy::headers::cookie;
use transom_proxy::variables::{Part, Template, Variable};

use super::hash;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The first so many bits of the client's address.
    Address { ipv4: u8, ipv6: u8 },
    /// The lines of this field of the request, as the policies have left it.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// A text with variables.
    Text(Template),
}

impl Key {
    /// The key that a text stands for; a single address, header or cookie is read where it lies.
    pub fn of(template: &Template) -> Self {
        match &template.parts[..] {
            [Part::Variable(Variable::ClientAddress)] => Key::Address { ipv4: 32, ipv6: 128 },
            [Part::Variable(Variable::Header(name))] => Key::Header(name.to_string()),
            [Part::Variable(Variable::Cookie(name))] => Key::Cookie(name.clone()),
            _ => Key::Text(template.clone()),
        }
    }

    /// The hash of the key; nothing where the request has none, or where there is no request.
    pub fn hash(&self, ask: &Ask<'_>) -> Option<u64> {
        if let Key::Address { ipv4, ipv6 } = self {
            return Some(of_address(ask.client, *ipv4, *ipv6));
        }
        let http = ask.http?;
        match self {
            Key::Address { .. } => None,
            Key::Header(name) => {
                let lines = http.request.fields.all(&**name).filter(|line| !line.is_empty());
                lines.map(hash::of).reduce(|all, line| hash::mix(all ^ line))
            }
            Key::Cookie(name) => {
                let lines = http.request.fields.all(Known::Cookie);
                lines.filter_map(|line| cookie::value(line, name)).next().map(hash::of)
            }
            Key::Text(template) => {
                let mut text = Vec::new();
                template.write(http.exchange, &mut text);
                let fixed = |part: &Part| match part {
                    Part::Text(text) => text.len(),
                    Part::Variable(_) => 0,
                };
                // what stands between variables that are all empty is no key
                let fixed: usize = template.parts.iter().map(fixed).sum();
                (text.len() > fixed).then(|| hash::of(&text))
            }
        }
    }
}

fn of_address(address: IpAddr, ipv4: u8, ipv6: u8) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(ipv4.min(32))).unwrap_or(0);
            hash::of(&Ipv4Addr::from(u32::from(address) & mask).octets())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6.min(128))).unwrap_or(0);
            hash::of(&Ipv6Addr::from(u128::from(address) & mask).octets())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb09_only_the_masked_part_of_an_address_counts() {
        for (a, b, ipv4, ipv6, same) in [
            ("10.0.0.1", "10.0.0.2", 32, 64, false),
            ("10.0.0.1", "10.0.0.2", 24, 64, true),
            ("10.0.0.1", "10.0.1.1", 24, 64, false),
            ("10.0.0.1", "200.1.1.1", 0, 64, true),
            ("10.0.0.1", "::ffff:10.0.0.1", 32, 64, true),
            ("2001:db8::1", "2001:db8::2", 32, 64, true),
            ("2001:db8::1", "2001:db8::2", 32, 128, false),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", 32, 64, false),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", 32, 48, true),
        ] {
            let hash = |text: &str| of_address(text.parse().unwrap(), ipv4, ipv6);
            assert_eq!(hash(a) == hash(b), same, "{a} {b} /{ipv4} /{ipv6}");
        }
    }
}
