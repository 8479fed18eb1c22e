//! A body of which the beginning was read already.

use std::task::{Context, Poll};

use bytes::Bytes;
use transom_proxy::body::{Body, Source};
use transom_proxy::fault::Fault;
use transom_proxy::fields::Fields;

/// What was read of a body.
pub(super) enum Read {
    Whole(Bytes),
    /// It is longer than that; nothing of it is lost.
    Longer(Body),
}

struct Joined {
    begun: Bytes,
    rest: Body,
}

/// Reads a body up to `most` bytes.
pub(super) async fn read(mut body: Body, most: usize) -> Result<Read, Fault> {
    if body.length().is_some_and(|length| length > most as u64) {
        return Ok(Read::Longer(body));
    }
    let mut begun = Vec::new();
    loop {
        let filled = std::future::poll_fn(|cx| {
            body.poll_beside(cx);
            body.poll_fill(cx)
        });
        match filled.await? {
            0 => return Ok(Read::Whole(begun.into())),
            n => {
                body.look(|bytes| begun.extend_from_slice(&bytes[..n.min(bytes.len())]));
                body.consume(n);
            }
        }
        if begun.len() > most {
            let joined = Joined { begun: begun.into(), rest: body };
            return Ok(Read::Longer(Body::Stream(Box::new(joined))));
        }
    }
}

impl Source for Joined {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match self.begun.len() {
            0 => self.rest.poll_fill(cx),
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.rest.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        match self.begun.is_empty() {
            true => drop(self.rest.look(see)),
            false => see(&self.begun),
        }
    }

    fn consume(&mut self, n: usize) {
        match self.begun.is_empty() {
            true => self.rest.consume(n),
            false => drop(self.begun.split_to(n.min(self.begun.len()))),
        }
    }

    fn length(&self) -> Option<u64> {
        Some(self.rest.length()? + self.begun.len() as u64)
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.rest.trailers()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    /// Gives its bytes three at a time.
    struct Parts(&'static [u8]);

    impl Source for Parts {
        fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
            Poll::Ready(Ok(self.0.len().min(3)))
        }

        fn look(&self, see: &mut dyn FnMut(&[u8])) {
            see(&self.0[..self.0.len().min(3)]);
        }

        fn consume(&mut self, n: usize) {
            self.0 = &self.0[n..];
        }

        fn length(&self) -> Option<u64> {
            None
        }
    }

    fn now<F: Future>(future: F) -> F::Output {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it is ready"),
        }
    }

    #[test]
    fn nothing_of_a_longer_body_is_lost() {
        for most in [0, 1, 3, 7, 9, 10, 100] {
            let body = Body::Stream(Box::new(Parts(b"0123456789")));
            let (whole, mut body) = match now(read(body, most)).unwrap() {
                Read::Whole(bytes) => (true, Body::Bytes(bytes)),
                Read::Longer(body) => (false, body),
            };
            assert_eq!(whole, most >= 10, "{most}");
            assert_eq!(&now(body.whole(100)).unwrap().unwrap()[..], b"0123456789", "{most}");
        }
    }
}
