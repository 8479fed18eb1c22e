//! How much the demo is asked, told while it runs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::admin::client;

/// Tells the requests per second without end: on a terminal one line that is written anew each
/// second, elsewhere a line each ten seconds in which something was asked.
pub(super) async fn tell(admin: &Path) {
    let terminal = std::io::stdout().is_terminal();
    let every = Duration::from_secs(if terminal { 1 } else { 10 });
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let now = ticks.tick().await;
        // the numbers that anyone can ask for
        let Ok((200, metrics)) = client::call(admin, "GET", "/metrics").await else { continue };
        let all = requests(&metrics);
        // a route that a change of the file removed takes its count with it
        let rate = all.saturating_sub(before) as f64 / (now - since).as_secs_f64();
        let quiet = all == before;
        (before, since) = (all, now);
        let line = format!("{rate:.0} requests/s, {all} in all");
        let mut out = std::io::stdout().lock();
        // nobody reads it any more: that is no reason to stop serving
        let _ = match (terminal, quiet) {
            (true, _) => {
                write!(out, "\r\x1b[2K  {line}; Ctrl-C ends it").and_then(|()| out.flush())
            }
            (false, true) => Ok(()),
            (false, false) => writeln!(out, "{line}"),
        };
    }
}

/// All exchanges that have ended.
fn requests(metrics: &str) -> u64 {
    let counts = metrics.lines().filter(|line| line.starts_with("transom_requests_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_over_all_listeners_and_routes() {
        let metrics = "# TYPE transom_requests_total counter\n\
            transom_requests_total{listener=\"web\",route=\"a\",class=\"2xx\"} 3\n\
            transom_requests_total{listener=\"web\",route=\"b\",class=\"4xx\"} 4\n\
            transom_requests_in_flight{listener=\"web\"} 9\n";
        assert_eq!(requests(metrics), 7);
    }
}
