//! Tokens in the store that are not to be believed any more.

use rusqlite::params;
use transom_gateway::token::revoked::Entry;

use super::{Refused, Writer};

impl Writer {
    pub(super) fn all_revoked(&self) -> rusqlite::Result<Vec<Entry>> {
        let mut query = self.database.prepare("SELECT claim, value, until FROM revoked")?;
        let rows = query.query_map([], |row| {
            Ok(Entry { claim: row.get(0)?, value: row.get(1)?, until: row.get(2)? })
        })?;
        rows.collect()
    }

    /// Revokes, also what is revoked already, until another time. Whether there was room.
    pub fn revoke(&mut self, entry: &Entry, now: i64) -> Result<bool, Refused> {
        self.database.execute(
            "INSERT INTO revoked (claim, value, until) VALUES (?1, ?2, ?3) \
             ON CONFLICT (claim, value) DO UPDATE SET until = ?3",
            params![entry.claim, entry.value, entry.until],
        )?;
        let room = self.memory.revoked.add(entry, now);
        if !room {
            // it was not there before: that one would have had room
            self.forget(&entry.claim, &entry.value)?;
        }
        Ok(room)
    }

    /// Takes it back. Whether it was revoked.
    pub fn restore(&mut self, claim: &str, value: &str) -> Result<bool, Refused> {
        self.forget(claim, value)?;
        Ok(self.memory.revoked.remove(claim, value))
    }

    fn forget(&self, claim: &str, value: &str) -> rusqlite::Result<()> {
        let forget = "DELETE FROM revoked WHERE claim = ?1 AND value = ?2";
        self.database.execute(forget, params![claim, value]).map(drop)
    }
}
