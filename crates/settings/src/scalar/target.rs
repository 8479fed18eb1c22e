//! Where a request is sent: a pool or one address.

use std::fmt;

use serde_json::{Value as Json, json};

use super::{EndpointAddress, EndpointHost, Name};
use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Address {
        /// Whether the connection is encrypted.
        tls: bool,
        address: EndpointAddress,
    },
    Pool(Name),
}

impl Target {
    /// Whether it is an address whose connections are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Target::Address { tls: true, .. })
    }

    /// The address that was probably meant where this was taken for the name of a pool.
    pub fn meant(name: &str) -> String {
        match name.parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port}"),
            Err(_) => format!("{name}:80"),
        }
    }
}

impl FromText for Target {
    const WHAT: &'static str = "the name of a pool or an address such as `127.0.0.1:3000`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not where a request can go: {why}", quote(text)))
        };
        if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| *scheme != "unix")
        {
            let (tls, default) = match scheme {
                "http" => (false, 80),
                "https" => (true, 443),
                _ => return Err(refuse("only `http://` and `https://` are known")),
            };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() || authority.contains(['?', '#']) {
                let hint = format!("add the path with `rewrite: {{ add-prefix: /{path} }}`");
                return Err(refuse("it has a path").hint(hint));
            }
            if authority.is_empty() {
                let hint = format!("name the host, such as `{scheme}://127.0.0.1:3000`");
                return Err(refuse("it has no host").hint(hint));
            }
            if authority.contains('@') {
                return Err(refuse("it has a user")
                    .hint("set the header `authorization` with `request-headers`"));
            }
            let bare = !authority.ends_with(']') && authority.contains(':');
            let address = match bare {
                true => EndpointAddress::from_text(authority)?,
                false => {
                    let host = EndpointHost::from_text(authority)?;
                    EndpointAddress::Tcp { host, port: default }
                }
            };
            return Ok(Target::Address { tls, address });
        }
        if text.contains([':', '/']) {
            let address = EndpointAddress::from_text(text)?;
            return Ok(Target::Address { tls: false, address });
        }
        Name::from_text(text).map(Target::Pool)
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "examples": ["orders", "127.0.0.1:3000", "https://shop.example", "unix:/run/app.sock"],
        })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Pool(name) => name.fmt(f),
            Target::Address { tls: true, address } => write!(f, "https://{address}"),
            Target::Address { tls: false, address } => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, expected) in [
            ("orders", Ok("orders")),
            ("127.0.0.1:3000", Ok("127.0.0.1:3000")),
            ("http://a:81", Ok("a:81")),
            ("http://a/", Ok("a:80")),
            ("https://a.example", Ok("https://a.example:443")),
            ("https://[::1]", Ok("https://[::1]:443")),
            ("unix:/run/a", Ok("unix:/run/a")),
            ("unix:///run/a", Ok("unix:/run/a")),
            ("http://a/x", Err("`http://a/x` is not where a request can go: it has a path")),
            (
                "ftp://a",
                Err(
                    "`ftp://a` is not where a request can go: only `http://` and `https://` are known",
                ),
            ),
            ("a/b", Err("`a/b` is not an endpoint: it has no port")),
        ] {
            let found = Target::from_text(text);
            let shown = found.as_ref().map(Target::to_string);
            assert_eq!(
                shown.as_deref().map_err(|refusal| refusal.what.as_str()),
                expected,
                "{text}"
            );
        }
    }
}
