//! For how long a composed answer may be kept: no longer than any of its parts.

use transom_proxy::fields::{Fields, Known, list};

/// What parts allow caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caching {
    no_store: bool,
    no_cache: bool,
    private: bool,
    must_revalidate: bool,
    /// For how many seconds every part may be kept; none where one does not say.
    max_age: Option<u64>,
    shared_max_age: Option<u64>,
    /// Names of request fields on which parts depend, in lower case.
    vary: Vec<String>,
}

impl Caching {
    /// What a response says. A time that cannot be read is none (RFC 9111 §4.2.1).
    pub(super) fn of(fields: &Fields) -> Self {
        let mut caching = Caching {
            no_store: false,
            no_cache: false,
            private: false,
            must_revalidate: false,
            max_age: None,
            shared_max_age: None,
            vary: Vec::new(),
        };
        for directive in fields.all(Known::CacheControl).flat_map(list) {
            let directive = String::from_utf8_lossy(directive).to_ascii_lowercase();
            let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
            let seconds = || value.trim_matches('"').parse::<u64>().unwrap_or(0);
            match name {
                "no-store" => caching.no_store = true,
                "no-cache" => caching.no_cache = true,
                "private" => caching.private = true,
                "must-revalidate" | "proxy-revalidate" => caching.must_revalidate = true,
                "max-age" => caching.max_age = Some(seconds()),
                "s-maxage" => caching.shared_max_age = Some(seconds()),
                _ => {}
            }
        }
        let age = fields.get(Known::Age).and_then(|age| std::str::from_utf8(age).ok());
        let age = age.and_then(|age| age.trim().parse::<u64>().ok()).unwrap_or(0);
        for left in [&mut caching.max_age, &mut caching.shared_max_age] {
            *left = left.map(|left| left.saturating_sub(age));
        }
        let names = fields.all(Known::Vary).flat_map(list);
        caching.vary =
            names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
        caching
    }

    /// What both allow.
    pub(super) fn and(mut self, other: Caching) -> Caching {
        let least = |one: Option<u64>, other: Option<u64>| Some(one?.min(other?));
        let shared = match self.shared_max_age.is_some() || other.shared_max_age.is_some() {
            false => None,
            true => {
                least(self.shared_max_age.or(self.max_age), other.shared_max_age.or(other.max_age))
            }
        };
        let new = other.vary.into_iter().filter(|name| !self.vary.contains(name));
        let new: Vec<_> = new.collect();
        self.vary.extend(new);
        Caching {
            no_store: self.no_store || other.no_store,
            no_cache: self.no_cache || other.no_cache,
            private: self.private || other.private,
            must_revalidate: self.must_revalidate || other.must_revalidate,
            max_age: least(self.max_age, other.max_age),
            shared_max_age: shared,
            vary: self.vary,
        }
    }

    /// Says it in the fields of the answer.
    pub(super) fn write(&self, fields: &mut Fields) {
        let mut directives = Vec::new();
        if self.no_store {
            directives.push("no-store".to_owned());
        } else {
            let words = [
                (self.private, "private"),
                (self.no_cache, "no-cache"),
                (self.must_revalidate, "must-revalidate"),
            ];
            directives.extend(words.iter().filter(|(said, _)| *said).map(|(_, w)| (*w).to_owned()));
            directives.extend(self.max_age.map(|age| format!("max-age={age}")));
            directives.extend(self.shared_max_age.map(|age| format!("s-maxage={age}")));
        }
        if !directives.is_empty() {
            fields.set(Known::CacheControl, directives.join(", ").as_bytes());
        }
        if !self.vary.is_empty() {
            fields.set(Known::Vary, self.vary.join(", ").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_28_an_answer_may_be_kept_as_long_as_the_least_of_its_parts() {
        for (parts, expected) in [
            (&["Cache-Control: max-age=60", "Cache-Control: max-age=5"][..], "max-age=5"),
            (&["Cache-Control: max-age=60", ""], ""),
            (
                &["Cache-Control: max-age=60, private", "Cache-Control: max-age=90"],
                "private, max-age=60",
            ),
            (&["Cache-Control: no-store", ""], "no-store"),
            (&["Cache-Control: no-store", "Cache-Control: max-age=60"], "no-store"),
            (&["Cache-Control: max-age=60\nAge: 50", "Cache-Control: max-age=60"], "max-age=10"),
            (&["Cache-Control: max-age=x", "Cache-Control: max-age=60"], "max-age=0"),
            (
                &["Cache-Control: max-age=60, s-maxage=600", "Cache-Control: max-age=90"],
                "max-age=60, s-maxage=90",
            ),
            (
                &["Cache-Control: no-cache", "Cache-Control: must-revalidate, max-age=9"],
                "no-cache, must-revalidate",
            ),
            (
                &[
                    "Cache-Control: max-age=9\nVary: Accept-Language",
                    "Cache-Control: max-age=9\nVary: cookie, accept-language",
                ],
                "max-age=9; accept-language, cookie",
            ),
        ] {
            let all = parts.iter().map(|lines| {
                let mut fields = Fields::new();
                for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
                    fields.append(name, value.as_bytes());
                }
                Caching::of(&fields)
            });
            let mut fields = Fields::new();
            all.reduce(Caching::and).unwrap().write(&mut fields);
            let said: Vec<_> =
                fields.iter().map(|field| String::from_utf8_lossy(field.value)).collect();
            assert_eq!(said.join("; "), expected, "{parts:?}");
        }
    }
}
