//! Which origins are meant: `scheme://host[:port]`, as browsers write them (RFC 6454 §7, Fetch §3.2).

use std::fmt;

use regex::Regex;
use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Refusal, host_name, quote};

/// An origin, or a pattern of origins, as it is written in the file.
#[derive(Clone, Debug)]
pub enum OriginPattern {
    /// Every origin: `*`.
    Any,
    /// `https://shop.example`; the port is left out where it is the scheme's own.
    Exact(String),
    /// `https://*.shop.example`: hosts below this one, however deep. Not the host itself.
    Below { before: &'static str, after: String },
    /// `~REGEX`: the expression matches all of the origin.
    Regex(Regex, String),
}

impl PartialEq for OriginPattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl OriginPattern {
    /// Whether an `Origin` field with this value is meant. `null`, which any sandboxed frame has, is
    /// none of the origins unless an expression says so.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            OriginPattern::Any => true,
            OriginPattern::Exact(exact) => exact == origin,
            OriginPattern::Below { before, after } => {
                let between = origin.strip_prefix(before).and_then(|o| o.strip_suffix(&**after));
                between.is_some_and(|labels| {
                    !labels.is_empty()
                        && !labels.starts_with(['.', '-'])
                        && labels.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                })
            }
            OriginPattern::Regex(regex, _) => regex.is_match(origin),
        }
    }

    /// Whether origins are meant that nobody can have meant: so wide is the expression.
    pub fn is_careless(&self) -> bool {
        const STRANGERS: [&str; 3] =
            ["https://stranger.invalid", "http://198.51.100.7:8080", "https://a.b.c.d.invalid"];
        matches!(self, OriginPattern::Regex(..)) && STRANGERS.iter().all(|one| self.matches(one))
    }
}

/// The origin of a scheme and an authority as browsers write it: without the scheme's own port.
pub fn origin_of(scheme: &str, authority: &str) -> String {
    let own = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", authority.strip_suffix(own).unwrap_or(authority))
}

impl FromText for OriginPattern {
    const WHAT: &'static str = "an origin such as `https://shop.example`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if text == "*" {
            return Ok(OriginPattern::Any);
        }
        if let Some(expression) = text.strip_prefix('~') {
            let whole = format!("^(?:{expression})$");
            let regex = regex::RegexBuilder::new(&whole).size_limit(1 << 20).build();
            let regex = regex.map_err(|error| {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim().to_owned();
                Refusal::new(format!("{} is no regular expression: {reason}", quote(expression)))
            })?;
            return Ok(OriginPattern::Regex(regex, expression.to_owned()));
        }
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not an origin: {why}", quote(text)))
                .hint("write scheme and host, such as `https://shop.example`, `https://*.shop.example`, `~REGEX` or `*`")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http://", rest),
            Some(("https", rest)) => ("https://", rest),
            Some(_) => return Err(refuse("only `http://` and `https://` have origins")),
            None => return Err(refuse("it has no scheme")),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(refuse("its port is not a number up to 65535"));
        }
        let authority = |host: String| match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let own = if scheme == "https://" { ":443" } else { ":80" };
        let usual =
            |authority: String| authority.strip_suffix(own).map(str::to_owned).unwrap_or(authority);
        if let Some(below) = host.strip_prefix("*.") {
            let after = usual(authority(format!(".{}", host_name(below)?)));
            return Ok(OriginPattern::Below { before: scheme, after });
        }
        if rest.contains(['/', '?', '#', '@', '*']) {
            return Err(refuse("an origin ends with host and port"));
        }
        Ok(OriginPattern::Exact(format!("{scheme}{}", usual(authority(host_name(host)?)))))
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["https://shop.example", "https://*.shop.example"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginPattern::Any => f.write_str("*"),
            OriginPattern::Exact(origin) => f.write_str(origin),
            OriginPattern::Below { before, after } => write!(f, "{before}*{after}"),
            OriginPattern::Regex(_, expression) => write!(f, "~{expression}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_is_written_and_nothing_beside_it() {
        for (pattern, origin, expected) in [
            ("https://shop.example", "https://shop.example", true),
            ("https://shop.example:443", "https://shop.example", true),
            ("https://shop.example", "http://shop.example", false),
            ("https://shop.example", "https://shop.example:8443", false),
            ("https://shop.example", "https://shop.example.evil.example", false),
            ("https://*.shop.example", "https://a.shop.example", true),
            ("https://*.shop.example", "https://a.b.shop.example", true),
            ("https://*.shop.example", "https://shop.example", false),
            ("https://*.shop.example", "https://evilshop.example", false),
            ("https://*.shop.example", "https://evil.example/.shop.example", false),
            ("https://*.shop.example", "https://.shop.example", false),
            ("https://*.shop.example:8443", "https://a.shop.example:8443", true),
            ("~https://pr-[0-9]+\\.shop\\.example", "https://pr-7.shop.example", true),
            ("~https://pr-[0-9]+\\.shop\\.example", "https://pr-7.shop.example.evil", false),
            ("*", "null", true),
            ("https://shop.example", "null", false),
        ] {
            let found = OriginPattern::from_text(pattern).unwrap();
            assert_eq!(found.matches(origin), expected, "{pattern} {origin}");
            assert_eq!(OriginPattern::from_text(&found.to_string()), Ok(found));
        }
        for wrong in ["shop.example", "ftp://a", "https://a/b", "https://a:x", "https://*a.b", "~("]
        {
            assert!(OriginPattern::from_text(wrong).is_err(), "{wrong}");
        }
        assert!(OriginPattern::from_text("~.*").unwrap().is_careless());
        assert!(!OriginPattern::from_text("~https://.*\\.shop\\.example").unwrap().is_careless());
    }

    #[test]
    fn own_origins_have_no_usual_port() {
        assert_eq!(origin_of("https", "a.example:443"), "https://a.example");
        assert_eq!(origin_of("http", "a.example:8080"), "http://a.example:8080");
    }
}
