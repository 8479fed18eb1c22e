//! What the sinks cost a worker: `cargo bench --bench observe`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom::observe::access_log::{AccessLog, Format, Output, Settings};
use transom::observe::metrics::{Metrics, Names};
use transom_proxy::fields::Fields;
use transom_proxy::record::Sink;

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../src/observe/testing.rs"]
mod testing;

const ROUNDS: usize = 1001;
/// As many as a worker writes before they are taken from it.
const LINES: u32 = 64;

fn main() {
    let names = Names { listener: "web", routes: vec!["orders"], pools: vec!["orders", "users"] };
    report("metrics", &Metrics::new(1).sink(&names), || {});
    for format in [Format::Json, Format::Text] {
        let to = Output::File("/dev/null".into());
        let settings = Settings { format, to, queue: Settings::QUEUE, workers: 1 };
        let (log, handle) = AccessLog::start(settings).expect("/dev/null can be opened");
        let flush = || assert!(handle.flush(Duration::from_secs(10)));
        report(&format!("access log, {format:?}"), &log, flush);
        assert_eq!(handle.dropped(), 0);
    }
}

/// Prints the median of the rounds.
fn report(name: &str, sink: &Arc<dyn Sink>, between: impl Fn()) {
    let mut exchange = testing::exchange(0);
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..LINES {
                sink.began(&mut exchange, &Fields::new());
                sink.record(black_box(&exchange));
            }
            let took = begin.elapsed();
            between();
            took
        })
        .collect();
    rounds.sort();
    let median = rounds[ROUNDS / 2].as_nanos() / u128::from(LINES);
    println!("{name}: {median} ns per exchange");
}
