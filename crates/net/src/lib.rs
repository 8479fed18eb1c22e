pub mod listen;
pub mod peer;
pub mod proxy_protocol;
pub mod tasks;
pub mod tls;
