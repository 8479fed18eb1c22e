//! Lines that wait to be written, and the thread that writes them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::line::{self, Clock, Format};
use super::output::Opened;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(100);
/// A buffer that holds so much is written at once, bytes.
const FULL: usize = 32 * 1024;
/// A waiting line may take so much memory on average, bytes.
const LINE_ROOM: usize = 1024;
/// Buffers that grew beyond this in a burst are given back, bytes.
const KEEP: usize = 256 * 1024;
/// How often lost lines are told of.
const TELL: Duration = Duration::from_secs(1);

/// Lines of all workers that wait for the writer.
pub(super) struct Queue {
    trays: Box<[CachePadded<Tray>]>,
    /// Lines and bytes that may wait in one tray.
    lines: usize,
    bytes: usize,
    writer: OnceLock<Thread>,
    orders: CachePadded<Orders>,
    counts: CachePadded<Counts>,
    last_error: Mutex<Option<String>>,
}

/// What one worker has written. Other workers never touch it.
struct Tray {
    /// The writer holds at most one of the two, so the worker always finds one free.
    buffers: [Mutex<Buffer>; 2],
    /// Lines and bytes that are not written yet, also those that the writer has taken.
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: usize,
    clock: Clock,
}

#[derive(Default)]
struct Orders {
    /// The writer has nothing to do: whoever pushes wakes it.
    asleep: AtomicBool,
    /// Write now, do not gather.
    hurry: AtomicBool,
    reopen: AtomicBool,
    close: AtomicBool,
}

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
}

impl Queue {
    pub(super) fn new(workers: usize, lines: usize) -> Self {
        let workers = workers.max(1);
        let lines = lines.div_ceil(workers).max(1);
        let tray = || {
            CachePadded::new(Tray {
                buffers: Default::default(),
                waiting: AtomicUsize::new(0),
                waiting_bytes: AtomicUsize::new(0),
                dropped: AtomicU64::new(0),
            })
        };
        Queue {
            trays: (0..workers).map(|_| tray()).collect(),
            lines,
            bytes: lines.saturating_mul(LINE_ROOM).max(FULL),
            writer: OnceLock::new(),
            orders: CachePadded::default(),
            counts: CachePadded::default(),
            last_error: Mutex::default(),
        }
    }

    /// Lets `write` append one line, or drops it where too many wait.
    pub(super) fn push(&self, worker: usize, write: impl FnOnce(&mut Vec<u8>, &mut Clock)) {
        let tray = &self.trays[worker % self.trays.len()];
        if tray.waiting.load(Ordering::Relaxed) >= self.lines
            || tray.waiting_bytes.load(Ordering::Relaxed) >= self.bytes
        {
            tray.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut buffer = tray.free();
        let Buffer { bytes, lines, clock } = &mut *buffer;
        let before = bytes.len();
        write(bytes, clock);
        *lines += 1;
        let after = bytes.len();
        tray.waiting_bytes.fetch_add(after - before, Ordering::Relaxed);
        // Sequentially consistent with `asleep`: either the writer sees this line before it
        // sleeps, or we see that it does.
        tray.waiting.fetch_add(1, Ordering::SeqCst);
        drop(buffer);
        if self.orders.asleep.load(Ordering::SeqCst)
            && self.orders.asleep.swap(false, Ordering::SeqCst)
        {
            self.wake();
        } else if before < FULL && after >= FULL {
            self.hurry();
        }
    }

    pub(super) fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::SeqCst);
        self.hurry();
    }

    pub(super) fn close(&self) {
        self.orders.close.store(true, Ordering::SeqCst);
        self.wake();
    }

    #[allow(clippy::disallowed_methods)] // It blocks, and says so where it is called.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_waiting() || self.orders.reopen.load(Ordering::SeqCst) {
            if Instant::now() >= until {
                return false;
            }
            self.hurry();
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    pub(super) fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        let dropped = |tray: &CachePadded<Tray>| tray.dropped.load(Ordering::Relaxed);
        self.counts.lost.load(Ordering::Relaxed) + self.trays.iter().map(dropped).sum::<u64>()
    }

    pub(super) fn write_errors(&self) -> u64 {
        self.counts.errors.load(Ordering::Relaxed)
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, error: &io::Error) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }

    fn is_waiting(&self) -> bool {
        self.trays.iter().any(|tray| tray.waiting.load(Ordering::SeqCst) > 0)
    }

    fn hurry(&self) {
        self.orders.hurry.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

impl Tray {
    /// The buffer that the writer does not hold.
    fn free(&self) -> MutexGuard<'_, Buffer> {
        for buffer in &self.buffers {
            match buffer.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        // Only where two threads push as the same worker.
        self.buffers[0].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes until the queue is closed and empty.
pub(super) fn start_writer(queue: Arc<Queue>, output: Opened, format: Format) -> io::Result<()> {
    let of_thread = queue.clone();
    let thread = thread::Builder::new().name("access-log".into()).spawn(move || {
        let spare = Buffer::default();
        Writer { queue: of_thread, output, format, spare, told: 0, last_told: None }.run();
    })?;
    // Cannot be set already: this is its only place.
    let _ = queue.writer.set(thread.thread().clone());
    Ok(())
}

struct Writer {
    queue: Arc<Queue>,
    output: Opened,
    format: Format,
    spare: Buffer,
    /// Lost lines that the log has told of, and when it last did.
    told: u64,
    last_told: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            self.sleep();
            self.gather();
            let closing = self.queue.orders.close.load(Ordering::SeqCst);
            self.queue.orders.hurry.store(false, Ordering::SeqCst);
            if self.queue.orders.reopen.load(Ordering::SeqCst) {
                // First what was written before the file was moved.
                self.write_all();
                if let Err(error) = self.output.reopen() {
                    self.queue.failed(&error);
                }
                self.queue.orders.reopen.store(false, Ordering::SeqCst);
            }
            self.write_all();
            self.tell_of_dropped(closing);
            if closing && !self.queue.is_waiting() {
                return;
            }
        }
    }

    /// Until there is anything to do.
    fn sleep(&self) {
        let orders = &self.queue.orders;
        loop {
            orders.asleep.store(true, Ordering::SeqCst);
            let ordered = |order: &AtomicBool| order.load(Ordering::SeqCst);
            let untold = self.queue.dropped() > self.told;
            if self.queue.is_waiting() || ordered(&orders.reopen) || ordered(&orders.close) {
                break;
            }
            if untold {
                thread::park_timeout(TELL);
                break;
            }
            thread::park();
        }
        orders.asleep.store(false, Ordering::SeqCst);
    }

    fn gather(&self) {
        let orders = &self.queue.orders;
        let until = Instant::now() + GATHER;
        while !orders.hurry.load(Ordering::SeqCst) && !orders.close.load(Ordering::SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn write_all(&mut self) {
        let queue = self.queue.clone();
        for tray in &queue.trays {
            for buffer in &tray.buffers {
                self.write_one(tray, buffer);
            }
        }
    }

    fn write_one(&mut self, tray: &Tray, buffer: &Mutex<Buffer>) {
        {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            if buffer.lines == 0 {
                return;
            }
            std::mem::swap(&mut *buffer, &mut self.spare);
        }
        let Buffer { bytes, lines, .. } = &mut self.spare;
        let counts = &self.queue.counts;
        let result = self.output.write(bytes);
        counts.written.fetch_add(result.lines, Ordering::Relaxed);
        counts.lost.fetch_add(*lines as u64 - result.lines, Ordering::Relaxed);
        if let Some(error) = &result.error {
            self.queue.failed(error);
        }
        tray.waiting_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        tray.waiting.fetch_sub(*lines, Ordering::SeqCst);
        bytes.clear();
        bytes.shrink_to(KEEP);
        *lines = 0;
    }

    fn tell_of_dropped(&mut self, closing: bool) {
        let dropped = self.queue.dropped();
        let too_early = self.last_told.is_some_and(|last| last.elapsed() < TELL) && !closing;
        if dropped == self.told || too_early {
            return;
        }
        let mut out = Vec::new();
        line::write_dropped(dropped - self.told, self.format, &mut self.spare.clock, &mut out);
        // Told also where this fails: the next one would fail alike, and the counter has it.
        self.told = dropped;
        self.last_told = Some(Instant::now());
        if let Some(error) = self.output.write(&out).error {
            self.queue.failed(&error);
        }
    }
}
