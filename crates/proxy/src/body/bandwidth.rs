//! Bodies that pass no faster than they may.
//!
//! A body around another announces only as many bytes as may pass now, and pays for them when they
//! are consumed. So what is held back is never read from its socket, and where nothing is limited
//! there is no such body. The kernel does not move bytes by itself here: they have to be counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use transom_net::{Deadline, Worker};

use super::{Body, Source};
use crate::fault::Fault;
use crate::fields::Fields;

/// What a route's bodies keep to.
#[derive(Debug, Default)]
pub struct Bandwidth {
    /// That all request bodies share.
    pub requests: Vec<Arc<Rate>>,
    /// Of each request body, bytes a second.
    pub request: Option<u64>,
    /// That all response bodies share.
    pub responses: Vec<Arc<Rate>>,
    /// Of each response body, bytes a second.
    pub response: Option<u64>,
}

impl Bandwidth {
    pub fn is_unlimited(&self) -> bool {
        self.requests.is_empty()
            && self.request.is_none()
            && self.responses.is_empty()
            && self.response.is_none()
    }

    /// The body of a request as it may pass.
    pub fn of_request(&self, body: Body, worker: &Worker) -> Body {
        around(body, &self.requests, self.request, worker)
    }

    /// The body of a response as it may pass.
    pub fn of_response(&self, body: Body, worker: &Worker) -> Body {
        around(body, &self.responses, self.response, worker)
    }
}

fn around(body: Body, shared: &[Arc<Rate>], own: Option<u64>, worker: &Worker) -> Body {
    if body.is_empty() || shared.is_empty() && own.is_none() {
        return body;
    }
    let mut rates = shared.to_vec();
    rates.extend(own.map(|own| Arc::new(Rate::new(own))));
    let deadline = worker.deadline();
    Body::Stream(Box::new(Held { body, rates, worker: worker.clone(), deadline, announced: 0 }))
}

/// So many bytes a second, which several bodies may share.
#[derive(Debug)]
pub struct Rate {
    per_second: u64,
    /// When what has passed would have passed evenly, in nanoseconds since the origin.
    even: AtomicU64,
    origin: Instant,
}

/// What is not used is saved up for so long: deadlines are not finer than a part of it.
const SAVED: u64 = 100_000_000;
/// So much passes at a time at least, if there is so much: crumbs would cost more than they carry.
const AT_LEAST: u64 = 25_000_000;

impl Rate {
    /// `per_second` is at least 1.
    pub fn new(per_second: u64) -> Self {
        Rate { per_second: per_second.max(1), even: AtomicU64::new(0), origin: Instant::now() }
    }

    /// How many bytes may pass now, or how long to wait for more than crumbs.
    fn room(&self, now: Instant) -> Result<u64, Duration> {
        let now = self.nanos(now);
        let even = self.even.load(Ordering::Relaxed).max(now);
        if even + AT_LEAST > now + SAVED {
            return Err(Duration::from_nanos(even + AT_LEAST - now - SAVED));
        }
        let room = now + SAVED - even;
        Ok((u128::from(room) * u128::from(self.per_second) / 1_000_000_000).max(1) as u64)
    }

    /// So many have passed.
    fn pay(&self, bytes: u64, now: Instant) {
        let now = self.nanos(now);
        let time = (u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second)) as u64;
        let next = |even: u64| Some(even.max(now) + time);
        // Never refused: the closure always gives a value.
        let _ = self.even.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_nanos() as u64
    }
}

/// A body that is held back.
struct Held {
    body: Body,
    rates: Vec<Arc<Rate>>,
    worker: Worker,
    deadline: Deadline,
    announced: usize,
}

impl Source for Held {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        loop {
            let there = ready!(self.body.poll_fill(cx))?;
            if there == 0 {
                return Poll::Ready(Ok(0));
            }
            let now = Instant::now();
            let room = self.rates.iter().map(|rate| rate.room(now));
            let least = room.reduce(|a, b| match (a, b) {
                (Ok(a), Ok(b)) => Ok(a.min(b)),
                (Err(a), Err(b)) => Err(a.max(b)),
                (Err(wait), _) | (_, Err(wait)) => Err(wait),
            });
            match least {
                None => self.announced = there,
                Some(Ok(room)) => {
                    self.announced = there.min(usize::try_from(room).unwrap_or(usize::MAX));
                }
                Some(Err(wait)) => {
                    self.deadline.set(self.worker.now() + wait);
                    ready!(self.deadline.poll_passed(cx));
                    continue;
                }
            }
            return Poll::Ready(Ok(self.announced));
        }
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.body.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        self.body.look(|bytes| see(&bytes[..bytes.len().min(self.announced)]));
    }

    fn consume(&mut self, n: usize) {
        self.body.consume(n);
        self.announced = self.announced.saturating_sub(n);
        let now = Instant::now();
        for rate in &self.rates {
            rate.pay(n as u64, now);
        }
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.body.trailers()
    }

    fn rewind(&mut self) -> bool {
        self.announced = 0;
        self.body.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb_40_over_a_second_so_many_bytes_pass_and_after_a_rest_no_more_than_were_saved() {
        let rate = Rate::new(1_000_000);
        let start = rate.origin;
        let mut passed = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            while let Ok(room) = rate.room(now) {
                rate.pay(room.min(1500), now);
                passed += room.min(1500);
            }
        }
        assert!((9_900_000..=10_120_000).contains(&passed), "{passed}");
        let later = start + Duration::from_secs(100);
        assert_eq!(rate.room(later), Ok(100_000), "a tenth of a second is saved, not ninety");
        rate.pay(1_000_000, later);
        assert!(
            rate.room(later).unwrap_err() > Duration::from_millis(900),
            "what was too much waits"
        );
    }

    #[test]
    fn a_rate_of_next_to_nothing_still_moves() {
        let rate = Rate::new(1);
        assert_eq!(rate.room(rate.origin), Ok(1));
        rate.pay(1, rate.origin);
        assert!(rate.room(rate.origin).is_err());
        assert_eq!(rate.room(rate.origin + Duration::from_secs(1)), Ok(1));
    }
}
