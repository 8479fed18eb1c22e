//! Values that are written as one text: each parses, prints itself back and says what was wrong.

mod address;
mod basic;
mod cidr;
mod duration;
mod factor;
mod header;
mod host;
mod path;
mod percent;
mod rate;
mod secret;
mod size;
mod target;
mod url;

pub use address::{EndpointAddress, EndpointHost, ListenAddress};
pub use basic::{Method, Name, Regex, Status, StatusPattern};
pub use cidr::{Cidr, ip, unmap};
pub use duration::Duration;
pub use factor::Factor;
pub use header::{HeaderName, HeaderValue, is_token, is_token_byte};
pub use host::{HostPattern, host_name};
pub use path::{PathPattern, Segment};
pub use percent::Percent;
pub use rate::{ByteRate, Rate};
pub use secret::Secret;
pub use size::ByteSize;
pub use target::Target;
pub use url::Url;

/// One check for the tables of every scalar: the value printed back, or what is wrong with it.
#[cfg(test)]
pub(crate) fn check<T: crate::FromText + std::fmt::Display>(table: &[(&str, Result<&str, &str>)]) {
    for (text, expected) in table {
        let found = T::from_text(text);
        match (found, expected) {
            (Ok(value), Ok(expected)) => {
                let shown = value.to_string();
                assert_eq!(shown, *expected, "{text}");
                let again = T::from_text(&shown).map(|value| value.to_string());
                assert_eq!(again.as_deref(), Ok(*expected), "what is printed can be read");
            }
            (Err(refusal), Err(expected)) => assert_eq!(refusal.what, *expected, "{text}"),
            (Ok(value), Err(expected)) => panic!("{text}: {value} but expected `{expected}`"),
            (Err(refusal), Ok(_)) => panic!("{text}: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FromText;

    proptest! {
        #[test]
        fn no_text_makes_a_scalar_panic(text in "\\PC{0,40}|[0-9a-fkKMGiBsmhd:/.*~{}\\[\\]%-]{0,24}") {
            let _ = Duration::from_text(&text);
            let _ = ByteSize::from_text(&text);
            let _ = Rate::from_text(&text);
            let _ = ByteRate::from_text(&text);
            let _ = Cidr::from_text(&text);
            let _ = HostPattern::from_text(&text);
            let _ = PathPattern::from_text(&text);
            let _ = ListenAddress::from_text(&text);
            let _ = EndpointAddress::from_text(&text);
            let _ = HeaderName::from_text(&text);
            let _ = HeaderValue::from_text(&text);
            let _ = Method::from_text(&text);
            let _ = Status::from_text(&text);
            let _ = StatusPattern::from_text(&text);
            let _ = Name::from_text(&text);
        }

        #[test]
        fn a_scalar_prints_what_reads_back(ms in 0u64..10_000_000_000, bytes in any::<u64>()) {
            let duration = Duration::milliseconds(ms);
            prop_assert_eq!(Duration::from_text(&duration.to_string()), Ok(duration));
            let size = ByteSize(bytes);
            prop_assert_eq!(ByteSize::from_text(&size.to_string()), Ok(size));
        }
    }
}
