//! A body whose trailers do not say what only we tell an endpoint (P-14, P-15).

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use transom_settings::HeaderName;

use super::{Body, Kernel, Source};
use crate::fault::Fault;
use crate::fields::{Fields, Name};

struct Unsaid {
    inner: Box<dyn Source>,
    names: Arc<[HeaderName]>,
}

/// The body without these fields behind it.
pub fn leave_out(names: &Arc<[HeaderName]>, body: Body) -> Body {
    match body {
        Body::Stream(inner) => Body::Stream(Box::new(Unsaid { inner, names: names.clone() })),
        whole => whole,
    }
}

impl Source for Unsaid {
    fn trailers(&mut self) -> Option<Fields> {
        let mut trailers = self.inner.trailers()?;
        trailers.retain(|field| !self.names.iter().any(|name| field.is(Name::of(name.as_bytes()))));
        Some(trailers)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        self.inner.poll_fill(cx)
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        self.inner.look(see);
    }

    fn consume(&mut self, n: usize) {
        self.inner.consume(n);
    }

    fn take(&mut self, n: usize) -> Bytes {
        self.inner.take(n)
    }

    fn length(&self) -> Option<u64> {
        self.inner.length()
    }

    fn rewind(&mut self) -> bool {
        self.inner.rewind()
    }

    fn can_rewind(&self) -> bool {
        self.inner.can_rewind()
    }

    fn kernel(&mut self) -> Option<Kernel<'_>> {
        self.inner.kernel()
    }

    fn kernel_moved(&mut self, n: usize) -> Result<(), Fault> {
        self.inner.kernel_moved(n)
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.inner.poll_stalled(cx)
    }
}
