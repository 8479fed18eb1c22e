//! A second attempt beside one that takes long: whichever answers first serves the client.
//!
//! Only for requests that may be sent twice and have no body. The second one counts as a retry, so
//! the budget of the pool bounds how often that happens (U-08); the one that is not needed any more
//! is cut off, which says nothing about its endpoint.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Forward;
use super::attempt::Tried;
use crate::body::Body;
use crate::destination::{Lease, Leasing};
use crate::exchange::Exchange;
use crate::message::Request;

impl Forward {
    /// How long an attempt may take before another is made beside it.
    pub(super) fn hedges(&self, request: &Request) -> Option<Duration> {
        self.hedge.filter(|_| self.retry.is_resendable(request) && request.body.is_empty())
    }

    /// An attempt that another one may join after so long. `tried` are the endpoints that had
    /// theirs before.
    pub(super) async fn hedged(
        &self,
        exchange: &Exchange,
        request: &Request,
        lease: Lease,
        after: Duration,
        tried: &[u64],
    ) -> Tried {
        let mut excluded = tried.to_vec();
        excluded.push(lease.endpoint().key);
        let mut first = pin!(self.attempt(exchange, request, Body::Empty, lease, false));
        let mut over = pin!(tokio::time::sleep(after));
        let early = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(tried) => Poll::Ready(Some(tried)),
            Poll::Pending => over.as_mut().poll(cx).map(|()| None),
        });
        if let Some(tried) = early.await {
            return tried;
        }
        let ask = self.ask(exchange, request, &excluded);
        let Some(permit) = self.destination.retry(&ask) else { return first.await };
        // Who would have to wait for a member helps nobody.
        let Leasing::Ready(lease) = self.destination.lease(&ask) else { return first.await };
        let mut second = pin!(self.attempt(exchange, request, Body::Empty, lease, false));
        let (mut tried, is_second) = poll_fn(|cx| race(first.as_mut(), second.as_mut(), cx)).await;
        if tried.outcome.is_err() {
            // The other one may still do it.
            let other = if is_second { first.await } else { second.await };
            let failed = std::mem::replace(&mut tried, other);
            tried.also = failed.end();
        }
        drop(permit);
        tried.hedged = true;
        tried
    }
}

/// The one of two attempts that is ready first, and whether that is the second.
fn race(
    first: Pin<&mut impl Future<Output = Tried>>,
    second: Pin<&mut impl Future<Output = Tried>>,
    cx: &mut Context<'_>,
) -> Poll<(Tried, bool)> {
    if let Poll::Ready(tried) = first.poll(cx) {
        return Poll::Ready((tried, false));
    }
    second.poll(cx).map(|tried| (tried, true))
}
