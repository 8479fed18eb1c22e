//! The handshake of WebSocket in HTTP/1.1 (RFC 6455): made where the endpoint has spoken HTTP/2 and made
//! none, and looked at where it has.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;

use crate::fields::{Fields, Known, Values};

/// RFC 6455 §1.3.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Answers the key of the request, which proves that whoever answers knows WebSocket.
pub fn accept(request: &Fields, response: &mut Fields) {
    if let Some(answer) = answer(request) {
        response.set(Known::SecWebSocketAccept, answer.as_bytes());
    }
}

/// Whether the response answers the key of the request. One that does not comes from somebody who was
/// made to say 101 and goes on to speak HTTP: through a tunnel to it, requests would pass unseen.
pub fn is_accepted(request: &Fields, response: &Fields) -> bool {
    match (answer(request), response.only(Known::SecWebSocketAccept)) {
        (Some(answer), Values::One(given)) => given.trim_ascii() == answer.as_bytes(),
        _ => false,
    }
}

fn answer(request: &Fields) -> Option<String> {
    let key = request.get(Known::SecWebSocketKey)?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.trim_ascii(), MAGIC].concat());
    Some(BASE64.encode(hash.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        let (mut request, mut response) = (Fields::new(), Fields::new());
        accept(&request, &mut response);
        assert_eq!(response.get(Known::SecWebSocketAccept), None);
        request.append(Known::SecWebSocketKey, b"dGhlIHNhbXBsZSBub25jZQ==");
        accept(&request, &mut response);
        let answer = response.get(Known::SecWebSocketAccept);
        assert_eq!(answer, Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
        assert!(is_accepted(&request, &response));
        response.append(Known::SecWebSocketAccept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!is_accepted(&request, &response), "twice");
        response.set(Known::SecWebSocketAccept, b"S3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!is_accepted(&request, &response));
        assert!(!is_accepted(&Fields::new(), &Fields::new()));
    }
}
