//! Where a request of our own goes, and what it asks for there.

use std::fmt;

use serde_json::{Value as Json, json};

use super::Target;
use crate::decode::{Context, FromText, Refusal, Setting, Spanned};
use crate::diagnostic::quote;
use crate::document::Node;
use crate::schema::Definitions;

/// A URL, or the name of a pool and a path on it: `https://id.example/keys`, `identity/keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub target: Spanned<Target>,
    /// Host and port as written; empty where it is a pool, whose endpoints have names of their own.
    pub authority: String,
    /// Begins with `/`.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
}

const WHAT: &str = "a URL such as `https://id.example/keys`, or a pool and a path: `identity/keys`";

impl Url {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.target.is_tls() { "https" } else { "http" }
    }

    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| Refusal::new(format!("{} is no URL: {why}", quote(text)));
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c))
        {
            return Err(refuse(&format!("{} cannot stand in it", quote(&c.to_string()))));
        }
        if text.contains('#') {
            return Err(refuse("it has a fragment, which is never sent"));
        }
        let scheme = text.split_once("://").map_or(0, |(scheme, _)| scheme.len() + 3);
        let place = text[scheme..].find(['/', '?']).map_or(text.len(), |at| scheme + at);
        let (base, rest) = text.split_at(place);
        if scheme == 0 && rest.is_empty() {
            return Err(refuse("it has neither a scheme nor a path").hint(WHAT));
        }
        let target = Target::from_text(base)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        Ok(Url {
            authority: match &target {
                Target::Pool(_) => String::new(),
                Target::Address { .. } => base[scheme..].to_ascii_lowercase(),
            },
            target: target.into(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query,
        })
    }
}

impl Setting for Url {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let scalar = at.scalar(node, WHAT)?;
        match Url::parse(&scalar.text) {
            Ok(url) => Some(Url { target: Spanned::new(url.target.value, node.span), ..url }),
            Err(refusal) => {
                let mut finding = match &scalar.hidden {
                    Some(hidden) => at.error(
                        node.span,
                        format!("expected {WHAT}, which {} does not hold", quote(hidden)),
                    ),
                    None => at.error(node.span, refusal.what),
                };
                finding.hint = refusal.hint.filter(|_| scalar.hidden.is_none());
                at.push(finding);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "examples": ["https://id.example/keys", "identity/keys"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target.value {
            Target::Pool(name) => name.fmt(f)?,
            Target::Address { .. } => write!(f, "{}://{}", self.scheme(), self.authority)?,
        }
        f.write_str(&self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("https://id.example/keys", Ok("https://id.example/keys")),
            ("https://id.example", Ok("https://id.example/")),
            ("http://127.0.0.1:9/a?b=c/d", Ok("http://127.0.0.1:9/a?b=c/d")),
            ("https://ID.example?a", Ok("https://id.example/?a")),
            ("identity/keys", Ok("identity/keys")),
            ("identity", Err("`identity` is no URL: it has neither a scheme nor a path")),
            (
                "https://a/b#c",
                Err("`https://a/b#c` is no URL: it has a fragment, which is never sent"),
            ),
            ("https://a/b c", Err("`https://a/b c` is no URL: ` ` cannot stand in it")),
            (
                "ftp://a/b",
                Err(
                    "`ftp://a` is not where a request can go: only `http://` and `https://` are known",
                ),
            ),
            ("https://me@a/b", Err("`https://me@a` is not where a request can go: it has a user")),
        ] {
            let found = Url::parse(text).map(|url| url.to_string());
            let found = found.as_deref().map_err(|refusal| refusal.what.as_str());
            assert_eq!(found, expected, "{text}");
        }
        let url = Url::parse("https://id.example:8443/a").unwrap();
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("id.example:8443", "/a"));
        assert_eq!(Url::parse("identity/a").unwrap().authority, "");
    }
    #[test]
    fn u_11_a_url_leads_to_http_and_to_one_host() {
        for text in [
            "file:///etc/passwd",
            "gopher://a/b",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://a@169.254.169.254/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
