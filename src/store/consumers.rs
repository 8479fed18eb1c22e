//! Consumers in the store.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};
use transom_gateway::consumer::Consumer;

use super::row::{labels, list, read_labels, read_list};
use super::{Refused, Writer, now};

/// A consumer, and since when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsumer {
    pub consumer: Consumer,
    /// Seconds since 1970.
    pub created: i64,
}

const COLUMNS: &str = "name, groups, scopes, plan, labels, created";

fn read(row: &Row<'_>) -> rusqlite::Result<StoredConsumer> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let consumer = Consumer {
        name: Arc::from(text(0)?),
        groups: read_list(text(1)?),
        scopes: read_list(text(2)?),
        plan: row.get::<_, Option<String>>(3)?.map(Arc::from),
        labels: read_labels(text(4)?),
    };
    Ok(StoredConsumer { consumer, created: row.get(5)? })
}

impl Writer {
    pub(super) fn all_consumers(&self) -> rusqlite::Result<Vec<(Arc<str>, Arc<Consumer>)>> {
        let mut query = self.database.prepare(&format!("SELECT {COLUMNS} FROM consumers"))?;
        let rows = query.query_map([], read)?;
        rows.map(|row| row.map(|row| (row.consumer.name.clone(), Arc::new(row.consumer)))).collect()
    }

    /// At most `limit` consumers in the order of their names, from the one after `after` on.
    pub fn consumers(&self, after: &str, limit: u32) -> Result<Vec<StoredConsumer>, Refused> {
        let query =
            format!("SELECT {COLUMNS} FROM consumers WHERE name > ?1 ORDER BY name LIMIT ?2");
        let mut query = self.database.prepare_cached(&query)?;
        let rows = query.query_map(params![after, limit], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &str) -> Result<Option<StoredConsumer>, Refused> {
        let query = format!("SELECT {COLUMNS} FROM consumers WHERE name = ?1");
        Ok(self.database.query_row(&query, [name], read).optional()?)
    }

    /// Adds a consumer, or changes the one of this name. Whether it is new.
    pub fn put_consumer(&mut self, consumer: Consumer) -> Result<bool, Refused> {
        let new = self.consumer(&consumer.name)?.is_none();
        write(&self.database, &consumer)?;
        self.memory.stored.consumers.insert(consumer.name.clone(), Arc::new(consumer));
        Ok(new)
    }

    /// Takes a consumer out, and its keys with it: how many.
    pub fn remove_consumer(&mut self, name: &str) -> Result<usize, Refused> {
        let transaction = self.database.transaction()?;
        let gone = transaction.execute("DELETE FROM consumers WHERE name = ?1", [name])?;
        if gone == 0 {
            return Err(Refused::Missing(format!("there is no consumer `{name}` in the store")));
        }
        let digests = {
            let mut query =
                transaction.prepare("DELETE FROM keys WHERE consumer = ?1 RETURNING digest")?;
            let rows = query.query_map([name], |row| row.get::<_, [u8; 32]>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        };
        transaction.commit()?;
        self.memory.stored.consumers.remove(name);
        for digest in &digests {
            self.memory.stored.keys.remove(&super::keys::digest(*digest));
        }
        Ok(digests.len())
    }
}

pub(super) fn write(database: &rusqlite::Connection, consumer: &Consumer) -> rusqlite::Result<()> {
    let mut query = database.prepare_cached(
        "INSERT INTO consumers (name, groups, scopes, plan, labels, created) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (name) DO UPDATE SET groups = ?2, scopes = ?3, plan = ?4, labels = ?5",
    )?;
    query.execute(params![
        &*consumer.name,
        list(&consumer.groups),
        list(&consumer.scopes),
        consumer.plan.as_deref(),
        labels(&consumer.labels),
        now(),
    ])?;
    Ok(())
}
