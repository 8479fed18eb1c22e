//! A body that is looked at as it passes.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use transom_proxy::body::{Body, Source};
use transom_proxy::fault::{Code, Fault, Place, Violation};
use transom_proxy::fields::Fields;

use super::{form, json, xml};

/// Who looks at the bytes.
pub(super) enum Scanner {
    Json(json::Scanner),
    Xml(xml::Scanner),
    Form(Box<form::Scanner>),
}

impl Scanner {
    fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Scanner::Json(json) => json.read(bytes),
            Scanner::Xml(xml) => xml.read(bytes),
            Scanner::Form(form) => form.read(bytes),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self {
            Scanner::Json(json) => json.end(),
            Scanner::Xml(xml) => xml.end(),
            Scanner::Form(form) => form.end(),
        }
    }
}

/// A body around another. What breaks a limit is never announced.
pub(super) struct Watched {
    body: Body,
    scanner: Option<Scanner>,
    /// Bytes that may still come, where they are counted.
    left: Option<u64>,
    /// How many of the announced bytes have been looked at.
    seen: usize,
    /// Where what is found goes, and nothing is refused for it.
    tried: Option<Tried>,
}

/// What a dry run has found in a body.
#[derive(Clone, Default)]
pub(super) struct Tried(Rc<RefCell<Option<String>>>);

impl Tried {
    pub(super) fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}

impl Watched {
    pub(super) fn around(
        body: Body,
        scanner: Option<Scanner>,
        most: Option<u64>,
        tried: Option<Tried>,
    ) -> Body {
        Body::Stream(Box::new(Watched { body, scanner, left: most, seen: 0, tried }))
    }

    /// What was found is a fault, or is only told; then nothing more is looked for.
    fn found(&mut self, fault: Fault) -> Result<(), Fault> {
        let Some(tried) = &self.tried else { return Err(fault) };
        *tried.0.borrow_mut() = Some(fault.into_detail().into_owned());
        (self.scanner, self.left) = (None, None);
        Ok(())
    }

    /// Looks at what has been announced since.
    fn look_on(&mut self, there: usize) -> Result<(), Fault> {
        let (seen, fresh) = (self.seen, (there - self.seen) as u64);
        if let Some(left) = self.left {
            self.left = left.checked_sub(fresh);
            if self.left.is_none() {
                self.found(Fault::new(Code::TooLarge, "payload: larger than its type may be"))?;
            }
        }
        if let Some(scanner) = &mut self.scanner {
            let read = self.body.look(|bytes| scanner.read(&bytes[seen..there]));
            if let Some(Err(why)) = read {
                self.found(refused(why))?;
            }
        }
        self.seen = there;
        Ok(())
    }
}

pub(super) fn refused(why: String) -> Fault {
    let place = Place::Pointer(String::new());
    let told = Violation { place, detail: why.clone() };
    Fault::new(Code::BadRequest, format!("payload: {why}")).violations(vec![told])
}

impl Source for Watched {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let there = ready!(self.body.poll_fill(cx))?;
        if there > self.seen {
            self.look_on(there)?;
        }
        // where the length is known, nobody asks once more for the end
        let is_all = there == 0 || self.body.length() == Some(there as u64);
        if is_all
            && let Some(scanner) = &mut self.scanner
            && let Err(why) = scanner.end()
        {
            self.found(refused(why))?;
        }
        Poll::Ready(Ok(there))
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.body.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        self.body.look(|bytes| see(&bytes[..self.seen.min(bytes.len())]));
    }

    fn consume(&mut self, n: usize) {
        self.body.consume(n);
        self.seen -= n.min(self.seen);
    }

    fn take(&mut self, n: usize) -> Bytes {
        let taken = self.body.take(n);
        self.seen -= taken.len().min(self.seen);
        taken
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.body.trailers()
    }
}
