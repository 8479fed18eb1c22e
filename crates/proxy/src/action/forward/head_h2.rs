//! The head of a request as an endpoint over HTTP/2 gets it.

use std::time::Instant;

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri};

use super::Forward;
use super::head::ending_of;
use crate::body::Body;
use crate::codec::h2::sent_beside;
use crate::destination::Endpoint;
use crate::exchange::{Exchange, Wants};
use crate::fault::{Code, Fault};
use crate::message::Request;
use crate::writer::Ending;

impl Forward {
    /// The request head for this endpoint.
    ///
    /// # Errors
    /// When the request cannot be said in HTTP/2.
    pub(super) fn head_h2(
        &self,
        exchange: &Exchange,
        request: &Request,
        endpoint: &Endpoint,
        body: &Body,
    ) -> Result<http::Request<()>, Fault> {
        let cannot = |what: &str, e: &dyn std::fmt::Display| {
            Fault::new(Code::BadRequest, format!("the {what} cannot be said in HTTP/2: {e}"))
        };
        let method = Method::from_bytes(request.method.as_str().as_bytes())
            .map_err(|e| cannot("method", &e))?;
        let mut fields = sent_beside(&request.fields, 3);
        if let Some(name) = &exchange.site.request_id.field {
            let mut id = Vec::with_capacity(32);
            exchange.id.write(&mut id);
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(id));
            if let (Ok(name), Ok(value)) = (name, value) {
                fields.append(name, value);
            }
        }
        if let Some(name) = &self.deadline
            && let Some(by) = exchange.ends_by()
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
        {
            let left = by.saturating_duration_since(Instant::now());
            fields.insert(name, u64::try_from(left.as_millis()).unwrap_or(u64::MAX).into());
        }
        // gRPC: servers may refuse a call without it.
        if request.takes_trailers || exchange.asked.wants == Wants::Grpc {
            fields.insert(TE, HeaderValue::from_static("trailers"));
        }
        if let Ending::Length(n) = ending_of(request, body) {
            fields.insert(CONTENT_LENGTH, n.into());
        }
        let authority = Authority::try_from(self.host(request, endpoint).as_bytes())
            .map_err(|e| cannot("host", &e))?;
        let target = match &request.query {
            Some(query) => PathAndQuery::try_from(format!("{}?{query}", request.path)),
            None => PathAndQuery::try_from(request.path.as_bytes()),
        };
        let scheme = if endpoint.target.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(target.map_err(|e| cannot("path", &e))?)
            .build()
            .map_err(|e| cannot("target", &e))?;
        let mut head = http::Request::new(());
        *head.method_mut() = method;
        *head.uri_mut() = uri;
        *head.version_mut() = http::Version::HTTP_2;
        if request.upgrade.is_some() {
            // RFC 8441 §4 and §5: what is an upgrade in HTTP/1.1, without its handshake
            *head.method_mut() = Method::CONNECT;
            head.extensions_mut().insert(Protocol::from_static("websocket"));
            fields.remove(SEC_WEBSOCKET_KEY);
        }
        *head.headers_mut() = fields;
        Ok(head)
    }
}
