//! From a file to what runs, and from what runs to what shall run: load, build, bind, swap.
//!
//! Everything that can fail comes before the swap, so a bad file changes nothing.

mod control;
mod rows;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Mutex, Notify};
use transom_net::Background;
use transom_net::listen::{self, Bound};
use transom_net::peer::PeerAddr;
use transom_net::pressure::Pressure;
use transom_net::udp;
use transom_proxy::record::Sink;
use transom_settings::{Diagnostics, ListenAddress, Switch};

use crate::build::{self, Listening, Snapshot};
use crate::config::{AccessFormat, AccessLog, Config, LogOutput, Workers as WorkerCount};
use crate::door::Door;
use crate::errands::Errands;
use crate::load::{self, Loaded};
use crate::log;
use crate::materials::Materials;
use crate::observe::access_log::{self, Format, Output};
use crate::observe::metrics::{Metrics, Names, OverloadRow};
use crate::overload;
use crate::run::{Source, chain};
use crate::store::{self, Store};
use crate::supervise::Supervisor;
use crate::watch::Watches;
use crate::workers::{Closing, Workers};

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

struct State {
    snapshot: Arc<Snapshot>,
    materials: Arc<Materials>,
    /// By address, as the file writes it.
    doors: BTreeMap<String, Arc<Door>>,
    /// No longer in the file.
    leaving: Vec<Leaving>,
    access: Option<Access>,
    files: Vec<(PathBuf, Option<SystemTime>)>,
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

/// The access log and what it was started for.
#[derive(Clone)]
struct Access {
    settings: AccessLog,
    sink: Arc<dyn Sink>,
    handle: access_log::Handle,
}

/// What a new configuration goes on from.
struct Previous {
    snapshot: Arc<Snapshot>,
    materials: Arc<Materials>,
    access: Option<Access>,
}

/// A configuration that could run, and nothing of it does yet.
struct Prepared {
    loaded: Loaded,
    materials: Materials,
    snapshot: Snapshot,
    access: Option<Access>,
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
        let loaded = read(&source).map_err(|f| StartError::Config(f.render()))?;
        let metrics = Metrics::new(count(&loaded));
        let prepared = prepare(loaded, &metrics, None)?;
        log::set_level(prepared.loaded.config.log.level);
        let store = open_store(&prepared)?;
        let mut inherited = inherited_sockets();
        let mut opened = Vec::new();
        let workers_wanted = count(&prepared.loaded);
        for (address, listening) in addresses(&prepared.snapshot) {
            // systemd's sockets of UDP are not taken over: which worker would have one?
            let socket = match listening.flows {
                None => take_inherited(&mut inherited, address),
                Some(_) => None,
            };
            let sockets = match socket {
                Some(socket) => vec![socket],
                None => bind(address, listening, workers_wanted, false)?,
            };
            opened.push((listening.key(address), listening, sockets));
        }
        let had = before(&prepared.loaded.config)?;
        let pressure = Arc::new(Pressure::new(workers_wanted));
        let workers = Workers::start(workers_wanted, &pressure)
            .map_err(|e| StartError::System(format!("the system gives no threads: {e}")))?;
        let background = Background::start(workers_wanted)
            .map_err(|e| StartError::System(format!("the system gives no threads: {e}")))?;
        prepared.snapshot.settle(&background, SETTLE).await;
        let mut doors = BTreeMap::new();
        for (address, listening, sockets) in opened {
            let door = open(&workers, &metrics, address, listening, sockets).await?;
            doors.insert(door.address.clone(), door);
        }
        metrics.set_access_log(prepared.access.as_ref().map(|a| a.handle.clone()));
        metrics.config_taken(prepared.snapshot.generation);
        report(&prepared);
        let snapshot = Arc::new(prepared.snapshot);
        let files = stamps(&prepared.loaded.files);
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
                files,
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
        let guards = Arc::downgrade(&running);
        running.metrics.set_guards(move || guards.upgrade().map_or_else(Vec::new, |r| r.guards()));
        let members = Arc::downgrade(&running);
        running
            .metrics
            .set_members(move || members.upgrade().map_or_else(Vec::new, |r| r.members()));
        let overload = Arc::downgrade(&running);
        running.metrics.set_overload(move || {
            overload.upgrade().map_or_else(OverloadRow::default, |running| running.overload_row())
        });
        let sources = Arc::downgrade(&running);
        running
            .metrics
            .set_sources(move || sources.upgrade().map_or_else(Vec::new, |r| r.sources()));
        Ok((running, had))
    }

    /// Reads the file again and runs it; the generation that runs now.
    ///
    /// # Errors
    /// The findings as they are printed, or what the system does not allow. Nothing has changed
    /// then.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, String> {
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

    async fn try_reload(self: &Arc<Self>) -> Result<u64, String> {
        let mut state = self.state.lock().await;
        // A file that is wrong is looked at again only when it changes again.
        state.files = stamps(&state.files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>());
        let this = self.clone();
        let previous = Previous {
            snapshot: state.snapshot.clone(),
            materials: state.materials.clone(),
            access: state.access.clone(),
        };
        let prepared = tokio::task::spawn_blocking(move || {
            let loaded = read(&this.source).map_err(|f| StartError::Config(f.render()))?;
            prepare(loaded, &this.metrics, Some(&previous))
        })
        .await
        .map_err(|e| format!("the configuration could not be built: {e}"))?;
        let prepared = prepared.map_err(|e| e.to_string())?;

        prepared.snapshot.settle(&self.background, SETTLE).await;

        // 1: bind what is new. Sockets that were bound are closed again if another cannot be.
        let mut fresh = Vec::new();
        for (address, listening) in addresses(&prepared.snapshot) {
            if !state.doors.contains_key(&listening.key(address)) {
                // An address that has just left may come back before its socket is closed.
                for leaving in &mut state.leaving {
                    leaving.closing.done().await;
                }
                // One that leaves now, and of which this one is a part or the whole, serves on beside
                // it until the new one does.
                let beside = addresses(&state.snapshot)
                    .any(|(ours, other)| other.flows.is_none() && address.clashes(ours));
                let sockets = bind(address, listening, self.workers.count(), beside)
                    .map_err(|e| e.to_string())?;
                fresh.push((listening.key(address), listening, sockets));
            }
        }

        // 2: swap.
        let mut doors = BTreeMap::new();
        for (address, listening) in addresses(&prepared.snapshot) {
            if let Some(door) = state.doors.remove(&listening.key(address)) {
                door.update(listening);
                doors.insert(door.address.clone(), door);
            }
        }
        for (address, listening, sockets) in fresh {
            match open(&self.workers, &self.metrics, address, listening, sockets).await {
                Ok(door) => drop(doors.insert(door.address.clone(), door)),
                Err(e) => log::error(&e.to_string()),
            }
        }

        // 3: what is gone accepts nothing more and ends when it can.
        let grace = prepared.loaded.config.grace.get();
        state.leaving.retain_mut(Leaving::is_someone_there);
        for door in std::mem::replace(&mut state.doors, doors).into_values() {
            let closing = self.workers.close(&door, grace).await;
            state.leaving.push(Leaving { door, closing });
        }
        log::set_level(prepared.loaded.config.log.level);
        report(&prepared);
        warn_of_what_needs_a_start(&state.snapshot.config, &prepared.loaded.config);
        state.files = stamps(&prepared.loaded.files);
        state.materials = Arc::new(prepared.materials);
        state.access = prepared.access;
        let earlier = std::mem::replace(&mut state.snapshot, Arc::new(prepared.snapshot));
        self.watches.follow(&self.background, &state.snapshot, &earlier);
        self.errands.follow(&self.background, &state.snapshot.tasks);
        self.metrics.set_access_log(state.access.as_ref().map(|a| a.handle.clone()));
        self.metrics.config_taken(state.snapshot.generation);
        self.show(&state);
        Ok(state.snapshot.generation)
    }

    fn show(&self, state: &State) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shown.snapshot = state.snapshot.clone();
        shown.doors = state.doors.values().cloned().collect();
    }

    fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
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
        let state = self.state.lock().await;
        state.files.iter().any(|(path, then)| modified(path) != *then) || state.materials.changed()
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

fn read(source: &Source) -> Result<Loaded, Box<Diagnostics>> {
    match source {
        Source::File(path) => load::load(path.as_deref(), false),
        Source::Text { path, text } => {
            load::from_text(path, text, false, &|name| std::env::var(name).ok())
        }
    }
}

/// Builds everything of a configuration that does not touch what runs.
fn prepare(
    loaded: Loaded,
    metrics: &Arc<Metrics>,
    previous: Option<&Previous>,
) -> Result<Prepared, StartError> {
    let findings = |found| StartError::Config(together(&loaded.findings, found).render());
    let materials = match previous {
        Some(previous) => Materials::following(&loaded.config, &loaded.base, &previous.materials),
        None => Materials::load(&loaded.config, &loaded.base),
    };
    let materials = materials.map_err(&findings)?;
    let access = match &loaded.config.log.access {
        Switch::Off => None,
        Switch::On(settings) => match previous.and_then(|previous| previous.access.as_ref()) {
            Some(access) if access.settings == *settings => Some(access.clone()),
            _ => Some(start_access_log(settings, &materials, metrics)?),
        },
    };
    let sinks = |listener: &str, routes: &[transom_proxy::site::Route]| {
        let names = Names {
            listener,
            routes: routes.iter().map(|route| &*route.name).collect(),
            pools: loaded.config.pools.iter().map(|(name, _)| &***name).collect(),
        };
        let mut sinks = vec![metrics.sink(&names)];
        sinks.extend(access.as_ref().map(|access| access.sink.clone()));
        sinks
    };
    let snapshot = build::build(&loaded.config, &materials, previous.map(|p| &*p.snapshot), &sinks)
        .map_err(&findings)?;
    Ok(Prepared { materials, snapshot, access, loaded })
}

/// The store, where the file names a place for it, with what is in it in memory.
fn open_store(prepared: &Prepared) -> Result<Option<Store>, StartError> {
    let Some(directory) = &prepared.loaded.config.data else { return Ok(None) };
    let directory = prepared.materials.resolve(directory);
    let shared = &prepared.snapshot.shared;
    let memory = store::Memory {
        stored: shared.stored(),
        revoked: shared.revoked(),
        ledgers: shared.ledgers(),
    };
    let (store, loaded) =
        Store::open(&directory, memory).map_err(|e| StartError::System(e.to_string()))?;
    let store::Loaded { consumers, keys, revoked, counts, took } = loaded;
    let (directory, took) = (directory.display(), took.as_millis());
    log::info(&format!(
        "{directory}: {consumers} consumers, {keys} keys, {revoked} revoked tokens and {counts} counts \
         of quotas, read in {took} ms"
    ));
    Ok(Some(store))
}

/// Findings of a later step, with the texts that their places are in.
fn together(earlier: &Diagnostics, later: Diagnostics) -> Diagnostics {
    let mut all = earlier.clone();
    all.extend(later);
    all
}

fn start_access_log(
    settings: &AccessLog,
    materials: &Materials,
    metrics: &Metrics,
) -> Result<Access, StartError> {
    let to = match &settings.to {
        LogOutput::Stdout => Output::Stdout,
        LogOutput::Stderr => Output::Stderr,
        LogOutput::Syslog => {
            Output::Syslog(access_log::Syslog::Unix(access_log::Syslog::LOCAL.into()))
        }
        LogOutput::File(path) => Output::File(materials.resolve(&path.value)),
    };
    let format = match settings.format {
        AccessFormat::Json => Format::Json,
        AccessFormat::Text => Format::Text,
    };
    let queue = settings.queue as usize;
    let started = access_log::AccessLog::start(access_log::Settings {
        format,
        to,
        queue,
        workers: metrics.workers(),
    });
    let (sink, handle) = started.map_err(|e| StartError::System(chain(&e)))?;
    Ok(Access { settings: settings.clone(), sink, handle })
}

/// Every address that is listened on, with what is served there.
fn addresses(snapshot: &Snapshot) -> impl Iterator<Item = (&ListenAddress, &Listening)> {
    snapshot.listeners.iter().flat_map(|l| l.addresses.iter().map(move |address| (address, l)))
}

/// `beside`: a socket of ours that is about to be closed listens at a part of it.
fn bind(
    address: &ListenAddress,
    listening: &Listening,
    workers: usize,
    beside: bool,
) -> Result<Vec<Bound>, StartError> {
    let bound = match address {
        address if listening.flows.is_some() => match socket_address(address) {
            Some(address) => udp::bind(address, workers),
            None => return Err(StartError::System(format!("{address} takes no datagrams"))),
        },
        ListenAddress::Unix(path) => listen::bind_unix(path, 0o666).map(|bound| vec![bound]),
        other => match socket_address(other) {
            Some(address) if beside => listen::bind_beside_own(address, workers),
            Some(address) => listen::bind(address, workers),
            None => return Err(StartError::System(format!("{other} is no address"))),
        },
    };
    bound.map_err(|e| {
        let hint = e.hint().map_or(String::new(), |hint| format!("\nhint: {hint}"));
        StartError::System(format!("{}{hint}", chain(&e)))
    })
}

/// The IP address of a listening address.
pub fn socket_address(address: &ListenAddress) -> Option<SocketAddr> {
    match address {
        ListenAddress::Any(port) => Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port)),
        ListenAddress::Ip(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

async fn open(
    workers: &Workers,
    metrics: &Metrics,
    address: String,
    listening: &Listening,
    sockets: Vec<Bound>,
) -> Result<Arc<Door>, StartError> {
    let local = sockets.first().map_or(PeerAddr::Unix, Bound::local);
    let door = Door::new(address, local, listening, metrics.listener(&listening.name));
    let opened = workers.open(&door, sockets).await;
    opened.map_err(|e| StartError::System(format!("cannot listen on {}: {e}", door.address)))?;
    Ok(door)
}

/// Sockets that systemd opened for us, by where they listen.
fn inherited_sockets() -> HashMap<PeerAddr, Bound> {
    let numbers = sd_notify::listen_fds().into_iter().flatten();
    let adopted = numbers.filter_map(|number| match Bound::adopt_number(number) {
        Ok(bound) => Some((bound.local(), bound)),
        Err(e) => {
            log::warn(&format!("an inherited socket cannot be used: {}", chain(&e)));
            None
        }
    });
    adopted.collect()
}

fn take_inherited(
    inherited: &mut HashMap<PeerAddr, Bound>,
    address: &ListenAddress,
) -> Option<Bound> {
    let address = socket_address(address)?;
    let same = |local: &PeerAddr| match local {
        PeerAddr::Ip(local) => {
            local.port() == address.port()
                && (local.ip() == address.ip()
                    || local.ip().is_unspecified() && address.ip().is_unspecified())
        }
        PeerAddr::Unix => false,
    };
    let key = inherited.keys().find(|local| same(local)).copied()?;
    inherited.remove(&key)
}

/// Says what was noticed, and which safe defaults are relaxed.
fn report(prepared: &Prepared) {
    eprint!("{}", together(&prepared.loaded.findings, prepared.snapshot.warnings.clone()).render());
    for (path, blocks, size, took) in prepared.materials.lists_read() {
        let (path, size, took) = (path.display(), size / 1000, took.as_millis());
        log::info(&format!("{path}: {blocks} blocks of addresses in {size} kB, read in {took} ms"));
    }
    log::info(&crate::config::hardening(&prepared.loaded.config).to_string());
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

fn stamps(files: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    files.iter().map(|path| (path.clone(), modified(path))).collect()
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
