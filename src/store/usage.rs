//! What was used of quotas, in the store.

use rusqlite::params;
use transom_gateway::limit::calendar::Period;
use transom_gateway::limit::ledger::{Change, Used};

use super::{Refused, Writer};

impl Writer {
    /// Gives the ledgers in memory what they had: how many counts.
    pub(super) fn restore_usage(&self) -> rusqlite::Result<usize> {
        let query = "SELECT ledger, key, period, until, used FROM usage";
        let mut query = self.database.prepare(query)?;
        let (mut rows, mut count) = (query.query([])?, 0);
        while let Some(row) = rows.next()? {
            let key = u128::from_be_bytes(row.get(1)?);
            let used = u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0);
            let used = Used { until: row.get(3)?, used };
            let named = row.get_ref(2)?.as_str()?;
            if let Some(period) = Period::ALL.into_iter().find(|period| period.as_str() == named) {
                self.memory.ledgers.restore(row.get_ref(0)?.as_str()?, key, period, used);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Writes all of this, or nothing.
    pub fn write_usage<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<(), Refused> {
        let transaction = self.database.transaction()?;
        {
            let mut forget =
                transaction.prepare_cached("DELETE FROM usage WHERE ledger = ?1 AND key = ?2")?;
            let mut write = transaction.prepare_cached(
                "INSERT INTO usage (ledger, key, period, until, used) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for Change { ledger, key, used } in changes {
                let key = key.to_be_bytes();
                forget.execute(params![&**ledger, key])?;
                for (period, Used { until, used }) in used {
                    let used = i64::try_from(*used).unwrap_or(i64::MAX);
                    write.execute(params![&**ledger, key, period.as_str(), until, used])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}
