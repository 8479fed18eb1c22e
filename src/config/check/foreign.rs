//! Variables as nginx writes them: `$request_uri`. Here they are text like any other, which is hardly what
//! was meant.

use transom_settings::Span;

use super::Check;
use crate::config::Template;

/// Theirs, and what stands for them here.
const THEIRS: [(&str, &str); 12] = [
    ("args", "query"),
    ("host", "host"),
    ("http_host", "authority"),
    ("query_string", "query"),
    ("remote_addr", "client.address"),
    ("remote_port", "client.port"),
    ("request_id", "request.id"),
    ("request_method", "method"),
    ("request_uri", "uri"),
    ("scheme", "scheme"),
    ("server_name", "host"),
    ("uri", "path"),
];

impl Check<'_> {
    pub(super) fn foreign(&mut self, text: &Template, place: Span, path: &str) {
        for (theirs, ours) in text.texts().flat_map(found) {
            self.warning(place, path, format!("`${theirs}` is text here, and no variable"))
                .hint(format!("write `{{{ours}}}`"))
                .done();
        }
    }
}

/// Each of theirs in a text, with ours.
fn found(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        let known = THEIRS.iter().find(|(theirs, _)| *theirs == name);
        let named = || {
            let (kind, rest) = name.split_once('_').filter(|(_, rest)| !rest.is_empty())?;
            match kind {
                "arg" => Some(format!("query.{rest}")),
                "cookie" => Some(format!("cookie.{rest}")),
                "http" => Some(format!("header.{}", rest.replace('_', "-"))),
                _ => None,
            }
        };
        Some((name, known.map(|(_, ours)| (*ours).to_owned()).or_else(named)?))
    })
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn variables_of_nginx_are_known_by_ours() {
        for (text, expected) in [
            ("https://a.example$request_uri", "request_uri=uri"),
            ("$scheme://$host$uri?$args", "scheme=scheme host=host uri=path args=query"),
            ("$http_x_user-$cookie_id", "http_x_user=header.x-user cookie_id=cookie.id"),
            ("$arg_page", "arg_page=query.page"),
            ("costs 5$, or $6; $HOME and $1, $http_", ""),
        ] {
            let found: Vec<_> =
                found(text).map(|(theirs, ours)| format!("{theirs}={ours}")).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }
}
