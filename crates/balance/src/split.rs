//! A weighted split between pools: a canary, or blue and green.
//!
//! Which part a request goes to is drawn in proportion to weights, by the number of its exchange, so
//! that all its attempts go to the same part. With a cookie a client stays with its part; without,
//! each request is drawn anew. A part that has nobody to send to is stood in for by the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use transom_proxy::destination::{Ask, Destination, Endpoint, Leasing, Permit};
use transom_proxy::exchange::RequestId;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};

use crate::affinity::{Cookie, Token};
use crate::algorithm::hash::{self, mix};
use crate::pool::Pool;

/// A pool and its share.
pub struct Part {
    pub pool: Arc<Pool>,
    /// The pool as requests see it: one with servers on demand holds them while there is none.
    pub destination: Arc<dyn Destination>,
    /// Zero gets nothing new, but keeps the clients that stick to it.
    pub weight: u32,
}

/// See the module.
pub struct Split {
    name: String,
    parts: Vec<Part>,
    total: u64,
    cookie: Option<Cookie>,
    /// The parts by what the cookie says.
    tokens: HashMap<Token, usize>,
    turn: AtomicU64,
}

impl Split {
    pub fn new(name: impl Into<String>, parts: Vec<Part>, cookie: Option<Cookie>) -> Self {
        let name = name.into();
        let token = |(place, part): (usize, &Part)| {
            cookie.as_ref().map(|cookie| (cookie.token(&name, part.pool.name()), place))
        };
        let tokens = parts.iter().enumerate().filter_map(token).collect();
        let total = parts.iter().map(|part| u64::from(part.weight)).sum();
        Split { name, parts, total, cookie, tokens, turn: AtomicU64::new(0) }
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part that the client's cookie names.
    fn stuck(&self, ask: &Ask<'_>) -> Option<usize> {
        let sent = self.cookie.as_ref()?.sent(ask)?;
        self.tokens.get(&sent).copied()
    }

    /// The part that is asked first.
    fn first(&self, ask: &Ask<'_>) -> Option<usize> {
        self.stuck(ask).or_else(|| self.drawn(ask))
    }

    /// The lease of the first part that has anybody.
    fn leased(&self, ask: &Ask<'_>, mut lease: impl FnMut(&dyn Destination) -> Leasing) -> Leasing {
        let first = self.first(ask);
        let others = (0..self.parts.len())
            .filter(|place| Some(*place) != first && self.parts[*place].weight > 0);
        let mut refused = None;
        for place in first.into_iter().chain(others) {
            match lease(&*self.parts[place].destination) {
                Leasing::Refused(fault) if fault.code() == Code::NoEndpoint => {
                    refused.get_or_insert(fault);
                }
                other => return other,
            }
        }
        let nobody = || Fault::new(Code::NoEndpoint, format!("split `{}` has no part", self.name));
        Leasing::Refused(refused.unwrap_or_else(nobody))
    }

    fn drawn(&self, ask: &Ask<'_>) -> Option<usize> {
        let random = match ask.http.map(|http| &http.exchange.id) {
            Some(RequestId::Own(high, low)) => mix(high ^ mix(*low)),
            Some(RequestId::Given(text)) => hash::of(text.as_bytes()),
            None => mix(self.turn.fetch_add(1, Ordering::Relaxed)),
        };
        self.part_of(random)
    }

    /// The part into whose share these random bits fall.
    fn part_of(&self, random: u64) -> Option<usize> {
        let mut point = (u128::from(random) * u128::from(self.total)) >> 64;
        self.parts.iter().position(|part| {
            let weight = u128::from(part.weight);
            let within = point < weight;
            point = point.saturating_sub(weight);
            within
        })
    }
}

impl Destination for Split {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        self.leased(ask, |part| part.lease(ask))
    }

    fn lease_instead(&self, ask: &Ask<'_>, permit: &mut Option<Permit>) -> Leasing {
        self.leased(ask, |part| part.lease_instead(ask, permit))
    }

    /// By leave of the part that is asked first.
    fn retry(&self, ask: &Ask<'_>) -> Option<Permit> {
        self.parts.get(self.first(ask)?)?.pool.retry(ask)
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.parts.iter().flat_map(|part| part.pool.candidates()).collect()
    }

    fn answered(&self, ask: &Ask<'_>, endpoint: &Endpoint, fields: &mut Fields) {
        let part = self.parts.iter().position(|part| *part.pool.name() == *endpoint.pool);
        let Some(place) = part else { return };
        let part = &self.parts[place];
        part.pool.answered(ask, endpoint, fields);
        if let (Some(cookie), Some(http)) = (&self.cookie, ask.http)
            && self.stuck(ask) != Some(place)
        {
            let token = cookie.token(&self.name, part.pool.name());
            let https = http.exchange.asked.scheme == "https";
            fields.append(Known::SetCookie, &cookie.line(&token, https));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use super::*;
    use crate::algorithm::testing::specs;
    use crate::pool::Settings;
    use crate::state::Health;

    fn part(name: &str, port: usize, weight: u32) -> Part {
        // members of different pools are different endpoints
        let specs = specs(&[1; 4]).split_off(port);
        let specs = specs.into_iter().take(1).collect();
        let pool = Pool::new(name, specs, Settings::default(), None);
        Part { destination: pool.clone(), pool, weight }
    }

    fn shares(split: &Split, count: usize) -> [usize; 2] {
        let mut shares = [0, 0];
        for _ in 0..count {
            let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let ask = Ask { client, http: None, tried: &[], now: Instant::now() };
            let Leasing::Ready(lease) = split.lease(&ask) else { continue };
            shares[usize::from(lease.endpoint().name == "b")] += 1;
        }
        shares
    }

    #[test]
    fn parts_get_their_shares() {
        for (weights, expected) in [
            ((95, 5), [9_500, 500]),
            ((1, 1), [5_000, 5_000]),
            ((100, 0), [10_000, 0]),
            ((0, 100), [0, 10_000]),
            ((0, 0), [0, 0]),
        ] {
            let parts = vec![part("blue", 0, weights.0), part("green", 1, weights.1)];
            let shares = shares(&Split::new("s", parts, None), 10_000);
            for (share, expected) in shares.iter().zip(expected) {
                assert!(share.abs_diff(expected) <= 150, "{weights:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn a_part_without_anybody_is_stood_in_for() {
        let parts = vec![part("blue", 0, 50), part("green", 1, 50)];
        let member = parts[1].pool.members()[0].clone();
        member.state.set_administrative(crate::state::Administrative::Maintenance, "by hand");
        parts[1].pool.refresh();
        let split = Split::new("s", parts, None);
        assert_eq!(shares(&split, 1000), [1000, 0]);
        member.state.set_health(Health::Up, "probed");
    }
}
