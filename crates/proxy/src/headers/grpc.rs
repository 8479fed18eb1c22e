//! What gRPC says in header fields.

use std::time::Duration;

use crate::fields::{Fields, Values};

const TIMEOUT: &str = "grpc-timeout";
/// Most digits of a timeout.
const DIGITS: usize = 8;
const UNITS: [(u8, Duration); 6] = [
    (b'H', Duration::from_secs(3600)),
    (b'M', Duration::from_secs(60)),
    (b'S', Duration::from_secs(1)),
    (b'm', Duration::from_millis(1)),
    (b'u', Duration::from_micros(1)),
    (b'n', Duration::from_nanos(1)),
];

/// `grpc-timeout` is not one to eight digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout is not one to eight digits and one of H, M, S, m, u, n")]
pub struct BadTimeout;

/// How long the client of a call waits for its end, where it says so.
///
/// # Errors
/// When the field cannot be understood or stands twice.
pub fn timeout(fields: &Fields) -> Result<Option<Duration>, BadTimeout> {
    let value = match fields.only(TIMEOUT) {
        Values::None => return Ok(None),
        Values::One(value) => value,
        Values::Many => return Err(BadTimeout),
    };
    let (unit, digits) = value.split_last().ok_or(BadTimeout)?;
    let (_, unit) = UNITS.iter().find(|(letter, _)| letter == unit).ok_or(BadTimeout)?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadTimeout);
    }
    let count = digits.iter().fold(0u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    Ok(Some(*unit * count))
}

/// Says how much of its time a call has left, in the finest unit in which that can be written.
pub fn set_timeout(fields: &mut Fields, left: Duration) {
    let written = UNITS.iter().rev().find_map(|(letter, unit)| {
        let count = left.as_nanos() / unit.as_nanos();
        (count < 10u128.pow(DIGITS as u32)).then(|| format!("{count}{}", *letter as char))
    });
    fields.set(TIMEOUT, written.as_deref().unwrap_or("99999999H").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_02_a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Ok(Some(Duration::from_secs(3600)))),
            ("2M", Ok(Some(Duration::from_secs(120)))),
            ("0S", Ok(Some(Duration::ZERO))),
            ("1500m", Ok(Some(Duration::from_millis(1500)))),
            ("99999999n", Ok(Some(Duration::from_nanos(99_999_999)))),
            ("99999999H", Ok(Some(Duration::from_secs(99_999_999 * 3600)))),
            ("100000000n", Err(BadTimeout)),
            ("x", Err(BadTimeout)),
            ("H", Err(BadTimeout)),
            ("", Err(BadTimeout)),
            ("-1S", Err(BadTimeout)),
            ("1 S", Err(BadTimeout)),
            ("1s", Err(BadTimeout)),
        ] {
            let mut fields = Fields::new();
            fields.append(TIMEOUT, text.as_bytes());
            assert_eq!(timeout(&fields), expected, "{text}");
        }
        assert_eq!(timeout(&Fields::new()), Ok(None));
    }

    #[test]
    fn g_02_what_is_left_is_written_as_finely_as_it_can() {
        for (left, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(86_400 * 365), "31536000S"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut fields = Fields::new();
            fields.append(TIMEOUT, b"1H");
            set_timeout(&mut fields, left);
            assert_eq!(fields.get(TIMEOUT), Some(expected.as_bytes()));
            assert_eq!(fields.len(), 1);
        }
    }
}
