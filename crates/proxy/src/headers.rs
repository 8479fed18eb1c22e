//! What every hop does to fields: takes off what was meant for it, says for whom it speaks, and
//! hides what stands behind it.

pub mod cookie;
pub mod forwarded;
pub mod grpc;
pub mod hide;
pub mod hop;
pub mod websocket;
