//! A share of the callers of an API's default version who get another one.
//!
//! Who is moved is served as if it had asked for the other version by name: the request gets the path, the
//! field or the parameter that names it, its route is looked for anew, and the chain of that route goes on
//! where this one stands: behind the policies that find out who asks, which both have of their API.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use transom_balance::algorithm::hash;
use transom_net::clients;
use transom_proxy::exchange::{Asked, Exchange};
use transom_proxy::fault::Fault;
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::serve::admit;
use transom_proxy::stage::Stage;
use transom_settings::{HeaderName, Percent, settings};

settings! {
    /// Who stays on one side of a share.
    pub enum Whom {
        /// A consumer, or whom a token names; the client's address where nobody is known.
        Consumer = "consumer",
        /// The client's address, of IPv6 its /64.
        Client = "client",
    }
}

/// What of a request names a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The path begins with `to`, where one that names none begins with `from`.
    Path { from: String, to: String },
    /// A field has this value.
    Header(HeaderName, String),
    /// A parameter of the query has this value.
    Query(String, String),
}

/// A canary as it runs. The root puts it into the chains of requests that name no version.
pub struct Canary {
    pub api: String,
    pub version: String,
    pub share: Percent,
    pub by: Whom,
    pub naming: Naming,
    /// What the routes of the other version are called: no other may take who is moved.
    pub route: Arc<str>,
    /// What policies of the other version tell its endpoints.
    pub reserves: Vec<HeaderName>,
}

impl Canary {
    /// Whether it moves who asks.
    fn moves(&self, exchange: &Exchange) -> bool {
        let known = exchange.identity.as_deref().filter(|_| self.by == Whom::Consumer);
        let known = known.filter(|identity| !identity.is_anonymous);
        let place = place(&self.api, known.map(|identity| &*identity.name), exchange.client);
        place < self.share.of_ten_thousand()
    }

    /// The request, as it would be if it named the version.
    fn named(&self, asked: &mut Asked, request: &mut Request) {
        match &self.naming {
            Naming::Path { from, to } => {
                let rest = asked.path.strip_prefix(&**from).unwrap_or_default();
                asked.path = Rc::from(format!("{to}{rest}"));
            }
            Naming::Header(name, version) => request.fields.set(&**name, version.as_bytes()),
            Naming::Query(name, version) => {
                // a policy may have left out something of one that it left in the other
                for query in [&mut asked.query, &mut request.query] {
                    let others = query.as_deref().filter(|query| !query.is_empty());
                    let others = others.map(|query| format!("{query}&")).unwrap_or_default();
                    *query = Some(Rc::from(format!("{others}{name}={version}")));
                }
            }
        }
    }
}

/// The place of a consumer, or of a client without a name, among ten thousand: the same in every process and
/// for ever, and another in each API, so that not the same are always first.
fn place(api: &str, consumer: Option<&str>, client: IpAddr) -> u32 {
    let who = match (consumer, clients::key(client)) {
        (Some(name), _) => hash::of(name.as_bytes()),
        (None, IpAddr::V4(ip)) => hash::of(&ip.octets()),
        (None, IpAddr::V6(ip)) => hash::of(&ip.octets()),
    };
    (hash::mix(who ^ hash::of(api.as_bytes())) % 10_000) as u32
}

impl Policy for Canary {
    fn kind(&self) -> &'static str {
        "canary"
    }

    fn stage(&self) -> Stage {
        Stage::Authorize
    }

    fn describe(&self) -> String {
        let whom = match self.by {
            Whom::Consumer => "consumers",
            Whom::Client => "clients",
        };
        format!("{} of the {whom} go on with {}", self.share, self.version)
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.reserves.clone()
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        if !self.moves(exchange) {
            return Ok(Ahead::Done);
        }
        let mut asked = exchange.asked.clone();
        let query = request.query.clone();
        self.named(&mut asked, request);
        let site = exchange.site.clone();
        let (route, captures) = admit::find_route(&site, &asked, exchange.client, &request.fields)?;
        if site.routes.get(route as usize).is_none_or(|found| found.name != self.route) {
            // a route of the listener has a part of the version: it does not know who asks
            if let Naming::Header(name, _) = &self.naming {
                request.fields.remove(&**name);
            }
            request.query = query;
            return Ok(Ahead::Done);
        }
        // they are looked up in the path that the client has sent
        let longer = asked.path.len().saturating_sub(exchange.asked.path.len());
        exchange.captures = Some(captures.earlier(longer));
        request.path = asked.path;
        Ok(Ahead::Over(route))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    #[test]
    fn gw_02_a_share_of_the_callers_is_first_and_others_in_another_api() {
        let first = |api: &str, share: u32| -> Vec<usize> {
            let is_first =
                |n: &usize| place(api, Some(&format!("consumer {n}")), NOWHERE) < share * 100;
            (0..2000).filter(is_first).collect()
        };
        let few = first("orders", 5);
        assert!((60..=140).contains(&few.len()), "{}", few.len());
        let elsewhere = first("carts", 5);
        let both = few.iter().filter(|one| elsewhere.contains(one)).count();
        assert!(both < 20, "{both} of {} are first in both", few.len());
        assert_eq!((first("orders", 0).len(), first("orders", 100).len()), (0, 2000));
    }

    #[test]
    fn gw_02_a_client_is_its_address_and_of_ipv6_its_network() {
        let of = |text: &str| place("orders", None, text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        // whoever runs two versions of the program wants the same ones moved
        assert_eq!(place("orders", Some("ann"), NOWHERE), 7791);
    }
}
