//! Many consumers at once, with keys that they have already.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use transom_gateway::consumer::Consumer;
use transom_gateway::consumer::digest::Digest;

use super::keys::{self, KeyRow, NewKey};
use super::{Refused, Writer, consumers};

/// A consumer, and the digests of its keys.
#[derive(Clone, Debug)]
pub struct Import {
    pub consumer: Consumer,
    pub keys: Vec<(NewKey, Digest)>,
}

/// Writes a key under an id that nobody has. Of a million ids two are likely the same.
fn row(database: &Connection, new: &NewKey, digest: &Digest) -> Result<KeyRow, Refused> {
    for _ in 0..TRIES {
        let row = keys::made(new.clone())?.row;
        match keys::write(database, &row, digest) {
            Ok(()) => return Ok(row),
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
                return Err(error.into());
            }
            Err(_) if keys::has(database, digest)? => {
                let owner = &row.consumer;
                let why = format!("a key of `{owner}` is there already; nothing was imported");
                return Err(Refused::Conflict(why));
            }
            // only its id
            Err(_) => {}
        }
    }
    Err(Refused::Conflict("no id was free".to_owned()))
}

/// How often another id is tried.
const TRIES: usize = 10;

impl Writer {
    /// Adds them all or, where one of them cannot be, none. Consumers that are there already are
    /// changed, and keep their keys. How many keys there are now that were not there.
    pub fn import(&mut self, all: Vec<Import>) -> Result<usize, Refused> {
        let transaction = self.database.transaction()?;
        let mut known = Vec::new();
        for import in &all {
            consumers::write(&transaction, &import.consumer)?;
            for (new, digest) in &import.keys {
                let row = row(&transaction, new, digest)?;
                let name: Arc<str> = import.consumer.name.clone();
                known.push((*digest, keys::held(name, row.expires, row.scopes)));
            }
        }
        transaction.commit()?;
        let consumers = all.into_iter().map(|one| (one.consumer.name.clone(), one.consumer.into()));
        self.memory.stored.consumers.extend(consumers);
        let count = known.len();
        self.memory.stored.keys.extend(known);
        Ok(count)
    }
}
