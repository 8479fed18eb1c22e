//! Digests of content: `Content-Digest` (RFC 9530), and the older `Digest` (RFC 3230).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use data_encoding::BASE64;

/// What speaks against a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It has no algorithm that is strong enough, or is no digest.
    Unknown,
    Wrong,
}

/// Whether `value`, of `Content-Digest` or `Digest`, is that of this content. Every digest in it of a
/// known algorithm must be right, and there must be one.
pub(crate) fn is_of(value: &str, content: &[u8]) -> Result<(), Mismatch> {
    let mut seen = false;
    for member in value.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (name, given) = member.split_once('=').ok_or(Mismatch::Unknown)?;
        let Some(algorithm) = algorithm(name) else { continue };
        // in `Content-Digest` it is a byte sequence (RFC 8941 §3.3.5), in `Digest` bare
        let bare = given.strip_prefix(':').and_then(|given| given.strip_suffix(':'));
        let given =
            BASE64.decode(bare.unwrap_or(given).as_bytes()).map_err(|_| Mismatch::Unknown)?;
        let own = digest(algorithm, content);
        verify_slices_are_equal(own.as_ref(), &given).map_err(|_| Mismatch::Wrong)?;
        seen = true;
    }
    if seen { Ok(()) } else { Err(Mismatch::Unknown) }
}

fn algorithm(name: &str) -> Option<&'static Algorithm> {
    let known = [("sha-256", &SHA256), ("sha-512", &SHA512)];
    known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421 §B.2 and RFC 9530 §B.1 for the same content.
    #[test]
    fn gw_09_published_digests_are_right() {
        let content = b"{\"hello\": \"world\"}";
        let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        for value in
            [sha256, sha512, &format!("{sha256}, {sha512}"), &format!("md5=:AA==:, {sha256}")]
        {
            assert_eq!(is_of(value, content), Ok(()), "{value}");
            assert_eq!(is_of(value, b"{}"), Err(Mismatch::Wrong), "{value}");
        }
        assert_eq!(is_of("SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", content), Ok(()));
        for value in ["", "md5=:AA==:", "sha-256", "sha-256=:?:"] {
            assert_eq!(is_of(value, content), Err(Mismatch::Unknown), "{value}");
        }
    }
}
