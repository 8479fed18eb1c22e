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
                "INSERT INTO usage (ledger, key, period, until, used) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (ledger, key, period) DO UPDATE SET until = ?4, used = ?5",
            )?;
            for Change { ledger, key, used } in changes {
                let key = key.to_be_bytes();
                // periods that are over go with the next sweep
                if used.is_empty() {
                    forget.execute(params![&**ledger, key])?;
                }
                for (period, Used { until, used }) in used {
                    let used = i64::try_from(*used).unwrap_or(i64::MAX);
                    write.execute(params![&**ledger, key, period.as_str(), until, used])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use transom_gateway::limit::calendar::{Calendar, Zone};

    use super::super::{Memory, Store};
    use super::*;

    #[tokio::test]
    async fn gw_20_what_was_written_last_comes_back_and_what_was_forgotten_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let count = |key, used: &[(Period, i64, u64)]| Change {
            ledger: "a".into(),
            key,
            used: used
                .iter()
                .map(|(per, until, used)| (*per, Used { until: *until, used: *used }))
                .collect(),
        };
        let later = 40_000_000_000;
        {
            let (store, _) = Store::open(folder.path(), Memory::default()).unwrap();
            for changes in [
                vec![count(1, &[(Period::Day, later, 3)]), count(2, &[(Period::Day, later, 9)])],
                vec![
                    count(1, &[(Period::Day, later, 5), (Period::Month, later, u64::MAX)]),
                    count(2, &[]),
                    count(3, &[(Period::Hour, 7, 1)]),
                ],
            ] {
                let write = store.ask(move |writer| writer.write_usage(changes.iter()));
                write.await.unwrap();
            }
        }
        let memory = Memory::default();
        let ledgers = memory.ledgers.clone();
        let (_store, loaded) = Store::open(folder.path(), memory).unwrap();
        assert_eq!(loaded.counts, 2, "one was forgotten, and one is over");
        let ledger: Arc<_> = ledgers.open("a", 100);
        let calendar = Calendar { zone: Zone::utc(), month_starts: 1 };
        let used = |key, period| ledger.used(key, period, &calendar, later - 60).used;
        assert_eq!((used(1, Period::Day), used(2, Period::Day)), (5, 0));
        assert_eq!(used(1, Period::Month), i64::MAX as u64, "as much as the store can hold");
    }

    #[tokio::test]
    async fn gw_20_ten_thousand_consumers_are_written_within_the_beat() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Memory::default()).unwrap();
        let used = Used { until: 40_000_000_000, used: 1 };
        let change = |key| Change { ledger: "a".into(), key, used: vec![(Period::Day, used)] };
        let changes: Vec<_> = (0..10_000).map(change).collect();
        let begun = std::time::Instant::now();
        store.ask(move |writer| writer.write_usage(changes.iter())).await.unwrap();
        let took = begun.elapsed();
        println!("10,000 counts were written in {took:?}");
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}
