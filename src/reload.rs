//! From a file to what runs, and from what runs to what shall run: load, build, bind, swap.
//!
//! Everything that can fail comes before the swap, so a bad file changes nothing.

mod control;
mod prepared;
mod rows;
mod sockets;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use transom_net::Background;
use transom_net::pressure::Pressure;

use crate::build::Snapshot;
use crate::config::{Config, Workers as WorkerCount};
use crate::door::Door;
use crate::errands::Errands;
use crate::load::{Loaded, Seen, Source};
use crate::log;
use crate::materials::Materials;
use crate::observe::metrics::Metrics;
use crate::overload;
use crate::store::Store;
use crate::supervise::Supervisor;
use crate::watch::Watches;
use crate::workers::{Closing, Workers};
use prepared::{Access, Prepared, Previous, open_store, prepare, report};
use sockets::{Unopened, addresses, bind, bind_all};

/// How long sources and names are waited for before what they belong to is served.
const SETTLE: Duration = Duration::from_secs(3);

/// Why there is nothing to run.
pub enum StartError {
    /// The findings, as they are printed.
    Config(String),
    System(String),
}

/// The running program, as far as it is not on its way through a worker.
pub struct Running {
    this: Weak<Running>,
    source: Source,
    state: Mutex<State>,
    /// What `state` holds, for those who cannot wait for a reload that is under way.
    shown: std::sync::Mutex<Shown>,
    pub workers: Workers,
    pub pressure: Arc<Pressure>,
    overload: std::sync::Mutex<overload::State>,
    metrics: Arc<Metrics>,
    pub supervisor: Supervisor,
    /// For sources, probes and scaling.
    pub background: Background,
    watches: Watches,
    errands: Errands,
    store: Option<Store>,
    /// What was used of quotas and is not in the store yet.
    unwritten: Mutex<usage::Unwritten>,
    pub draining: AtomicBool,
    pub stop_asked: Notify,
}

/// By address, as the file writes it.
type Doors = BTreeMap<String, Arc<Door>>;

struct State {
    snapshot: Arc<Snapshot>,
    materials: Arc<Materials>,
    doors: Doors,
    /// No longer in the file.
    leaving: Vec<Leaving>,
    access: Option<Access>,
    /// What it was made of, or what was looked at in vain since.
    seen: Seen,
}

impl State {
    /// Sockets for every address of `snapshot` that is not open yet.
    async fn bind_new<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        workers: usize,
    ) -> Result<Vec<Unopened<'s>>, StartError> {
        let mut fresh = Vec::new();
        for (address, listening) in addresses(snapshot) {
            if self.doors.contains_key(&listening.key(address)) {
                continue;
            }
            // An address that has just left may come back before its socket is closed.
            for leaving in &mut self.leaving {
                leaving.closing.done().await;
            }
            // One that leaves now, and of which this one is a part or the whole, serves on beside
            // it until the new one does.
            let beside = addresses(&self.snapshot).any(|(ours, other)| {
                other.flows.is_some() == listening.flows.is_some() && address.clashes(ours)
            });
            let sockets = bind(address, listening, workers, beside)?;
            fresh.push(Unopened { key: listening.key(address), listening, sockets });
        }
        Ok(fresh)
    }

    /// Lets nobody in any more at these.
    async fn leave(&mut self, doors: Doors, workers: &Workers, grace: Duration) {
        for door in doors.into_values() {
            let replaced = self.doors.values().any(|other| other.takes_what_comes_to(&door));
            let closing = workers.close(&door, grace, replaced).await;
            self.leaving.push(Leaving { door, closing });
        }
    }
}

/// An address at which nobody is let in any more, while somebody may still be there.
struct Leaving {
    door: Arc<Door>,
    closing: Closing,
}

impl Leaving {
    fn is_someone_there(&mut self) -> bool {
        !self.closing.is_done() || self.door.open.load(Ordering::Relaxed) > 0
    }
}

#[derive(Clone)]
struct Shown {
    snapshot: Arc<Snapshot>,
    doors: Vec<Arc<Door>>,
}

impl Running {
    /// Loads, builds, binds and starts to serve. `before` is called when everything of ours is
    /// bound and nothing is accepted yet: what it needs must be had before anybody is served.
    ///
    /// # Errors
    /// The findings, or the one thing that the system does not allow.
    pub async fn start<T>(
        source: Source,
        before: impl FnOnce(&Config) -> Result<T, StartError>,
    ) -> Result<(Arc<Self>, T), StartError> {
        let count = |loaded: &Loaded| match loaded.config.workers {
            WorkerCount::Count(count) => count,
            WorkerCount::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut seen = Seen::default();
        let loaded = source.load(&mut seen).map_err(|f| StartError::Config(f.render()))?;
        let metrics = Metrics::new(count(&loaded));
        let prepared = prepare(loaded, &metrics, None, &mut seen)?;
        log::set_level(prepared.loaded.config.log.level);
        let store = open_store(&prepared)?;
        let workers_wanted = count(&prepared.loaded);
        let opened = bind_all(&prepared.snapshot, workers_wanted)?;
        let had = before(&prepared.loaded.config)?;
        let pressure = Arc::new(Pressure::new(workers_wanted));
        let no_threads = |e| StartError::System(format!("the system gives no threads: {e}"));
        let workers = Workers::start(workers_wanted, &pressure).map_err(no_threads)?;
        let background = Background::start(workers_wanted).map_err(no_threads)?;
        prepared.snapshot.settle(&background, SETTLE).await;
        let mut doors = BTreeMap::new();
        for unopened in opened {
            let door = unopened.open(&workers, &metrics).await?;
            doors.insert(door.address.clone(), door);
        }
        metrics.set_access_log(prepared.access.as_ref().map(|a| a.handle.clone()));
        metrics.config_taken(prepared.snapshot.generation);
        report(&prepared);
        let snapshot = Arc::new(prepared.snapshot);
        let watches = Watches::new(&background, &snapshot);
        let errands = Errands::default();
        errands.follow(&background, &snapshot.tasks);
        let running = Arc::new_cyclic(|this| Running {
            this: this.clone(),
            source,
            shown: std::sync::Mutex::new(Shown {
                snapshot: snapshot.clone(),
                doors: doors.values().cloned().collect(),
            }),
            state: Mutex::new(State {
                snapshot,
                materials: Arc::new(prepared.materials),
                doors,
                leaving: Vec::new(),
                access: prepared.access,
                seen,
            }),
            workers,
            pressure,
            overload: std::sync::Mutex::default(),
            metrics,
            supervisor: Supervisor::default(),
            watches,
            errands,
            store,
            unwritten: Mutex::default(),
            background,
            draining: AtomicBool::new(false),
            stop_asked: Notify::new(),
        });
        running.tell_metrics();
        Ok((running, had))
    }

    /// Reads the file again and runs it; the generation that runs now.
    ///
    /// # Errors
    /// The findings as they are printed, or what the system does not allow. Nothing has changed
    /// then.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, StartError> {
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(generation) => {
                log::info(&format!("generation {generation} of the configuration runs"))
            }
            Err(why) => {
                self.metrics.config_refused();
                log::error(&format!(
                    "the configuration was not reloaded, the old one goes on\n{why}"
                ));
            }
        }
        outcome
    }

    async fn try_reload(self: &Arc<Self>) -> Result<u64, StartError> {
        let mut state = self.state.lock().await;
        let before = state.seen.anew();
        let this = self.clone();
        let previous = Previous {
            snapshot: state.snapshot.clone(),
            materials: state.materials.clone(),
            access: state.access.clone(),
        };
        let (prepared, seen) = tokio::task::spawn_blocking(move || {
            let mut seen = Seen::default();
            let loaded = this.source.load(&mut seen);
            let loaded = loaded.map_err(|f| StartError::Config(f.render()));
            let prepared = loaded
                .and_then(|loaded| prepare(loaded, &this.metrics, Some(&previous), &mut seen));
            (prepared, seen)
        })
        .await
        .map_err(|e| StartError::System(format!("the configuration could not be built: {e}")))?;
        // What is wrong is looked at again only when some of it changes again.
        state.seen = seen.clone();
        state.seen.join(before);
        let prepared = prepared?;

        prepared.snapshot.settle(&self.background, SETTLE).await;

        // 1: bind what is new, and let in who comes there. If one cannot be, those that were are
        // closed again.
        let grace = prepared.loaded.config.grace.get();
        let mut doors = BTreeMap::new();
        for unopened in state.bind_new(&prepared.snapshot, self.workers.count()).await? {
            match unopened.open(&self.workers, &self.metrics).await {
                Ok(door) => drop(doors.insert(door.address.clone(), door)),
                Err(error) => {
                    state.leave(doors, &self.workers, grace).await;
                    return Err(error);
                }
            }
        }

        // 2: swap.
        log::set_level(prepared.loaded.config.log.level);
        report(&prepared);
        warn_of_what_needs_a_start(&state.snapshot.config, &prepared.loaded.config);
        let Prepared { materials, snapshot, access, .. } = prepared;
        let snapshot = Arc::new(snapshot);
        self.take_over(&snapshot, &state.snapshot);
        for (address, listening) in addresses(&snapshot) {
            if let Some(door) = state.doors.remove(&listening.key(address)) {
                door.update(listening);
                doors.insert(door.address.clone(), door);
            }
        }

        // 3: what is gone accepts nothing more and ends when it can.
        state.leaving.retain_mut(Leaving::is_someone_there);
        let gone = std::mem::replace(&mut state.doors, doors);
        state.leave(gone, &self.workers, grace).await;
        state.seen = seen;
        state.materials = Arc::new(materials);
        state.access = access;
        let earlier = std::mem::replace(&mut state.snapshot, snapshot);
        self.watches.follow(&self.background, &state.snapshot, &earlier);
        self.errands.follow(&self.background, &state.snapshot.tasks);
        self.metrics.set_access_log(state.access.as_ref().map(|a| a.handle.clone()));
        self.metrics.config_taken(state.snapshot.generation);
        self.show(&state);
        Ok(state.snapshot.generation)
    }

    /// From here on, what operators change by hand they change in this snapshot.
    fn take_over(&self, snapshot: &Arc<Snapshot>, earlier: &Snapshot) {
        let mut shown = self.locked();
        snapshot.take_over(earlier, &self.background);
        shown.snapshot = snapshot.clone();
    }

    fn show(&self, state: &State) {
        let mut shown = self.locked();
        shown.snapshot = state.snapshot.clone();
        shown.doors = state.doors.values().cloned().collect();
    }

    fn shown(&self) -> Shown {
        self.locked().clone()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub async fn config(&self) -> Arc<Config> {
        self.shown().snapshot.config.clone()
    }

    /// Every address at which connections may be open.
    pub async fn doors(&self) -> Vec<Arc<Door>> {
        let state = self.state.lock().await;
        let leaving = state.leaving.iter().map(|leaving| &leaving.door);
        state.doors.values().chain(leaving).cloned().collect()
    }

    pub async fn reopen_logs(&self) {
        if let Some(access) = &self.state.lock().await.access {
            access.handle.reopen();
        }
    }

    /// Whether a file that makes up the configuration has changed since it was read.
    pub async fn files_changed(&self) -> bool {
        self.state.lock().await.seen.has_changed()
    }

    /// What is given up now.
    pub fn set_overload(&self, state: overload::State) {
        *self.overload.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = state;
    }

    fn overload(&self) -> overload::State {
        *self.overload.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Looks at what the members of pools do.
    pub fn look_at_pools(&self) {
        let (snapshot, now) = (self.shown().snapshot, Instant::now());
        for roster in snapshot.pools.keys().filter_map(|name| snapshot.rosters.get(name)) {
            roster.look(now);
        }
    }

    /// Stops the servers that were started on demand.
    pub async fn end_scaling(&self) {
        let snapshot = self.shown().snapshot;
        let scalers = snapshot.rosters.values().filter_map(|roster| roster.scaler.clone());
        let scalers: Vec<_> = scalers.collect();
        for scaler in &scalers {
            scaler.begin_end();
        }
        for scaler in scalers {
            scaler.end().await;
        }
    }

    /// Ends the workers and writes what still waits to be written.
    pub async fn end(&self) {
        self.workers.stop().await;
        self.keep_usage().await;
        if let Some(access) = self.state.lock().await.access.take() {
            let _ =
                tokio::task::spawn_blocking(move || access.handle.flush(Duration::from_secs(2)))
                    .await;
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(text) | StartError::System(text) => f.write_str(text),
        }
    }
}

fn warn_of_what_needs_a_start(old: &Config, new: &Config) {
    if old.workers != new.workers {
        log::warn("`workers` takes effect at the next start");
    }
    if old.data != new.data {
        log::warn("`data` takes effect at the next start");
    }
    if old.admin != new.admin {
        log::warn("`admin` takes effect at the next start");
    }
}
