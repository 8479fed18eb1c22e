//! One thread, one runtime, nothing shared: what the tasks of a core have in common.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::runtime::{Builder, LocalOptions};

use crate::buffer::Buffers;
use crate::deadline::{Deadline, Wheel};
use crate::pressure::{BEAT, Level, Pressure};
use crate::splice::Pipes;

/// Most events taken from the kernel at once, so that with many connections a batch is served while
/// its sockets are still in the processor's cache. Measured once, beside other work: 16.4
/// microseconds a request at 512 connections, against 19.4 and 20.8 with batches of 1,024.
const EVENTS: usize = 64;

/// Idle connections closed in one beat, those that lie idle longest, while room is needed.
const CLOSED_AT_ONCE: usize = 200;

/// The resources of one worker thread. Cloned cheaply into every connection of that worker.
#[derive(Clone, Debug)]
pub struct Worker(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    id: usize,
    buffers: Rc<Buffers>,
    wheel: Rc<Wheel>,
    pipes: Rc<Pipes>,
    pressure: Arc<Pressure>,
    /// Of the share of requests that is not taken, what has come together since the last one.
    shed: Cell<u32>,
}

impl Worker {
    /// Resources of worker number `id`, counted from 0, of a process without any pressure.
    pub fn new(id: usize) -> Self {
        Worker::under(id, Arc::new(Pressure::new(0)))
    }

    /// Resources of worker number `id`.
    pub fn under(id: usize, pressure: Arc<Pressure>) -> Self {
        Worker(Rc::new(Inner {
            id,
            buffers: Rc::default(),
            wheel: Rc::default(),
            pipes: Rc::default(),
            pressure,
            shed: Cell::new(0),
        }))
    }

    /// How hard pressed the process is.
    pub fn pressure(&self) -> &Pressure {
        &self.0.pressure
    }

    /// Whether a request that comes now is one of those that are not taken. They are spread evenly.
    pub fn sheds(&self) -> bool {
        let share = self.0.pressure.share();
        if share == 0 {
            return false;
        }
        let sum = self.0.shed.get() + share;
        self.0.shed.set(sum % 10_000);
        sum >= 10_000
    }

    /// Says how late the worker is, again and again, and closes what lies idle where room is
    /// needed. Never ends.
    pub async fn beat(&self) {
        loop {
            let due = Instant::now() + BEAT;
            tokio::time::sleep(BEAT).await;
            self.pressure().beat(self.id(), Instant::now().saturating_duration_since(due));
            if self.pressure().level() >= Level::Tight {
                self.wheel().fire_spare(CLOSED_AT_ONCE);
            }
        }
    }

    pub fn id(&self) -> usize {
        self.0.id
    }

    pub fn buffers(&self) -> &Rc<Buffers> {
        &self.0.buffers
    }

    pub fn pipes(&self) -> &Rc<Pipes> {
        &self.0.pipes
    }

    /// The time for deadlines and ages: milliseconds behind the clock, but cheap to ask.
    pub fn now(&self) -> Instant {
        self.0.wheel.now()
    }

    /// A deadline that is not set.
    pub fn deadline(&self) -> Deadline {
        self.0.wheel.deadline()
    }

    /// The wheel that fires this worker's deadlines.
    pub fn wheel(&self) -> &Rc<Wheel> {
        &self.0.wheel
    }
}

/// Starts a thread of this name, as number `id`, and runs on it what `main` makes of the worker, until
/// that ends.
///
/// # Errors
/// When the system gives no thread.
pub fn start<M, F>(
    name: &str,
    id: usize,
    pressure: Arc<Pressure>,
    main: M,
) -> io::Result<JoinHandle<io::Result<()>>>
where
    M: FnOnce(Worker) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            // Each runtime may grow its own blocking threads: none of our work is blocking.
            .max_blocking_threads(2)
            .event_interval(61)
            .max_io_events_per_tick(EVENTS)
            .build_local(LocalOptions::default())?;
        let worker = Worker::under(id, pressure);
        runtime.block_on(async move {
            let wheel = worker.wheel().clone();
            let beating = worker.clone();
            tokio::select! {
                () = main(worker) => {}
                () = wheel.run() => {}
                () = beating.beat() => {}
            }
        });
        Ok(())
    })
}
