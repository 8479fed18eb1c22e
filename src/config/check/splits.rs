//! Splits between pools, and stickiness.

use transom_settings::{Name, Span, Spanned, closest, quote};

use super::super::{Affinity, AffinityCookie, Forward, Listener, Pool, Route, Split, Target};
use super::Check;

/// A secret that is shorter could be guessed.
const SECRET: usize = 16;

impl<'a> Check<'a> {
    /// The pools of a split of this name, which a route uses; nothing where there is none.
    pub(super) fn split_of(&mut self, name: &'a Name) -> Option<Vec<&'a Pool>> {
        let split = self.config.splits.get(&**name)?;
        self.splits.insert(name);
        let pools = split.pools.names().filter_map(|name| self.by_name.get(&***name).copied());
        Some(pools.collect())
    }

    pub(super) fn split(&mut self, name: &Spanned<Name>, split: &'a Split) {
        let path = format!("splits.{name}");
        let pools = &self.config.pools;
        if let Some(pool) = pools.names().find(|pool| pool.value == name.value) {
            let (what, place) = (format!("a pool is named {} too", quote(name)), pool.span);
            self.error(name.span, &path, what).note(place, "it stands here").done();
        }
        let at = format!("{path}.pools");
        for pool in split.pools.names() {
            let known = || pools.names().map(|name| &***name);
            if pools.mentions(&***pool) {
                self.pools.insert(pool);
                continue;
            }
            let meant = closest(pool, known());
            self.pools.extend(meant);
            self.error(pool.span, &at, format!("no pool named {}", quote(pool)))
                .hint("add it below `pools:`")
                .suggest(meant)
                .done();
        }
        if split.pools.values().all(|weight| weight.value == 0) && self.decoded(&at) {
            let what = if split.pools.is_empty() { "it has no pools" } else { "every share is 0" };
            self.error(name.span, &at, what)
                .hint("write pools with their shares, such as `{ stable: 95, canary: 5 }`")
                .done();
        } else if split.pools.len() == 1 {
            let what = "one pool leaves nothing to divide";
            self.warning(name.span, &at, what).hint("forward to the pool itself").done();
        }
        if let Some(cookie) = &split.cookie {
            self.secret(cookie, &format!("{path}.cookie"));
        }
    }

    /// Copies go where something is, and not back to where they came from.
    pub(super) fn mirror(
        &mut self,
        forward: &'a Forward,
        listener: &Listener,
        route: &Route,
        path: &str,
    ) {
        let Some(mirror) = &forward.mirror else { return };
        let at = format!("{path}.forward.mirror");
        let place = mirror.to.span;
        match &mirror.to.value {
            Target::Pool(name) => {
                let pools = match self.split_of(name) {
                    Some(pools) => pools,
                    None => self.pool_of(name, place, &at).into_iter().collect(),
                };
                for endpoint in pools.iter().flat_map(|pool| &pool.endpoints) {
                    self.loops(&endpoint.address, place, listener, route, path);
                }
            }
            Target::Address { address, .. } => self.loops(address, place, listener, route, path),
        }
        if mirror.share.of_ten_thousand() == 0 {
            self.warning(place, format!("{at}.share"), "nothing is copied").done();
        }
    }

    pub(super) fn affinity(&mut self, affinity: &Affinity, path: &str) {
        match affinity {
            Affinity::Cookie(cookie) => self.secret(cookie, &format!("{path}.cookie")),
            Affinity::Address(address) => {
                self.prefix(&address.ipv4_prefix, 32, "IPv4", &format!("{path}.address"));
                self.prefix(&address.ipv6_prefix, 128, "IPv6", &format!("{path}.address"));
            }
            Affinity::ApplicationCookie(_) | Affinity::Header(_) => {}
        }
    }

    fn secret(&mut self, cookie: &AffinityCookie, path: &str) {
        let Some(secret) = &cookie.secret else { return };
        let length = secret.expose().len();
        if length < SECRET && self.decoded(path) {
            let what = format!("the secret has {length} bytes, which can be guessed");
            self.error(secret.span, format!("{path}.secret"), what)
                .hint("take 16 or more, such as of `openssl rand -hex 16`")
                .done();
        }
    }

    /// How many bits of an address count.
    pub(super) fn prefix(&mut self, prefix: &Spanned<u8>, most: u8, version: &str, path: &str) {
        let at = format!("{path}.{}-prefix", version.to_lowercase());
        let place: Span = prefix.span;
        if prefix.value > most {
            self.error(place, at, format!("an {version} address has {most} bits")).done();
        } else if prefix.value == 0 {
            self.error(place, at, format!("all {version} clients go to one endpoint"))
                .hint("24 of IPv4 and 48 of IPv6 are a site")
                .done();
        }
    }
}
