//! Whether members are well: asked by probes, said by themselves, seen in their traffic.

pub mod agent;
pub mod machine;
pub mod passive;
pub mod probe;
pub mod probe_command;
pub mod probe_grpc;
pub mod probe_http;
pub mod probe_tcp;
pub mod slow_start;
pub mod statistics;
pub mod watch;

pub use watch::{Care, Station, watch};
