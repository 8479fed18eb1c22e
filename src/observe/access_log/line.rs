//! The form of a line.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use transom_proxy::exchange::Exchange;
use transom_proxy::message::Version;
use transom_proxy::record::{Relayed, Transport};

use crate::observe::{escape, redact};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// `key=value`, for people.
    Text,
}

/// So much of what a stranger chose is kept, in bytes (M-06).
const METHOD_CAP: usize = 32;
const HOST_CAP: usize = 255;
const PATH_CAP: usize = 2048;
const DETAIL_CAP: usize = 512;
const NAME_CAP: usize = 128;
pub(super) const AGENT_CAP: usize = 512;

/// Appends the line of a finished exchange. Times are in milliseconds, sizes in bytes; what was
/// not reached is left out.
pub(super) fn write(exchange: &Exchange, format: Format, clock: &mut Clock, out: &mut Vec<u8>) {
    let record = &exchange.record;
    let asked = &exchange.asked;
    let ended = record.ended.unwrap_or(exchange.started);
    let total = ended.saturating_duration_since(exchange.started);
    let mut line = Line::begin(format, out);
    line.time("time", clock.at(SystemTime::now() - total));
    line.with("id", |out| exchange.id.write(out));
    line.text("listener", exchange.site.name.as_bytes(), NAME_CAP);
    line.with("client", |out| {
        if exchange.client == exchange.peer.ip() {
            out.extend_from_slice(exchange.peer.text().as_bytes());
        } else {
            display(exchange.client, out);
        }
    });
    line.text("method", asked.method.as_str().as_bytes(), METHOD_CAP);
    line.some("host", asked.authority.as_bytes(), HOST_CAP);
    line.some("path", asked.path.as_bytes(), PATH_CAP);
    if let Some(query) = asked.query.as_deref().filter(|query| !query.is_empty()) {
        line.query(query.as_bytes());
    }
    line.with("protocol", |out| protocol(asked.version, out));
    line.number("status", record.status.into());
    if let Some(fault) = record.fault {
        line.known("fault", fault.as_str());
        line.known("blame", fault.row().blame.as_str());
    }
    if let Some(detail) = &record.detail {
        line.some("detail", detail.as_bytes(), DETAIL_CAP);
    }
    if let Some(policy) = &record.dry_run {
        line.text("dry_run", policy.as_bytes(), NAME_CAP);
    }
    if let Some(route) = exchange.route() {
        line.text("route", route.name.as_bytes(), NAME_CAP);
    }
    if let Some(endpoint) = &record.endpoint {
        line.text("pool", endpoint.pool.as_bytes(), NAME_CAP);
        line.text("endpoint", endpoint.name.as_bytes(), HOST_CAP);
    }
    if record.attempts > 0 {
        line.number("attempts", record.attempts.into());
        line.flag("reused", record.reused);
        if let Some(version) = record.upstream {
            line.with("upstream_protocol", |out| protocol(version, out));
        }
    }
    line.milliseconds("total_ms", Some(total));
    let between =
        |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
    line.milliseconds("queued_ms", record.queued);
    line.milliseconds("connect_ms", between(Some(exchange.started), record.connected));
    line.milliseconds("wait_ms", between(record.connected, record.answered));
    line.milliseconds("body_ms", between(record.answered, record.ended));
    line.number("bytes_in", record.body_in);
    line.number("bytes_out", record.body_out);
    line.number("generation", exchange.site.generation);
    if let Some(tls) = &exchange.peer.tls {
        line.known("tls", tls.version);
    }
    if let Some(identity) = &exchange.identity {
        line.text("consumer", identity.name.as_bytes(), NAME_CAP);
    }
    if let Some(agent) = &record.agent {
        line.text("agent", agent, AGENT_CAP);
    }
    if record.tunnel {
        line.flag("tunnel", true);
    }
    line.end();
}

/// Appends the line of a TCP connection or UDP flow that was carried without being read.
pub(super) fn write_relayed(
    relayed: &Relayed,
    format: Format,
    clock: &mut Clock,
    out: &mut Vec<u8>,
) {
    let total = relayed.started.elapsed();
    let mut line = Line::begin(format, out);
    line.time("time", clock.at(SystemTime::now() - total));
    line.with("id", |out| relayed.id.write(out));
    line.text("listener", relayed.listener.as_bytes(), NAME_CAP);
    line.with("client", |out| display(relayed.client.ip(), out));
    line.known("protocol", relayed.transport.as_str());
    if let Some(name) = &relayed.name {
        line.text("sni", name.as_bytes(), HOST_CAP);
    }
    line.known("end", relayed.end.as_str());
    if let Some(fault) = relayed.fault {
        line.known("fault", fault.as_str());
        line.known("blame", fault.row().blame.as_str());
    }
    if let Some(detail) = &relayed.detail {
        line.some("detail", detail.as_bytes(), DETAIL_CAP);
    }
    if let Some(route) = &relayed.route {
        line.text("route", route.as_bytes(), NAME_CAP);
    }
    if let Some(endpoint) = &relayed.endpoint {
        line.text("pool", endpoint.pool.as_bytes(), NAME_CAP);
        line.text("endpoint", endpoint.name.as_bytes(), HOST_CAP);
        line.number("attempts", relayed.attempts.into());
    }
    line.milliseconds("total_ms", Some(total));
    let connected = relayed.connected.map(|at| at.saturating_duration_since(relayed.started));
    line.milliseconds("connect_ms", connected);
    line.number("bytes_in", relayed.passed.to_endpoint);
    line.number("bytes_out", relayed.passed.to_client);
    if relayed.transport == Transport::Udp {
        line.number("datagrams_in", relayed.datagrams.to_endpoint);
        line.number("datagrams_out", relayed.datagrams.to_client);
    }
    line.number("generation", relayed.generation);
    if let Some(tls) = relayed.tls {
        line.known("tls", tls);
    }
    line.end();
}

/// Appends the line that tells of `lines` lines which are not there.
pub(super) fn write_dropped(lines: u64, format: Format, clock: &mut Clock, out: &mut Vec<u8>) {
    let mut line = Line::begin(format, out);
    line.time("time", clock.at(SystemTime::now()));
    line.known("event", "access-log-dropped");
    line.number("lines", lines);
    line.end();
}

fn protocol(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/");
    out.extend_from_slice(version.as_str().as_bytes());
}

fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = write!(out, "{value}");
}

/// A line on its way into `out`. Keys and `known` values need no escaping.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
    first: bool,
}

impl<'a> Line<'a> {
    fn begin(format: Format, out: &'a mut Vec<u8>) -> Self {
        if format == Format::Json {
            out.push(b'{');
        }
        Line { out, format, first: true }
    }

    fn end(self) {
        self.out.extend_from_slice(if self.format == Format::Json { b"}\n" } else { b"\n" });
    }

    fn key(&mut self, key: &str) {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            Format::Json => {
                self.out.extend_from_slice(if first { b"\"" } else { b",\"" });
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Format::Text => {
                if !first {
                    self.out.push(b' ');
                }
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }

    /// A value that anything may stand in.
    fn text(&mut self, key: &str, value: &[u8], cap: usize) {
        let (kept, cut) = escape::capped(value, cap);
        self.key(key);
        match self.format {
            Format::Json => escape::json(kept, self.out),
            Format::Text => escape::text(kept, self.out),
        }
        if cut {
            let quoted = self.out.last() == Some(&b'"');
            self.out.truncate(self.out.len() - usize::from(quoted));
            self.out.extend_from_slice(if quoted { b"...\"" } else { b"..." });
        }
    }

    /// The same, left out where there is nothing.
    fn some(&mut self, key: &str, value: &[u8], cap: usize) {
        if !value.is_empty() {
            self.text(key, value, cap);
        }
    }

    fn query(&mut self, query: &[u8]) {
        let (kept, cut) = escape::capped(query, PATH_CAP);
        self.key("query");
        let start = self.out.len();
        redact::query(kept, self.out);
        if cut {
            self.out.extend_from_slice(b"...");
        }
        escape::json_in_place(self.out, start);
    }

    fn known(&mut self, key: &str, value: &str) {
        self.with(key, |out| out.extend_from_slice(value.as_bytes()));
    }

    fn with(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.quote();
        write(self.out);
        self.quote();
    }

    fn time(&mut self, key: &str, time: &[u8]) {
        self.key(key);
        self.quote();
        self.out.extend_from_slice(time);
        self.quote();
    }

    fn quote(&mut self) {
        if self.format == Format::Json {
            self.out.push(b'"');
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// With three decimals.
    fn milliseconds(&mut self, key: &str, value: Option<Duration>) {
        let Some(value) = value else { return };
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.number(key, micros / 1000);
        let rest = micros % 1000;
        let digit = |n: u64| b'0' + n as u8;
        self.out.extend_from_slice(&[
            b'.',
            digit(rest / 100),
            digit(rest / 10 % 10),
            digit(rest % 10),
        ]);
    }
}

/// Writes times as RFC 3339 in UTC with milliseconds; a second is taken apart only once.
#[derive(Debug)]
pub(super) struct Clock {
    second: u64,
    text: [u8; 24],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { second: u64::MAX, text: *b"0000-00-00T00:00:00.000Z" }
    }
}

impl Clock {
    fn at(&mut self, time: SystemTime) -> &[u8] {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            let (year, month, day) = civil(self.second / 86_400);
            let second = self.second % 86_400;
            for (at, digits, value) in [
                (0, 4, year),
                (5, 2, month),
                (8, 2, day),
                (11, 2, second / 3600),
                (14, 2, second / 60 % 60),
                (17, 2, second % 60),
            ] {
                decimal(&mut self.text[at..at + digits], value);
            }
        }
        decimal(&mut self.text[20..23], since.subsec_millis().into());
        &self.text
    }
}

fn decimal(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
pub(super) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::Value;
    use transom_proxy::exchange::Identity;
    use transom_proxy::fault::Code;
    use transom_proxy::message::Method;

    use super::*;
    use crate::observe::testing::exchange;

    fn written(exchange: &Exchange, format: Format) -> String {
        let mut out = Vec::new();
        write(exchange, format, &mut Clock::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn after_time(line: &str) -> &str {
        &line[line.find("id").unwrap()..]
    }

    #[test]
    fn a_line_tells_the_whole_exchange() {
        assert_eq!(
            after_time(&written(&exchange(0), Format::Json)),
            "id\":\"000000000000001f0000000000000abc\",\"listener\":\"web\",\"client\":\"192.0.2.7\",\
             \"method\":\"GET\",\"host\":\"shop.example\",\"path\":\"/orders\",\"query\":\"page=2\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"route\":\"orders\",\"pool\":\"orders\",\
             \"endpoint\":\"orders-1\",\"attempts\":1,\"reused\":true,\"upstream_protocol\":\"HTTP/1.1\",\"total_ms\":2.000,\
             \"connect_ms\":0.100,\"wait_ms\":1.250,\"body_ms\":0.650,\"bytes_in\":0,\
             \"bytes_out\":1024,\"generation\":3,\"agent\":\"curl/8.5\"}\n"
        );
        assert_eq!(
            after_time(&written(&exchange(0), Format::Text)),
            "id=000000000000001f0000000000000abc listener=web client=192.0.2.7 method=GET \
             host=shop.example path=/orders query=\"page=2\" protocol=HTTP/1.1 status=200 \
             route=orders pool=orders endpoint=orders-1 attempts=1 reused=true upstream_protocol=HTTP/1.1 \
             total_ms=2.000 \
             connect_ms=0.100 wait_ms=1.250 body_ms=0.650 bytes_in=0 bytes_out=1024 generation=3 \
             agent=curl/8.5\n"
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_has_no_host_path_or_route() {
        let mut exchange = exchange(0);
        exchange.asked.method = Method::Other("-".into());
        exchange.asked.authority = "".into();
        exchange.asked.path = "".into();
        exchange.asked.query = None;
        exchange.route = None;
        exchange.record = Default::default();
        exchange.record.status = 400;
        exchange.record.fault = Some(Code::BadRequest);
        exchange.record.detail = Some(Cow::Borrowed("Host stands twice"));
        assert_eq!(
            after_time(&written(&exchange, Format::Text)),
            "id=000000000000001f0000000000000abc listener=web client=192.0.2.7 method=- \
             protocol=HTTP/1.1 status=400 fault=bad-request blame=client \
             detail=\"Host stands twice\" total_ms=0.000 bytes_in=0 bytes_out=0 generation=3\n"
        );
    }

    #[test]
    fn m07_secrets_of_the_query_are_not_in_the_line() {
        let mut exchange = exchange(0);
        exchange.asked.query = Some("a=1&api_key=CANARY&b=\"".into());
        for format in [Format::Json, Format::Text] {
            let line = written(&exchange, format);
            assert!(line.contains(r#""a=1&api_key=***&b=\"""#) && !line.contains("CANARY"));
        }
    }

    #[test]
    fn what_a_stranger_chose_is_cut_to_a_bound() {
        let mut exchange = exchange(0);
        exchange.asked.path = "/é".repeat(100_000).into();
        exchange.asked.query = Some("\u{1}".repeat(100_000).into());
        exchange.record.agent = Some(vec![0xff; 100_000].into());
        exchange.record.tunnel = true;
        exchange.identity =
            Some(std::sync::Arc::new(Identity { name: "a\"b".into(), ..Identity::default() }));
        for format in [Format::Json, Format::Text] {
            assert!(written(&exchange, format).len() < 24_000);
        }
        let value: Value = serde_json::from_str(&written(&exchange, Format::Json)).unwrap();
        assert!(value["path"].as_str().unwrap().ends_with("..."));
        assert_eq!(value["tunnel"], true);
        assert_eq!(value["consumer"], "a\"b");
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let mut clock = Clock::default();
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_042, "2025-12-31T23:59:59.042Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(std::str::from_utf8(clock.at(time)).unwrap(), expected);
        }
    }
}
