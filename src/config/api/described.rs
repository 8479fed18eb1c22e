//! The requests that a version's OpenAPI document describes, as parts of a match.

use regex::escape;
use transom_gateway::openapi::Document;
use transom_settings::{FromText, Method, PathPattern};

/// Paths below a prefix that have the same methods. One route is made of each.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) paths: Vec<PathPattern>,
    pub(super) methods: Vec<Method>,
}

/// What a document describes, with `prefix` before every path.
///
/// # Errors
/// A path that no route can have, and why.
pub(super) fn groups(document: &Document, prefix: &str) -> Result<Vec<Group>, String> {
    // by path, in the order of the document
    let mut described: Vec<(&str, Vec<Method>)> = Vec::new();
    for operation in &document.operations {
        let method = Method::from_text(&operation.method).map_err(|refusal| refusal.what)?;
        match described.iter_mut().find(|(path, _)| *path == operation.path) {
            Some((_, methods)) => methods.push(method),
            None => described.push((&operation.path, vec![method])),
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (path, mut methods) in described {
        methods.sort_unstable_by_key(ToString::to_string);
        let text = pattern(prefix, path);
        let pattern = PathPattern::from_text(&text)
            .map_err(|refusal| format!("its path `{path}` cannot be a route: {refusal}"))?;
        match groups.iter_mut().find(|group| group.methods == methods) {
            Some(group) => group.paths.push(pattern),
            None => groups.push(Group { paths: vec![pattern], methods }),
        }
    }
    Ok(groups)
}

/// A path of a document as routes have it. Names may hold what theirs may not, and where a name is only
/// a part of a segment, it is an expression.
fn pattern(prefix: &str, path: &str) -> String {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let whole = |segment: &&str| match segment.strip_prefix('{') {
        Some(rest) => rest.find('}') == Some(rest.len() - 1),
        None => !segment.contains('{'),
    };
    if segments.iter().all(whole) {
        let parts = segments.iter().map(|segment| match segment.strip_prefix('{') {
            Some(name) => format!("/{{{}}}", name_of(name.trim_end_matches('}'))),
            None => format!("/{segment}"),
        });
        return format!("{prefix}{}", parts.collect::<String>());
    }
    let mut expression = format!("~{}", escape(prefix));
    for segment in segments {
        expression.push('/');
        let mut rest = segment;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            expression.push_str(&escape(before));
            // two of one name are told apart by nobody
            let name = name_of(name);
            let known = expression.contains(&format!("(?<{name}>"));
            let named = if known { "(?:".to_owned() } else { format!("(?<{name}>") };
            expression.push_str(&format!("{named}[^/]+)"));
            rest = after;
        }
        expression.push_str(&escape(rest));
    }
    expression
}

fn name_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    // a name of a group begins with a letter
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_35_paths_of_documents_become_paths_of_routes() {
        for (path, expected) in [
            ("/orders", "/v1/orders"),
            ("/orders/{id}", "/v1/orders/{id}"),
            ("/orders/{order.id}/items/{n}", "/v1/orders/{order_id}/items/{n}"),
            ("/", "/v1/"),
            ("/reports/{day}.pdf", "~/v1/reports/(?<day>[^/]+)\\.pdf"),
            ("/range/{a}-{a}", "~/v1/range/(?<a>[^/]+)\\-(?:[^/]+)"),
            ("/orders/{1st}:cancel", "~/v1/orders/(?<_1st>[^/]+):cancel"),
        ] {
            assert_eq!(pattern("/v1", path), expected);
        }
    }

    #[test]
    fn paths_with_the_same_methods_are_one_group() {
        let text = "openapi: 3.1.0\ninfo: { title: t, version: '1' }\npaths:\n  \
                    /a: { get: {}, post: {} }\n  /b: { get: {} }\n  /c/{x}: { post: {}, get: {} }\n";
        let document = Document::read(text.as_bytes()).unwrap();
        let groups = groups(&document, "").unwrap();
        let shown: Vec<String> = groups
            .iter()
            .map(|group| {
                let methods: Vec<&str> = group.methods.iter().map(|method| &**method).collect();
                let paths: Vec<String> = group.paths.iter().map(ToString::to_string).collect();
                format!("{} {}", methods.join(","), paths.join(","))
            })
            .collect();
        assert_eq!(shown, ["GET,POST /a,/c/{x}", "GET /b"]);
    }
}
