//! What was made while the program runs, and has to survive it: consumers and keys, what was revoked, and
//! what was used of quotas, in SQLite in the directory that `data:` names.
//!
//! One thread has the database ([`Writer`]), and everything that is asked of it is asked there. What
//! requests need is read into memory at the start, and changed there as soon as a change is on disk:
//! no request ever waits for this thread but one that makes a key at a portal. A change is on disk
//! before it is answered, so that it survives the process being killed, and the machine losing power;
//! but what was used of quotas is written in batches, so that requests need not wait for it.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::oneshot;
use transom_gateway::consumer::Stored;
use transom_gateway::limit::ledger::Ledgers;
use transom_gateway::token::revoked::Revoked;

mod consumers;
mod desk;
mod import;
mod keys;
mod revoked;
mod row;
mod usage;

pub use consumers::StoredConsumer;
pub use desk::{Desk, Opened};
pub use import::{Import, Imported};
pub use keys::{KeyRow, MadeKey, NewKey};

/// The file below the directory.
const FILE: &str = "transom.db";

/// Longest log that is kept where nothing of it is needed, in bytes.
const LOG: i64 = 4 << 20;

/// Changes of the schema, in their order; how many were made is in the file.
const SCHEMA: [&str; 2] = [
    "
    CREATE TABLE consumers (
        name TEXT PRIMARY KEY,
        groups TEXT NOT NULL,
        scopes TEXT NOT NULL,
        plan TEXT,
        labels TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        consumer TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        scopes TEXT,
        note TEXT,
        created INTEGER NOT NULL,
        expires INTEGER,
        revoked INTEGER,
        followed_by TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX keys_of_consumer ON keys (consumer);
",
    "
    CREATE TABLE revoked (
        claim TEXT NOT NULL,
        value TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (claim, value)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE usage (
        ledger TEXT NOT NULL,
        key BLOB NOT NULL,
        period TEXT NOT NULL,
        until INTEGER NOT NULL,
        used INTEGER NOT NULL,
        PRIMARY KEY (ledger, key, period)
    ) STRICT, WITHOUT ROWID;
",
];

/// Why the store cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory `{0}` cannot be used: {1}")]
    Directory(PathBuf, #[source] io::Error),
    #[error(
        "another Transom has the data directory `{0}`\nhint: give each its own `data:`, or stop the other"
    )]
    Taken(PathBuf),
    #[error("`{0}` was written by a later version of Transom\nhint: start that version")]
    Later(PathBuf),
    #[error("the store `{0}` cannot be used: {1}")]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is nothing of this name.
    #[error("{0}")]
    Missing(String),
    /// What is there speaks against it.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for is no such thing.
    #[error("{0}")]
    Wrong(String),
    #[error("the store failed: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the store has ended")]
    Ended,
}

type Order = Box<dyn FnOnce(&mut Writer) + Send>;

/// The store, for who asks something of it. Clones are the same.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Order>);

/// What was there at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub consumers: usize,
    pub keys: usize,
    pub revoked: usize,
    /// Counts of quotas.
    pub counts: usize,
    pub took: Duration,
}

/// What of it requests need, in memory. Clones are the same.
#[derive(Clone, Default)]
pub struct Memory {
    pub stored: Arc<Stored>,
    pub revoked: Arc<Revoked>,
    pub ledgers: Arc<Ledgers>,
}

/// Who has the database.
pub struct Writer {
    database: Connection,
    memory: Memory,
}

impl Store {
    /// Opens the store in this directory, which is made where it is not there, and reads it into
    /// `memory`. The thread ends with the last clone.
    ///
    /// # Errors
    /// When the directory or the file in it cannot be used.
    pub fn open(directory: &Path, memory: Memory) -> Result<(Self, Loaded), OpenError> {
        let failed = |error| OpenError::Directory(directory.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let path = directory.join(FILE);
        let begun = std::time::Instant::now();
        let database = open(&path).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => OpenError::Taken(directory.to_owned()),
            _ => OpenError::Database(path.clone(), error),
        })?;
        // it has digests only, and they are nobody else's business
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let broken = |error| OpenError::Database(path.clone(), error);
        let version: i64 =
            database.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(broken)?;
        let made = usize::try_from(version).unwrap_or(usize::MAX);
        let Some(missing) = SCHEMA.get(made..) else { return Err(OpenError::Later(path)) };
        let mut writer = Writer { database, memory };
        writer.grow(missing).map_err(broken)?;
        let loaded = writer.load().map_err(broken)?;
        let loaded = Loaded { took: begun.elapsed(), ..loaded };
        let (orders, given) = mpsc::channel::<Order>();
        let thread = std::thread::Builder::new().name("store".into());
        let run = move || given.into_iter().for_each(|order| order(&mut writer));
        thread.spawn(run).map_err(failed)?;
        Ok((Store(orders), loaded))
    }

    /// What the writer answers. Who asks may leave: what was asked is done nevertheless.
    ///
    /// # Errors
    /// Why it was not done; nothing has changed then.
    pub async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Writer) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let (done, outcome) = oneshot::channel();
        let order = move |writer: &mut Writer| drop(done.send(what(writer)));
        self.0.send(Box::new(order)).map_err(|_| Refused::Ended)?;
        outcome.await.map_err(|_| Refused::Ended)?
    }
}

/// The database, for this process alone, with every change on disk before it counts as made.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(2))?;
    database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    // what an import has made of the log is given back
    database.pragma_update(None, "journal_size_limit", LOG)?;
    // takes the lock that is kept from here on
    database.execute_batch("BEGIN IMMEDIATE; COMMIT;")?;
    Ok(database)
}

impl Writer {
    fn grow(&mut self, missing: &[&str]) -> rusqlite::Result<()> {
        for (index, change) in missing.iter().enumerate() {
            let transaction =
                self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(change)?;
            let version = SCHEMA.len() - missing.len() + index + 1;
            transaction.pragma_update(None, "user_version", version as i64)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Reads into memory what requests need.
    fn load(&mut self) -> rusqlite::Result<Loaded> {
        let now = now();
        self.forget_what_is_over(now)?;
        let consumers = self.all_consumers()?;
        let keys = self.all_held(now, &consumers)?;
        let revoked = self.all_revoked()?;
        let loaded = Loaded {
            consumers: consumers.len(),
            keys: keys.len(),
            revoked: revoked.len(),
            counts: self.restore_usage()?,
            took: Duration::ZERO,
        };
        self.memory.stored.consumers.replace(consumers);
        self.memory.stored.keys.replace(keys);
        self.memory.revoked.restore(revoked);
        Ok(loaded)
    }

    /// Takes out what nothing comes of any more at `now`.
    pub fn forget_what_is_over(&mut self, now: i64) -> rusqlite::Result<()> {
        self.database.execute("DELETE FROM revoked WHERE until <= ?1", [now])?;
        self.database.execute("DELETE FROM usage WHERE until <= ?1", [now])?;
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
