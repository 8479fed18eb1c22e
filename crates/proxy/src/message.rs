//! Requests and responses as the chain sees them, whatever version carried them.

use std::rc::Rc;
use std::sync::Arc;

use transom_settings::HeaderName;

use crate::body::{Body, unsaid};
use crate::fields::Fields;

/// A request method. Case matters (RFC 9110 §9.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Connect,
    Trace,
    /// Any other token, at most [`Method::LONGEST`] bytes.
    Other(Box<str>),
}

impl Method {
    pub const LONGEST: usize = 32;
    const NAMED: [(&'static str, Method); 9] = [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("PATCH", Method::Patch),
        ("OPTIONS", Method::Options),
        ("CONNECT", Method::Connect),
        ("TRACE", Method::Trace),
    ];

    /// The method of this name, which must be a token.
    pub fn of(name: &str) -> Method {
        match Method::NAMED.iter().find(|(text, _)| *text == name) {
            Some((_, method)) => method.clone(),
            None => Method::Other(name.into()),
        }
    }

    /// A known method written in the wrong case, such as `get`.
    pub fn is_miscased(name: &str) -> bool {
        Method::NAMED.iter().any(|(text, _)| *text != name && text.eq_ignore_ascii_case(name))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
            Method::Other(name) => name,
        }
    }

    pub fn is_connect(&self) -> bool {
        *self == Method::Connect
    }

    /// Doing it twice has the effect of doing it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self,
            Method::Get
                | Method::Head
                | Method::Put
                | Method::Delete
                | Method::Options
                | Method::Trace
        )
    }
}

/// The version a message came in or is to be sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
    Http2,
    Http3,
}

impl Version {
    pub const ALL: [Version; 4] =
        [Version::Http10, Version::Http11, Version::Http2, Version::Http3];

    /// As in `HTTP/1.1`, without the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
            Version::Http3 => "3",
        }
    }
}

/// A request on its way through the chain.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
    /// Host and port as the client wrote them, lower-cased, for `Host` and variables.
    pub authority: Rc<str>,
    /// The canonical path: what was matched is what is forwarded.
    pub path: Rc<str>,
    /// What follows the `?`, as received.
    pub query: Option<Rc<str>>,
    pub version: Version,
    /// Without `Host` and the framing fields, which are written anew for each hop.
    pub fields: Fields,
    pub body: Body,
    /// The client takes trailers, so the endpoint may send some.
    pub takes_trailers: bool,
    /// The client asks for this connection to become a tunnel; only `websocket` is ever kept.
    pub upgrade: Option<Upgrade>,
}

impl Request {
    /// A request of our own, without a body.
    pub fn new(method: Method, authority: &str, path: &str) -> Self {
        Request {
            method,
            scheme: "http",
            authority: Rc::from(authority),
            path: Rc::from(path),
            query: None,
            version: Version::Http11,
            fields: Fields::new(),
            body: Body::Empty,
            takes_trailers: false,
            upgrade: None,
        }
    }

    /// Takes these fields off what may come behind the body (P-14, P-15). Where nothing can come, it costs
    /// nothing.
    pub fn leave_out_of_trailers(&mut self, names: &Arc<[HeaderName]>) {
        // in HTTP/1 only a chunked body has trailers (RFC 9112 §7.1.2)
        let may_come = self.version == Version::Http2 || self.body.length().is_none();
        if !names.is_empty() && may_come {
            self.body = unsaid::leave_out(names, std::mem::take(&mut self.body));
        }
    }
}

/// A protocol the connection may be upgraded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    WebSocket,
}

/// A response on its way back.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
    pub body: Body,
}

impl Response {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Response { status, fields: Fields::new(), body: Body::Empty }
    }

    /// No body follows, whatever the fields say (RFC 9112 §6.3).
    pub fn is_bodyless(status: u16, to: &Method) -> bool {
        status < 200 || matches!(status, 204 | 304) || *to == Method::Head
    }
}

/// The standard reason phrase, empty where there is none.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
