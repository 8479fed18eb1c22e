//! Actions: what a route finally does.

use std::path::PathBuf;

use transom_gateway::compose::Compose;
use transom_gateway::portal::Portal;
use transom_settings::{
    ByteSize, Context, Definitions, Duration, FromText, HeaderName, HeaderValue, Limit, Map, Name,
    Node, Percent, Setting, Spanned, Status, StatusPattern, Target, Value,
    json::{Value as Json, json},
    settings,
};

use super::{Algorithm, Template};

settings! {
    /// What a route finally does.
    pub choice Action {
        /// Sends the request to a pool or an address: `forward: orders`.
        "forward" => Forward(Forward),
        /// Serves files from a directory: `files: public`.
        "files" => Files(Files),
        /// Sends the client elsewhere: `redirect: https://shop.example{path}`.
        "redirect" => Redirect(Redirect),
        /// Answers by itself: a status, a text, or both with headers.
        "respond" => Respond(Answer),
        /// Asks several services and makes one answer of theirs.
        "compose" => Compose(Spanned<Compose>),
        /// Shows APIs to the people who call them: `portal: {}`.
        "portal" => Portal(Spanned<Portal>),
    }

    /// Sends the request on.
    pub struct Forward short(to) {
        /// The name of a pool, or one address: `127.0.0.1:3000`, `https://host` or `unix:/path`.
        pub to: Spanned<Target>,
        /// Only endpoints of the pool with all of these labels: `{ version: v2 }`.
        pub subset: Map<Name, String> = Map::new(),
        /// How one endpoint is chosen, where that differs from the pool's.
        pub algorithm: Option<Spanned<Algorithm>> = None,
        /// Protocols that a client may change to.
        pub upgrade: Vec<Upgrade> = vec![Upgrade::WebSocket],
        /// When a request is tried again at another endpoint: how often, or settings.
        pub retries: Retries = Retries::default(),
        /// Sends copies of requests to another pool or address, for whose answers nobody waits.
        pub mirror: Option<Mirror> = None,
        /// After how long without a response another attempt is made beside the first, at another
        /// endpoint; the one that answers first counts. Only for requests without a body that may
        /// be sent twice, and within the pool's budget of retries.
        pub hedge: Limit<Duration> = Limit::Unlimited,
        /// The header that tells the endpoint how many milliseconds are left of `timeouts.request`.
        pub deadline_header: Option<Spanned<HeaderName>> = None,
    }

    /// Copies of requests. WebSocket and bodies that are too long are not copied.
    pub struct Mirror short(to) {
        /// The name of a pool or a split, or one address.
        pub to: Spanned<Target>,
        /// The part of the requests that is copied.
        pub share: Percent = Percent::of(100),
        /// The longest body that is copied.
        pub max_body: ByteSize = ByteSize(64 * 1024),
        /// How many copies may be on their way at once; what is more is not copied.
        pub at_once: u32 = 100,
        /// Whether copies have the client's `Authorization` and `Cookie`: whoever gets them can act as
        /// the client.
        pub credentials: bool = false,
    }

    /// When a request is tried again at another endpoint.
    pub struct Retries short(count) {
        /// How often a request is tried again that may have reached an endpoint: only where its
        /// method is idempotent, nothing of a response has come, and its body is empty or of at
        /// most 64 KiB.
        pub count: Spanned<u16> = 1.into(),
        /// How often a request is tried again of which nothing was sent, because there was no
        /// connection. The next endpoint is asked at once.
        pub connect: u16 = 3,
        /// Statuses of a response after which a request is tried again: `503` or `5xx`. Not where
        /// the response has `Retry-After` with a longer time than `max-backoff`.
        pub statuses: Vec<Spanned<StatusPattern>> = Vec::new(),
        /// Whether requests whose method is not idempotent (POST, PATCH) are tried again too. They
        /// may then take effect twice.
        pub any_method: bool = false,
        /// The longest wait before the first retry. Each further one may wait twice as long; how
        /// long it waits is random below that.
        pub backoff: Spanned<Duration> = Duration::milliseconds(25).into(),
        /// The longest wait before any retry.
        pub max_backoff: Duration = Duration::milliseconds(250),
        /// How long one attempt may take up to the head of its response.
        pub per_attempt: Spanned<Limit<Duration>> = Limit::Unlimited.into(),
    }

    /// A protocol that a client may change to.
    pub enum Upgrade {
        /// WebSocket (RFC 6455).
        WebSocket = "websocket",
    }

    /// Serves files from a directory.
    pub struct Files short(root) {
        /// The directory. Nothing outside it is ever served.
        pub root: Spanned<PathBuf>,
        /// Files that stand for their directory, the first that exists.
        pub index: Vec<String> = vec!["index.html".to_owned()],
        /// What is looked for in turn, `{path}` being the path that was asked for:
        /// `["{path}", "/index.html"]` for an application of a single page.
        pub r#try: Vec<Spanned<String>> = Vec::new(),
        /// Whether a directory without index is shown as a list.
        pub listing: bool = false,
        /// Compressed forms that lie beside a file (`app.js.br`) and are sent to who takes them.
        pub precompressed: Vec<Encoding> = Vec::new(),
        /// The value of `Cache-Control`.
        pub cache_control: Option<HeaderValue> = None,
    }

    /// A compressed form of a file.
    pub enum Encoding {
        /// Brotli, `.br`.
        Br = "br",
        /// gzip, `.gz`.
        Gzip = "gzip",
        /// Zstandard, `.zst`.
        Zstd = "zstd",
    }

    /// Sends the client elsewhere.
    pub struct Redirect short(to) {
        /// Where to, with variables: `https://shop.example{path}`.
        pub to: Spanned<Template>,
        /// The status of the answer.
        pub status: RedirectStatus = RedirectStatus::Permanent,
    }

    /// The status of a redirect.
    pub enum RedirectStatus {
        /// Moved for ever; clients may change the method to GET.
        MovedPermanently = "301",
        /// Elsewhere today; clients may change the method to GET.
        Found = "302",
        /// See the other with GET.
        SeeOther = "303",
        /// Elsewhere today, same method.
        Temporary = "307",
        /// Moved for ever, same method.
        Permanent = "308",
    }

    /// An answer of Transom's own.
    pub struct Respond {
        /// The status.
        pub status: Status = Status::of(200),
        /// The body.
        pub body: Option<String> = None,
        /// The type of the body.
        pub content_type: Option<HeaderValue> = None,
        /// Further header fields.
        pub headers: Map<HeaderName, HeaderValue> = Map::new(),
    }
}

impl RedirectStatus {
    pub fn code(self) -> u16 {
        match self {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::SeeOther => 303,
            RedirectStatus::Temporary => 307,
            RedirectStatus::Permanent => 308,
        }
    }
}

/// An answer of Transom's own, written `204`, `"a text"` or as a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer(pub Respond);

impl Setting for Answer {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let respond = match &node.value {
            Value::Scalar(scalar) => {
                let number = !scalar.quoted && scalar.text.bytes().all(|c| c.is_ascii_digit());
                match number {
                    true => Respond { status: Status::decode(node, at)?, ..Respond::default() },
                    false => {
                        Respond { body: Some(String::decode(node, at)?), ..Respond::default() }
                    }
                }
            }
            Value::Map(_) => Respond::decode(node, at)?,
            _ => return at.mismatch("a status, a text or a map", node),
        };
        Some(Answer(respond))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let map = Respond::schema(definitions);
        json!({ "anyOf": [<Status as FromText>::schema(), { "type": "string" }, map] })
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }
}
