//! What the running program tells of itself: a line for each exchange, and numbers.
//!
//! Both are sinks of [`transom_proxy::record`]. Neither takes a lock that two workers share, waits
//! or allocates on the way of a request.

pub mod access_log;
mod escape;
pub mod metrics;
mod redact;
#[cfg(test)]
mod testing;

pub(crate) use escape::is_deceptive;
