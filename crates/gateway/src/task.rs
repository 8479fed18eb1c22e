//! What a policy does beside requests: fetching keys, writing to a store.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use transom_proxy::local::Local;

/// Something that goes on beside requests, on the background thread. It ends with the last snapshot
/// that asks for it, at its next await; one that goes on over a reload must be the same value, which
/// [`Making::keep`](crate::Making::keep) gives.
pub trait Task: Send + Sync {
    fn run(self: Arc<Self>, local: Rc<Local>) -> Pin<Box<dyn Future<Output = ()>>>;
}
