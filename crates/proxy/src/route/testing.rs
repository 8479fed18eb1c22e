//! Headers for tests.

use super::HeaderLookup;

/// Header lines as a list.
pub(crate) struct Lines<'a>(pub(crate) &'a [(&'a str, &'a str)]);

impl HeaderLookup for Lines<'_> {
    fn each(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
            f(value.as_bytes());
        }
    }
}
