//! Settings of a route: a match, its policies and exactly one action.

use std::fmt;
use std::path::PathBuf;

use transom_settings::{
    Cidr, Context, Definitions, Fields, FromText, HeaderName, HostPattern, List, Map, Method, Name,
    Node, OneOrMany, PathPattern, Refusal, Regex, Setting, Spanned, StatusPattern, Value,
    host_name,
    json::{Value as Json, json},
    quote, settings,
};

use super::{Action, Combine, HeaderChanges, PolicyUse, RouteLimits, RouteTimeouts};

settings! {
    /// Which requests go first where they have to wait.
    pub enum Priority {
        /// Before all others.
        High = "high",
        /// As they come.
        Normal = "normal",
        /// After all others.
        Low = "low",
    }

    /// A match, policies, and exactly one action: `forward`, `files`, `redirect`,
    /// `respond`, `compose` or `portal`.
    pub struct Route flatten(action: Action) {
        /// A name for logs and metrics.
        pub name: Option<Spanned<Name>> = None,
        /// The requests this is for. Without it, all.
        pub r#match: Match = Match::default(),
        /// Rules around the action: names of policies, or policies themselves.
        pub policies: List<PolicyUse> = List::default(),
        /// Where several of them find out who asks: whether one must succeed, or each.
        pub identify: Combine = Combine::Any,
        /// Limits that differ from the listener's.
        pub limits: RouteLimits = RouteLimits::default(),
        /// Timeouts that differ from the listener's.
        pub timeouts: RouteTimeouts = RouteTimeouts::default(),
        /// Which requests go first where they have to wait for room in a pool.
        pub priority: Priority = Priority::Normal,
        /// Files that are sent in place of Transom's own answers, before the listener's.
        pub error_pages: Map<StatusPattern, Spanned<PathBuf>> = Map::new(),
        /// Changes of the request's header.
        pub request_headers: HeaderChanges = HeaderChanges::default(),
        /// Changes of the response's header.
        pub response_headers: HeaderChanges = HeaderChanges::default(),
        /// Changes of what is asked for.
        pub rewrite: Spanned<Rewrite> = Spanned::default(),
    }

    /// The requests a route is for: all that is given must hold, of each list one.
    pub struct Match {
        /// Hosts: `shop.example`, `*.shop.example` or `*`.
        pub host: Option<OneOrMany<Spanned<HostPattern>>> = None,
        /// Paths: `/a`, `/api/**`, `/users/{id}` or `~REGEX`.
        pub path: Option<OneOrMany<Spanned<PathPattern>>> = None,
        /// Methods. `GET` is for HEAD too.
        pub method: Option<OneOrMany<Method>> = None,
        /// Header fields: a value, `~REGEX` for the whole value, `present: true`, or `unlike: REGEX` for
        /// what must not be there; with `like: REGEX`, something else must.
        pub header: Map<HeaderName, ValueMatch> = Map::new(),
        /// Parameters of the query, likewise.
        pub query: Map<String, ValueMatch> = Map::new(),
        /// Cookies, likewise.
        pub cookie: Map<String, ValueMatch> = Map::new(),
        /// Addresses of clients.
        pub client: Option<OneOrMany<Cidr>> = None,
    }

    /// Changes of what is asked for. The prefix goes first, then the regular expression. A prefix
    /// is either replaced, or stripped and one added.
    pub struct Rewrite {
        /// Removed from the beginning of the path.
        pub strip_prefix: Option<Spanned<PathPrefix>> = None,
        /// Put before the path.
        pub add_prefix: Option<Spanned<PathPrefix>> = None,
        /// One beginning of the path in the place of another.
        pub replace_prefix: Option<ReplacePrefix> = None,
        /// A replacement anywhere in the path.
        pub regex: Option<RegexRewrite> = None,
        /// The host that the endpoint sees: `keep` the client's, `upstream` for the endpoint's
        /// own, or this one.
        pub host: HostRewrite = HostRewrite::Keep,
    }

    /// One beginning of the path in the place of another.
    pub struct ReplacePrefix {
        /// What is replaced.
        pub from: Spanned<PathPrefix>,
        /// What stands there then.
        pub to: Spanned<PathPrefix>,
    }

    /// A replacement by regular expression.
    pub struct RegexRewrite {
        /// What is replaced, the first time it occurs.
        pub r#match: Spanned<Regex>,
        /// What stands there then; `$1` or `$name` is what a group matched. (`${` would ask for an
        /// environment variable; `$${1}` is `${1}`.)
        pub replace: Spanned<String>,
    }
}

impl Match {
    /// The one path below which all are that it is for; empty for `/`.
    pub fn below(&self) -> Option<&str> {
        match self.path.as_deref() {
            None => Some(""),
            Some([one]) => match &one.value {
                PathPattern::Prefix(prefix) => Some(prefix),
                _ => None,
            },
            Some(_) => None,
        }
    }
}

/// What a header field, a parameter or a cookie must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    Is(String),
    /// Whether it is there at all.
    Present(bool),
    /// The whole value must match.
    Regex(Spanned<Regex>),
    /// No value may match; where `like` is given there must be one, and it must match that.
    Unlike {
        like: Option<Spanned<Regex>>,
        unlike: Spanned<Regex>,
    },
}

impl ValueMatch {
    /// As how many conditions the router counts it.
    pub fn conditions(&self) -> usize {
        if matches!(self, ValueMatch::Unlike { like: Some(_), .. }) { 2 } else { 1 }
    }

    /// The regular expressions in it.
    pub fn regexes(&self) -> impl Iterator<Item = &Spanned<Regex>> {
        let (first, second) = match self {
            ValueMatch::Regex(regex) => (Some(regex), None),
            ValueMatch::Unlike { like, unlike } => (like.as_ref(), Some(unlike)),
            ValueMatch::Is(_) | ValueMatch::Present(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Whether everything that the other accepts is accepted.
    pub fn covers(&self, other: &ValueMatch) -> bool {
        self == other
            || matches!(
                (self, other),
                (ValueMatch::Present(true), ValueMatch::Is(_) | ValueMatch::Regex(_))
            )
    }
}

impl Setting for ValueMatch {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                let keys = ["like", "present", "unlike"].map(str::to_owned);
                let mut fields = Fields::open(node, at, &keys, None)?;
                let has = |key| node.get(key).is_some();
                if has("present") && (has("like") || has("unlike")) {
                    let what = "`present` excludes `like` and `unlike`";
                    let hint = "write `{ like: .+, unlike: REGEX }` for what must be there and be \
                                something else";
                    at.push(at.error(node.span, what).hint(hint));
                    return None;
                }
                if has("like") && !has("unlike") {
                    let what = "`like` is for what `unlike` leaves, and there is no `unlike`";
                    let hint = "write `~REGEX` for a value that must match";
                    at.push(at.error(node.span, what).hint(hint));
                    return None;
                }
                if has("unlike") {
                    let like: Option<Spanned<Regex>> = fields.given("like", at);
                    let unlike: Option<Spanned<Regex>> = fields.given("unlike", at);
                    let broken = has("like") && like.is_none();
                    return unlike
                        .filter(|_| !broken)
                        .map(|unlike| ValueMatch::Unlike { like, unlike });
                }
                let doc = "Whether it must be there or must be absent.";
                fields.required("present", doc, at).map(ValueMatch::Present)
            }
            _ => {
                let scalar = at.scalar(node, "a value, `~REGEX` or `present: true`")?;
                match scalar.text.strip_prefix('~') {
                    None => Some(ValueMatch::Is(scalar.text.clone())),
                    Some(regex) => match Regex::from_text(regex) {
                        Ok(regex) => Some(ValueMatch::Regex(Spanned::new(regex, node.span))),
                        Err(refusal) => {
                            at.push(at.error(node.span, refusal.what));
                            None
                        }
                    },
                }
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "anyOf": [
            { "type": ["string", "number", "boolean"] },
            {
                "type": "object",
                "properties": { "present": { "type": "boolean" } },
                "required": ["present"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "like": { "type": "string" }, "unlike": { "type": "string" } },
                "required": ["unlike"],
                "additionalProperties": false,
            },
        ] })
    }

    fn to_json(&self) -> Json {
        match self {
            ValueMatch::Is(value) => value.clone().into(),
            ValueMatch::Regex(regex) => format!("~{regex}").into(),
            ValueMatch::Present(present) => json!({ "present": present }),
            ValueMatch::Unlike { like: None, unlike } => json!({ "unlike": unlike.to_json() }),
            ValueMatch::Unlike { like: Some(like), unlike } => {
                json!({ "like": like.to_json(), "unlike": unlike.to_json() })
            }
        }
    }
}

/// The beginning of a path, by whole segments: `/api`. Without the slash that may end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The prefix; empty for `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for PathPrefix {
    const WHAT: &'static str = "the beginning of a path such as `/api`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match PathPattern::from_text(text)? {
            PathPattern::Exact(path) => Ok(PathPrefix(path.trim_end_matches('/').to_owned())),
            _ => {
                let what = format!("{} is a pattern, not the beginning of a path", quote(text));
                let hint = "write it without `**`, `{ }` and `~`, such as `/api`";
                Err(Refusal::new(what).hint(hint))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^/", "examples": ["/api"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// The host that an endpoint sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The one the client asked for.
    Keep,
    /// This one.
    Literal(String),
    /// The endpoint's own.
    Upstream,
}

impl FromText for HostRewrite {
    const WHAT: &'static str = "`keep`, `upstream` or a host";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "keep" => Ok(HostRewrite::Keep),
            "upstream" => Ok(HostRewrite::Upstream),
            text => {
                // unlike in a match, an endpoint may be told a port
                let (host, port) = match text.rsplit_once(':') {
                    Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
                    _ => (text, None),
                };
                let host = host_name(host)?;
                Ok(HostRewrite::Literal(match port {
                    Some(port) => format!("{host}:{port}"),
                    None => host,
                }))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["keep", "upstream", "shop.internal"] })
    }

    fn to_json(&self) -> Json {
        match self {
            HostRewrite::Keep => "keep".into(),
            HostRewrite::Upstream => "upstream".into(),
            HostRewrite::Literal(host) => host.clone().into(),
        }
    }
}
