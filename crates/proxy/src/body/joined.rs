//! Bodies that are read and go on nevertheless: of one that is too long to be read whole nothing is lost.

use std::task::{Context, Poll};

use super::{Body, Source};
use crate::fault::{Code, Fault};
use crate::fields::Fields;
use bytes::Bytes;

/// What was read of a body.
pub enum Read {
    Whole(Bytes),
    /// It is longer than that; nothing of it is lost.
    Longer(Body),
}

struct Joined {
    begun: Bytes,
    rest: Body,
}

/// All of a body, which is empty then; nothing where it is longer than `most` bytes, and is as it was.
///
/// # Errors
/// When it cannot be completed. Whoever goes on with it all the same gets the same fault.
pub async fn whole(body: &mut Body, most: usize) -> Result<Option<Bytes>, Fault> {
    match read(std::mem::take(body), most).await {
        Ok(Read::Whole(bytes)) => Ok(Some(bytes)),
        Ok(Read::Longer(longer)) => {
            *body = longer;
            Ok(None)
        }
        Err(fault) => {
            *body = Body::Stream(Box::new(Broken(fault.code())));
            Err(fault)
        }
    }
}

/// Reads a body up to `most` bytes.
///
/// # Errors
/// When it cannot be completed.
pub async fn read(mut body: Body, most: usize) -> Result<Read, Fault> {
    if body.length().is_some_and(|length| length > most as u64) {
        return Ok(Read::Longer(body));
    }
    if let Body::Bytes(bytes) = body {
        return Ok(Read::Whole(bytes));
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

/// A body that broke off while it was read.
struct Broken(Code);

impl Source for Broken {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        Poll::Ready(Err(Fault::new(self.0, "the body broke off while it was looked at")))
    }

    fn look(&self, _: &mut dyn FnMut(&[u8])) {}

    fn consume(&mut self, _: usize) {}

    fn length(&self) -> Option<u64> {
        None
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
    use crate::testing::Parts;

    fn now<F: Future>(future: F) -> F::Output {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it is ready"),
        }
    }

    #[test]
    fn a_body_that_breaks_off_stays_broken() {
        let mut body = Body::Stream(Box::new(Broken(Code::ClientClosed)));
        for _ in 0..2 {
            let fault = now(whole(&mut body, 10)).unwrap_err();
            assert_eq!(fault.code(), Code::ClientClosed);
        }
    }

    #[test]
    fn what_is_too_long_is_as_it_was() {
        let mut body = Body::Stream(Box::new(Parts(b"0123456789")));
        assert_eq!(now(whole(&mut body, 9)).unwrap(), None);
        assert_eq!(&now(whole(&mut body, 10)).unwrap().unwrap()[..], b"0123456789");
        assert!(body.is_empty());
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
