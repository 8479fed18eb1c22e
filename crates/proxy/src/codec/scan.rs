//! Looks for the byte that ends a part of a head, eight bytes at a time.

const EACH: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = EACH * 0x80;

/// How many bytes stand before the first that cannot stand in a field value: control characters
/// but HTAB (RFC 9110 §5.5).
pub(super) fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += before::<0x20>(&bytes[at..]);
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// How many bytes stand before the first that cannot stand in a request target: space and control
/// characters.
pub(super) fn target_length(bytes: &[u8]) -> usize {
    before::<0x21>(bytes)
}

/// How many bytes stand before the first colon, if there is one.
pub(super) fn name_length(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let others = u64::from_le_bytes(*word) ^ (EACH * b':' as u64);
        let found = others.wrapping_sub(EACH) & !others & HIGH;
        if found != 0 {
            return Some(at * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let in_rest = rest.iter().position(|b| *b == b':');
    in_rest.map(|at| bytes.len() - rest.len() + at)
}

/// How many bytes stand before the first that is less than `LEAST` or DEL.
fn before<const LEAST: u8>(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Of the bytes that a borrow wrongly marks, none stands before one that is rightly marked.
        let low = word.wrapping_sub(EACH * LEAST as u64) & !word;
        let del = word ^ (EACH * 0x7f);
        let found = (low | del.wrapping_sub(EACH) & !del) & HIGH;
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let in_rest = rest.iter().position(|b| *b < LEAST || *b == 0x7f);
    bytes.len() - rest.len() + in_rest.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_found_or_passed_over() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let ends = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                    assert_eq!(value_length(&bytes), if ends { at } else { length }, "{byte:#x}");
                    let ends = byte < 0x21 || byte == 0x7f;
                    assert_eq!(target_length(&bytes), if ends { at } else { length }, "{byte:#x}");
                    let found = (byte == b':').then_some(at);
                    assert_eq!(name_length(&bytes), found, "{byte:#x}");
                }
            }
        }
    }

    #[test]
    fn the_first_is_found_whatever_comes_behind_it() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40))| {
            let ends = |b: &u8| (*b < 0x20 && *b != b'\t') || *b == 0x7f;
            let expected = bytes.iter().position(ends).unwrap_or(bytes.len());
            proptest::prop_assert_eq!(value_length(&bytes), expected);
        });
    }
}
