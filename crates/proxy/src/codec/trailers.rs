//! Fields that come after a body (RFC 9110 §6.5).

use super::head::is_clean;
use crate::fields::{Field, Fields};

/// What of the trailers of a message is passed on.
///
/// A name that means something to a recipient before the body is no trailer (§6.5.1), and a careless
/// one takes it for a header field: only names that Transom itself gives no meaning to pass.
pub fn passed(mut trailers: Fields) -> Fields {
    trailers.retain(|field| field.known.is_none() && is_clean(field.value));
    trailers
}

/// The same for a request, where names that no two servers read alike stay behind too (H1-49).
pub fn passed_of_request(trailers: Fields) -> Fields {
    let mut trailers = passed(trailers);
    trailers.retain(|field| !is_doubtful(&field));
    trailers
}

/// A name that servers behind may fold onto another one.
pub fn is_doubtful(field: &Field<'_>) -> bool {
    field.name.iter().any(|b| matches!(b, b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(trailers: &Fields) -> Vec<String> {
        trailers.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    #[test]
    fn h1_24_only_names_without_a_meaning_of_ours_pass() {
        let mut trailers = Fields::new();
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "Host",
            "Authorization",
            "Set-Cookie",
            "X-Forwarded-For",
            "Trailer",
            "TE",
            "grpc-status",
            "X-Sum",
            "x_forwarded_for",
            "my.key",
        ] {
            trailers.append(name, b"1");
        }
        let of_response = ["grpc-status", "X-Sum", "x_forwarded_for", "my.key"];
        assert_eq!(names(&passed(trailers.clone())), of_response);
        assert_eq!(names(&passed_of_request(trailers)), ["grpc-status", "X-Sum"]);
    }
}
