//! What gRPC says beside HTTP: messages with their lengths, and how a call ended.

pub mod frame;
pub mod proto;
pub mod status;
