//! How fast bodies may pass.

use transom_settings::{ByteRate, Limit, settings};

settings! {
    /// Bytes of bodies in a second. What holds for a listener holds for its routes together, and a
    /// route's own beside it. Tunnels are not held back.
    pub struct Bandwidth {
        /// All requests together.
        pub requests: Limit<ByteRate> = Limit::Unlimited,
        /// Each request.
        pub request: Limit<ByteRate> = Limit::Unlimited,
        /// All responses together.
        pub responses: Limit<ByteRate> = Limit::Unlimited,
        /// Each response.
        pub response: Limit<ByteRate> = Limit::Unlimited,
    }
}
