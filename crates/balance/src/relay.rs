//! TCP connections and UDP flows, carried to a destination without being read.
//!
//! ```text
//! TCP  admit ▶ [look at the hello] ▶ route by name, protocol, client ▶ lease ▶ dial ▶ carry ▶ record
//! UDP  flow of these two addresses, else admit ▶ lease ▶ a socket for it ▶ datagrams ▶ record
//! ```
//!
//! The same pools, leases and records as for HTTP: no algorithm and no health check is written
//! twice.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use transom_net::tls::server::Facts;
use transom_net::tls::sniff::Hello;
use transom_proxy::destination::{Ask, Destination, Lease, Leasing};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::patience::within;
use transom_proxy::record::Sink;
use transom_settings::HostPattern;

mod flows;
mod story;
pub mod tcp;
pub mod udp;

/// The listener for which something is carried.
pub struct Listener {
    pub name: Arc<str>,
    /// Counts the configurations since the start.
    pub generation: u64,
    pub sinks: Vec<Arc<dyn Sink>>,
}

/// What a TCP listener does with its connections.
pub struct Relay {
    pub listener: Listener,
    /// The most specific first; see [`Route::sort`].
    pub routes: Vec<Route>,
    pub timeouts: Timeouts,
    /// Attempts after the first where no connection came to be. Default 3.
    pub connect_retries: u16,
}

/// How long a relay waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole of a client's hello, where a route looks at it. Default 5 s.
    pub hello: Duration,
    /// For a connection to an endpoint, TLS included. Default 2 s.
    pub connect: Duration,
    /// For anything to move. Default 10 min.
    pub idle: Option<Duration>,
    /// The same, once one side has ended its direction. Default 1 min.
    pub half_closed: Option<Duration>,
}

/// Where some of the connections go.
pub struct Route {
    pub name: Arc<str>,
    pub matches: Match,
    pub destination: Arc<dyn Destination>,
}

/// The connections that a route is for: all that is given must hold, of each list one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Names that the client asks for in TLS. Empty: any, and none.
    pub names: Vec<HostPattern>,
    /// Protocols that the client offers in TLS. Empty: any, and none.
    pub alpn: Vec<Box<[u8]>>,
    /// Whether the client speaks TLS at all.
    pub tls: Option<bool>,
    /// Empty: anyone.
    pub clients: Vec<IpNet>,
}

impl Match {
    /// Whether the first bytes of a connection must be looked at.
    pub fn looks_at_tls(&self) -> bool {
        !self.names.is_empty() || !self.alpn.is_empty() || self.tls.is_some()
    }

    /// Whether it is for a connection from `client` that begins with `hello`, if with any.
    pub fn fits(&self, client: IpAddr, hello: Option<&Hello>) -> bool {
        self.misfit(client, hello).is_none()
    }

    /// What keeps it from being for this connection, as one word.
    pub fn misfit(&self, client: IpAddr, hello: Option<&Hello>) -> Option<&'static str> {
        let name = hello.and_then(|hello| hello.name.as_deref());
        let named = || self.names.iter().any(|pattern| name.is_some_and(|n| pattern.matches(n)));
        let offered = |ours: &[u8]| hello.is_some_and(|h| h.alpn.iter().any(|one| **one == *ours));
        if self.tls.is_some_and(|wanted| wanted != hello.is_some()) {
            Some("tls")
        } else if !self.names.is_empty() && !named() {
            Some("sni")
        } else if !self.alpn.is_empty() && !self.alpn.iter().any(|ours| offered(ours)) {
            Some("alpn")
        } else if !self.clients.is_empty() && !self.clients.iter().any(|c| c.contains(&client)) {
            Some("client")
        } else {
            None
        }
    }

    /// More specific ones come first: a name before a pattern before none, a long pattern before a
    /// short one, then the one with more conditions.
    fn rank(&self) -> impl Ord + use<> {
        let name = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(_) => (0, 0),
            HostPattern::Wildcard(suffix) => (1, usize::MAX - suffix.len()),
            HostPattern::Any => (2, 0),
        };
        let names = self.names.iter().map(name).max().unwrap_or((3, 0));
        let conditions = usize::from(!self.alpn.is_empty())
            + usize::from(self.tls.is_some())
            + usize::from(!self.clients.is_empty());
        (names, usize::MAX - conditions)
    }
}

impl Route {
    /// Puts routes into the order in which they are tried; equal ones stay as they are.
    pub fn sort(routes: &mut [Route]) {
        routes.sort_by_cached_key(|route| route.matches.rank());
    }
}

impl Relay {
    /// Whether the first bytes of a connection must be looked at.
    pub fn looks_at_tls(&self) -> bool {
        self.routes.iter().any(|route| route.matches.looks_at_tls())
    }

    /// The first route that fits.
    pub fn route(&self, client: IpAddr, hello: Option<&Hello>) -> Option<&Route> {
        self.routes.iter().find(|route| route.matches.fits(client, hello))
    }
}

/// What a client asked for in TLS that ended here: of its protocols the one that was agreed on.
pub fn hello_of(facts: &Facts) -> Hello {
    Hello { name: facts.sni.clone(), alpn: facts.alpn.clone().into_iter().collect() }
}

/// A member for one attempt; waits in its queue for `limit` at most.
async fn lease(
    destination: &dyn Destination,
    client: IpAddr,
    tried: &[u64],
    worker: &transom_net::Worker,
    limit: Duration,
) -> Result<Lease, Fault> {
    let ask = Ask { client, http: None, tried, now: worker.now() };
    match destination.lease(&ask) {
        Leasing::Ready(lease) => Ok(lease),
        Leasing::Refused(fault) => Err(fault),
        Leasing::Wait(waiting) => within(worker, limit, waiting).await.unwrap_or_else(|| {
            Err(Fault::new(Code::Overloaded, "no endpoint became free within the timeout"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use transom_settings::FromText;

    use super::*;

    struct Nowhere(String);

    impl Destination for Nowhere {
        fn name(&self) -> &str {
            &self.0
        }

        fn lease(&self, _: &Ask<'_>) -> Leasing {
            Leasing::Refused(Fault::new(Code::NoEndpoint, "nowhere"))
        }

        fn candidates(&self) -> Vec<Arc<transom_proxy::destination::Endpoint>> {
            Vec::new()
        }
    }

    /// A route written as `names / alpn / tls / client`.
    fn route(written: &str) -> Route {
        let parts: Vec<&str> = written.split('/').map(str::trim).collect();
        let list = |at: usize| parts[at].split_whitespace();
        let matches = Match {
            names: list(0).map(|name| HostPattern::from_text(name).unwrap()).collect(),
            alpn: list(1).map(|one| one.as_bytes().into()).collect(),
            tls: list(2).next().map(|word| word == "tls"),
            clients: list(3).map(|ip| IpNet::from(ip.parse::<IpAddr>().unwrap())).collect(),
        };
        let destination = Arc::new(Nowhere(written.into()));
        Route { name: written.into(), matches, destination }
    }

    fn hello(name: &str, alpn: &[&str]) -> Option<Hello> {
        Some(Hello {
            name: (!name.is_empty()).then(|| name.into()),
            alpn: alpn.iter().map(|one| one.as_bytes().into()).collect(),
        })
    }

    #[test]
    fn the_most_specific_route_that_fits_is_taken() {
        let mut routes: Vec<Route> = [
            "///",
            "* / / /",
            "*.shop.example / / /",
            "/ / plain /",
            "shop.example / / /",
            "*.eu.shop.example / / /",
            "shop.example / h2 / /",
            "/ / / 10.0.0.1",
            "shop.example / / / 10.0.0.1",
        ]
        .map(route)
        .into();
        Route::sort(&mut routes);
        let relay = Relay {
            listener: Listener { name: "test".into(), generation: 1, sinks: Vec::new() },
            routes,
            timeouts: Timeouts {
                hello: Duration::MAX,
                connect: Duration::MAX,
                idle: None,
                half_closed: None,
            },
            connect_retries: 0,
        };
        for (client, hello, expect) in [
            ("10.0.0.9", hello("shop.example", &[]), "shop.example / / /"),
            ("10.0.0.9", hello("shop.example", &["http/1.1", "h2"]), "shop.example / h2 / /"),
            ("10.0.0.1", hello("shop.example", &["http/1.1"]), "shop.example / / / 10.0.0.1"),
            ("10.0.0.9", hello("a.shop.example", &["h2"]), "*.shop.example / / /"),
            ("10.0.0.9", hello("a.eu.shop.example", &[]), "*.eu.shop.example / / /"),
            ("10.0.0.9", hello("other.example", &[]), "* / / /"),
            ("10.0.0.9", hello("", &[]), "///"),
            ("10.0.0.1", hello("", &[]), "/ / / 10.0.0.1"),
            ("10.0.0.9", None, "/ / plain /"),
        ] {
            let found = relay.route(client.parse().unwrap(), hello.as_ref());
            assert_eq!(found.map(|route| &*route.name), Some(expect), "{client} {hello:?}");
        }
        assert!(relay.looks_at_tls());
    }

    #[test]
    fn a_listener_without_a_default_refuses_other_names() {
        let matches = route("shop.example / / /").matches;
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(!matches.fits(client, hello("shop.example.evil", &[]).as_ref()));
        assert!(!matches.fits(client, hello("", &[]).as_ref()));
        assert_eq!(matches.misfit(client, None), Some("sni"));
    }
}
