//! What is said to whom.

use transom_proxy::fields::{Fields, Known, Values, list};
use transom_proxy::message::Method;
use transom_settings::is_token;

use super::Cors;
use crate::origin::OriginPattern;

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
const ALLOW_CREDENTIALS: &str = "Access-Control-Allow-Credentials";
const EXPOSE: &str = "Access-Control-Expose-Headers";
const REQUEST_METHOD: &str = "Access-Control-Request-Method";
const REQUEST_HEADERS: &str = "Access-Control-Request-Headers";
const REQUEST_PRIVATE: &str = "Access-Control-Request-Private-Network";
const BEGINNING: &[u8] = b"access-control-";

/// What a request says of itself.
pub(super) struct Asked<'a> {
    method: &'a Method,
    /// Nothing where it is not there, is there twice or is no text.
    pub(super) origin: Option<&'a str>,
    /// Which a preflight asks for.
    wanted: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
    private: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(method: &'a Method, fields: &'a Fields) -> Self {
        let origin = match fields.only(Known::Origin) {
            Values::One(origin) => std::str::from_utf8(origin).ok(),
            _ => None,
        };
        Asked {
            method,
            origin,
            wanted: fields.get(REQUEST_METHOD),
            headers: fields.get(REQUEST_HEADERS),
            private: fields.get(REQUEST_PRIVATE) == Some(b"true"),
        }
    }

    pub(super) fn is_preflight(&self) -> bool {
        *self.method == Method::Options && self.origin.is_some() && self.wanted.is_some()
    }
}

pub(super) struct Rule {
    pub(super) origins: Vec<OriginPattern>,
    methods: String,
    names: Vec<String>,
    /// Whichever fields a script asks for.
    any_header: bool,
    headers: String,
    expose: String,
    pub(super) credentials: bool,
    max_age: String,
    private_network: bool,
}

impl Rule {
    pub(super) fn of(settings: &Cors) -> Self {
        let headers: Vec<_> = settings.headers.iter().map(ToString::to_string).collect();
        let expose: Vec<_> = settings.expose.iter().map(ToString::to_string).collect();
        let names: Vec<_> = settings.methods.iter().map(ToString::to_string).collect();
        Rule {
            origins: settings.origins.iter().map(|origin| origin.value.clone()).collect(),
            methods: names.join(", "),
            names,
            any_header: headers.iter().any(|name| name == "*"),
            headers: headers.join(", "),
            expose: expose.join(", "),
            credentials: settings.credentials.value,
            max_age: settings.max_age.get().as_secs().to_string(),
            private_network: settings.private_network,
        }
    }

    pub(super) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.matches(origin))
    }

    fn is_for_all(&self) -> bool {
        self.origins.contains(&OriginPattern::Any)
    }

    pub(super) fn answer_preflight(&self, asked: &Asked<'_>, fields: &mut Fields) {
        let depends = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        fields.append(Known::Vary, depends.as_bytes());
        let Some(origin) = asked.origin.filter(|origin| self.allows(origin)) else { return };
        if asked.private && !self.private_network {
            return;
        }
        self.share(origin, fields);
        fields.remove(EXPOSE);
        let wanted = asked.wanted.unwrap_or_default();
        if self.names.iter().any(|name| name.as_bytes() == wanted) {
            fields.append("Access-Control-Allow-Methods", self.methods.as_bytes());
        }
        match asked.headers {
            // RFC 9110 §5.1: only what could be names is said again
            Some(headers) if self.any_header && list(headers).all(is_token) => {
                fields.append("Access-Control-Allow-Headers", headers);
            }
            _ if !self.any_header && !self.headers.is_empty() => {
                fields.append("Access-Control-Allow-Headers", self.headers.as_bytes());
            }
            _ => {}
        }
        if asked.private {
            fields.append("Access-Control-Allow-Private-Network", b"true");
        }
        fields.append("Access-Control-Max-Age", self.max_age.as_bytes());
    }

    pub(super) fn share(&self, origin: &str, fields: &mut Fields) {
        let shown = if self.is_for_all() { "*" } else { origin };
        fields.append(ALLOW_ORIGIN, shown.as_bytes());
        if self.credentials {
            fields.append(ALLOW_CREDENTIALS, b"true");
        }
        if !self.expose.is_empty() {
            fields.append(EXPOSE, self.expose.as_bytes());
        }
    }

    /// A response for one origin is not to be shown to another by a cache, also where the request had
    /// no origin (Fetch §3.2.5).
    pub(super) fn vary(&self, fields: &mut Fields) {
        let said = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(b"origin");
        if !self.is_for_all() && !fields.all(Known::Vary).flat_map(list).any(said) {
            fields.append(Known::Vary, b"Origin");
        }
    }
}

/// Takes off what the endpoint says of sharing.
pub(super) fn forget(fields: &mut Fields) {
    fields.retain(|field| {
        let beginning = field.name.get(..BEGINNING.len());
        !beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(BEGINNING))
    });
}

#[cfg(test)]
mod tests {
    use transom_settings::{FromText, HeaderName, List, OneOrMany, Spanned};

    use super::*;

    fn rule(origins: &[&str], headers: &[&str], credentials: bool) -> Rule {
        let header = |name: &&str| HeaderName::from_text(name).unwrap();
        let headers: Vec<_> = headers.iter().map(header).collect();
        let origins: Vec<Spanned<OriginPattern>> =
            origins.iter().map(|o| OriginPattern::from_text(o).unwrap().into()).collect();
        Rule::of(&Cors {
            origins: OneOrMany(origins),
            methods: vec![transom_settings::Method::known("PUT")].into(),
            headers: headers.into(),
            expose: List::from(vec![header(&"x-total")]),
            credentials: credentials.into(),
            max_age: transom_settings::Duration::seconds(60),
            private_network: false,
            dry_run: false,
        })
    }

    fn preflight(rule: &Rule, lines: &[(&str, &str)]) -> String {
        let (mut asked, mut said) = (Fields::new(), Fields::new());
        for (name, value) in lines {
            asked.append(*name, value.as_bytes());
        }
        let asked = Asked::of(&Method::Options, &asked);
        assert!(asked.is_preflight());
        rule.answer_preflight(&asked, &mut said);
        said.remove(Known::Vary);
        let mut out = Vec::new();
        said.write(&mut out);
        String::from_utf8(out).unwrap().replace("Access-Control-", "").replace("\r\n", "; ")
    }

    #[test]
    fn gw_16_preflights_are_told_what_is_allowed_and_strangers_nothing() {
        let (shop, all) =
            (rule(&["https://a.example"], &["x-a", "x-b"], true), rule(&["*"], &["*"], false));
        let origin = ("origin", "https://a.example");
        for (rule, lines, expected) in [
            (
                &shop,
                &[origin, (REQUEST_METHOD, "PUT")][..],
                "Allow-Origin: https://a.example; Allow-Credentials: true; Allow-Methods: PUT; \
                 Allow-Headers: x-a, x-b; Max-Age: 60; ",
            ),
            (
                &shop,
                &[origin, (REQUEST_METHOD, "DELETE")],
                "Allow-Origin: https://a.example; Allow-Credentials: true; Allow-Headers: x-a, x-b; \
                 Max-Age: 60; ",
            ),
            (&shop, &[("origin", "https://evil.example"), (REQUEST_METHOD, "PUT")], ""),
            (&shop, &[origin, (REQUEST_METHOD, "PUT"), (REQUEST_PRIVATE, "true")], ""),
            (
                &all,
                &[origin, (REQUEST_METHOD, "PUT"), (REQUEST_HEADERS, "x-z,y")],
                "Allow-Origin: *; Allow-Methods: PUT; Allow-Headers: x-z,y; Max-Age: 60; ",
            ),
            (
                &all,
                &[origin, (REQUEST_METHOD, "PUT"), (REQUEST_HEADERS, "<x>")],
                "Allow-Origin: *; Allow-Methods: PUT; Max-Age: 60; ",
            ),
        ] {
            assert_eq!(preflight(rule, lines), expected);
        }
    }

    #[test]
    fn gw_16_the_endpoints_opinion_is_forgotten_and_caches_are_told() {
        let (shop, all) = (rule(&["https://a.example"], &[], false), rule(&["*"], &[], false));
        let mut fields = Fields::new();
        fields.append("access-control-allow-origin", b"*");
        fields.append("Vary", b"Accept");
        super::super::share(&shop, None, &mut fields);
        let mut out = Vec::new();
        fields.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "Vary: Accept\r\nVary: Origin\r\n");
        let mut fields = Fields::new();
        super::super::share(&all, Some("https://b.example"), &mut fields);
        assert!(!fields.has(Known::Vary));
        assert_eq!(fields.get(ALLOW_ORIGIN), Some(&b"*"[..]));
    }
}
