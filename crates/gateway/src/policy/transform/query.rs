//! Changes of the query. What is not changed stays as it was sent, byte for byte.

use transom_proxy::exchange::Exchange;
use transom_proxy::variables::Template;
use transom_settings::{List, Map, OneOrMany, settings};

use crate::content::form::decoded;

settings! {
    /// Changes of the query, in this order.
    pub struct QueryEdits {
        /// The parameters that stay; all others are removed.
        pub allow: List<String> = List::default(),
        /// Parameters that are removed.
        pub remove: List<String> = List::default(),
        /// Parameters that are called otherwise.
        pub rename: Map<String, String> = Map::new(),
        /// Parameters with the one value they then have, with variables.
        pub set: Map<String, Template> = Map::new(),
        /// Parameters with values that are added.
        pub append: Map<String, OneOrMany<Template>> = Map::new(),
    }
}

impl QueryEdits {
    pub(super) fn is_empty(&self) -> bool {
        *self == QueryEdits::default()
    }

    pub(super) fn templates<'e>(&'e self, into: &mut Vec<&'e Template>) {
        into.extend(self.set.values());
        into.extend(self.append.values().flatten());
    }

    pub(super) fn apply(&self, exchange: &Exchange, query: &str) -> String {
        self.edited(query, &|template| {
            let mut value = Vec::new();
            template.write(exchange, &mut value);
            value
        })
    }

    fn edited(&self, query: &str, value: &dyn Fn(&Template) -> Vec<u8>) -> String {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<(String, String)> = pairs
            .map(|pair| (name_of(pair), pair.to_owned()))
            .filter(|(name, _)| self.allow.is_empty() || self.allow.iter().any(|one| one == name))
            .filter(|(name, _)| !self.remove.iter().any(|one| one == name))
            .collect();
        for (from, to) in self.rename.iter() {
            for (name, pair) in &mut pairs {
                if *name == **from {
                    let rest = pair.find('=').map_or("", |at| &pair[at..]);
                    *pair = format!("{}{rest}", escaped(to.as_bytes()));
                    *name = to.clone();
                }
            }
        }
        for (name, template) in self.set.iter() {
            let pair = pair(name, &value(template));
            match pairs.iter().position(|(own, _)| *own == **name) {
                None => pairs.push((name.value.clone(), pair)),
                Some(at) => {
                    pairs[at].1 = pair;
                    let mut number = 0;
                    pairs.retain(|(own, _)| {
                        number += 1;
                        number - 1 <= at || *own != **name
                    });
                }
            }
        }
        for (name, templates) in self.append.iter() {
            let added = templates.iter().map(|one| (name.value.clone(), pair(name, &value(one))));
            pairs.extend(added);
        }
        let pairs: Vec<String> = pairs.into_iter().map(|(_, pair)| pair).collect();
        pairs.join("&")
    }
}

fn name_of(pair: &str) -> String {
    decoded(pair.split('=').next().unwrap_or_default().as_bytes())
}

fn pair(name: &str, value: &[u8]) -> String {
    format!("{}={}", escaped(name.as_bytes()), escaped(value))
}

/// RFC 3986 §3.4, and no sign that would begin another parameter. An escape that is one already stays:
/// variables hold what was sent.
fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        let is_escape = *byte == b'%'
            && text.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(*byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'?' | b':' | b'@' | b'!' | b'$' | b'\'' | b'('
            | b')' | b'*' | b',' | b';' => out.push(char::from(*byte)),
            b'%' if is_escape => out.push('%'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use transom_settings::{Context, Diagnostics, Setting, parse};

    use super::*;

    fn edits(yaml: &str) -> QueryEdits {
        let mut findings = Diagnostics::new();
        let file = findings.add_file("f", yaml);
        let node = parse(file, yaml, &mut findings).unwrap();
        QueryEdits::decode(&node, &mut Context::new(&mut findings)).unwrap()
    }

    #[test]
    fn gw_22_queries_are_changed_and_what_is_not_meant_stays_as_sent() {
        for (yaml, query, expected) in [
            ("remove: [b]", "a=%41&b=2&c", "a=%41&c"),
            ("remove: [a b]", "a+b=1&a%20b=2&c=3", "c=3"),
            ("allow: [a]", "a=1&b=2&a=3", "a=1&a=3"),
            ("rename: { q: search }", "q=x%26y&q&z=1", "search=x%26y&search&z=1"),
            ("set: { a: 'x&b=2 %41%' }", "a=1&c=3&a=2", "a=x%26b%3D2%20%41%25&c=3"),
            ("set: { a: x }", "", "a=x"),
            ("append: { a: [1, 2] }", "a=0", "a=0&a=1&a=2"),
        ] {
            let value = |template: &Template| template.literal().unwrap().as_bytes().to_vec();
            assert_eq!(edits(yaml).edited(query, &value), expected, "{yaml} {query}");
        }
    }
}
