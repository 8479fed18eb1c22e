//! How fast the bodies of routes may go.

use std::sync::Arc;

use transom_proxy::body::bandwidth::{Bandwidth, Rate};
use transom_settings::{ByteRate, Limit};

use crate::config;

/// What the bodies of several routes share.
pub(super) struct Shared {
    requests: Option<Arc<Rate>>,
    responses: Option<Arc<Rate>>,
}

impl Shared {
    pub(super) fn of(written: &config::Bandwidth) -> Self {
        let rate =
            |limit: &Limit<ByteRate>| per_second(limit).map(|rate| Arc::new(Rate::new(rate)));
        Shared { requests: rate(&written.requests), responses: rate(&written.responses) }
    }
}

/// What a route's bodies keep to: the listener's and its own, whichever is less.
pub(super) fn bandwidth(
    listener: &config::Bandwidth,
    shared: &Shared,
    route: &config::Bandwidth,
) -> Option<Arc<Bandwidth>> {
    let own = Shared::of(route);
    let both = |one: &Option<Arc<Rate>>, other: &Option<Arc<Rate>>| {
        [one, other].into_iter().flatten().cloned().collect()
    };
    let less = |one: &Limit<ByteRate>, other: &Limit<ByteRate>| {
        [per_second(one), per_second(other)].into_iter().flatten().min()
    };
    let bandwidth = Bandwidth {
        requests: both(&shared.requests, &own.requests),
        request: less(&listener.request, &route.request),
        responses: both(&shared.responses, &own.responses),
        response: less(&listener.response, &route.response),
    };
    (!bandwidth.is_unlimited()).then(|| Arc::new(bandwidth))
}

fn per_second(limit: &Limit<ByteRate>) -> Option<u64> {
    limit.get().map(|rate| rate.0.bytes())
}
