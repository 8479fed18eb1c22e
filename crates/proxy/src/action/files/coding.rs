//! Which coding of a file a client prefers (RFC 9110 §12.5.3).

use smallvec::SmallVec;

use crate::fields::list;

/// A content coding in which a file may lie beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
    Zstd,
}

impl Coding {
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Zstd];

    /// As in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }

    /// What follows the name of the plain file.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
            Coding::Zstd => ".zst",
        }
    }

    fn is(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.as_str().as_bytes())
            // §8.4.1.3.
            || self == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// The codings to look for, best first: what the client weighs higher, then the order of
/// `offered`. Those it weighs lower than the plain file are left out.
///
/// Without the field the plain file is sent: whoever understands codings says so. It is also sent
/// when the client refuses it but no other form is there, which §12.4.1 allows.
pub fn preferred<'a>(
    accept: impl Iterator<Item = &'a [u8]>,
    offered: &[Coding],
) -> SmallVec<[Coding; 3]> {
    let mut weights: SmallVec<[(Coding, Option<u16>); 3]> =
        offered.iter().map(|coding| (*coding, None)).collect();
    let (mut identity, mut any) = (None, None);
    for member in accept.flat_map(list) {
        let (name, weight) = weighed(member);
        if name == b"*" {
            any = any.or(Some(weight));
        } else if name.eq_ignore_ascii_case(b"identity") {
            identity = identity.or(Some(weight));
        } else {
            for (_, own) in weights.iter_mut().filter(|(coding, _)| coding.is(name)) {
                *own = own.or(Some(weight));
            }
        }
    }
    // A plain file that is not named is acceptable, but never what the client prefers.
    let plain = identity.unwrap_or(0);
    let mut wanted: SmallVec<[(Coding, u16); 3]> = weights
        .into_iter()
        .filter_map(|(coding, own)| Some((coding, own.or(any)?)))
        .filter(|(_, weight)| *weight > 0 && *weight >= plain)
        .collect();
    wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    wanted.into_iter().map(|(coding, _)| coding).collect()
}

/// A member's name and its weight in thousandths; a weight that is none counts as 0.
fn weighed(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    (name, weight.map_or(1000, |text| thousandths(text).unwrap_or(0)))
}

/// RFC 9110 §12.4.2: at most three digits behind the point.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut value = u16::from(whole.checked_sub(b'0')?);
    for i in 0..3 {
        let digit = digits.get(i).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)? + u16::from(digit - b'0');
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_follow_the_weights_of_the_client() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["gzip"], &[Gzip]),
            (&["x-gzip"], &[Gzip]),
            (&["GZIP"], &[Gzip]),
            (&["deflate"], &[]),
            (&["gzip, br, zstd"], &[Brotli, Zstd, Gzip]),
            (&["gzip", "br"], &[Brotli, Gzip]),
            (&["gzip;q=1.0, br;q=0.5"], &[Gzip, Brotli]),
            (&["gzip;q=0.9 , zstd ; q=0.95"], &[Zstd, Gzip]),
            (&["br;q=0, gzip"], &[Gzip]),
            (&["*"], &[Brotli, Zstd, Gzip]),
            (&["*;q=0"], &[]),
            (&["*;q=0, gzip"], &[Gzip]),
            (&["*, br;q=0"], &[Zstd, Gzip]),
            (&["identity"], &[]),
            (&["identity;q=0"], &[]),
            (&["identity;q=0.5, gzip;q=0.4, br;q=0.6"], &[Brotli]),
            (&["identity, gzip"], &[Gzip]),
            (&["identity;q=0, gzip;q=0.001"], &[Gzip]),
            (&["gzip;q=0.000"], &[]),
            (&["gzip;q=1.001"], &[]),
            (&["gzip;q=2"], &[]),
            (&["gzip;q=0.1234"], &[]),
            (&["gzip;q=x"], &[]),
            (&["gzip;q="], &[]),
            (&["gzip;q=\u{ff}"], &[]),
            (&["gzip;level=1;q=0.5"], &[Gzip]),
        ] {
            let accept = accept.iter().map(|line| line.as_bytes());
            assert_eq!(preferred(accept, &[Brotli, Zstd, Gzip])[..], *expected);
        }
    }
}
