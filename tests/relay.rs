//! TCP and UDP that is carried without being read, over real sockets with the real program.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

mod relay {
    mod handed;
    mod passthrough;
    mod peers;
    mod tcp;
    mod udp;
}

/// The program under test.
const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");
