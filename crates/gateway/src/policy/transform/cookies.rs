//! Changes of cookies.

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Fields, Known};
use transom_proxy::variables::Template;
use transom_settings::{List, Map, settings};

settings! {
    /// Changes of the cookies of a request.
    pub struct CookieEdits {
        /// The cookies that stay; all others are removed.
        pub allow: List<String> = List::default(),
        /// Cookies that are removed.
        pub remove: List<String> = List::default(),
        /// Cookies with the value they then have, with variables.
        pub set: Map<String, Template> = Map::new(),
    }
}

impl CookieEdits {
    pub(super) fn is_empty(&self) -> bool {
        *self == CookieEdits::default()
    }

    pub(super) fn templates<'e>(&'e self, into: &mut Vec<&'e Template>) {
        into.extend(self.set.values());
    }

    pub(super) fn apply(&self, exchange: &Exchange, fields: &mut Fields) {
        if self.is_empty() {
            return;
        }
        let stays = |name: &[u8]| {
            let named = |names: &List<String>| names.iter().any(|one| one.as_bytes() == name);
            (self.allow.is_empty() || named(&self.allow))
                && !named(&self.remove)
                && !self.set.names().any(|one| one.as_bytes() == name)
        };
        let mut line: Vec<u8> = Vec::new();
        let mut add = |pair: &[u8]| {
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(pair);
        };
        let pairs = fields.all(Known::Cookie).flat_map(|line| line.split(|b| *b == b';'));
        for pair in pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
            // servers leave out spaces around a name
            if stays(pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii()) {
                add(pair);
            }
        }
        for (name, template) in self.set.iter() {
            let mut pair = format!("{name}=").into_bytes();
            let start = pair.len();
            template.write(exchange, &mut pair);
            // RFC 6265 §4.1.1: what would end the value
            for byte in &mut pair[start..] {
                if matches!(*byte, b';' | b',' | b'"' | b'\\') || !byte.is_ascii_graphic() {
                    *byte = b'_';
                }
            }
            add(&pair);
        }
        match line.is_empty() {
            true => fields.remove(Known::Cookie),
            false => fields.set(Known::Cookie, &line),
        }
    }
}

/// Takes off the lines that set these cookies.
pub(super) fn forget(names: &List<String>, fields: &mut Fields) {
    if names.is_empty() {
        return;
    }
    fields.retain(|field| {
        let name = field.value.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        field.known != Some(Known::SetCookie) || !names.iter().any(|one| one.as_bytes() == name)
    });
}
