//! A configuration that could run: everything that can fail and touches nothing of what runs.

use std::sync::Arc;

use transom_proxy::record::Sink;
use transom_settings::{Diagnostics, Switch};

use super::StartError;
use crate::build::{self, Snapshot};
use crate::config::{AccessFormat, AccessLog, LogOutput};
use crate::load::{Loaded, Seen};
use crate::log;
use crate::materials::Materials;
use crate::observe::access_log::{self, Format, Output};
use crate::observe::metrics::{Metrics, Names};
use crate::store::{self, Store};

/// What a new configuration goes on from.
pub(super) struct Previous {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) materials: Arc<Materials>,
    pub(super) access: Option<Access>,
}

/// A configuration that could run, and nothing of it does yet.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) materials: Materials,
    pub(super) snapshot: Snapshot,
    pub(super) access: Option<Access>,
}

/// The access log and what it was started for.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) settings: AccessLog,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) handle: access_log::Handle,
}

/// Builds everything of a configuration that does not touch what runs. `seen` is told which files it
/// looks at.
pub(super) fn prepare(
    loaded: Loaded,
    metrics: &Arc<Metrics>,
    previous: Option<&Previous>,
    seen: &mut Seen,
) -> Result<Prepared, StartError> {
    let findings = |found| StartError::Config(together(&loaded.findings, found).render());
    let materials = match previous {
        Some(previous) => {
            Materials::following(&loaded.config, &loaded.base, &previous.materials, seen)
        }
        None => Materials::load(&loaded.config, &loaded.base, seen),
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
pub(super) fn open_store(prepared: &Prepared) -> Result<Option<Store>, StartError> {
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
    // it is opened once
    let _ = shared.opened().set(store.clone());
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
    let (sink, handle) = started.map_err(|e| StartError::System(log::with_causes(&e)))?;
    Ok(Access { settings: settings.clone(), sink, handle })
}

/// Says what was noticed, and which safe defaults are relaxed.
pub(super) fn report(prepared: &Prepared) {
    eprint!("{}", together(&prepared.loaded.findings, prepared.snapshot.warnings.clone()).render());
    for (path, blocks, size, took) in prepared.materials.lists_read() {
        let (path, size, took) = (path.display(), size / 1000, took.as_millis());
        log::info(&format!("{path}: {blocks} blocks of addresses in {size} kB, read in {took} ms"));
    }
    log::info(&crate::config::hardening(&prepared.loaded.config).to_string());
}
