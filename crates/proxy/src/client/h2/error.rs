//! What an error of the library means for an exchange.

use h2::Reason;

use crate::fault::{Code, Fault};

/// The fault of an error before the head of the response.
///
/// A stream that the endpoint refused, or that lies above the last one it named in its GOAWAY, was
/// not processed: it may be sent again whatever its method is (RFC 9113 §8.7, H2-29).
pub(super) fn fault(error: &h2::Error) -> Fault {
    let detail = format!("HTTP/2: {error}");
    if is_refused(error) {
        return Fault::new(Code::StreamRefused, detail);
    }
    let fault = Fault::new(Code::BadResponse, detail);
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => fault.grpc(grpc_status(reason)),
        _ => fault,
    }
}

/// The fault of a request that could not be begun.
pub(super) fn unsent(error: &h2::Error) -> Fault {
    let code = if error.is_go_away() { Code::StreamRefused } else { Code::ConnectFailed };
    Fault::new(code, format!("HTTP/2: {error}"))
}

/// The fault of a stream on a connection where none is allowed.
pub(super) fn closed() -> Fault {
    Fault::new(Code::StreamRefused, "HTTP/2: the endpoint allows no streams")
}

/// The endpoint has done nothing for this stream.
pub(super) fn is_refused(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
}

/// The connection is gone, and not only the stream.
pub(super) fn is_of_connection(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away()
}

/// The table of gRPC over HTTP/2, "Errors" (G-01).
fn grpc_status(reason: Reason) -> u8 {
    const CANCELLED: u8 = 1;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    match reason {
        Reason::REFUSED_STREAM => UNAVAILABLE,
        Reason::CANCEL => CANCELLED,
        Reason::ENHANCE_YOUR_CALM => RESOURCE_EXHAUSTED,
        Reason::INADEQUATE_SECURITY => PERMISSION_DENIED,
        _ => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_01_codes_of_resets_have_their_grpc_status() {
        for (reason, status) in [
            (Reason::NO_ERROR, 13),
            (Reason::PROTOCOL_ERROR, 13),
            (Reason::INTERNAL_ERROR, 13),
            (Reason::REFUSED_STREAM, 14),
            (Reason::CANCEL, 1),
            (Reason::ENHANCE_YOUR_CALM, 8),
            (Reason::INADEQUATE_SECURITY, 7),
        ] {
            assert_eq!(grpc_status(reason), status, "{reason:?}");
        }
    }

    #[test]
    fn what_we_refuse_ourselves_was_not_refused_by_the_endpoint() {
        let own = h2::Error::from(Reason::REFUSED_STREAM);
        assert!(!is_refused(&own));
        assert_eq!(fault(&own).code(), Code::BadResponse);
    }
}
