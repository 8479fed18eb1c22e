//! What was used of quotas, by key and period: in memory, where requests count, and from there in the
//! store, where the root writes what has changed in batches ([`Ledgers::changes`]).
//!
//! Memory is bounded: where more keys come than a ledger has room for, those that have used least are
//! forgotten. Keys are digests, so that nothing says whose address it was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use smallvec::SmallVec;

use super::calendar::{Calendar, Period, Quota};
use super::counting::{Verdict, Verdicts};

/// Of what is counted: SHA-256, shortened. A collision would have to be found among 2^128.
pub type Key = u128;

/// What stands for a key.
pub fn key_of(key: &[u8]) -> Key {
    let digest = digest(&SHA256, key);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_be_bytes(first)
}

/// What was used in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// When the period ends, in seconds since 1970. It is over then, and nothing was used of the next.
    pub until: i64,
    pub used: u64,
}

/// What has to be written of one key, for each period in which it has used anything; nothing where it
/// is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub ledger: Arc<str>,
    pub key: Key,
    pub used: Vec<(Period, Used)>,
}

/// What was used by the keys of one policy.
pub struct Ledger {
    name: Arc<str>,
    shards: Box<[Mutex<Shard>]>,
    keys: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    accounts: HashMap<Key, Account>,
    /// Accounts that are marked as changed, and those that were forgotten.
    changed: Vec<Key>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    used: [Used; Period::ALL.len()],
    changed: bool,
}

const SHARDS: usize = 64;

impl Account {
    /// What is used in a period, where it is not over.
    fn used(&self, period: Period, now: i64) -> Option<Used> {
        let used = self.used[period as usize];
        Calendar::holds(period, used.until, now).then_some(used)
    }

    fn is_over(&self, now: i64) -> bool {
        Period::ALL.into_iter().all(|period| self.used(period, now).is_none())
    }

    fn most(&self) -> u64 {
        self.used.iter().map(|used| used.used).max().unwrap_or_default()
    }
}

impl Ledger {
    /// For about so many keys.
    pub fn new(name: &str, keys: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ledger { name: name.into(), shards, keys: AtomicUsize::new(keys) }
    }

    /// It is for about so many keys from now on.
    pub fn allow(&self, keys: usize) {
        self.keys.store(keys, Ordering::Relaxed);
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        locked(&self.shards[key as usize % SHARDS])
    }

    /// Charges `cost` to all of these quotas of a key, or to none; with `anyway` to all, whatever they
    /// say.
    pub fn charge(
        &self,
        key: Key,
        quotas: &[Quota],
        calendar: &Calendar,
        cost: u64,
        now: i64,
        anyway: bool,
    ) -> Verdicts {
        let mut shard = self.shard(key);
        let mut account = shard.accounts.get(&key).copied().unwrap_or_default();
        let used: SmallVec<[Used; 2]> = quotas
            .iter()
            .map(|quota| {
                let begun = account.used(quota.per, now);
                begun.unwrap_or_else(|| Used { until: calendar.ends(quota.per, now), used: 0 })
            })
            .collect();
        let fits = |(quota, used): (&Quota, &Used)| used.used.saturating_add(cost) <= quota.count;
        let all = quotas.iter().zip(&used).all(fits);
        let taken = if all { cost } else { 0 };
        let verdicts = quotas.iter().zip(&used).map(|(quota, used)| Verdict {
            passes: fits((quota, used)),
            left: quota.count.saturating_sub(used.used.saturating_add(taken)),
            wait: u64::try_from(used.until - now).unwrap_or(0).saturating_mul(1_000_000_000),
        });
        let verdicts = verdicts.collect();
        if all || anyway {
            for (quota, used) in quotas.iter().zip(used) {
                account.used[quota.per as usize] =
                    Used { used: used.used.saturating_add(cost), ..used };
            }
            let was = std::mem::replace(&mut account.changed, true);
            if !was {
                shard.changed.push(key);
            }
            let keys = self.keys.load(Ordering::Relaxed) / SHARDS;
            if shard.accounts.len() > keys && !shard.accounts.contains_key(&key) {
                shard.make_room(keys, now);
            }
            shard.accounts.insert(key, account);
        }
        verdicts
    }

    /// What a key has used in the period that holds `now`, and when that ends.
    pub fn used(&self, key: Key, period: Period, calendar: &Calendar, now: i64) -> Used {
        let found =
            self.shard(key).accounts.get(&key).and_then(|account| account.used(period, now));
        found.unwrap_or_else(|| Used { until: calendar.ends(period, now), used: 0 })
    }

    /// As it was before a restart.
    fn restore(&self, key: Key, period: Period, used: Used) {
        self.shard(key).accounts.entry(key).or_default().used[period as usize] = used;
    }

    /// What has changed since it was last asked; and lets go of what is over.
    fn changes(&self, now: i64, out: &mut Vec<Change>) {
        for shard in &self.shards {
            let mut shard = locked(shard);
            for key in std::mem::take(&mut shard.changed) {
                let mut change = Change { ledger: self.name.clone(), key, used: Vec::new() };
                if let Some(account) = shard.accounts.get_mut(&key) {
                    account.changed = false;
                    let used = Period::ALL.into_iter();
                    change.used = used
                        .filter_map(|period| Some((period, account.used(period, now)?)))
                        .collect();
                }
                out.push(change);
            }
        }
    }

    fn sweep(&self, now: i64) {
        for shard in &self.shards {
            locked(shard).accounts.retain(|_, account| account.changed || !account.is_over(now));
        }
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| {
            let shard = locked(shard);
            shard.accounts.is_empty() && shard.changed.is_empty()
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Forgets what is over, and of the others the eighth that has used least: so that it is not done
    /// for each key of a flood.
    fn make_room(&mut self, keys: usize, now: i64) {
        let mut uses: Vec<(u64, Key)> = Vec::with_capacity(self.accounts.len());
        for (key, account) in &self.accounts {
            uses.push((if account.is_over(now) { 0 } else { account.most() }, *key));
        }
        let leave = (keys / 8).max(1).min(uses.len());
        uses.select_nth_unstable(leave - 1);
        for (_, key) in &uses[..leave] {
            if self.accounts.remove(key).is_some_and(|account| !account.changed) {
                self.changed.push(*key);
            }
        }
    }
}

/// All ledgers of the program, by name. They outlive reloads, and with a store the process.
#[derive(Default)]
pub struct Ledgers(Mutex<HashMap<Arc<str>, Arc<Ledger>>>);

impl Ledgers {
    /// The ledger of this name, made where there is none yet. One that is there keeps its size until
    /// [`Ledger::allow`].
    pub fn open(&self, name: &str, keys: usize) -> Arc<Ledger> {
        let mut all = locked(&self.0);
        let known = all.get(name).cloned();
        known.unwrap_or_else(|| {
            let ledger = Arc::new(Ledger::new(name, keys));
            all.insert(ledger.name.clone(), ledger.clone());
            ledger
        })
    }

    /// What one key has used in one period, as it was before a restart.
    pub fn restore(&self, ledger: &str, key: Key, period: Period, used: Used) {
        let known = locked(&self.0).get(ledger).cloned();
        let ledger = known.unwrap_or_else(|| self.open(ledger, usize::MAX));
        ledger.restore(key, period, used);
    }

    /// Everything that has changed since it was last asked.
    pub fn changes(&self, now: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.all().iter().for_each(|ledger| ledger.changes(now, &mut changes));
        changes
    }

    /// Lets go of what is over, and of ledgers that no policy has any more and that hold nothing.
    pub fn sweep(&self, now: i64) {
        self.all().iter().for_each(|ledger| ledger.sweep(now));
        locked(&self.0).retain(|_, ledger| Arc::strong_count(ledger) > 1 || !ledger.is_empty());
    }

    fn all(&self) -> Vec<Arc<Ledger>> {
        locked(&self.0).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;
    use crate::limit::calendar::Zone;

    /// 2026-11-22T11:00:00Z, a Sunday.
    const NOW: i64 = 1_795_345_200;
    const DAY: i64 = 24 * 3600;

    fn utc() -> Calendar {
        Calendar { zone: Zone::utc(), month_starts: 1 }
    }

    fn quotas(texts: &[&str]) -> Vec<Quota> {
        texts.iter().map(|text| Quota::from_text(text).unwrap()).collect()
    }

    /// Whether it passes, and what is left of each.
    fn take(ledger: &Ledger, quotas: &[Quota], cost: u64, now: i64) -> (bool, Vec<u64>) {
        let verdicts = ledger.charge(1, quotas, &utc(), cost, now, false);
        let passes = verdicts.iter().all(|verdict| verdict.passes);
        (passes, verdicts.iter().map(|verdict| verdict.left).collect())
    }

    #[test]
    fn gw_20_all_quotas_are_charged_or_none_and_each_begins_anew_with_its_period() {
        let (ledger, quotas) = (Ledger::new("a", 100), quotas(&["3/day", "5/month"]));
        for (cost, now, expected) in [
            (1, NOW, (true, vec![2, 4])),
            (2, NOW, (true, vec![0, 2])),
            (1, NOW, (false, vec![0, 2])),
            // another day of the same month
            (2, NOW + DAY, (true, vec![1, 0])),
            (1, NOW + DAY, (false, vec![1, 0])),
            (1, NOW + 9 * DAY, (true, vec![2, 4])),
            (u64::MAX, NOW + 9 * DAY, (false, vec![2, 4])),
        ] {
            assert_eq!(take(&ledger, &quotas, cost, now), expected, "{cost} at {now}");
        }
        let wait = ledger.charge(2, &quotas, &utc(), 1, NOW, false)[0].seconds();
        assert_eq!(wait, 13 * 3600, "until midnight");
    }

    #[test]
    fn gw_20_a_dry_run_counts_on_and_shows_it() {
        let (ledger, quotas) = (Ledger::new("a", 100), quotas(&["2/day"]));
        for expected in [true, true, false, false] {
            let verdicts = ledger.charge(1, &quotas, &utc(), 1, NOW, true);
            assert_eq!(verdicts[0].passes, expected);
        }
        assert_eq!(ledger.used(1, Period::Day, &utc(), NOW).used, 4);
        assert_eq!(ledger.used(1, Period::Day, &utc(), NOW + DAY).used, 0);
    }

    #[test]
    fn gw_20_eight_workers_admit_exactly_as_many_as_one() {
        let (ledger, quotas) = (Ledger::new("a", 100), quotas(&["1000/day", "700/month"]));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let taken = (0..200).filter(|_| take(&ledger, &quotas, 1, NOW).0).count();
                    passed.fetch_add(taken, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(passed.into_inner(), 700);
        assert_eq!(ledger.used(1, Period::Day, &utc(), NOW).used, 700);
    }

    #[test]
    fn l_06_a_flood_of_keys_takes_no_more_memory_and_who_used_most_is_kept() {
        let (ledger, quotas) = (Ledger::new("a", 6400), quotas(&["50/day"]));
        while ledger.charge(0, &quotas, &utc(), 1, NOW, false)[0].passes {}
        for key in 1..100_000 {
            ledger.charge(key, &quotas, &utc(), 1, NOW, false);
        }
        let kept: usize = ledger.shards.iter().map(|shard| locked(shard).accounts.len()).sum();
        assert!(kept <= 6400 + SHARDS, "{kept}");
        assert_eq!(ledger.used(0, Period::Day, &utc(), NOW).used, 50);
    }

    #[test]
    fn d_02_a_ledger_that_is_asked_for_again_forgets_nobody_until_it_is_told_to() {
        let (ledgers, quotas) = (Ledgers::default(), quotas(&["50/day"]));
        let ledger = ledgers.open("a", 64 * SHARDS);
        let charge = |keys: std::ops::Range<u128>| {
            for key in keys {
                ledger.charge(key, &quotas, &utc(), 1, NOW, false);
            }
            ledger.shards.iter().map(|shard| locked(shard).accounts.len()).sum::<usize>()
        };
        assert_eq!(charge(0..500), 500);
        // for a file that is refused in the end
        let again = ledgers.open("a", 1);
        assert_eq!(charge(500..1000), 1000);
        again.allow(1);
        assert!(charge(1000..2000) <= 1000, "one goes for each that comes");
    }

    #[test]
    fn gw_20_what_has_changed_is_told_once_and_comes_back_after_a_restart() {
        let (ledgers, quotas) = (Ledgers::default(), quotas(&["50/day"]));
        let ledger = ledgers.open("a", 100);
        ledger.charge(7, &quotas, &utc(), 3, NOW, false);
        ledger.charge(7, &quotas, &utc(), 1, NOW, false);
        let used = Used { until: NOW + 13 * 3600, used: 4 };
        let change = Change { ledger: "a".into(), key: 7, used: vec![(Period::Day, used)] };
        assert_eq!(ledgers.changes(NOW), [change]);
        assert_eq!(ledgers.changes(NOW), []);
        let later = Ledgers::default();
        later.restore("a", 7, Period::Day, used);
        assert_eq!(later.open("a", 100).used(7, Period::Day, &utc(), NOW), used);
        assert_eq!(later.changes(NOW), []);
        later.sweep(NOW + DAY);
        assert_eq!(later.all().len(), 0, "it is over, and nobody has it");
        ledgers.sweep(NOW + DAY);
        assert_eq!(ledgers.all().len(), 1, "a policy has it");
    }
}
