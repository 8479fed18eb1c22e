//! Requests of our own: to who knows about tokens, decides, or has a part of an answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transom_proxy::action::Action;
use transom_proxy::action::forward::retry::Retrying;
use transom_proxy::action::forward::{Forward, HostRule};
use transom_proxy::codec::head::HeadLimits;
use transom_proxy::destination::Destination;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};
use transom_proxy::local::Local;
use transom_proxy::message::{Method, Request};
use transom_proxy::patience::within;
use transom_settings::Url;

/// Fields of a request that speak of its own body or of one resource, or ask for a form that cannot be
/// taken apart: a request that is made of it has none of them.
pub const OF_ITS_OWN: [Known; 14] = [
    Known::Accept,
    Known::AcceptEncoding,
    Known::ContentDisposition,
    Known::ContentEncoding,
    Known::ContentLength,
    Known::ContentRange,
    Known::ContentType,
    Known::Expect,
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfRange,
    Known::IfUnmodifiedSince,
    Known::Range,
];

/// Sends requests to one destination and reads their responses whole.
///
/// It goes the way of every request that is forwarded: the pool's algorithm, health, retries,
/// connections that are kept, and its TLS.
pub struct Caller {
    forward: Forward,
    /// From the first byte sent to the last byte read.
    patience: Duration,
    /// The longest body of a response, in bytes.
    longest: usize,
}

/// A request to this URL, without a body.
pub fn request(method: Method, url: &Url) -> Request {
    let mut request = Request::new(method, &url.authority, &url.path);
    request.scheme = url.scheme();
    request.query = url.query.as_deref().map(Rc::from);
    request
}

/// The whole of a response.
#[derive(Debug)]
pub struct Called {
    pub status: u16,
    pub fields: Fields,
    pub body: Bytes,
    pub trailers: Option<Fields>,
}

impl Caller {
    /// The endpoints are asked for the host that the request names, or for their own where it names
    /// none.
    pub fn new(destination: Arc<dyn Destination>, patience: Duration, longest: usize) -> Self {
        let forward = Forward {
            destination,
            host: HostRule::Keep,
            retry: Retrying::default(),
            mirror: None,
            hedge: None,
            deadline: None,
            response_limits: HeadLimits::RESPONSE,
            upgrade: false,
        };
        Caller { forward, patience, longest }
    }

    /// For the client of this exchange, which the endpoint is told of as with any other request.
    ///
    /// # Errors
    /// The fault that keeps it from being answered. A status is no fault.
    pub async fn call_for(&self, exchange: &Exchange, request: Request) -> Result<Called, Fault> {
        self.call(&mut exchange.aside(), request).await
    }

    /// For no client.
    ///
    /// # Errors
    /// As [`Caller::call_for`].
    pub async fn call_alone(&self, local: &Rc<Local>, request: Request) -> Result<Called, Fault> {
        self.call(&mut Exchange::alone(local), request).await
    }

    async fn call(&self, exchange: &mut Exchange, request: Request) -> Result<Called, Fault> {
        let worker = exchange.local.worker.clone();
        let answer = async {
            let mut response = self.forward.run(exchange, Box::new(request)).await?;
            match response.body.whole(self.longest).await? {
                Some(body) => Ok(Called {
                    status: response.status,
                    fields: response.fields,
                    body,
                    trailers: response.body.trailers(),
                }),
                None => Err(Fault::new(Code::BadResponse, "it is longer than may be read")),
            }
        };
        let answer = within(&worker, self.patience, answer).await;
        answer.unwrap_or_else(|| Err(Fault::new(Code::ResponseTimeout, "it took too long")))
    }
}
