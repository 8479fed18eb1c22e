//! How pools choose.

use std::collections::BTreeMap;
use std::sync::Arc;

use transom_balance::affinity::{Affinity, Cookie, SameSite, Sessions, Sign};
use transom_balance::algorithm::key::Key;
use transom_balance::algorithm::{Hashing, Kind, Sharding};
use transom_balance::pool::{Locality, Preference, Rule, Settings};
use transom_balance::split::Part;
use transom_balance::{Split, load};
use transom_proxy::destination::Destination;
use transom_settings::{Map, Name, Spanned};

use super::Build;
use crate::config::{self, AlgorithmKind, HashKey};

impl Build<'_> {
    /// A split, where its pools could be built.
    pub(super) fn split(&mut self, name: &Spanned<Name>, written: &config::Split) {
        let part = |(name, weight): (&Spanned<Name>, &Spanned<u16>)| {
            let pool = self.pools.get(&***name)?.clone();
            let destination: Arc<dyn Destination> = match self.scaled.get(&***name) {
                Some(scaled) => scaled.clone(),
                None => pool.clone(),
            };
            Some(Part { pool, destination, weight: u32::from(weight.value) })
        };
        let parts: Option<Vec<Part>> = written.pools.iter().map(part).collect();
        let cookie = written.cookie.as_ref().map(|cookie| self.cookie(cookie));
        if let Some(parts) = parts {
            let split = Split::new(&***name, parts, cookie);
            self.splits.insert(name.to_string(), Arc::new(split));
        }
    }

    pub(super) fn affinity(&mut self, written: &config::Affinity) -> Affinity {
        use config::Affinity as Written;
        let remembered = |sign, idle: &transom_settings::Duration, clients: u32| {
            Affinity::Remembered(Arc::new(Sessions::new(sign, idle.get(), clients as usize)))
        };
        match written {
            Written::Cookie(cookie) => Affinity::Cookie(Box::new(self.cookie(cookie))),
            Written::ApplicationCookie(cookie) => {
                remembered(Sign::Cookie(cookie.name.to_string()), &cookie.idle, cookie.clients)
            }
            Written::Header(header) => {
                remembered(Sign::Header(header.name.to_string()), &header.idle, header.clients)
            }
            Written::Address(address) => {
                let (ipv4, ipv6) = (address.ipv4_prefix.value, address.ipv6_prefix.value);
                remembered(Sign::Address { ipv4, ipv6 }, &address.idle, address.clients)
            }
        }
    }

    fn cookie(&mut self, written: &config::AffinityCookie) -> Cookie {
        let own = self.shared.cookie_secret();
        let secret = written.secret.as_ref().map_or(&own[..], |secret| secret.expose().as_bytes());
        let same_site = match written.same_site {
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        };
        let age = written.max_age.map(|age| age.get());
        Cookie::new(&**written.name, secret, same_site, age)
    }
}

/// The settings of a pool that stands in this zone.
pub(super) fn settings(
    written: &config::Pool,
    zone: Option<&Name>,
    affinity: Option<Affinity>,
) -> Settings {
    let preference = match written.locality.value {
        config::Locality::Ignore => None,
        config::Locality::Balanced => Some(Preference::Balanced),
        config::Locality::Nearest => Some(Preference::Nearest),
    };
    let locality = zone
        .zip(preference)
        .map(|(zone, preference)| Locality { zone: Arc::from(&**zone), preference });
    Settings {
        algorithm: kind(&written.algorithm),
        panic_threshold: written.panic_threshold.ratio(),
        locality,
        affinity,
        load_field: load_field(written),
        ..Settings::default()
    }
}

/// The field that tells how busy members are, where somebody asks.
fn load_field(written: &config::Pool) -> Option<Box<str>> {
    match &written.algorithm.0 {
        AlgorithmKind::ReportedLoad(load) => Some((*load.header).into()),
        _ if written.scale.as_ref().is_some_and(|scale| scale.target_load.is_some()) => {
            Some(load::FIELD.into())
        }
        _ => None,
    }
}

/// The rule by which a route picks from a pool, where that is not the pool's own.
pub fn rule(forward: &config::Forward, pool: &config::Pool) -> Option<Rule> {
    if forward.subset.is_empty() && forward.algorithm.is_none() {
        return None;
    }
    let algorithm = forward.algorithm.as_ref().map(|own| &own.value).unwrap_or(&pool.algorithm);
    Some(Rule { subset: labels(&forward.subset), algorithm: kind(algorithm) })
}

pub(super) fn labels(written: &Map<Name, String>) -> BTreeMap<String, String> {
    written.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn kind(written: &config::Algorithm) -> Kind {
    let hashing = |hash: &HashKey| Hashing {
        key: Key::of(&hash.key),
        bound: hash.load_factor.map(config::LoadFactor::get),
    };
    match &written.0 {
        AlgorithmKind::LeastRequests(_) => Kind::LeastRequests,
        AlgorithmKind::RoundRobin(_) => Kind::RoundRobin,
        AlgorithmKind::Random(_) => Kind::Random,
        AlgorithmKind::TwoChoices(_) => Kind::TwoChoices,
        AlgorithmKind::PeakEwma(_) => Kind::PeakEwma,
        AlgorithmKind::ReportedLoad(_) => Kind::ReportedLoad,
        AlgorithmKind::Source(source) => Kind::Maglev(Hashing {
            key: Key::Address { ipv4: source.ipv4_prefix.value, ipv6: source.ipv6_prefix.value },
            bound: source.load_factor.map(config::LoadFactor::get),
        }),
        AlgorithmKind::Ring(hash) => Kind::Ring(hashing(hash)),
        AlgorithmKind::Maglev(hash) => Kind::Maglev(hashing(hash)),
        AlgorithmKind::Shards(shards) => Kind::Shards(Sharding {
            hashing: Hashing { key: Key::of(&shards.key), bound: None },
            size: shards.size.value.into(),
        }),
        AlgorithmKind::FirstAvailable(_) => Kind::FirstAvailable,
    }
}
