//! Tokens: how they are found in a request, what they say, and whether to believe them.
//!
//! ```text
//! place ─▶ jws (taken apart) ─▶ keys (signature) ─▶ claims (for us, and now?) ─▶ reading (who)
//! ```
//!
//! Nothing here answers a request: policies do. Whatever decides takes `now`.

pub mod algorithm;
pub mod claims;
pub mod jws;
pub mod key;
pub mod keys;
pub mod place;
pub mod reading;
pub mod remembered;
pub mod remote;
pub mod revoked;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time in seconds since 1970, as tokens have them.
pub fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Why a token is not believed. For the log; the client is told none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not what a token must look like.
    Malformed(&'static str),
    /// No key has the id that it names.
    UnknownKey,
    /// The key that it names is for another algorithm.
    Algorithm,
    Signature,
    /// It is real, but not for us or not for now.
    Claims(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed(why) => write!(f, "the token is malformed: {why}"),
            Refused::UnknownKey => f.write_str("no key has the id that the token names"),
            Refused::Algorithm => {
                f.write_str("the key is for another algorithm than the token names")
            }
            Refused::Signature => f.write_str("the signature is wrong"),
            Refused::Claims(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}
