//! The catalogue of attacks and faults, row by row, over real sockets against the real program.
//!
//! A test is named for the row it holds: `h1_` requests in HTTP/1, `h2_` HTTP/2, `rs_` responses and
//! the reuse of connections to endpoints, `sl_` slow clients and exhaustion, `p_` paths, hosts and
//! what is said about the client, `u_` endpoints that fail, `lb_` who gets which request, `g_` gRPC
//! and streams, `w_` WebSocket, `d_` what the system does to the process.
//! Tables beside the code hold the rows whose answer needs no socket; here stands what two connections
//! and a clock have a part in.
//!
//! Each test ends with what holds whatever was done: the program lives, nobody else got a byte of
//! the attack, and the access log has one line for each exchange.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

mod rows {
    mod addresses;
    mod attempts;
    mod balancing;
    mod connections;
    mod draining;
    mod endpoints;
    mod floods;
    mod grpc;
    mod guard;
    mod health;
    mod http2;
    mod paths;
    mod process;
    mod request;
    mod resources;
    mod response;
    mod rig;
    mod strace;
    mod streams;
    mod upstream_h2;
}
