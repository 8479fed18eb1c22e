//! What the operator asks of what runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use transom_balance::discovery::Roster;
use transom_gateway::catalog::Api;
use transom_gateway::consumer::{Consumer, Consumers};
use transom_gateway::limit::meter::Usage;
use transom_gateway::token::revoked::Revoked;
use transom_gateway::token::seconds;
use transom_net::pressure::Level;

use super::{Running, StartError};
use crate::admin::{Control, Edit, NotReloaded, Task};
use crate::load::Source;
use crate::save;
use crate::store::Store;

impl Control for Running {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<u64, NotReloaded>> + Send + '_>> {
        // A task of its own: who asked may leave, and a reload must not end half way.
        let Some(this) = self.this.upgrade() else {
            return Box::pin(async { Err(NotReloaded::System("the program is ending".into())) });
        };
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.supervisor.start("reload", async move {
            let _ = done.send(this.reload().await);
        });
        let broken_off = || NotReloaded::System("the reload broke off".into());
        Box::pin(async move {
            outcome.await.map_err(|_| broken_off())?.map_err(|error| match error {
                StartError::Config(findings) => NotReloaded::File(findings),
                StartError::System(what) => NotReloaded::System(what),
            })
        })
    }

    fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.stop_asked.notify_one();
    }

    fn ready(&self) -> Result<String, String> {
        let overload = self.overload();
        match self.draining.load(Ordering::Relaxed) {
            true => Err("not ready: it drains".into()),
            false if overload.level == Level::Closed => Err(format!("not ready: {overload}")),
            false if overload.is_pressed() => Ok(format!("ready, but {overload}")),
            false => Ok("ready".into()),
        }
    }

    fn config(&self) -> String {
        let snapshot = self.shown().snapshot;
        crate::config::printed(&snapshot.config, snapshot.generation)
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn revoked(&self) -> Arc<Revoked> {
        self.shown().snapshot.shared.revoked()
    }

    fn rosters(&self) -> BTreeMap<String, Arc<Roster>> {
        let snapshot = self.shown().snapshot;
        let pools = snapshot.pools.keys();
        pools.filter_map(|name| Some((name.clone(), snapshot.rosters.get(name)?.clone()))).collect()
    }

    fn consumers(&self) -> Consumers {
        self.shown().snapshot.consumers.clone()
    }

    fn usage(&self, consumer: &Consumer) -> Vec<Usage> {
        let (snapshot, now) = (self.shown().snapshot, seconds(SystemTime::now()));
        snapshot.meters.usage(consumer, now)
    }

    fn apis(&self) -> Arc<Vec<Arc<Api>>> {
        self.shown().snapshot.apis.clone()
    }

    fn store(&self) -> Option<Store> {
        self.store.clone()
    }

    fn save(&self, pool: &str, edit: &Edit) -> Result<String, String> {
        match &self.source {
            Source::Text { .. } => Err("there is no file".into()),
            Source::File(path) => save::save(path.as_deref(), pool, edit),
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let connections = self.shown().doors.into_iter().map(|door| Task {
            name: format!("connection {}", door.address),
            running: door.open.load(Ordering::Relaxed),
            restarts: 0,
            failure: None,
        });
        let background = self.background.tasks().by_name().into_iter().map(|(name, running)| {
            Task { name: name.to_owned(), running, restarts: 0, failure: None }
        });
        self.supervisor.tasks().into_iter().chain(background).chain(connections).collect()
    }
}
