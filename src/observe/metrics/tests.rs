use std::time::Duration;

use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;
use transom_proxy::record::Http2Tally;

use super::*;
use crate::observe::testing::{endpoint, exchange};

fn names() -> Names<'static> {
    Names { listener: "web", routes: vec!["orders", "a\"b\\c\nd"], pools: vec!["users", "orders"] }
}

/// The value of the series that is written exactly so.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(s, _)| s == series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn check(metrics: &Metrics, expected: &[(&str, f64)]) {
    for (series, expected) in expected {
        assert_eq!(value(metrics, series), Some(*expected), "{series}\n{}", metrics.render());
    }
}

#[test]
fn an_exchange_is_counted_where_it_belongs() {
    let metrics = Metrics::new(2);
    let sink = metrics.sink(&names());
    for worker in [0, 1, 1] {
        let mut exchange = exchange(worker);
        exchange.record.body_in = 10;
        sink.began(&mut exchange, &Fields::new());
        sink.record(&exchange);
    }
    let mut failed = exchange(0);
    failed.record.status = 502;
    failed.record.attempts = 3;
    failed.record.reused = false;
    failed.record.endpoint = Some(Arc::new(endpoint("users", "users-1")));
    failed.record.fail(Fault::new(Code::ConnectRefused, "x"));
    sink.began(&mut failed, &Fields::new());
    sink.record(&failed);
    sink.began(&mut exchange(0), &Fields::new());
    check(
        &metrics,
        &[
            (r#"transom_requests_total{listener="web",route="orders",class="2xx"}"#, 3.0),
            (r#"transom_requests_total{listener="web",route="orders",class="5xx"}"#, 1.0),
            (r#"transom_requests_total{listener="web",route="a\"b\\c\nd",class="2xx"}"#, 0.0),
            (r#"transom_request_body_bytes_total{listener="web",route="orders"}"#, 30.0),
            (r#"transom_response_body_bytes_total{listener="web",route="orders"}"#, 4096.0),
            (r#"transom_request_duration_seconds_count{listener="web",route="orders"}"#, 4.0),
            (r#"transom_request_duration_seconds_sum{listener="web",route="orders"}"#, 0.008),
            (
                r#"transom_request_duration_seconds_bucket{listener="web",route="orders",le="0.001"}"#,
                0.0,
            ),
            (
                r#"transom_request_duration_seconds_bucket{listener="web",route="orders",le="0.0025"}"#,
                4.0,
            ),
            (
                r#"transom_faults_total{listener="web",code="connect-refused",blame="upstream"}"#,
                1.0,
            ),
            (r#"transom_requests_in_flight{listener="web"}"#, 1.0),
            (r#"transom_pool_attempts_total{pool="orders"}"#, 3.0),
            (r#"transom_pool_attempts_total{pool="users"}"#, 3.0),
            (r#"transom_pool_retries_total{pool="users"}"#, 2.0),
            (r#"transom_pool_connections_total{pool="orders",version="1.1",use="reused"}"#, 3.0),
            (r#"transom_pool_connections_total{pool="users",version="1.1",use="new"}"#, 1.0),
            (r#"transom_pool_response_seconds_bucket{pool="orders",le="0.0025"}"#, 3.0),
        ],
    );
}

#[test]
fn sl11_what_matched_no_route_has_an_empty_one_and_no_label_of_the_client() {
    let metrics = Metrics::new(1);
    let sink = metrics.sink(&names());
    for status in [404, 0, 999] {
        let mut exchange = exchange(0);
        exchange.route = None;
        exchange.asked.path = "/CANARY".into();
        exchange.record.status = status;
        sink.record(&exchange);
    }
    check(
        &metrics,
        &[
            (r#"transom_requests_total{listener="web",route="",class="4xx"}"#, 1.0),
            (r#"transom_requests_total{listener="web",route="",class="none"}"#, 2.0),
        ],
    );
    assert!(!metrics.render().contains("CANARY"));
}

#[test]
fn a_route_of_the_same_name_goes_on_counting_after_a_reload() {
    let metrics = Metrics::new(1);
    let old = metrics.sink(&names());
    old.record(&exchange(0));
    let new = metrics.sink(&Names { routes: vec!["first", "orders"], ..names() });
    drop(old);
    let mut exchange = exchange(0);
    exchange.route = Some(1);
    new.record(&exchange);
    let series = r#"transom_requests_total{listener="web",route="orders",class="2xx"}"#;
    check(&metrics, &[(series, 2.0)]);
    drop(new);
    assert_eq!(value(&metrics, series), None);
}

#[test]
fn connections_and_tunnels_are_open_until_they_are_not() {
    let metrics = Metrics::new(2);
    let sink = metrics.sink(&names());
    let listener = metrics.listener("web");
    let (first, second) =
        (listener.accepted(0, Transport::Http), listener.accepted(1, Transport::Http));
    let relayed = listener.accepted(1, Transport::Tcp);
    let two = |tally| sink.http2(1, &tally);
    two(Http2Tally { connections: 2, ended: 1, ..Http2Tally::default() });
    listener.refused(1, Refusal::Tls);
    let mut exchange = exchange(1);
    sink.began(&mut exchange, &Fields::new());
    exchange.record.tunnel = true;
    exchange.record.status = 101;
    sink.tunnelled(&exchange);
    check(
        &metrics,
        &[
            (r#"transom_connections_open{listener="web",protocol="h1"}"#, 1.0),
            (r#"transom_connections_open{listener="web",protocol="h2"}"#, 1.0),
            (r#"transom_connections_open{listener="web",protocol="tcp"}"#, 1.0),
            (r#"transom_connections_open{listener="web",protocol="udp"}"#, 0.0),
            (r#"transom_connections_accepted_total{listener="web"}"#, 3.0),
            (r#"transom_connections_refused_total{listener="web",reason="tls"}"#, 1.0),
            (r#"transom_connections_refused_total{listener="web",reason="address"}"#, 0.0),
            (r#"transom_tunnels_open{listener="web"}"#, 1.0),
        ],
    );
    sink.record(&exchange);
    drop((first, relayed));
    two(Http2Tally { ended: 1, ..Http2Tally::default() });
    assert_eq!(listener.open(), 1);
    // On another worker's thread.
    std::thread::spawn(|| drop(second)).join().unwrap();
    check(
        &metrics,
        &[
            (r#"transom_connections_open{listener="web",protocol="h1"}"#, 0.0),
            (r#"transom_connections_open{listener="web",protocol="h2"}"#, 0.0),
            (r#"transom_tunnels_open{listener="web"}"#, 0.0),
            (r#"transom_requests_in_flight{listener="web"}"#, 0.0),
            (r#"transom_requests_total{listener="web",route="orders",class="1xx"}"#, 1.0),
        ],
    );
}

#[test]
fn configurations_taken_and_refused_are_told_apart() {
    let metrics = Metrics::new(1);
    metrics.config_taken(1);
    metrics.config_taken(2);
    metrics.config_refused();
    check(
        &metrics,
        &[
            ("transom_config_generation", 2.0),
            (r#"transom_config_reloads_total{result="success"}"#, 1.0),
            (r#"transom_config_reloads_total{result="failure"}"#, 1.0),
            ("transom_config_last_reload_successful", 0.0),
        ],
    );
    metrics.config_taken(3);
    check(&metrics, &[("transom_config_last_reload_successful", 1.0)]);
    let loaded = value(&metrics, "transom_config_last_reload_success_timestamp_seconds").unwrap();
    assert!(loaded > 1.7e9);
}

#[test]
fn the_members_are_asked_for_at_each_scrape() {
    let metrics = Metrics::new(1);
    metrics.set_members(|| {
        let (pool, endpoint) = ("orders".into(), "10.0.0.1:80".into());
        vec![MemberRow {
            pool,
            endpoint,
            in_flight: 1,
            attempts: 5,
            failures: 2,
            latency: Some(Duration::from_millis(20)),
            ..MemberRow::default()
        }]
    });
    check(
        &metrics,
        &[
            (r#"transom_member_in_flight{pool="orders",endpoint="10.0.0.1:80"}"#, 1.0),
            (r#"transom_member_attempts_total{pool="orders",endpoint="10.0.0.1:80"}"#, 5.0),
            (r#"transom_member_failures_total{pool="orders",endpoint="10.0.0.1:80"}"#, 2.0),
            (r#"transom_member_latency_seconds{pool="orders",endpoint="10.0.0.1:80"}"#, 0.02),
        ],
    );
}

#[test]
fn counts_of_a_replaced_log_are_kept() {
    let metrics = Metrics::new(1);
    let settings = || access_log::Settings {
        format: access_log::Format::Json,
        to: access_log::Output::File("/dev/null".into()),
        queue: 10,
        workers: 1,
    };
    for _ in 0..2 {
        let (log, handle) = access_log::AccessLog::start(settings()).unwrap();
        metrics.set_access_log(Some(handle.clone()));
        log.record(&exchange(0));
        assert!(handle.flush(Duration::from_secs(20)));
    }
    check(&metrics, &[("transom_access_log_lines_total", 2.0)]);
}

/// Reads the format by its own rules, and complains of everything that breaks one.
#[test]
fn the_text_is_what_prometheus_reads() {
    let metrics = Metrics::new(2);
    let sink = metrics.sink(&names());
    let _listener = metrics.listener("web");
    sink.record(&exchange(0));
    let text = metrics.render();
    assert!(text.ends_with('\n'));
    let mut families = std::collections::HashMap::new();
    let mut family = String::new();
    let mut series = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().into();
            assert!(help.len() > family.len() + 3);
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(matches!(kind, "counter" | "gauge" | "histogram"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(families.insert(family.clone(), kind.to_owned()).is_none(), "{name} twice");
            continue;
        }
        let (full, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0);
        assert!(series.insert(full), "{full} twice");
        let name = full.split('{').next().unwrap();
        let kind = &families[&family];
        let suffix = name.strip_prefix(family.as_str()).unwrap();
        let histogram = matches!(suffix, "_bucket" | "_sum" | "_count");
        assert!(if kind == "histogram" { histogram } else { suffix.is_empty() }, "{line}");
        assert!(name.starts_with("transom_") || name.starts_with("process_"), "{name}");
        labels(&full[name.len()..]);
    }
    let buckets = text.lines().filter(|l| l.contains("le=\"+Inf\"")).count();
    assert_eq!(buckets, 3, "one route with exchanges, two pools");
}

fn labels(mut rest: &str) {
    if rest.is_empty() {
        return;
    }
    rest = rest.strip_prefix('{').unwrap();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &after[end.unwrap() + 1..];
        match rest {
            "}" => return,
            _ => rest = rest.strip_prefix(',').unwrap(),
        }
    }
}
