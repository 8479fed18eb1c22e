//! What a pool goes by when it chooses a member for a request.

use std::time::Instant;

use transom_proxy::destination::Ask;

/// Asks for a member.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) wish: Wish,
    /// Keys of the endpoints that have been tried already.
    pub(crate) tried: &'a [u64],
    pub(crate) now: Instant,
}

/// What a request says for or against members. Read off it once, so that it still holds when the
/// request has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Of the key by which the rule hashes, where the request has one.
    pub(super) hash: Option<u64>,
    /// The key of the endpoint to which the client sticks.
    pub(super) sticks_to: Option<u64>,
    /// By what the client is to be remembered.
    pub(super) sign: Option<u64>,
    /// Its class in a queue, the smaller the sooner.
    pub(crate) class: u8,
}

/// The class of those who do not say.
const CLASS: u8 = 1;

/// The class that the route of a request gives it.
pub(super) fn class(ask: &Ask<'_>) -> u8 {
    let route = ask.http.and_then(|http| http.exchange.route());
    route.map_or(CLASS, |route| route.priority)
}
