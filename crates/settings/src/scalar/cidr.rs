//! Blocks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// A block of addresses. A bare address is a block of one.
///
/// An IPv4 address written inside IPv6 (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2) is that IPv4
/// address, here and when looked up, so that neither spelling slips past a list of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&unmap(address))
    }

    /// Whether every address of the other block lies in this one.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.0.contains(&other.0)
    }

    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The block for code that works on networks.
    pub fn net(&self) -> IpNet {
        self.0
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Cidr(IpNet::from(unmap(address)))
    }
}

/// The IPv4 address inside an IPv6 one, if there is one.
pub fn unmap(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// One address, read strictly: no leading zeros, no zone, all parts there.
pub fn ip(text: &str) -> Result<IpAddr, Refusal> {
    let refuse = |why: &str| Refusal::new(format!("{} is not an IP address{why}", quote(text)));
    if text.contains('%') {
        return Err(refuse(": it has a zone").hint("remove `%` and what follows"));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(unmap(address));
    }
    let zeros = text.contains('.')
        && text.split(['.', ':']).any(|part| part.len() > 1 && part.starts_with('0'))
        && text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    match zeros {
        true => Err(refuse(": a part begins with zero")
            .hint("some programs read such a part as octal, so write it without the zero")),
        false => Err(refuse("")),
    }
}

impl FromText for Cidr {
    const WHAT: &'static str = "an address block such as `10.0.0.0/8`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let Some((address, prefix)) = text.split_once('/') else {
            return ip(text).map(Cidr::from);
        };
        let refuse =
            |why: String| Refusal::new(format!("{} is not an address block: {why}", quote(text)));
        let plain = !prefix.is_empty()
            && prefix.bytes().all(|c| c.is_ascii_digit())
            && (prefix == "0" || !prefix.starts_with('0'));
        let length: Option<u8> = prefix.parse().ok().filter(|_| plain);
        let length = length.ok_or_else(|| refuse(format!("{} is not a length", quote(prefix))))?;
        let mapped = address.parse::<Ipv6Addr>().ok().filter(|v6| v6.to_ipv4_mapped().is_some());
        if mapped.is_some() && length < 96 {
            return Err(refuse("it mixes IPv4 and IPv6 addresses".into())
                .hint("write the IPv4 block and the IPv6 block as two"));
        }
        let length = if mapped.is_some() { length - 96 } else { length };
        let (address, most) = match ip(address)? {
            IpAddr::V4(v4) => (IpAddr::V4(v4), 32),
            IpAddr::V6(v6) => (IpAddr::V6(v6), 128),
        };
        if length > most {
            return Err(refuse(format!("the length is more than {most}")));
        }
        let net = IpNet::new(address, length).map_err(|_| refuse("the length is wrong".into()))?;
        if net.addr() != net.network() {
            let block = net.trunc();
            return Err(refuse("the address is not the first of the block".into())
                .hint(format!("did you mean `{block}`, or the one address `{address}`?")));
        }
        Ok(Cidr(net))
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.0.prefix_len() == self.0.max_prefix_len();
        match single {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        crate::scalar::check::<Cidr>(&[
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("192.0.2.7", Ok("192.0.2.7")),
            ("192.0.2.7/32", Ok("192.0.2.7")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1")),
            ("::1/128", Ok("::1")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:10.1.1.1", Ok("10.1.1.1")),
            (
                "::ffff:10.0.0.0/8",
                Err(
                    "`::ffff:10.0.0.0/8` is not an address block: it mixes IPv4 and IPv6 addresses",
                ),
            ),
            ("010.0.0.1", Err("`010.0.0.1` is not an IP address: a part begins with zero")),
            ("10.0.0.0/08", Err("`10.0.0.0/08` is not an address block: `08` is not a length")),
            (
                "10.0.0.0/33",
                Err("`10.0.0.0/33` is not an address block: the length is more than 32"),
            ),
            ("10.0.0.0/", Err("`10.0.0.0/` is not an address block: `` is not a length")),
            ("10.0.0.0/+8", Err("`10.0.0.0/+8` is not an address block: `+8` is not a length")),
            (
                "10.0.0.1/8",
                Err(
                    "`10.0.0.1/8` is not an address block: the address is not the first of the block",
                ),
            ),
            ("fe80::1%eth0", Err("`fe80::1%eth0` is not an IP address: it has a zone")),
            ("10.0.0", Err("`10.0.0` is not an IP address")),
            ("localhost", Err("`localhost` is not an IP address")),
        ]);
    }

    #[test]
    fn p_13_neither_spelling_of_an_address_slips_past_the_other() {
        let block = Cidr::from_text("10.0.0.0/8").unwrap();
        assert!(block.contains("10.1.1.1".parse().unwrap()));
        assert!(block.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!block.contains("11.1.1.1".parse().unwrap()));
        let single = Cidr::from_text("2001:db8::1").unwrap();
        assert!(!single.contains("2001:db8::2".parse().unwrap()));
        // an IPv6 block says nothing about IPv4 clients, however they are written
        let half = Cidr::from_text("::/1").unwrap();
        assert!(!half.contains("::ffff:10.1.1.1".parse().unwrap()));
    }
}
