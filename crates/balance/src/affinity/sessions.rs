//! Who was where, by what clients send anyway: a cookie of the application, a header, an address.
//!
//! A bounded memory, shared by all workers in parts that are locked for a moment each; of what clients
//! send only a hash is kept. When a part is full, those go first that were not seen for longest.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use transom_proxy::destination::Ask;
use transom_proxy::fields::{Fields, Known};
use transom_proxy::headers::cookie;

use crate::algorithm::hash;
use crate::algorithm::key::Key;

/// Parts of the memory.
const PARTS: usize = 16;

/// By what a client is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A cookie that the application sets; it is learnt from its `Set-Cookie`.
    Cookie(String),
    /// A header that the client sends, or that the application gives it with a response.
    Header(String),
    /// The first so many bits of its address.
    Address { ipv4: u8, ipv6: u8 },
}

/// See the module.
pub struct Sessions {
    pub sign: Sign,
    key: Key,
    /// How long a client is remembered that is not seen.
    idle: Duration,
    /// How many each part remembers.
    most: usize,
    parts: [Mutex<HashMap<u64, Session>>; PARTS],
}

struct Session {
    /// The key of the member's endpoint.
    member: u64,
    seen: Instant,
}

impl Sessions {
    /// A memory of at most so many clients.
    pub fn new(sign: Sign, idle: Duration, most: usize) -> Self {
        let key = match &sign {
            Sign::Cookie(name) => Key::Cookie(name.clone()),
            Sign::Header(name) => Key::Header(name.clone()),
            Sign::Address { ipv4, ipv6 } => Key::Address { ipv4: *ipv4, ipv6: *ipv6 },
        };
        let parts = std::array::from_fn(|_| Mutex::default());
        Sessions { sign, key, idle, most: most.div_ceil(PARTS).max(1), parts }
    }

    /// The same rules, so that what is remembered stays true.
    pub fn is_like(&self, other: &Sessions) -> bool {
        self.sign == other.sign && self.idle == other.idle && self.most == other.most
    }

    /// The member that the asker was sent to before, and its sign, where it has one.
    pub fn find(&self, ask: &Ask<'_>) -> Option<(u64, Option<u64>)> {
        let sign = self.key.hash(ask)?;
        let mut part = self.part(sign);
        let session = part
            .get_mut(&sign)
            .filter(|session| ask.now.saturating_duration_since(session.seen) < self.idle);
        let member = session.map(|session| {
            session.seen = ask.now;
            session.member
        });
        Some((sign, member))
    }

    /// A client with this sign is at this member.
    pub fn put(&self, sign: u64, member: u64, now: Instant) {
        let mut part = self.part(sign);
        if part.len() >= self.most && !part.contains_key(&sign) {
            self.make_room(&mut part, now);
        }
        part.insert(sign, Session { member, seen: now });
    }

    /// What a response gives its client as a sign.
    pub fn learn(&self, fields: &Fields, member: u64, now: Instant) {
        match &self.sign {
            Sign::Cookie(name) => {
                for line in fields.all(Known::SetCookie) {
                    let pair = line.split(|c| *c == b';').next().unwrap_or_default();
                    if let Some(value) = cookie::value(pair, name) {
                        self.put(hash::of(value), member, now);
                    }
                }
            }
            Sign::Header(name) => {
                if let Some(value) = fields.get(&**name).filter(|value| !value.is_empty()) {
                    self.put(hash::of(value), member, now);
                }
            }
            Sign::Address { .. } => {}
        }
    }

    fn make_room(&self, part: &mut HashMap<u64, Session>, now: Instant) {
        part.retain(|_, session| now.saturating_duration_since(session.seen) < self.idle);
        if part.len() < self.most {
            return;
        }
        let mut seen: Vec<Instant> = part.values().map(|session| session.seen).collect();
        let eighth = seen.len() / 8;
        let (_, oldest, _) = seen.select_nth_unstable(eighth);
        let oldest = *oldest;
        part.retain(|_, session| session.seen > oldest);
    }

    fn part(&self, sign: u64) -> MutexGuard<'_, HashMap<u64, Session>> {
        self.parts[(sign >> 60) as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn ask(client: u32, now: Instant) -> Ask<'static> {
        Ask { client: IpAddr::V4(Ipv4Addr::from(client)), http: None, tried: &[], now }
    }

    #[test]
    fn lb27_who_is_not_seen_is_forgotten() {
        let sign = Sign::Address { ipv4: 32, ipv6: 64 };
        let sessions = Sessions::new(sign, Duration::from_secs(60), 100);
        let start = Instant::now();
        let (sign, member) = sessions.find(&ask(1, start)).unwrap();
        assert_eq!(member, None);
        sessions.put(sign, 7, start);
        let at = |seconds| sessions.find(&ask(1, start + Duration::from_secs(seconds))).unwrap().1;
        assert_eq!((at(59), at(118)), (Some(7), Some(7)), "seen again, remembered again");
        assert_eq!(at(178), None);
    }

    #[test]
    fn lb27_memory_is_bounded_and_the_oldest_go_first() {
        let sign = Sign::Address { ipv4: 32, ipv6: 64 };
        let sessions = Sessions::new(sign, Duration::from_secs(3600), 1600);
        let start = Instant::now();
        for client in 0..10_000u32 {
            let now = start + Duration::from_millis(client.into());
            let (sign, _) = sessions.find(&ask(client, now)).unwrap();
            sessions.put(sign, 1, now);
        }
        let count: usize = sessions.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!((1200..=1600).contains(&count), "{count}");
        let now = start + Duration::from_secs(10);
        let known = |client| sessions.find(&ask(client, now)).unwrap().1.is_some();
        assert!((9_000..10_000).all(known), "the last thousand are all there");
        assert!(!(0..5_000).any(known));
    }

    #[test]
    fn lb27_signs_are_learnt_from_responses() {
        let now = Instant::now();
        let learnt = |sign: Sign, name: &str, value: &str| {
            let sessions = Sessions::new(sign, Duration::from_secs(60), 100);
            let mut fields = Fields::new();
            fields.append(name, value.as_bytes());
            sessions.learn(&fields, 3, now);
            let find = |text: &[u8]| {
                let sign = hash::of(text);
                sessions.part(sign).get(&sign).map(|session| session.member)
            };
            find(b"abc")
        };
        let cookie = || Sign::Cookie("JSESSIONID".into());
        let header = || Sign::Header("mcp-session-id".into());
        for (sign, name, value, expected) in [
            (cookie(), "set-cookie", "JSESSIONID=abc; Path=/", Some(3)),
            (cookie(), "set-cookie", "other=1; JSESSIONID=abc", None),
            (cookie(), "set-cookie", "JSESSIONID=; Max-Age=0", None),
            (cookie(), "cookie", "JSESSIONID=abc", None),
            (header(), "mcp-session-id", "abc", Some(3)),
            (header(), "x-other", "abc", None),
        ] {
            assert_eq!(learnt(sign, name, value), expected, "{name}: {value}");
        }
    }
}
