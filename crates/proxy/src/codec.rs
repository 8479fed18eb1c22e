//! HTTP/1 on the wire: heads, framing and chunks; header blocks of HTTP/2. Strict by construction:
//! what is ambiguous is refused, never repaired (RFC 9112, RFC 9113; the numbered rows in the tests
//! are those of the catalogue of known attacks).

pub mod body;
pub mod chunked;
pub mod framing;
pub mod h2;
pub mod head;
mod scan;
pub mod trailers;

pub use body::{Decoder, Piece};
pub use framing::Framing;
pub use head::{HeadError, RequestHead, ResponseHead};
