//! Many consumers at once, with keys that they have already.

use std::sync::Arc;

use rusqlite::ErrorCode;
use transom_gateway::consumer::Consumer;
use transom_gateway::consumer::digest::Digest;

use super::keys::{self, NewKey};
use super::{Refused, Writer, consumers};

/// A consumer, and the digests of its keys.
#[derive(Clone, Debug)]
pub struct Import {
    pub consumer: Consumer,
    pub keys: Vec<(NewKey, Digest)>,
}

impl Writer {
    /// Adds them all or, where one of them cannot be, none. Consumers that are there already are
    /// changed, and keep their keys. How many keys there are now that were not there.
    pub fn import(&mut self, all: Vec<Import>) -> Result<usize, Refused> {
        let transaction = self.database.transaction()?;
        let mut known = Vec::new();
        for import in &all {
            consumers::write(&transaction, &import.consumer)?;
            for (new, digest) in &import.keys {
                let row = keys::made(new.clone())?.row;
                keys::write(&transaction, &row, digest).map_err(|error| {
                    match error.sqlite_error_code() {
                        Some(ErrorCode::ConstraintViolation) => Refused::Conflict(format!(
                            "a key of `{}` is there already; nothing was imported",
                            row.consumer
                        )),
                        _ => error.into(),
                    }
                })?;
                let name: Arc<str> = import.consumer.name.clone();
                known.push((*digest, keys::held(name, row.expires, row.scopes)));
            }
        }
        transaction.commit()?;
        for Import { consumer, .. } in all {
            self.memory.stored.consumers.insert(consumer.name.clone(), Arc::new(consumer));
        }
        let count = known.len();
        self.memory.stored.keys.extend(known);
        Ok(count)
    }
}
