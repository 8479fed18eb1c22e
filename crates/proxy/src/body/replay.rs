//! A small body that can be sent a second time.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::body::{Body, Source};
use crate::fault::Fault;
use crate::fields::Fields;

/// What is kept of a body, at most. A larger one is sent once.
const MOST: u64 = 64 * 1024;

/// Keeps what was taken of a body, until that is too much.
struct Replay {
    inner: Body,
    kept: Vec<u8>,
    /// How much of `kept` was taken since the last beginning.
    taken: usize,
    too_much: bool,
}

/// `body`, able to begin anew if it turns out to be small.
pub fn replayable(body: Body) -> Body {
    match body {
        Body::Stream(_) if body.length().is_none_or(|length| length <= MOST) => {
            Body::Stream(Box::new(Replay {
                inner: body,
                kept: Vec::new(),
                taken: 0,
                too_much: false,
            }))
        }
        Body::Bytes(bytes) if bytes.len() as u64 <= MOST => Body::Stream(Box::new(Replay {
            inner: Body::Empty,
            kept: bytes.into(),
            taken: 0,
            too_much: false,
        })),
        other => other,
    }
}

impl Replay {
    fn again(&self) -> &[u8] {
        &self.kept[self.taken..]
    }
}

impl Source for Replay {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match self.again().len() {
            0 => self.inner.poll_fill(cx),
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        match self.again() {
            [] => drop(self.inner.look(see)),
            again => see(again),
        }
    }

    fn consume(&mut self, n: usize) {
        if !self.again().is_empty() {
            self.taken += n;
            return;
        }
        self.too_much |= (self.kept.len() + n) as u64 > MOST;
        if self.too_much {
            self.kept = Vec::new();
        } else {
            self.inner.look(|bytes| self.kept.extend_from_slice(&bytes[..n]));
        }
        self.taken = self.kept.len();
        self.inner.consume(n);
    }

    fn take(&mut self, n: usize) -> Bytes {
        if self.too_much && self.again().is_empty() {
            return self.inner.take(n);
        }
        let mut taken = Bytes::new();
        self.look(&mut |bytes| taken = Bytes::copy_from_slice(&bytes[..n.min(bytes.len())]));
        self.consume(taken.len());
        taken
    }

    fn length(&self) -> Option<u64> {
        Some(self.inner.length()? + self.again().len() as u64)
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }

    fn rewind(&mut self) -> bool {
        self.taken = 0;
        !self.too_much
    }

    fn can_rewind(&self) -> bool {
        !self.too_much
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Parts;

    /// Takes bytes until there are `count`, or no more.
    fn take(body: &mut Body, count: usize) -> Vec<u8> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut taken = Vec::new();
        while taken.len() < count {
            let Poll::Ready(Ok(n)) = body.poll_fill(&mut cx) else { panic!("is ready") };
            let n = n.min(count - taken.len());
            if n == 0 {
                break;
            }
            body.look(|bytes| taken.extend_from_slice(&bytes[..n]));
            body.consume(n);
        }
        taken
    }

    #[test]
    fn a_body_begins_anew_wherever_it_was_left() {
        for left in 0..=10 {
            let mut body = replayable(Body::Stream(Box::new(Parts(b"0123456789"))));
            assert_eq!(take(&mut body, left), b"0123456789"[..left]);
            assert!(body.rewind());
            assert_eq!(take(&mut body, left / 2), b"0123456789"[..left / 2]);
            assert!(body.rewind());
            assert_eq!(take(&mut body, 100), b"0123456789", "left at {left}");
        }
    }

    #[test]
    fn what_is_in_memory_begins_anew_too() {
        let mut body = replayable(Body::of("0123456789"));
        assert_eq!(body.length(), Some(10));
        assert_eq!(take(&mut body, 7), b"0123456");
        assert!(body.can_rewind() && body.rewind());
        assert_eq!(take(&mut body, 100), b"0123456789");
    }

    #[test]
    fn of_a_large_body_nothing_is_kept() {
        static LARGE: [u8; MOST as usize + 1] = [7; MOST as usize + 1];
        let mut body = replayable(Body::Stream(Box::new(Parts(&LARGE))));
        assert_eq!(take(&mut body, MOST as usize).len() as u64, MOST);
        assert!(body.rewind());
        assert_eq!(take(&mut body, usize::MAX), LARGE);
        assert!(!body.rewind());
    }
}
