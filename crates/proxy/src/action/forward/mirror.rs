//! Sends a copy of some requests elsewhere, for whose answer nobody waits: to try a new version with
//! real requests, or to record them.
//!
//! A copy never touches the exchange it is of: it begins when the request was sent whole, goes over
//! connections and timeouts of its own, its answer is read and forgotten, and there are only so many
//! at once. A request that could not be copied whole is not copied.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Forward;
use crate::action::Action;
use crate::body::{Body, Source};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::fields::{Fields, Known};
use crate::message::Request;
use crate::patience::within;

/// What was meant for the endpoint that the route names, and for no other.
const CREDENTIALS: [Known; 3] = [Known::Authorization, Known::Cookie, Known::ProxyAuthorization];

/// How long a copy may take in all.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module.
pub struct Mirror {
    /// Sends the copies.
    pub forward: Arc<Forward>,
    /// The part of requests that is copied, from 0 to 1. Default 1.
    pub share: f64,
    /// The longest body of a copy, in bytes. Default 64 KiB.
    pub body: usize,
    /// Copies at once, over all workers. Default 100.
    pub most: usize,
    /// Whether copies have the credentials of the client. Default no.
    pub credentials: bool,
    open: Arc<AtomicUsize>,
}

impl Mirror {
    pub fn new(forward: Forward) -> Self {
        Mirror {
            forward: Arc::new(forward),
            share: 1.0,
            body: 64 * 1024,
            most: 100,
            credentials: false,
            open: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Sends a copy of this request, now or once its body has gone by.
    pub(super) fn copy(&self, exchange: &Exchange, request: &mut Request) {
        let is_long = request.body.length().is_some_and(|length| length > self.body as u64);
        if is_long || request.upgrade.is_some() || exchange.local.random() >= self.share {
            return;
        }
        let Some(place) = Place::take(&self.open, self.most) else { return };
        let mut fields = request.fields.clone();
        if !self.credentials {
            CREDENTIALS.iter().for_each(|name| fields.remove(*name));
        }
        let copy = Copy {
            forward: self.forward.clone(),
            exchange: exchange.aside(),
            request: Box::new(Request {
                method: request.method.clone(),
                scheme: request.scheme,
                takes_trailers: request.takes_trailers,
                authority: request.authority.clone(),
                path: request.path.clone(),
                query: request.query.clone(),
                version: request.version,
                fields,
                body: Body::Empty,
                upgrade: None,
            }),
            place,
        };
        match std::mem::take(&mut request.body) {
            Body::Empty => copy.send(Body::Empty),
            Body::Bytes(bytes) => {
                copy.send(Body::Bytes(bytes.clone()));
                request.body = Body::Bytes(bytes);
            }
            Body::Stream(inner) => {
                let tee = Tee { inner, kept: Vec::new(), most: self.body, copy: Some(copy) };
                request.body = Body::Stream(Box::new(tee));
            }
        }
    }
}

/// One of the copies that there may be at once.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |now| (now < most).then_some(now + 1);
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(open.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Copy {
    forward: Arc<Forward>,
    exchange: Exchange,
    request: Box<Request>,
    place: Place,
}

impl Copy {
    fn send(self, body: Body) {
        let Copy { forward, mut exchange, mut request, place } = self;
        request.body = body;
        let local = exchange.local.clone();
        local.clone().aside.start("mirror", async move {
            let _place = place;
            let answer = async {
                let Ok(response) = forward.run(&mut exchange, request).await else { return };
                let mut body = response.body;
                while let Ok(n @ 1..) = poll_fn(|cx| body.poll_fill(cx)).await {
                    body.consume(n);
                }
            };
            within(&local.worker, LONGEST, answer).await;
        });
    }
}

/// Keeps what goes by of a body, until it is whole or too long.
struct Tee {
    inner: Box<dyn Source>,
    kept: Vec<u8>,
    most: usize,
    copy: Option<Copy>,
}

impl Tee {
    fn whole(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send(Body::of(std::mem::take(&mut self.kept)));
        }
    }
}

impl Source for Tee {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let filled = self.inner.poll_fill(cx);
        match filled {
            Poll::Ready(Ok(0)) => self.whole(),
            Poll::Ready(Err(_)) => self.copy = None,
            _ => {}
        }
        filled
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        self.inner.look(see);
    }

    fn consume(&mut self, n: usize) {
        if self.copy.is_some() {
            if self.kept.len() + n > self.most {
                self.copy = None;
                self.kept = Vec::new();
            } else {
                let kept = &mut self.kept;
                self.inner.look(&mut |bytes| kept.extend_from_slice(&bytes[..n]));
            }
        }
        self.inner.consume(n);
        // who knows the length does not ask again
        if self.inner.length() == Some(0) {
            self.whole();
        }
    }

    fn length(&self) -> Option<u64> {
        self.inner.length()
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}
