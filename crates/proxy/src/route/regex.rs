//! Regular expressions, compiled within limits and to match from end to end.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::Fix;

/// SL-15: expressions run in linear time, and may not grow beyond this when compiled.
const REGEX_SIZE: usize = 1 << 20;
/// A whole set may grow to this.
const REGEX_SET_SIZE: usize = 8 << 20;

/// Compiles an expression that has to match from end to end.
pub(super) fn whole_regex(text: &str) -> Result<Regex, Fix> {
    let compile = |text: &str| {
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(REGEX_SIZE)
            .dfa_size_limit(REGEX_SIZE)
            .build()
    };
    // Alone first: `a)(b` would close the group that is put around it.
    compile(text).and_then(|_| compile(&whole(text))).map_err(|error| unusable(text, error))
}

/// As [`whole_regex`], many at once.
pub(super) fn whole_regexes<'a>(texts: impl Iterator<Item = &'a str>) -> Result<RegexSet, Fix> {
    let wholes: Vec<String> = texts.map(whole).collect();
    RegexSetBuilder::new(&wholes)
        .unicode(false)
        .size_limit(REGEX_SET_SIZE)
        .dfa_size_limit(REGEX_SET_SIZE)
        .build()
        .map_err(|error| unusable(&wholes.join(" "), error))
}

fn whole(text: &str) -> String {
    format!(r"\A(?:{text})\z")
}

fn unusable(text: &str, error: regex::Error) -> Fix {
    // The error draws the expression over several lines; the last one says what is wrong.
    let reason = match error {
        regex::Error::CompiledTooBig(limit) => format!("it takes more than {limit} bytes"),
        other => {
            let drawn = other.to_string();
            let last = drawn.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    };
    Fix::Regex { text: text.to_owned(), reason }
}
