//! The head of a request as an endpoint over HTTP/1 gets it.

use std::time::Instant;

use super::{Forward, HostRule};
use crate::body::Body;
use crate::destination::Endpoint;
use crate::exchange::Exchange;
use crate::message::{Method, Request};
use crate::writer::{Ending, Writer};

impl Forward {
    /// The request head for this endpoint, and how its body ends.
    pub(super) fn head(
        &self,
        exchange: &Exchange,
        request: &Request,
        endpoint: &Endpoint,
        body: &Body,
    ) -> (Vec<u8>, Ending) {
        let ending = ending_of(request, body);
        let mut out = Writer::head_for(ending);
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.path.as_bytes());
        if let Some(query) = &request.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.host(request, endpoint).as_bytes());
        out.extend_from_slice(b"\r\n");
        request.fields.write(&mut out);
        if let Some(name) = &exchange.site.request_id.field {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            exchange.id.write(&mut out);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(name) = &self.deadline
            && let Some(by) = exchange.ends_by()
        {
            let left = by.saturating_duration_since(Instant::now());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            out.extend_from_slice(itoa::Buffer::new().format(left).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if request.upgrade.is_some() {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
        } else if request.takes_trailers {
            out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        }
        match ending {
            Ending::Length(n) => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Ending::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Ending::None | Ending::Close => {}
        }
        out.extend_from_slice(b"\r\n");
        (out, ending)
    }

    /// The host that the endpoint is asked for.
    pub(super) fn host<'a>(&'a self, request: &'a Request, endpoint: &'a Endpoint) -> &'a str {
        match &self.host {
            HostRule::Keep if !request.authority.is_empty() => &request.authority,
            HostRule::Keep | HostRule::Endpoint => &endpoint.authority,
            HostRule::Fixed(host) => host,
        }
    }
}

pub(super) fn ending_of(request: &Request, body: &Body) -> Ending {
    match (body, body.length()) {
        (Body::Empty, _)
            if matches!(request.method, Method::Post | Method::Put | Method::Patch) =>
        {
            Ending::Length(0)
        }
        (Body::Empty, _) => Ending::None,
        (_, Some(n)) => Ending::Length(n),
        (_, None) => Ending::Chunked,
    }
}
