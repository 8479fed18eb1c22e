//! # rewrite
//!
//! **What it does.** Changes the path that the endpoint sees: strips or adds a prefix, replaces
//! one, or replaces what a regular expression matches. The result is brought into canonical form
//! again, so no rewrite can produce a path that climbs or pretends (P-07).
//!
//! **When it runs.** Stage `shape`. The route stays the one that matched the original path.
//!
//! **What the client sees.** `bad-request` when the rewritten path has no canonical form.
//!
//! **Limits and cost.** A regular expression costs linear time in the path.

use std::fmt;
use std::rc::Rc;

use regex::Regex;

use super::{Ahead, Policy};
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::message::Request;
use crate::normalize::{self, PathRules};
use crate::stage::Stage;

/// One change of the path.
#[derive(Clone, Debug)]
pub enum Change {
    StripPrefix(String),
    AddPrefix(String),
    ReplacePrefix { from: String, to: String },
    Regex { pattern: Regex, with: String },
}

impl Change {
    /// The changed path; nothing where the change does not apply.
    fn apply(&self, path: &str) -> Option<String> {
        match self {
            Change::StripPrefix(prefix) => rest_after(path, prefix).map(rooted),
            Change::AddPrefix(prefix) => Some(format!("{}{path}", prefix.trim_end_matches('/'))),
            Change::ReplacePrefix { from, to } => {
                let rest = rest_after(path, from)?;
                Some(rooted(&format!(
                    "{}{}",
                    to.trim_end_matches('/'),
                    if rest.is_empty() { "" } else { rest }
                )))
            }
            Change::Regex { pattern, with } => {
                pattern.is_match(path).then(|| rooted(&pattern.replace(path, with.as_str())))
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |prefix: &str| if prefix.is_empty() { "/" } else { prefix }.to_owned();
        match self {
            Change::StripPrefix(prefix) => write!(f, "strip `{}`", path(prefix)),
            Change::AddPrefix(prefix) => write!(f, "add `{}`", path(prefix)),
            Change::ReplacePrefix { from, to } => {
                write!(f, "replace `{}` by `{}`", path(from), path(to))
            }
            Change::Regex { pattern, with } => {
                write!(f, "replace what matches `{pattern}` by `{with}`")
            }
        }
    }
}

/// What follows the prefix, which ends at the border of a segment.
fn rest_after<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Changes the path, in the order written.
pub struct Rewrite {
    pub changes: Vec<Change>,
}

impl Rewrite {
    /// The path that the endpoint sees; nothing where it stays.
    ///
    /// # Errors
    /// `bad-request` when the changed path has no canonical form.
    pub fn rewritten(&self, path: &str, rules: PathRules) -> Result<Option<Rc<str>>, Fault> {
        let mut changed: Option<String> = None;
        for change in &self.changes {
            changed = change.apply(changed.as_deref().unwrap_or(path)).or(changed);
        }
        let Some(changed) = changed else { return Ok(None) };
        let mut room = Vec::new();
        let canonical = normalize::path(changed.as_bytes(), rules, &mut room)
            .map_err(|e| Fault::new(Code::BadRequest, format!("after the rewrite: {e}")))?;
        Ok(std::str::from_utf8(canonical.bytes()).ok().map(Rc::from))
    }
}

impl Policy for Rewrite {
    fn kind(&self) -> &'static str {
        "rewrite"
    }

    fn stage(&self) -> Stage {
        Stage::Shape
    }

    fn describe(&self) -> String {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        changes.join(", ")
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        if let Some(path) = self.rewritten(&request.path, exchange.site.paths)? {
            request.path = path;
        }
        Ok(Ahead::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p07_prefixes_end_at_segments_and_results_are_canonical() {
        let regex = |pattern: &str, with: &str| Change::Regex {
            pattern: Regex::new(pattern).unwrap(),
            with: with.into(),
        };
        for (change, path, expected) in [
            (Change::StripPrefix("/api".into()), "/api/users", Ok(Some("/users"))),
            (Change::StripPrefix("/api".into()), "/api", Ok(Some("/"))),
            (Change::StripPrefix("/api".into()), "/apiadmin", Ok(None)),
            (Change::StripPrefix("/api/".into()), "/api/users", Ok(Some("/users"))),
            (Change::StripPrefix("/a".into()), "/a/%2E%2E/x", Ok(Some("/x"))),
            (Change::AddPrefix("/v1".into()), "/users", Ok(Some("/v1/users"))),
            (
                Change::ReplacePrefix { from: "/a".into(), to: "/b".into() },
                "/a/x",
                Ok(Some("/b/x")),
            ),
            (Change::ReplacePrefix { from: "/a".into(), to: "/b".into() }, "/a", Ok(Some("/b"))),
            (Change::ReplacePrefix { from: "/a".into(), to: "/".into() }, "/a/x", Ok(Some("/x"))),
            (regex("^/old/(.*)$", "/new/$1"), "/old/x", Ok(Some("/new/x"))),
            (regex("^/old/(.*)$", "/$1/../../y"), "/old/x", Err(())),
        ] {
            let rewrite = Rewrite { changes: vec![change] };
            let got = rewrite.rewritten(path, PathRules::default()).map_err(|_| ());
            // `%2E%2E` above the stripped prefix climbs: refused or resolved, never passed on.
            match (path, &got) {
                ("/a/%2E%2E/x", Err(())) => {}
                _ => assert_eq!(
                    got.as_ref().map(|p| p.as_deref()),
                    expected.as_ref().map(|p| *p),
                    "{path}"
                ),
            }
        }
    }
}
