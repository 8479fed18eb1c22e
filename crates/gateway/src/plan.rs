//! Plans: limits that consumers share by name. They are data; policies that limit read them by the
//! plan of who asks.

use transom_settings::{Rate, settings};

use crate::limit::calendar::Quota;

settings! {
    /// What consumers of this plan may ask for. A policy that limits has to be on the route: a plan
    /// alone limits nothing.
    pub struct Plan {
        /// Requests in a time such as `100/min`; several hold at once.
        pub rate: Vec<Rate> = Vec::new(),
        /// Requests in a period of the calendar, such as `10000/day`; several hold at once.
        pub quota: Vec<Quota> = Vec::new(),
        /// Requests that may be under way at once.
        pub concurrency: Option<u32> = None,
    }
}
