//! Regular expressions, and what others write for a part of a path that has a name.

use transom_settings::{PathPattern, Span, quote};

use super::Check;
use crate::config::Route;

impl Check<'_> {
    pub(super) fn regexes(&mut self, route: &Route, path: &str) {
        let paths = route.r#match.path.iter().flatten();
        for pattern in paths {
            let path = format!("{path}.match.path");
            if let PathPattern::Regex(regex) = &pattern.value {
                self.regex(regex, pattern.span, path);
                continue;
            }
            // as others write a part that has a name
            let text = pattern.value.to_string();
            let named = text.split('/').filter_map(|part| part.strip_prefix(':'));
            for name in named.filter(|name| !name.is_empty()) {
                let what = format!("`:{name}` is text like any other");
                self.warning(pattern.span, path.clone(), what)
                    .hint(format!("write `{{{name}}}` for whatever stands there"))
                    .done();
            }
        }
        let matched = &route.r#match;
        let values = |map: &'static str| format!("{path}.match.{map}");
        let header = matched.header.values().map(|value| (values("header"), value));
        let query = matched.query.values().map(|value| (values("query"), value));
        let cookie = matched.cookie.values().map(|value| (values("cookie"), value));
        for (path, value) in header.chain(query).chain(cookie) {
            for regex in value.regexes() {
                self.regex(regex, regex.span, path.clone());
            }
        }
        if let Some(rewrite) = &route.rewrite.regex {
            self.regex(
                &rewrite.r#match,
                rewrite.r#match.span,
                format!("{path}.rewrite.regex.match"),
            );
        }
    }

    /// Compiled as the router does: over bytes, without Unicode tables.
    fn regex(&mut self, text: &str, place: Span, path: String) {
        let built =
            regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
        let reason = match built {
            Ok(_) => return,
            Err(regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or("").trim();
                reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
            }
        };
        let what = format!("{} is not a regular expression: {reason}", quote(text));
        self.error(place, path, what).done();
    }
}
