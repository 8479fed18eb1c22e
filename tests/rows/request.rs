//! Requests in HTTP/1: framing, smuggling, and what closes a connection.

mod body;
mod connection;
mod framing;
mod head;

const CL: &str = "Content-Length";
const TE: &str = "Transfer-Encoding";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
