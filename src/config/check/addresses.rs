//! Whether two listeners want the same address.

use std::collections::HashMap;
use std::net::IpAddr;

use transom_settings::ListenAddress;

use super::Check;

impl Check<'_> {
    /// Each address is held against those before it: a file may have tens of thousands.
    pub(super) fn addresses(&mut self) {
        let listeners = self.config.listeners.iter().flat_map(|(name, listener)| {
            let udp = listener.udp.is_some();
            listener
                .address
                .iter()
                .map(move |address| (format!("listeners.{name}.address"), address, udp))
        });
        let admin = &self.config.admin.address;
        let admin = admin.iter().map(|a| ("admin.address".to_owned(), a, false));
        let all: Vec<_> = listeners.chain(admin).collect();
        // A port of UDP is another than that of TCP with the same number.
        let mut both = [Taken::default(), Taken::default()];
        for (index, (path, address, udp)) in all.iter().enumerate() {
            let taken = &mut both[usize::from(*udp)];
            if let Some((other, first, _)) = taken.take(address, index).map(|earlier| &all[earlier])
            {
                let what = format!("`{address}` clashes with `{first}` of `{other}`");
                self.error(address.span, path, what)
                    .note(first.span, "the other one stands here")
                    .hint("each address is listened on once, use another port")
                    .done();
            }
        }
    }
}

/// Addresses seen so far, by everything that would clash with them.
#[derive(Default)]
struct Taken<'a>(HashMap<Place<'a>, usize>);

/// What of the machine an address covers, or a part of what it covers.
#[derive(PartialEq, Eq, Hash)]
enum Place<'a> {
    Unix(&'a std::path::Path),
    /// Anything at all on this port.
    Port(u16),
    /// Every address of the machine, of both families.
    Both(u16),
    /// Anything of one family: is it IPv4?
    Family(bool, u16),
    One(IpAddr, u16),
}

impl<'a> Taken<'a> {
    /// Adds an address; the first of those before it that it clashes with.
    fn take(&mut self, address: &'a ListenAddress, index: usize) -> Option<usize> {
        use Place::{Both, Family, One, Port, Unix};
        if address.port() == Some(0) {
            return None;
        }
        // Asked for is every place that lies around the address or inside it; entered is every
        // place that it lies in.
        let (asked, entered) = match address {
            ListenAddress::Unix(path) => (vec![Unix(path)], vec![Unix(path)]),
            ListenAddress::Any(port) => (vec![Port(*port)], vec![Port(*port), Both(*port)]),
            ListenAddress::Ip(address) => {
                let (ip, port, v4) = (address.ip(), address.port(), address.is_ipv4());
                let asked = match ip.is_unspecified() {
                    true => vec![Both(port), Family(v4, port)],
                    false => vec![Both(port), One(unspecified(v4), port), One(ip, port)],
                };
                (asked, vec![Port(port), Family(v4, port), One(ip, port)])
            }
        };
        let earlier = asked.iter().filter_map(|place| self.0.get(place)).min().copied();
        for place in entered {
            self.0.entry(place).or_insert(index);
        }
        earlier
    }
}

fn unspecified(v4: bool) -> IpAddr {
    match v4 {
        true => IpAddr::from([0; 4]),
        false => IpAddr::from([0; 16]),
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;

    #[test]
    fn every_clash_is_found_with_the_first_of_its_causes() {
        let texts = [
            ":80",
            "127.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::1]:80",
            "127.0.0.2:80",
            ":81",
            "[::1]:81",
            "0.0.0.0:82",
            "[::]:82",
            "127.0.0.1:0",
            "unix:/a",
            "unix:/b",
        ];
        let addresses: Vec<_> =
            texts.iter().map(|text| ListenAddress::from_text(text).unwrap()).collect();
        // Every order of three, against what says it of two.
        for a in &addresses {
            for b in &addresses {
                for c in &addresses {
                    let mut taken = Taken::default();
                    let all = [a, b, c];
                    for (index, address) in all.into_iter().enumerate() {
                        let expected = all[..index].iter().position(|e| address.clashes(e));
                        assert_eq!(taken.take(address, index), expected, "{a} {b} {c}");
                    }
                }
            }
        }
    }
}
