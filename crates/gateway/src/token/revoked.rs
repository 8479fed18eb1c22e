//! Tokens that are not to be believed although they are right: by their id (`jti`), or by any claim,
//! such as `sub` for all tokens of somebody.
//!
//! Looked at with every request, remembered tokens too; without a lock, and for nothing where the list
//! is empty.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use transom_proxy::exchange::Identity;
use transom_settings::json::{Map, Value as Json};

use super::reading::{find, text};

/// What is revoked, by claim and value, each until a second.
#[derive(Default)]
pub struct Revoked(ArcSwap<Lists>);

type Lists = HashMap<String, HashMap<String, i64>>;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub claim: String,
    pub value: String,
    /// In seconds since 1970; it is forgotten then.
    pub until: i64,
}

impl Revoked {
    /// How many there may be at once.
    pub const MOST: usize = 100_000;

    /// A list with one entry a line: a `jti`, or `claim=value`. `#` begins a comment. They stay as
    /// long as they stand there.
    ///
    /// # Errors
    /// What is wrong, with the number of the line.
    pub fn of_text(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        let mut lists = Lists::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
            if line.is_empty() {
                continue;
            }
            let (claim, value) = line.split_once('=').unwrap_or(("jti", line));
            let (claim, value) = (claim.trim(), value.trim());
            if claim.is_empty() || value.is_empty() {
                return Err(format!("line {} has no claim or no value", number + 1));
            }
            lists.entry(claim.to_owned()).or_default().insert(value.to_owned(), i64::MAX);
        }
        Ok(Revoked(ArcSwap::from_pointee(lists)))
    }

    /// Whether one of these claims is revoked at the second `now`.
    pub fn has(&self, claims: &Map<String, Json>, now: i64) -> bool {
        self.0.load().iter().any(|(claim, values)| {
            let until = match find(claims, claim) {
                Some(Json::String(value)) => values.get(value),
                Some(Json::Array(list)) => {
                    list.iter().filter_map(|each| values.get(&text(each)?)).max()
                }
                Some(other) => text(other).and_then(|value| values.get(&value)),
                None => None,
            };
            until.is_some_and(|until| now < *until)
        })
    }

    /// Whether a claim of whom a token or a login has named is revoked at the second `now`.
    pub fn names(&self, who: &Identity, now: i64) -> bool {
        let claims = who.claims.as_deref().and_then(Json::as_object);
        claims.is_some_and(|claims| self.has(claims, now))
    }

    /// Adds one, or gives one another end, and forgets what has ended at `now`. Says whether there was room,
    /// as there always is for one that is there.
    pub fn add(&self, entry: &Entry, now: i64) -> bool {
        let mut room = true;
        self.0.rcu(|lists| {
            let mut lists = Lists::clone(lists);
            for values in lists.values_mut() {
                values.retain(|_, until| now < *until);
            }
            lists.retain(|_, values| !values.is_empty());
            let known = lists.get(&entry.claim).is_some_and(|own| own.contains_key(&entry.value));
            room = known || lists.values().map(HashMap::len).sum::<usize>() < Revoked::MOST;
            if room {
                let values = lists.entry(entry.claim.clone()).or_default();
                values.insert(entry.value.clone(), entry.until);
            }
            lists
        });
        room
    }

    /// Adds these as they were before a restart.
    pub fn restore(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut lists = Lists::clone(&self.0.load());
        for Entry { claim, value, until } in entries {
            lists.entry(claim).or_default().insert(value, until);
        }
        self.0.store(Arc::new(lists));
    }

    /// Takes one out. Says whether it was there.
    pub fn remove(&self, claim: &str, value: &str) -> bool {
        let mut was = false;
        self.0.rcu(|lists| {
            let mut lists = Lists::clone(lists);
            was = lists.get_mut(claim).is_some_and(|values| values.remove(value).is_some());
            lists
        });
        was
    }

    /// All of them, sorted.
    pub fn list(&self, now: i64) -> Vec<Entry> {
        let lists = self.0.load();
        let entries = lists.iter().flat_map(|(claim, values)| {
            values.iter().map(|(value, until)| Entry {
                claim: claim.clone(),
                value: value.clone(),
                until: *until,
            })
        });
        let mut entries: Vec<_> = entries.filter(|entry| now < entry.until).collect();
        entries.sort();
        entries
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    fn has(revoked: &Revoked, claims: Json, now: i64) -> bool {
        revoked.has(claims.as_object().unwrap(), now)
    }

    #[test]
    fn a_list_revokes_by_any_claim() {
        let revoked =
            Revoked::of_text(b"# ours\nid-1\nsub=ada # left\n\n realm.roles = root\ntenants=7\n")
                .unwrap();
        for (claims, expected) in [
            (json!({"jti": "id-1"}), true),
            (json!({"jti": "id-2", "sub": "bob"}), false),
            (json!({"sub": "ada"}), true),
            (json!({"sub": "id-1"}), false),
            (json!({"realm": {"roles": ["staff", "root"]}}), true),
            (json!({"realm": {"roles": ["staff"]}}), false),
            (json!({"realm": {"roles": [7, "root"]}}), true),
            (json!({"tenants": [7, 8]}), true),
            (json!({"tenants": [8]}), false),
            (json!({}), false),
        ] {
            assert_eq!(has(&revoked, claims.clone(), 0), expected, "{claims}");
        }
        for (text, why) in [
            (&b"a\n=b"[..], "line 2 has no claim or no value"),
            (b"sub=", "line 1 has no claim or no value"),
            (b"\xff", "it is not UTF-8"),
        ] {
            assert_eq!(Revoked::of_text(text).err().as_deref(), Some(why));
        }
    }

    #[test]
    fn entries_come_and_go() {
        let revoked = Revoked::default();
        let entry = |value: &str, until| Entry { claim: "jti".into(), value: value.into(), until };
        assert!(revoked.add(&entry("a", 10), 0) && revoked.add(&entry("7", 20), 0));
        assert!(has(&revoked, json!({"jti": "a"}), 9) && !has(&revoked, json!({"jti": "a"}), 10));
        assert!(has(&revoked, json!({"jti": 7}), 10), "a number is what it is written as");
        assert_eq!(revoked.list(0), [entry("7", 20), entry("a", 10)]);
        assert!(revoked.add(&entry("b", 30), 15));
        assert_eq!(
            revoked.list(0),
            [entry("7", 20), entry("b", 30)],
            "what has ended is forgotten"
        );
        assert!(revoked.remove("jti", "b") && !revoked.remove("jti", "b"));
    }

    #[test]
    fn a_full_list_takes_another_end_of_what_is_in_it() {
        let entry = |n: usize, until| Entry { claim: "jti".into(), value: n.to_string(), until };
        let revoked = Revoked::default();
        revoked.restore((0..Revoked::MOST).map(|n| entry(n, 10)));
        assert!(!revoked.add(&entry(Revoked::MOST, 10), 0));
        assert!(revoked.add(&entry(7, 20), 0));
        assert!(has(&revoked, json!({"jti": 7}), 15));
        assert!(revoked.add(&entry(Revoked::MOST, 30), 10), "what has ended makes room");
    }
}
