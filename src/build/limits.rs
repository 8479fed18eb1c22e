//! Times, limits and the settings of HTTP/2, as a site has them.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use transom_proxy::codec::head::HeadLimits;
use transom_proxy::site;
use transom_settings::{ByteSize, Limit, Spanned};

use crate::config;

/// `off`, where a time must be given: longer than any process runs.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(super) fn optional(timeout: &config::Timeout) -> Option<Duration> {
    timeout.value.get().map(|time| time.get())
}

pub(super) fn always(limit: &Limit<transom_settings::Duration>) -> Duration {
    limit.get().map_or(FOREVER, |time| time.get())
}

pub(super) fn timeouts(written: &config::Timeouts) -> site::Timeouts {
    site::Timeouts {
        header: always(&written.header),
        first_byte: always(&written.first_byte),
        keep_alive: always(&written.keep_alive),
        body_idle: optional(&written.body_idle),
        body_min_rate: written.body_min_rate.value.get().map_or(0, |rate| rate.0.bytes()),
        send_idle: optional(&written.send_idle),
        connect: always(&written.connect),
        response: optional(&written.response),
        response_idle: optional(&written.response_idle),
        tunnel_idle: optional(&written.tunnel_idle),
        request: optional(&written.request),
    }
}

pub(super) fn limits(written: &config::Limits) -> site::Limits {
    let unlimited = |limit: Limit<u32>| limit.get().map_or(usize::MAX, |count| count as usize);
    site::Limits {
        head: HeadLimits {
            start_line: written.request_line.len(),
            line: written.header_line.len(),
            fields: written.headers.len(),
            count: written.header_count as usize,
        },
        requests: written.requests_per_connection.value.get().map_or(u64::MAX, u64::from),
        age: always(&written.connection_age),
        connections: written.connections.map_or_else(connections, |count| count as usize),
        connections_per_client: unlimited(written.connections_per_client.value),
    }
}

pub(super) fn http2(written: &config::Http2) -> site::Http2 {
    let window = |size: &Spanned<ByteSize>| u32::try_from(size.bytes()).unwrap_or(u32::MAX >> 1);
    site::Http2 {
        prior_knowledge: written.prior_knowledge,
        streams: written.streams.value,
        stream_window: window(&written.stream_window),
        connection_window: window(&written.connection_window),
        resets: written.resets.value,
        control_frames: written.control_frames.value,
        ping: optional(&written.ping),
    }
}

/// Nine tenths of what the limit of open files allows, two for each connection.
fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(files / 20 * 9).unwrap_or(usize::MAX)
}
