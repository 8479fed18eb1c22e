//! Why Transom answers instead of an endpoint: one closed table.
//!
//! Metrics, the access log, `Proxy-Status` and `transom explain fault` all use its codes; there is
//! no second vocabulary.

use std::borrow::Cow;
use std::time::Duration;

/// Who caused a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Transom,
    Upstream,
}

impl Blame {
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Transom => "transom",
            Blame::Upstream => "upstream",
        }
    }
}

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    No,
    /// Nothing of the request was done.
    Yes,
    IfIdempotent,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    pub code: &'static str,
    pub status: u16,
    /// gRPC status code and its name.
    pub grpc: (u8, &'static str),
    /// The error type of RFC 9209 (`Proxy-Status`).
    pub proxy_status: &'static str,
    pub blame: Blame,
    pub retry: Retry,
    /// What the client is told: one sentence with nothing internal in it.
    pub sentence: &'static str,
    /// What it means to the operator.
    pub meaning: &'static str,
    /// What the operator can do.
    pub remedy: &'static str,
}

macro_rules! faults {
    ($($variant:ident $code:literal $status:literal $grpc:ident $proxy_status:ident $blame:ident $retry:ident
        $sentence:literal, $meaning:literal, $remedy:literal;)+) => {
        /// What went wrong, as a code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Code { $($variant),+ }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant),+];
            const ROWS: &[Row] = &[$(Row {
                code: $code,
                status: $status,
                grpc: grpc::$grpc,
                proxy_status: stringify!($proxy_status),
                blame: Blame::$blame,
                retry: Retry::$retry,
                sentence: $sentence,
                meaning: $meaning,
                remedy: $remedy,
            }),+];
        }
    };
}

mod grpc {
    pub(super) const CANCELLED: (u8, &str) = (1, "CANCELLED");
    pub(super) const INVALID_ARGUMENT: (u8, &str) = (3, "INVALID_ARGUMENT");
    pub(super) const DEADLINE_EXCEEDED: (u8, &str) = (4, "DEADLINE_EXCEEDED");
    pub(super) const NOT_FOUND: (u8, &str) = (5, "NOT_FOUND");
    pub(super) const PERMISSION_DENIED: (u8, &str) = (7, "PERMISSION_DENIED");
    pub(super) const RESOURCE_EXHAUSTED: (u8, &str) = (8, "RESOURCE_EXHAUSTED");
    pub(super) const FAILED_PRECONDITION: (u8, &str) = (9, "FAILED_PRECONDITION");
    pub(super) const ABORTED: (u8, &str) = (10, "ABORTED");
    pub(super) const UNIMPLEMENTED: (u8, &str) = (12, "UNIMPLEMENTED");
    pub(super) const INTERNAL: (u8, &str) = (13, "INTERNAL");
    pub(super) const UNAVAILABLE: (u8, &str) = (14, "UNAVAILABLE");
    pub(super) const UNAUTHENTICATED: (u8, &str) = (16, "UNAUTHENTICATED");
}

faults! {
    BadRequest "bad-request" 400 INVALID_ARGUMENT http_request_error Client No
        "The request could not be understood.",
        "the request is malformed or ambiguous, so it was refused instead of repaired",
        "read `detail` in the access log, which names the rule it broke, and mend the client";
    Unauthenticated "unauthenticated" 401 UNAUTHENTICATED http_request_denied Client No
        "Credentials are missing or not valid.",
        "the route asks for credentials and the request has none that are valid",
        "give the client valid credentials; `detail` says what was wrong with those it sent";
    Forbidden "forbidden" 403 PERMISSION_DENIED http_request_denied Client No
        "Access is not allowed.",
        "a rule of the route does not let this client pass",
        "run `transom explain` for the request to see the route and its policies";
    NoRoute "no-route" 404 UNIMPLEMENTED destination_not_found Client No
        "Nothing is found here.",
        "the listener knows the host, but none of its routes matches the request",
        "run `transom explain METHOD URL`: it shows for each route the first condition that failed";
    NotFound "not-found" 404 NOT_FOUND proxy_internal_response Client No
        "Nothing is found here.",
        "a route matched, but below the root of its `files` lies nothing that it serves under this path",
        "look for the file below the root; hidden names and links that lead out of the root are never served";
    MethodNotAllowed "method-not-allowed" 405 UNIMPLEMENTED http_request_error Client No
        "The method is not allowed here.",
        "a route matches host and path, but not the method; or the method is CONNECT or TRACE",
        "add the method to the route's match; CONNECT and TRACE are never served";
    NotAcceptable "not-acceptable" 406 INVALID_ARGUMENT http_request_error Client No
        "What is asked for is not available in this form or version.",
        "the request asks for a version of an API, or a form of a response, that there is not",
        "read `detail` in the access log, which names what was asked for, and mend the client";
    RequestTimeout "request-timeout" 408 DEADLINE_EXCEEDED http_request_error Client No
        "The request took too long to arrive.",
        "the client did not send the whole head, or the body stood still, was slower than allowed or not there within `timeouts.request`",
        "raise `timeouts.header`, `timeouts.body-idle`, `timeouts.request` or lower `timeouts.body-min-rate` if the client is honest";
    OutcomeUnknown "outcome-unknown" 409 ABORTED http_request_denied Client No
        "It is not known whether this was done before.",
        "a request with the same idempotency key is under way, or may have reached an endpoint that gave no answer",
        "look into the endpoint whether it was done; `keep` of the policy `idempotency` says when the key is forgotten, `lost: again` lets such a request through again";
    Gone "gone" 410 UNIMPLEMENTED http_request_error Client No
        "This is no longer served.",
        "the version of the API that was asked for is retired, or has one of its brown-outs",
        "move the client to the version that `Link` names; the access log has the remark `lifecycle: deprecated` for who still asks for this one";
    TooLarge "too-large" 413 RESOURCE_EXHAUSTED http_request_error Client No
        "The request body is too large.",
        "the body is longer than the route's `limits.body`",
        "raise `limits.body` for this route; `unlimited` must be written out";
    UriTooLong "uri-too-long" 414 INVALID_ARGUMENT http_request_error Client No
        "The request target is too long.",
        "the request line is longer than `limits.request-line`",
        "raise `limits.request-line` on the listener, or send the data in the body";
    UnsupportedMedia "unsupported-media" 415 INVALID_ARGUMENT http_request_error Client No
        "A body of this type or coding is not taken here.",
        "the body's `Content-Type` or `Content-Encoding` is none that a policy of the route takes",
        "read `detail` in the access log, which names what was sent; mend the client, or allow the type";
    ExpectationFailed "expectation-failed" 417 INVALID_ARGUMENT http_request_error Client No
        "The expectation cannot be met.",
        "the request has an Expect field other than exactly `100-continue`",
        "remove the Expect field from the client";
    Misdirected "misdirected" 421 FAILED_PRECONDITION http_request_error Client No
        "This host is not served here.",
        "no route of this listener names the host that was asked for, or the connection was made before a reload after which clients are asked for other certificates",
        "add a route for the host, or a route without `host`, which serves any; who connects anew is asked for the certificates of now";
    KeyReused "key-reused" 422 INVALID_ARGUMENT http_request_error Client No
        "The idempotency key was used for another request.",
        "the client has sent an idempotency key a second time, with another method, path, query or body",
        "mend the client: each thing to be done has a key of its own, which stays the same when it asks again";
    Invalid "invalid" 422 INVALID_ARGUMENT http_request_error Client No
        "The request does not fit what is described for it.",
        "parameters or body of the request do not fit the OpenAPI document or the JSON Schema of the route",
        "the client is told where: `errors` of the answer; mend the client or the document";
    RateLimited "rate-limited" 429 RESOURCE_EXHAUSTED http_request_denied Client No
        "Too many requests.",
        "the client has used up what it may ask for in this time",
        "wait for as long as Retry-After says, or raise the limit";
    QuotaExceeded "quota-exceeded" 429 RESOURCE_EXHAUSTED http_request_denied Client No
        "The quota is used up.",
        "the client has used up its quota of this hour, day, week or month",
        "it begins anew as Retry-After says; raise the quota, or give the consumer another plan";
    FieldsTooLarge "fields-too-large" 431 RESOURCE_EXHAUSTED http_request_error Client No
        "The header fields are too large.",
        "a header field, all of them together, or their number is over the listener's limits",
        "raise `limits.header-line`, `limits.headers` or `limits.header-count`; large cookies are the usual cause";
    ClientClosed "client-closed" 499 CANCELLED http_request_error Client No
        "The client went away.",
        "the client closed the connection before the response was complete; nothing was answered",
        "nothing, unless it is frequent: then clients give up before the endpoint answers";
    Internal "internal" 500 INTERNAL proxy_internal_error Transom No
        "Something went wrong here.",
        "a fault of Transom itself, such as a panic in a policy",
        "report it with the log lines of this request id";
    NotImplemented "not-implemented" 501 UNIMPLEMENTED http_request_error Client No
        "The request asks for something that is not supported.",
        "a transfer coding other than chunked, or a method in the wrong case",
        "mend the client: request bodies may be compressed with Content-Encoding, not Transfer-Encoding";
    ConnectFailed "connect-failed" 502 UNAVAILABLE destination_ip_unroutable Upstream Yes
        "The service behind this address cannot be reached.",
        "no connection to the endpoint could be made, for another reason than a refusal",
        "check address and network of the endpoint named in the log";
    ConnectRefused "connect-refused" 502 UNAVAILABLE connection_refused Upstream Yes
        "The service behind this address cannot be reached.",
        "the endpoint refused the connection: nothing listens there",
        "start the endpoint named in the log, or correct its address";
    TlsFailed "tls-failed" 502 UNAVAILABLE tls_protocol_error Upstream Yes
        "The service behind this address cannot be reached.",
        "the TLS handshake with the endpoint failed, most often because its certificate is not trusted",
        "read `detail` in the log; set `tls.ca` or `tls.name` of the pool";
    BadResponse "bad-response" 502 UNAVAILABLE http_protocol_error Upstream IfIdempotent
        "The service behind this address gave an answer that is not valid.",
        "the endpoint's response is malformed, ambiguous, or the connection broke before it came",
        "read `detail` in the log and mend the endpoint";
    IncompleteResponse "incomplete-response" 502 UNAVAILABLE http_response_incomplete Upstream No
        "The service behind this address broke off its answer.",
        "the endpoint ended its response before it was complete; the client's connection was cut too",
        "look for crashes and timeouts in the endpoint's own log";
    LargeResponseFields "large-response-fields" 502 UNAVAILABLE http_response_header_section_size Upstream No
        "The service behind this address gave an answer that is not valid.",
        "the response's header fields are over `limits.response-headers`",
        "mend the endpoint, or raise the limit";
    NoEndpoint "no-endpoint" 503 UNAVAILABLE destination_unavailable Upstream No
        "The service is not available at the moment.",
        "the pool has no endpoint that may be used",
        "look at the pool's members and why they are out";
    AuthorityUnavailable "authority-unavailable" 503 UNAVAILABLE destination_unavailable Upstream No
        "The service is not available at the moment.",
        "whoever has to be asked before the request may pass gave no answer that can be used: the keys of tokens could not be fetched, or a service that decides did not answer",
        "read `detail` in the log, which names who was asked, and mend that; nothing passes unasked";
    CircuitOpen "circuit-open" 503 UNAVAILABLE destination_unavailable Upstream No
        "The service is not available at the moment.",
        "so many requests to the pool have failed that its `breaker` keeps all away for a while",
        "look for what made them fail before that; see `transom_pool_breaker` and the log";
    PoolFull "pool-full" 503 UNAVAILABLE connection_limit_reached Upstream No
        "The service is overloaded at the moment.",
        "every member that may be used has as many requests as `limits` of the pool allow, and its queue is full",
        "add members, or raise `limits` or `queue.length` if the endpoints can take more";
    QueueTimeout "queue-timeout" 503 UNAVAILABLE connection_limit_reached Upstream No
        "The service is overloaded at the moment.",
        "no member had room within `queue.timeout`",
        "add members, or raise `limits` if the endpoints can take more";
    Overloaded "overloaded" 503 UNAVAILABLE proxy_internal_response Transom No
        "The service is overloaded at the moment.",
        "a limit on connections, requests or memory is reached, or the machine has no descriptor, port or memory left to reach an endpoint",
        "raise the limit, or add capacity";
    StreamRefused "stream-refused" 503 UNAVAILABLE destination_unavailable Upstream Yes
        "The service is not available at the moment.",
        "the endpoint refused the stream of a request in HTTP/2, or ended the connection before it looked at it",
        "nothing, unless it is frequent: then the endpoint allows fewer streams than it announces, or restarts";
    Injected "injected" 503 UNAVAILABLE proxy_internal_response Transom No
        "The service is not available at the moment.",
        "the policy `fault-injection` of the route failed the request on purpose, with the status that it names",
        "nothing, as long as the trial goes on; `share: 0%` in the policy and a reload end it";
    ConnectTimeout "connect-timeout" 504 UNAVAILABLE connection_timeout Upstream Yes
        "The service behind this address did not answer in time.",
        "no connection to the endpoint within `timeouts.connect`",
        "check whether the endpoint is overloaded or a firewall drops its packets";
    ResponseTimeout "response-timeout" 504 DEADLINE_EXCEEDED http_response_timeout Upstream IfIdempotent
        "The service behind this address did not answer in time.",
        "the endpoint sent nothing within `timeouts.response`, stood still for `timeouts.response-idle`, or was not done within `timeouts.request`",
        "raise the timeout for this route if the endpoint is known to need longer";
    VersionNotSupported "version-not-supported" 505 UNIMPLEMENTED http_request_error Client No
        "This version of HTTP is not supported.",
        "the request line names a major version that this connection does not speak",
        "mend the client";
    Loop "loop" 508 ABORTED proxy_loop_detected Transom No
        "The request goes round in a circle.",
        "the request has passed through this Transom before: a route forwards to its own listener",
        "run `transom explain` for the request and correct the destination";
}

impl Code {
    pub fn row(self) -> &'static Row {
        &Code::ROWS[self as usize]
    }

    pub fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The code of this name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

/// One refused or failed exchange: becomes one answer, one log line, one counter.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    challenge: Option<String>,
    allow: Option<String>,
    status: Option<u16>,
    grpc: Option<u8>,
    violations: Vec<Violation>,
    close: bool,
}

/// What of a request does not fit, and why: for the client, which sees it in `errors` (RFC 9457 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub place: Place,
    /// One sentence without a full stop.
    pub detail: String,
}

/// Where in a request something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its body, by JSON Pointer (RFC 6901).
    Pointer(String),
    /// A parameter: where, such as `query`, and its name.
    Parameter(&'static str, String),
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Pointer(pointer) if pointer.is_empty() => write!(f, "body: {}", self.detail),
            Place::Pointer(pointer) => write!(f, "body {pointer}: {}", self.detail),
            Place::Parameter(place, name) => write!(f, "{place} {name}: {}", self.detail),
        }
    }
}

impl Fault {
    /// A fault; `detail` goes to the log only, never to the client.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Fault(Box::new(Inner {
            code,
            detail: detail.into(),
            retry_after: None,
            challenge: None,
            allow: None,
            status: None,
            grpc: None,
            violations: Vec::new(),
            close: false,
        }))
    }

    /// The connection cannot be used after this.
    pub fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// Adds `Retry-After`, in whole seconds, rounded up.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds `WWW-Authenticate`.
    pub fn challenge(mut self, challenge: impl Into<String>) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// Adds `Allow`.
    pub fn allow(mut self, methods: impl Into<String>) -> Self {
        self.0.allow = Some(methods.into());
        self
    }

    /// Answers with this status instead of the code's.
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Tells clients of gRPC this status instead of the code's.
    pub fn grpc(mut self, status: u8) -> Self {
        self.0.grpc = Some(status);
        self
    }

    /// Tells the client what of its request does not fit.
    pub fn violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn closes(&self) -> bool {
        self.0.close
    }

    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0))
    }

    pub(crate) fn challenge_text(&self) -> Option<&str> {
        self.0.challenge.as_deref()
    }

    pub(crate) fn http_status(&self) -> u16 {
        self.0.status.unwrap_or(self.code().row().status)
    }

    pub(crate) fn grpc_status(&self) -> u8 {
        self.0.grpc.unwrap_or(self.code().row().grpc.0)
    }

    pub(crate) fn allow_text(&self) -> Option<&str> {
        self.0.allow.as_deref()
    }

    pub(crate) fn told(&self) -> &[Violation] {
        &self.0.violations
    }

    /// What only the log is told.
    pub fn into_detail(self) -> Cow<'static, str> {
        self.0.detail
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code().as_str(), self.detail())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_the_table_is_empty_and_no_code_stands_twice() {
        for (i, code) in Code::ALL.iter().enumerate() {
            let row = code.row();
            assert!(!row.code.is_empty() && !row.meaning.is_empty() && !row.remedy.is_empty());
            assert!(row.sentence.ends_with('.') && (400..600).contains(&row.status));
            assert!(row.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert_eq!(Code::named(row.code), Some(*code));
            assert!(Code::ALL[..i].iter().all(|other| other.as_str() != row.code));
        }
    }

    #[test]
    fn the_one_who_is_to_blame_fits_the_status() {
        for code in Code::ALL {
            let row = code.row();
            let client = (400..500).contains(&row.status) || matches!(row.status, 501 | 505);
            assert_eq!(row.blame == Blame::Client, client, "{}", row.code);
        }
    }
}
