//! Level 0: moves bytes. Accepts, dials, encrypts; knows nothing of HTTP, routes or pools.

pub mod background;
pub mod blocks;
pub mod buffer;
pub mod carry;
pub mod ceiling;
pub mod clients;
pub mod deadline;
pub mod dial;
pub mod duplex;
pub mod listen;
pub mod peer;
pub mod pressure;
pub mod proxy_protocol;
pub mod splice;
pub mod stream;
pub mod tasks;
pub mod tls;
pub mod turnstile;
pub mod udp;
pub mod worker;

pub use background::Background;
pub use buffer::Size;
pub use ceiling::{Ceiling, Ear, Place};
pub use deadline::Deadline;
pub use dial::{Address, Behalf, DialError, Source, Target, dial, dial_for};
pub use duplex::Duplex;
pub use stream::Stream;
pub use turnstile::Turnstile;
pub use worker::Worker;
