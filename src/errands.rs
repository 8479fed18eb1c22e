//! What policies of the snapshot that runs do beside requests.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use transom_gateway::task::Task;
use transom_net::Background;
use transom_net::background::Running;
use transom_proxy::local::Local;

use crate::build::Tasks;

/// One running task for each that the snapshot has. One that the next snapshot has too goes on.
#[derive(Default)]
pub struct Errands(Mutex<Vec<(Arc<dyn Task>, Running)>>);

impl Errands {
    /// Starts what is new and ends what is gone.
    pub fn follow(&self, background: &Background, tasks: &Tasks) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(known, _)| tasks.iter().any(|(_, task)| Arc::ptr_eq(known, task)));
        for (name, task) in tasks {
            if running.iter().any(|(known, _)| Arc::ptr_eq(known, task)) {
                continue;
            }
            let errand = task.clone();
            let handle =
                background.run(name, move |worker| errand.run(Rc::new(Local::new(worker))));
            running.push((task.clone(), handle));
        }
    }
}
