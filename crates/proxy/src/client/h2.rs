//! HTTP/2 to endpoints: few connections, each of which carries many exchanges at once.
//!
//! `connections` finds a connection with room for one more stream, or opens one; `line` is one such
//! connection with the task that keeps it going; `call` is one exchange over one of its streams.

mod call;
mod connections;
mod error;
mod line;

pub use call::Call;
pub use connections::{Connections, Obtained, obtain};
pub use line::Slot;
