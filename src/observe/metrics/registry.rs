//! Cells by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::cells::Sharded;

/// Cells that live as long as somebody holds them.
pub(super) struct Registry<K, T>(Mutex<BTreeMap<K, Weak<Sharded<T>>>>);

impl<K, T> Default for Registry<K, T> {
    fn default() -> Self {
        Registry(Mutex::default())
    }
}

impl<K: Ord + Clone, T: Default> Registry<K, T> {
    /// The cells of this key, which are those it had where anybody still holds them.
    pub(super) fn cells(&self, key: K, workers: usize) -> Arc<Sharded<T>> {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = registry.entry(key).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let cells = Arc::new(Sharded::new(workers));
            *slot = Arc::downgrade(&cells);
            cells
        })
    }

    /// The entries that live; the others are taken out.
    pub(super) fn living(&self) -> Vec<(K, Arc<Sharded<T>>)> {
        let mut living = Vec::new();
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.retain(|key, cells| match cells.upgrade() {
            Some(cells) => {
                living.push((key.clone(), cells));
                true
            }
            None => false,
        });
        living
    }
}
