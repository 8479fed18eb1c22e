//! What is taken of an answer that DNS gives, which a stranger may have written: nowhere that DNS has
//! no right to send a request (U-09), no more than [`MOST`], and the same for the same answer in
//! whichever order it comes.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, Record};
use ipnet::IpNet;
use transom_settings::EndpointHost;

use super::resolver::Family;

/// Most addresses or services that are taken of one answer.
pub const MOST: usize = 1000;

/// This machine, its link, many at once, and nobody: nowhere that DNS could rightly send a request.
pub const REFUSED: [&str; 10] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "fe80::/10",
    "ff00::/8",
];

/// An answer, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    pub found: Vec<T>,
    /// Within the least and the most of the settings.
    pub ttl: Duration,
}

/// One service of an SRV answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    pub priority: u16,
    pub host: String,
    pub port: u16,
    pub weight: u16,
}

/// Whether nothing may be sent there.
pub fn is_refused(refuse: &[IpNet], ip: IpAddr) -> bool {
    refuse.iter().any(|block| block.contains(&ip) || block.contains(&ip.to_canonical()))
}

/// The addresses of an answer: each once, in their order.
pub fn addresses(told: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    in_order(told.map(|ip| ip.to_canonical()))
}

/// The services of an answer whose hosts may be asked for. A target of `.` says that the service is
/// decidedly not there; one that is an address is no name (RFC 2782).
pub fn services(records: &[Record], may: impl Fn(&str) -> bool) -> Vec<Service> {
    let services = records.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(Service {
            host: srv.target.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        }),
        _ => None,
    });
    in_order(services.filter(|one| one.port != 0 && is_name(&one.host) && may(&one.host)))
}

fn is_name(host: &str) -> bool {
    matches!(EndpointHost::from_text(host), Ok(EndpointHost::Name(_)))
}

/// Whether a name means this machine, whatever DNS says (RFC 6761 §6.3).
pub fn is_localhost(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// Those that the family asks for.
pub fn of_family(all: Vec<IpAddr>, family: Family) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = all.iter().partition(|ip| ip.is_ipv4());
    match family {
        Family::PreferIpv4 if v4.is_empty() => v6,
        Family::PreferIpv6 if v6.is_empty() => v4,
        Family::PreferIpv4 | Family::Ipv4 => v4,
        Family::PreferIpv6 | Family::Ipv6 => v6,
        Family::Both => all,
    }
}

/// DNS gives them in any order: what is the same must look the same.
fn in_order<T: Ord>(told: impl Iterator<Item = T>) -> Vec<T> {
    let mut found: Vec<T> = told.collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    found
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata::SRV;
    use hickory_resolver::proto::rr::{Name, RData, Record};

    use super::*;

    fn record(target: &str, port: u16) -> Record {
        let name = Name::from_ascii("_http._tcp.shop.example.").unwrap();
        let srv = SRV::new(1, 2, port, Name::from_ascii(target).unwrap());
        Record::from_rdata(name, 60, RData::SRV(srv))
    }

    #[test]
    fn u09_services_are_names_that_may_be_asked_for() {
        for (target, port, expected) in [
            ("web.shop.example.", 80, Some("web.shop.example")),
            ("WEB.Shop.Example.", 80, Some("web.shop.example")),
            ("web.", 80, Some("web")),
            ("web.", 0, None),
            (".", 80, None),
            // an address is no name, and would go by what is refused
            ("127.0.0.1.", 80, None),
            ("169.254.169.254.", 80, None),
            ("10.0.0.1.", 80, None),
            // nor is what others read as one
            ("0x7f.1.", 80, None),
            ("2130706433.", 80, None),
            ("inside.", 80, None),
        ] {
            let found = services(&[record(target, port)], |host| host != "inside");
            let found = found.first().map(|one| one.host.as_str());
            assert_eq!(found, expected, "{target}:{port}");
        }
    }

    #[test]
    fn u09_of_too_many_services_the_same_are_taken_whatever_their_order() {
        let mut all: Vec<Record> =
            (0..3000).map(|n| record(&format!("h{}.example.", n % 2900), 80)).collect();
        let found = services(&all, |_| true);
        all.reverse();
        assert_eq!(found.len(), MOST);
        assert_eq!(services(&all, |_| true), found);
    }

    #[test]
    fn u09_what_means_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("a.localhost", true),
            ("localhost.example", false),
            ("alocalhost", false),
        ] {
            assert_eq!(is_localhost(host), expected, "{host}");
        }
    }

    #[test]
    fn u09_refused_is_what_stands_in_the_blocks_however_it_is_written() {
        let refuse: Vec<IpNet> = REFUSED.iter().map(|block| block.parse().unwrap()).collect();
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("169.254.169.254", true),
            ("10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_refused(&refuse, ip.parse().unwrap()), expected, "{ip}");
        }
        let only = ["127.0.0.0/8".parse().unwrap()];
        assert!(is_refused(&only, "::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn of_a_hosts_file_as_of_dns_the_family_says_which_addresses() {
        let both = ["10.0.0.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let [v4, v6] = both;
        for (family, of_both, of_v6) in [
            (Family::PreferIpv4, vec![v4], vec![v6]),
            (Family::PreferIpv6, vec![v6], vec![v6]),
            (Family::Ipv4, vec![v4], vec![]),
            (Family::Ipv6, vec![v6], vec![v6]),
            (Family::Both, vec![v4, v6], vec![v6]),
        ] {
            assert_eq!(of_family(both.to_vec(), family), of_both, "{family:?}");
            assert_eq!(of_family(vec![v6], family), of_v6, "{family:?}");
        }
    }
}
