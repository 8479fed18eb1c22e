//! The watches over the pools of the snapshot that runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use transom_balance::Pool;
use transom_balance::health::{Station, watch};
use transom_net::Background;
use transom_net::background::Running;

use crate::build::{self, Snapshot};

/// One for each pool whose members are looked after; they end with it.
pub struct Watches {
    running: Mutex<Vec<Running>>,
    permits: Arc<Semaphore>,
}

impl Watches {
    /// Starts watching the pools of the first snapshot.
    pub fn new(background: &Background, snapshot: &Snapshot) -> Self {
        let permits = Arc::new(Semaphore::new(watch::AT_ONCE));
        let running = start(background, &permits, &snapshot.pools, None);
        Watches { running: Mutex::new(running), permits }
    }

    /// Watches the pools of the next one instead.
    pub fn follow(&self, background: &Background, next: &Snapshot, earlier: &Snapshot) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clear();
        *running = start(background, &self.permits, &next.pools, Some(&earlier.pools));
    }
}

type Pools = BTreeMap<String, Arc<Pool>>;

fn start(
    background: &Background,
    permits: &Arc<Semaphore>,
    pools: &Pools,
    earlier: Option<&Pools>,
) -> Vec<Running> {
    let watched = |(name, pool): (&String, &Arc<Pool>)| {
        let known: Option<HashSet<u64>> = earlier.map(|earlier| {
            let members = earlier.get(name).map(|pool| pool.members()).unwrap_or_default();
            members.iter().map(|member| member.spec.endpoint.key).collect()
        });
        let (pool, permits) = (pool.clone(), permits.clone());
        let tasks = background.tasks().clone();
        background.run("pool watch", move |worker| {
            watch::watch(pool, known, Station { worker, tasks, permits }, build::log())
        })
    };
    pools.iter().map(watched).collect()
}
