//! What was used of quotas, on its way into the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use transom_gateway::limit::ledger::{Change, Key};
use transom_gateway::token::seconds;

use super::Running;
use crate::log;

/// By whose it is, so that what could not be written for long takes no more room than the ledgers.
#[derive(Default)]
pub(super) struct Unwritten {
    changes: HashMap<(Arc<str>, Key), Change>,
    /// Whether the last time failed, which is told once.
    failed: bool,
}

impl Running {
    /// Writes what has changed, in one transaction. What cannot be written is tried again with the next.
    pub async fn keep_usage(&self) {
        let now = seconds(SystemTime::now());
        let ledgers = self.shown().snapshot.shared.ledgers();
        // whoever takes changes writes them before others take later ones: counts never go back
        let mut unwritten = self.unwritten.lock().await;
        let changes = ledgers.changes(now);
        let Some(store) = &self.store else { return };
        for change in changes {
            unwritten.changes.insert((change.ledger.clone(), change.key), change);
        }
        if unwritten.changes.is_empty() {
            return;
        }
        let changes = Arc::new(std::mem::take(&mut unwritten.changes));
        let its = changes.clone();
        let written = store.ask(move |writer| writer.write_usage(its.values())).await;
        match written {
            Ok(()) if unwritten.failed => log::info("what is used of quotas is written again"),
            Ok(()) => {}
            Err(why) => {
                if !unwritten.failed {
                    log::error(&format!("what is used of quotas is not written: {why}"));
                }
                unwritten.changes = Arc::unwrap_or_clone(changes);
                unwritten.failed = true;
                return;
            }
        }
        unwritten.failed = false;
    }

    /// Lets go of what is over: of quotas, and of what was revoked.
    pub async fn forget_what_is_over(&self) {
        let now = seconds(SystemTime::now());
        self.shown().snapshot.shared.ledgers().sweep(now);
        if let Some(store) = &self.store {
            let forget = store.ask(move |writer| Ok(writer.forget_what_is_over(now)?)).await;
            if let Err(why) = forget {
                log::warn(&format!("what is over stays in the store: {why}"));
            }
        }
    }
}
