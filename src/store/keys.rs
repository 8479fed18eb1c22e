//! Keys in the store: their digests. A key itself is shown once, when it is made.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::BASE32_NOPAD;
use rusqlite::{OptionalExtension, Row, params};
use transom_gateway::consumer::digest::Digest;
use transom_gateway::consumer::{Consumer, Held};

use super::row::{list, read_list};
use super::{Refused, Writer, now};

/// What a key is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    pub consumer: String,
    /// Seconds since 1970.
    pub expires: Option<i64>,
    /// What it allows, where that is less than what its consumer may do.
    pub scopes: Option<Vec<String>>,
    pub note: Option<String>,
}

/// A key that was made.
#[derive(Clone, PartialEq, Eq)]
pub struct MadeKey {
    pub row: KeyRow,
    /// The key itself, which is nowhere else.
    pub key: String,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Also the beginning of the key, behind `tr_`.
    pub id: String,
    pub consumer: String,
    pub scopes: Option<Vec<String>>,
    pub note: Option<String>,
    /// Seconds since 1970.
    pub created: i64,
    pub expires: Option<i64>,
    pub revoked: Option<i64>,
    /// The id of the key that was made in its place.
    pub followed_by: Option<String>,
}

impl KeyRow {
    /// How it stands, in a word.
    pub fn standing(&self, now: i64) -> &'static str {
        match (self.revoked, self.expires, &self.followed_by) {
            (Some(_), ..) => "revoked",
            (None, Some(expires), _) if expires <= now => "expired",
            (None, _, Some(_)) => "leaving",
            _ => "valid",
        }
    }
}

const COLUMNS: &str = "id, consumer, scopes, note, created, expires, revoked, followed_by";

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: row.get(0)?,
        consumer: row.get(1)?,
        scopes: row.get::<_, Option<String>>(2)?.map(|text| read_list(&text)),
        note: row.get(3)?,
        created: row.get(4)?,
        expires: row.get(5)?,
        revoked: row.get(6)?,
        followed_by: row.get(7)?,
    })
}

/// So much of a key is random, in bytes; a quarter of it is its id, which is shown in lists.
const ID: usize = 5;
const SECRET: usize = 20;

/// A key and its id: `tr_`, the id, `_`, and 160 random bits.
fn random() -> Result<(String, String), Refused> {
    let mut bytes = [0; ID + SECRET];
    let failed = |_| Refused::Conflict("the system gives no random bytes".to_owned());
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    let letters = |bytes: &[u8]| BASE32_NOPAD.encode(bytes).to_ascii_lowercase();
    let id = letters(&bytes[..ID]);
    let key = format!("tr_{id}_{}", letters(&bytes[ID..]));
    Ok((id, key))
}

pub(super) fn digest(bytes: [u8; 32]) -> Digest {
    Digest::from_bytes(bytes)
}

/// What requests know of a key.
pub(super) fn held(consumer: Arc<str>, expires: Option<i64>, scopes: Option<Vec<String>>) -> Held {
    let until = expires.map_or(Held::FOREVER, |at| u64::try_from(at).unwrap_or(0));
    Held { consumer, until, scopes: scopes.map(Into::into) }
}

/// Adds a key, whose digest nobody has yet.
pub(super) fn write(
    database: &rusqlite::Connection,
    row: &KeyRow,
    digest: &Digest,
) -> rusqlite::Result<()> {
    let mut query = database.prepare_cached(
        "INSERT INTO keys (id, consumer, digest, scopes, note, created, expires) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    query.execute(params![
        row.id,
        row.consumer,
        digest.bytes(),
        row.scopes.as_deref().map(list),
        row.note,
        row.created,
        row.expires,
    ])?;
    Ok(())
}

/// Whether there is a key with this digest.
pub(super) fn has(database: &rusqlite::Connection, digest: &Digest) -> rusqlite::Result<bool> {
    let mut query = database.prepare_cached("SELECT 1 FROM keys WHERE digest = ?1")?;
    query.exists(params![digest.bytes()])
}

/// A row for a key that is about to be made, with the key itself.
pub(super) fn made(new: NewKey) -> Result<MadeKey, Refused> {
    let (id, key) = random()?;
    let NewKey { consumer, expires, scopes, note } = new;
    let row = KeyRow {
        id,
        consumer,
        scopes,
        note,
        created: now(),
        expires,
        revoked: None,
        followed_by: None,
    };
    Ok(MadeKey { row, key })
}

impl Writer {
    /// Every key that is neither revoked nor expired at `now`. Those of one consumer share its name, which
    /// is the consumer's own where it is among these.
    pub(super) fn all_held(
        &self,
        now: i64,
        consumers: &[(Arc<str>, Arc<Consumer>)],
    ) -> rusqlite::Result<Vec<(Digest, Held)>> {
        let mut names: HashSet<Arc<str>> = consumers.iter().map(|(name, _)| name.clone()).collect();
        let mut query = self.database.prepare(
            "SELECT digest, consumer, expires, scopes FROM keys \
             WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)",
        )?;
        let mut rows = query.query([now])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let consumer = row.get_ref(1)?.as_str()?;
            let name = names.get(consumer).cloned().unwrap_or_else(|| {
                let name: Arc<str> = Arc::from(consumer);
                names.insert(name.clone());
                name
            });
            let scopes = row.get::<_, Option<String>>(3)?.map(|text| read_list(&text));
            all.push((digest(row.get(0)?), held(name, row.get(2)?, scopes)));
        }
        Ok(all)
    }

    /// At most `limit` keys in the order of their ids, from the one after `after` on; of one
    /// consumer, where it is named.
    pub fn keys(
        &self,
        consumer: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<KeyRow>, Refused> {
        let of = if consumer.is_some() { "consumer = ?3 AND" } else { "?3 IS NULL AND" };
        let query = format!("SELECT {COLUMNS} FROM keys WHERE {of} id > ?1 ORDER BY id LIMIT ?2");
        let mut query = self.database.prepare_cached(&query)?;
        let rows = query.query_map(params![after, limit, consumer], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Makes a key.
    pub fn create_key(&mut self, new: NewKey) -> Result<MadeKey, Refused> {
        let made = made(new)?;
        let digest = Digest::of(made.key.as_bytes());
        write(&self.database, &made.row, &digest)?;
        self.know(&made.row, digest);
        Ok(made)
    }

    /// Makes a key in the place of another, which goes on being valid for `grace`. It ends when the other
    /// would have ended, and by `until`.
    pub fn rotate_key(
        &mut self,
        id: &str,
        grace: Duration,
        until: Option<i64>,
    ) -> Result<MadeKey, Refused> {
        let (old, old_digest) = self.valid(id)?;
        let new = NewKey {
            consumer: old.consumer.clone(),
            expires: [old.expires, until].into_iter().flatten().min(),
            scopes: old.scopes.clone(),
            note: old.note.clone(),
        };
        let made = made(new)?;
        let digest = Digest::of(made.key.as_bytes());
        let over = now().saturating_add(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX));
        let over = old.expires.map_or(over, |expires| expires.min(over));
        let transaction = self.database.transaction()?;
        write(&transaction, &made.row, &digest)?;
        transaction.execute(
            "UPDATE keys SET expires = ?2, followed_by = ?3 WHERE id = ?1",
            params![id, over, made.row.id],
        )?;
        transaction.commit()?;
        self.know(&made.row, digest);
        self.know(&KeyRow { expires: Some(over), ..old }, old_digest);
        Ok(made)
    }

    /// Makes a key invalid, at once and for good.
    pub fn revoke_key(&mut self, id: &str) -> Result<KeyRow, Refused> {
        let (mut row, digest) = self.known(id)?;
        if row.revoked.is_none() {
            row.revoked = Some(now());
            let revoke = "UPDATE keys SET revoked = ?2 WHERE id = ?1";
            self.database.execute(revoke, params![id, row.revoked])?;
        }
        self.memory.stored.keys.remove(&digest);
        Ok(row)
    }

    pub(super) fn known(&self, id: &str) -> Result<(KeyRow, Digest), Refused> {
        let query = format!("SELECT {COLUMNS}, digest FROM keys WHERE id = ?1");
        let both = |row: &Row<'_>| Ok((read(row)?, digest(row.get(8)?)));
        let found = self.database.query_row(&query, [id], both).optional()?;
        found.ok_or_else(|| Refused::Missing(format!("there is no key `{id}`")))
    }

    fn valid(&self, id: &str) -> Result<(KeyRow, Digest), Refused> {
        let (row, digest) = self.known(id)?;
        match row.standing(now()) {
            "valid" => Ok((row, digest)),
            other => Err(Refused::Conflict(format!("the key `{id}` is {other}"))),
        }
    }

    fn know(&self, row: &KeyRow, digest: Digest) {
        let held = held(Arc::from(&*row.consumer), row.expires, row.scopes.clone());
        self.memory.stored.keys.insert(digest, held);
    }
}
