//! One line for each exchange.
//!
//! ```text
//! worker  ▶ line.rs writes into the worker's own buffer ▶ queue.rs
//! writer  ◀ takes every buffer, each 100 ms or when one is full ▶ output.rs writes it at once
//! ```
//!
//! A worker never waits for the writer: where the queue is full, its line is dropped and counted,
//! and the log says so once a second.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Fields, Known};
use transom_proxy::record::{Relayed, Sink};

mod line;
mod output;
mod queue;

pub use line::Format;
pub use output::{Output, Syslog};

use queue::Queue;

/// How lines look, where they go and how many may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub format: Format,
    pub to: Output,
    /// Lines that may wait to be written, over all workers; each has an equal part of them.
    pub queue: usize,
    pub workers: usize,
}

impl Settings {
    pub const QUEUE: usize = 65_536;
}

/// The sink. When the last reference to it is gone, what waits is written and the writer ends.
pub struct AccessLog {
    queue: Arc<Queue>,
    format: Format,
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// When the output cannot be opened, or the system gives no thread.
    pub fn start(settings: Settings) -> Result<(Arc<dyn Sink>, Handle), OpenError> {
        let failed = |error| OpenError { to: settings.to.clone(), error };
        let output = settings.to.open().map_err(failed)?;
        let queue = Arc::new(Queue::new(settings.workers, settings.queue));
        queue::start_writer(queue.clone(), output, settings.format).map_err(failed)?;
        let log = AccessLog { queue: queue.clone(), format: settings.format };
        Ok((Arc::new(log), Handle(queue)))
    }
}

impl Sink for AccessLog {
    fn began(&self, exchange: &mut Exchange, fields: &Fields) {
        if let Some(agent) = fields.get(Known::UserAgent) {
            let kept = &agent[..agent.len().min(line::AGENT_CAP + 1)];
            exchange.record.agent = Some(kept.into());
        }
    }

    fn record(&self, exchange: &Exchange) {
        let worker = exchange.local.worker.id();
        self.queue.push(worker, |out, clock| line::write(exchange, self.format, clock, out));
    }

    fn relayed(&self, relayed: &Relayed) {
        let (worker, format) = (relayed.worker, self.format);
        self.queue.push(worker, |out, clock| line::write_relayed(relayed, format, clock, out));
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the control side does with a running log.
#[derive(Clone)]
pub struct Handle(Arc<Queue>);

impl Handle {
    /// Opens the file anew, as after a rotation. Where that fails, the old one stays in use.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Waits until everything that waits now is written; false when that took too long. Blocks.
    pub fn flush(&self, patience: Duration) -> bool {
        self.0.flush(patience)
    }

    /// Lines that were written.
    pub fn written(&self) -> u64 {
        self.0.written()
    }

    /// Lines that were lost, because the queue was full or writing failed.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// How often writing or opening failed.
    pub fn write_errors(&self) -> u64 {
        self.0.write_errors()
    }

    /// What writing failed with last.
    pub fn last_error(&self) -> Option<String> {
        self.0.last_error()
    }
}

/// The access log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {to}: {error}")]
pub struct OpenError {
    to: Output,
    error: io::Error,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;

    use serde_json::Value;
    use transom_proxy::fault::{Code, Fault};
    use transom_proxy::message::Method;

    use super::*;
    use crate::observe::testing::exchange;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn to_file(path: &Path) -> Settings {
        let to = Output::File(path.into());
        Settings { format: Format::Json, to, queue: Settings::QUEUE, workers: 2 }
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn m06_hostile_fields_are_one_valid_line_each() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        let hostile = "x\r\n{\"status\":200}\u{1b}[2J\0\u{2028}\"\\\u{7f}";
        let mut exchange = exchange(0);
        exchange.asked.method = Method::Other(hostile.into());
        exchange.asked.authority = hostile.into();
        exchange.asked.path = hostile.into();
        exchange.asked.query = Some(hostile.into());
        exchange.record.agent = Some((*b"\xff\xfe\r\nSet-Cookie: a\x00\x1b").into());
        exchange.record.fail(Fault::new(Code::BadRequest, hostile));
        log.record(&exchange);
        assert!(handle.flush(PATIENCE));
        let bytes = fs::read(&path).unwrap();
        let line = bytes.strip_suffix(b"\n").unwrap();
        assert!(!line.iter().any(u8::is_ascii_control));
        let value: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(value["path"], hostile);
        assert_eq!(value["status"], 200);
        assert_eq!(value["agent"], "\\xff\\xfe\r\nSet-Cookie: a\0\u{1b}");
    }

    #[test]
    fn the_agent_is_taken_from_the_fields_of_the_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        let mut fields = Fields::new();
        fields.append(Known::UserAgent, b"probe/1 (test)");
        let mut exchange = exchange(0);
        log.began(&mut exchange, &fields);
        log.record(&exchange);
        assert!(handle.flush(PATIENCE));
        assert_eq!(lines(&path)[0]["agent"], "probe/1 (test)");
    }

    #[test]
    fn all_workers_lines_arrive_whole_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let log = &log;
                scope.spawn(move || {
                    let mut exchange = exchange(worker);
                    for n in 0..5_000 {
                        exchange.record.body_in = n;
                        log.record(&exchange);
                    }
                });
            }
        });
        assert!(handle.flush(PATIENCE));
        let mut seen: Vec<_> =
            lines(&path).iter().map(|l| l["bytes_in"].as_u64().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..10_000).map(|n| n / 2).collect::<Vec<_>>());
        assert_eq!((handle.written(), handle.dropped()), (10_000, 0));
    }

    #[test]
    fn d12_a_reader_that_stands_still_costs_lines_but_no_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let both_ends = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let settings = Settings { queue: 1_000, workers: 1, ..to_file(&path) };
        let (log, handle) = AccessLog::start(settings).unwrap();
        let exchange = exchange(0);
        for _ in 0..3_000 {
            log.record(&exchange);
        }
        let dropped = handle.dropped();
        assert!((1_000..3_000).contains(&dropped), "{dropped}");
        drop(log);

        // Now it is read until the writer has ended: what waited comes whole, and the loss is told.
        let mut reader = fs::File::open(&path).unwrap();
        drop(both_ends);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.ends_with('\n'));
        let (told, whole): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.contains("access-log-dropped"));
        let told: Vec<Value> =
            told.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(told.iter().map(|one| one["lines"].as_u64().unwrap()).sum::<u64>(), dropped);
        assert_eq!(whole.len() as u64 + dropped, 3_000);
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("access.log"), directory.path().join("old.log"));
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        log.record(&exchange(0));
        assert!(handle.flush(PATIENCE));
        fs::rename(&path, &old).unwrap();
        log.record(&exchange(0));
        handle.reopen();
        assert!(handle.flush(PATIENCE));
        log.record(&exchange(1));
        assert!(handle.flush(PATIENCE));
        assert_eq!(lines(&old).len() + lines(&path).len(), 3);
        assert!(!lines(&path).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_stays_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("logs");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("access.log");
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        let moved = directory.path().join("moved");
        fs::rename(&inner, &moved).unwrap();
        handle.reopen();
        log.record(&exchange(0));
        assert!(handle.flush(PATIENCE));
        assert_eq!(lines(&moved.join("access.log")).len(), 1);
        assert_eq!(handle.write_errors(), 1);
        assert!(handle.last_error().unwrap().contains("access.log"));
    }

    #[test]
    fn failed_writes_are_counted_and_stop_nothing() {
        let (log, handle) = AccessLog::start(to_file(Path::new("/dev/full"))).unwrap();
        for _ in 0..10 {
            log.record(&exchange(0));
        }
        assert!(handle.flush(PATIENCE));
        assert_eq!((handle.written(), handle.dropped()), (0, 10));
        assert!(handle.write_errors() >= 1);
    }

    #[test]
    fn an_output_that_cannot_be_opened_is_said_in_one_sentence() {
        let error = AccessLog::start(to_file(Path::new("/nowhere/access.log"))).err().unwrap();
        let expected =
            "cannot open the access log `/nowhere/access.log`: No such file or directory";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn syslog_gets_one_datagram_for_each_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let to = Output::Syslog(Syslog::Unix(path));
        let (log, handle) = AccessLog::start(Settings { to, ..to_file(Path::new("")) }).unwrap();
        log.record(&exchange(0));
        log.record(&exchange(0));
        assert!(handle.flush(PATIENCE));
        for _ in 0..2 {
            let mut datagram = [0; 8192];
            let n = daemon.recv(&mut datagram).unwrap();
            let text = std::str::from_utf8(&datagram[..n]).unwrap();
            assert!(text.starts_with("<134>") && text.contains(" transom["), "{text}");
            let json = &text[text.find('{').unwrap()..];
            assert_eq!(serde_json::from_str::<Value>(json).unwrap()["status"], 200);
        }
    }

    #[test]
    fn what_waits_is_written_when_the_log_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, handle) = AccessLog::start(to_file(&path)).unwrap();
        log.record(&exchange(0));
        drop(log);
        assert!(handle.flush(PATIENCE));
        assert_eq!(lines(&path).len(), 1);
    }
}
