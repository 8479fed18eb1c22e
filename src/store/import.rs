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

/// How much of the database is held in memory while many rows are written, in KiB: keys come in no order,
/// and without it each of a million finds its page on the disk.
const CACHE: i64 = 256 << 10;

/// How many were imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub consumers: usize,
    pub keys: usize,
}

impl Writer {
    /// Adds them all or, where one of them cannot be or was refused before, none. Consumers that are there
    /// already are changed, and keep their keys. Each is written as it comes.
    pub fn import(
        &mut self,
        all: impl Iterator<Item = Result<Import, Refused>>,
    ) -> Result<Imported, Refused> {
        let usual: i64 = self.database.pragma_query_value(None, "cache_size", |row| row.get(0))?;
        self.database.pragma_update(None, "cache_size", -CACHE)?;
        let imported = self.import_all(all);
        self.database.pragma_update(None, "cache_size", usual)?;
        self.database.execute_batch("PRAGMA shrink_memory")?;
        imported
    }

    fn import_all(
        &mut self,
        all: impl Iterator<Item = Result<Import, Refused>>,
    ) -> Result<Imported, Refused> {
        let transaction = self.database.transaction()?;
        let (mut consumers, mut keys) = (Vec::new(), Vec::new());
        for import in all {
            let Import { consumer, keys: new } = import?;
            consumers::write(&transaction, &consumer)?;
            for (new, digest) in &new {
                let row = row(&transaction, new, digest)?;
                keys.push((*digest, keys::held(consumer.name.clone(), row.expires, row.scopes)));
            }
            consumers.push((consumer.name.clone(), Arc::new(consumer)));
        }
        transaction.commit()?;
        let imported = Imported { consumers: consumers.len(), keys: keys.len() };
        self.memory.stored.consumers.extend(consumers);
        self.memory.stored.keys.extend(keys);
        Ok(imported)
    }
}
