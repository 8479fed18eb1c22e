//! An OpenAPI document becomes an API with one version, whose routes are those that the document
//! describes.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;
use transom_gateway::openapi::{Document, read};
use transom_settings::{FromText, Name, Target, quote};

/// What is asked for beside the document.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where the API is; without it, what the document says.
    pub to: Option<String>,
    /// What the API is called; without it, its title.
    pub name: Option<String>,
}

/// The configuration for the document that `file` holds.
///
/// # Errors
/// Why there is none, with the place in the document where that can be told.
pub fn import(file: &Path, bytes: &[u8], wish: &Wish) -> Result<String, String> {
    let document = Document::read(bytes)?;
    if document.operations.is_empty() {
        return Err("it describes no operation".to_owned());
    }
    // as it was written, before 3.0 became 3.1
    let written = read::json(bytes)?;
    let server = written["servers"][0]["url"].as_str().unwrap_or_default();
    let to = match &wish.to {
        Some(to) => to.clone(),
        None => authority(server).ok_or("it names no server; say with `--to` where it is")?,
    };
    Target::from_text(&to).map_err(|refusal| format!("`--to`: {refusal}"))?;
    let name = match &wish.name {
        Some(name) => {
            Name::from_text(name).map_err(|refusal| format!("`--name`: {refusal}"))?.to_string()
        }
        None => named(&document.title),
    };
    let Place { path, version, endpoint } = Place::of(&document, &name);
    let mut text = String::new();
    let count = document.operations.len();
    let _ = write!(
        text,
        "# From {}: {} {}, {count} operation{}.\n\n\
         listeners:\n  web: {{ address: 127.0.0.1:8080 }}\n\n\
         apis:\n  {name}:\n",
        one_line(&file.display().to_string()),
        one_line(&document.title),
        one_line(&document.version),
        if count == 1 { "" } else { "s" },
    );
    if !document.title.is_empty() {
        let _ = writeln!(text, "    title: {}", quoted(&document.title));
    }
    let _ = write!(
        text,
        "    path: {path}\n    versions:\n      {version}:\n        openapi: {}\n        \
         routes: from-document\n        # policies: [validate: {{}}]   # parameters and bodies, too, as described\n",
        quoted(&file.display().to_string()),
    );
    if let Some(endpoint) = endpoint {
        let _ = writeln!(text, "        endpoint-path: {}", quoted(&endpoint));
    }
    if to.starts_with("https://") {
        text.push_str("        endpoint-host: upstream\n");
    }
    let _ = writeln!(text, "        forward: {}", quoted(&to));
    let left = left_out(&written);
    if !left.is_empty() {
        text.push_str("\n# Not carried over:\n");
        for line in left {
            let _ = writeln!(text, "# - {}", one_line(&line));
        }
    }
    Ok(text)
}

/// Where an API is, for clients and at its endpoint.
struct Place {
    path: String,
    version: String,
    /// Where that differs from what clients ask for.
    endpoint: Option<String>,
}

impl Place {
    fn of(document: &Document, name: &str) -> Self {
        let base = &document.base;
        let is_version = |text: &str| {
            text.strip_prefix('v').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit() || c == b'.')
            })
        };
        if let Some((path, last)) = base.rsplit_once('/')
            && is_version(last)
        {
            let path = if path.is_empty() { "/" } else { path };
            return Place { path: path.to_owned(), version: last.to_owned(), endpoint: None };
        }
        let major: String = document
            .version
            .trim_start_matches(['v', 'V'])
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let version = format!("v{}", if major.is_empty() || major == "0" { "1" } else { &major });
        let path = if base.is_empty() { format!("/{name}") } else { base.clone() };
        let endpoint = if base.is_empty() { "/" } else { base };
        Place { path, version, endpoint: Some(endpoint.to_owned()) }
    }
}

/// The server that a URL names, as an address to forward to.
fn authority(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    match scheme {
        _ if host.contains('{') => None,
        "http" => Some(format!("http://{host}")),
        "https" => Some(format!("https://{host}")),
        _ => None,
    }
}

/// A name made of a title: `Swagger Petstore - OpenAPI 3.0` is `swagger-petstore-openapi-3.0`.
fn named(title: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { ' ' };
    let words: String = title.chars().map(plain).collect();
    let mut name = String::new();
    for word in words.split_whitespace() {
        // the name of a version stands behind it in that of a route
        if name.len() + word.len() > 40 {
            break;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(word);
    }
    if name.is_empty() { "api".to_owned() } else { name }
}

/// What the document says and the configuration does not.
fn left_out(document: &Json) -> Vec<String> {
    let mut left = Vec::new();
    let schemes = document["components"]["securitySchemes"].as_object();
    for (name, scheme) in schemes.into_iter().flatten() {
        let text = |key: &str| scheme[key].as_str().unwrap_or_default();
        let policy = match (text("type"), text("scheme").to_ascii_lowercase().as_str()) {
            ("apiKey", _) => {
                format!("the policy `api-key: {{ {}: {} }}`", text("in"), text("name"))
            }
            ("http", "basic") => "the policy `basic-auth`".to_owned(),
            ("http", "bearer") | ("oauth2" | "openIdConnect", _) => {
                "the policy `jwt`, or `introspection`".to_owned()
            }
            ("mutualTLS", _) => "the policy `client-certificate`".to_owned(),
            (other, _) => format!("`{other}`"),
        };
        left.push(format!("the security scheme {}: that is {policy}", quote(name)));
    }
    let servers = document["servers"].as_array().map_or(0, Vec::len);
    if servers > 1 {
        left.push(format!("{} more servers; several that are alike make a pool", servers - 1));
    }
    for (key, what) in [("webhooks", "webhooks"), ("security", "which operations need credentials")]
    {
        if document.get(key).is_some() {
            left.push(what.to_owned());
        }
    }
    left
}

/// A text in YAML, never taken for a variable.
fn quoted(text: &str) -> String {
    Json::from(text.replace("${", "$${")).to_string()
}

/// A text that ends no comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str, to: Option<&str>) -> Result<String, String> {
        let wish = Wish { to: to.map(str::to_owned), name: None };
        import(Path::new("shop.yaml"), text.as_bytes(), &wish)
    }

    const PATHS: &str = "paths: { /pets: { get: {} } }\n";

    #[test]
    fn gw_37_a_document_becomes_an_api_at_the_place_that_it_names() {
        for (server, version, expected) in [
            (
                "https://a.example/api/v3",
                "1.0.27",
                ["path: /api\n", "      v3:\n", "forward: \"https://a.example\""],
            ),
            ("https://a.example/v1/", "7", ["path: /\n", "      v1:\n", "endpoint-host: upstream"]),
            (
                "http://a.example:8080/api",
                "2.1",
                ["path: /api\n", "      v2:\n", "endpoint-path: \"/api\""],
            ),
            (
                "http://a.example",
                "0.3",
                ["path: /pet-shop\n", "      v1:\n", "endpoint-path: \"/\""],
            ),
        ] {
            let text = format!(
                "openapi: 3.0.3\ninfo: {{ title: Pet Shop, version: '{version}' }}\nservers: [{{ url: '{server}' }}]\n{PATHS}"
            );
            let text = imported(&text, None).unwrap();
            for part in expected {
                assert!(text.contains(part), "{server}: {text}");
            }
        }
    }

    #[test]
    fn what_is_not_carried_over_is_told() {
        let text = format!(
            "openapi: 3.1.0\ninfo: {{ title: \"${{x}}\\nY\", version: '1' }}\n{PATHS}security: []\ncomponents: {{ securitySchemes: {{ key: {{ type: apiKey, in: header, name: X-Key }} }} }}\n"
        );
        let text = imported(&text, Some("127.0.0.1:9000")).unwrap();
        assert!(
            text.contains(
                "# - the security scheme `key`: that is the policy `api-key: { header: X-Key }`\n"
            ),
            "{text}"
        );
        assert!(text.contains("title: \"$${x}\\nY\"") && text.contains("  x-y:\n"), "{text}");
        assert!(text.starts_with("# From shop.yaml: ${x} Y 1, 1 operation.\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_imported_says_why() {
        for (text, to, expected) in [
            ("swagger: '2.0'", None, "Swagger 2.0"),
            ("openapi: 3.1.0", None, "it describes no operation"),
            ("a: [", None, "line 2"),
            ("openapi: 3.1.0\npaths: { /a: { get: {} } }", None, "`--to`"),
            ("openapi: 3.1.0\npaths: { /a: { get: {} } }", Some("ftp://a"), "`--to`: `ftp://a`"),
        ] {
            let found = imported(text, to).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
