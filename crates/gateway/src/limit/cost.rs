//! As how many requests one counts.

use transom_proxy::exchange::Exchange;
use transom_proxy::message::Request;

use crate::expression::{Facts, Program};

/// What the expression comes to; one where that is nothing, or less than one.
pub fn cost(program: &Program, exchange: &Exchange, request: &Request) -> u64 {
    let known = program.constant().map(Ok);
    let cost = known.unwrap_or_else(|| program.amount(&Facts::new(exchange, request)));
    cost.ok().and_then(|cost| u64::try_from(cost).ok()).unwrap_or(1).max(1)
}
