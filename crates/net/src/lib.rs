

pub mod tls;
