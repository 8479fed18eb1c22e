//! Of the program: configurations taken, lines of the access log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use super::access_log;
use super::text::Text;

#[derive(Default)]
pub(super) struct ConfigCells {
    generation: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    last_failed: AtomicBool,
    /// Seconds since 1970 of the last configuration that was taken.
    loaded: AtomicU64,
}

impl ConfigCells {
    /// The first configuration, or another one, runs now.
    pub(super) fn taken(&self, generation: u64) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = self.generation.swap(generation, Ordering::Relaxed);
        self.reloads.fetch_add(u64::from(before != 0), Ordering::Relaxed);
        self.loaded.store(now.as_secs(), Ordering::Relaxed);
        self.last_failed.store(false, Ordering::Relaxed);
    }

    /// A configuration was offered and not taken.
    pub(super) fn refused(&self) {
        self.failed_reloads.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn render(&self, text: &mut Text) {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        text.family(
            "transom_config_generation",
            "gauge",
            "Configurations taken since the start, the running one among them.",
        );
        text.sample(&[], read(&self.generation));
        text.family(
            "transom_config_reloads_total",
            "counter",
            "Configurations that were offered after the first one.",
        );
        text.sample(&[("result", "success")], read(&self.reloads));
        text.sample(&[("result", "failure")], read(&self.failed_reloads));
        text.family(
            "transom_config_last_reload_successful",
            "gauge",
            "1 unless the configuration that was offered last was refused.",
        );
        text.sample(&[], u64::from(!self.last_failed.load(Ordering::Relaxed)));
        text.family(
            "transom_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the running configuration was taken, in seconds since 1970.",
        );
        text.sample(&[], read(&self.loaded));
    }
}

/// Counts of the access log over all logs there have been.
#[derive(Default)]
pub(super) struct LogCounts {
    current: Option<access_log::Handle>,
    written: u64,
    dropped: u64,
    errors: u64,
}

impl LogCounts {
    /// The access log that is written to from now on.
    pub(super) fn replace(&mut self, log: Option<access_log::Handle>) {
        if let Some(old) = self.current.take() {
            self.written += old.written();
            self.dropped += old.dropped();
            self.errors += old.write_errors();
        }
        self.current = log;
    }

    pub(super) fn render(&self, text: &mut Text) {
        let of = |count: fn(&access_log::Handle) -> u64| self.current.as_ref().map_or(0, count);
        let families = [
            (
                "transom_access_log_lines_total",
                "Lines written to the access log.",
                self.written + of(|log| log.written()),
            ),
            (
                "transom_access_log_dropped_total",
                "Lines lost, because too many waited or writing failed.",
                self.dropped + of(|log| log.dropped()),
            ),
            (
                "transom_access_log_errors_total",
                "Failures to write or open the access log.",
                self.errors + of(|log| log.write_errors()),
            ),
        ];
        for (name, help, count) in families {
            text.family(name, "counter", help);
            text.sample(&[], count);
        }
    }
}
