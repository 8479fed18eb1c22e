//! A limit that several processes share through Redis or Valkey.
//!
//! No request goes to Redis: it spends of a slice that this process has been given ([`lease`]), and a
//! task on the background thread asks for the next one before that is used up. Only who finds the
//! slice empty waits for the answer, a few milliseconds at most. Where Redis is away, each process
//! counts for itself, or all pass, or none, as the file says; nobody waits for it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use smallvec::SmallVec;
use tokio::sync::{Notify, watch};
use transom_net::Worker;
use transom_proxy::destination::Destination;
use transom_proxy::local::Local;
use transom_proxy::patience::within;
use transom_settings::{Duration as Time, Secret, Spanned, Target, settings};

mod lease;
pub mod windows;

use super::counting::{Verdict, Verdicts, nanos};
use super::ledger::key_of;
use crate::redis::lasting::{LATEST, TIMEOUT, User, keep};
use crate::redis::link::{Entrance, Link};
use crate::redis::resp::{Reply, command};
use crate::task::Task;
use lease::{Grant, Question, Rule, Slices, Taken};
use windows::Windows;

settings! {
    /// Through which Redis or Valkey several processes share a limit.
    pub struct SharedSettings short(redis) {
        /// Its address, or a pool of which one takes writes. TLS is what the pool says, or
        /// `https://` before an address.
        pub redis: Spanned<Target>,
        /// How many processes share it.
        pub processes: Spanned<u32> = Spanned::from(2),
        /// Who asks (`AUTH`).
        pub user: Option<String> = None,
        /// The password (`AUTH`).
        pub password: Option<Secret> = None,
        /// The number of the database (`SELECT`).
        pub database: u32 = 0,
        /// What stands before each key.
        pub prefix: String = "transom".to_owned(),
        /// What a process may spend for a key in a window before Redis has answered. A tenth of its
        /// part of the limit by default.
        pub ahead: Option<u32> = None,
        /// How long a request waits for Redis that finds nothing left to spend.
        pub patience: Time = Time::milliseconds(10),
        /// What holds while Redis is away.
        pub away: Away = Away::Local,
    }

    /// What holds while Redis is away.
    pub enum Away {
        /// Each process counts for itself, with its part of the limit.
        Local = "local",
        /// All pass.
        Open = "open",
        /// None pass.
        Closed = "closed",
    }
}

/// One limit that is shared.
pub struct Shared {
    slices: Slices,
    most: u64,
    windows: Windows,
    processes: u64,
    /// Before each key: whose limit this is.
    prefix: String,
    destination: Arc<dyn Destination>,
    entrance: Entrance,
    patience: Duration,
    when_away: Away,
    is_away: AtomicBool,
    /// For the task: there is something to ask.
    wake: Notify,
    /// For requests: there was an answer.
    answered: watch::Sender<()>,
}

/// What a limit says, and whether Redis has had a part in it.
pub struct Said {
    pub verdict: Verdict,
    pub alone: bool,
}

/// Spends `cost` of several limits, each with its key, or of none. Says whether one of them had to be
/// counted by this process alone.
pub async fn take(
    limits: SmallVec<[(&Shared, Vec<u8>); 2]>,
    cost: u64,
    worker: &Worker,
) -> (Verdicts, bool) {
    let (mut verdicts, mut alone) = (Verdicts::new(), false);
    for (at, (shared, key)) in limits.iter().enumerate() {
        let said = shared.take(key, cost, worker).await;
        verdicts.push(said.verdict);
        alone |= said.alone;
        if !said.verdict.passes {
            limits[..at].iter().for_each(|(shared, key)| shared.refund(key, cost));
            // of the others nothing is known, and nothing is told
            let unknown = Verdict { passes: true, ..said.verdict };
            verdicts.resize(limits.len(), unknown);
            break;
        }
    }
    (verdicts, alone)
}

/// In one turn, as Redis sees the time: what of the window before still counts, what has been given, and
/// how much more is. Of a period of the calendar the key says which one it is, and `per` how long it still
/// lasts. Whoever asks has a part of what is left at most, so that others find some, too.
const SCRIPT: &str = "\
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local per, most, debt, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local n = math.floor(now / per)
local into = now - n * per
local key = KEYS[1] .. ':' .. n
if ARGV[6] == '2' then
  into = 0
  key = KEYS[1]
end
local used = tonumber(redis.call('GET', key) or '0')
local before = 0
if ARGV[6] == '1' then
  before = tonumber(redis.call('GET', KEYS[1] .. ':' .. (n - 1)) or '0') * (per - into) / per
end
local room = math.floor(most - before) - used - debt
local give = 0
if room > 0 and want > 0 then
  give = math.max(1, math.min(want, math.floor(room / tonumber(ARGV[5]))))
end
if debt + give ~= 0 then
  redis.call('INCRBY', key, debt + give)
  redis.call('PEXPIRE', key, 2 * per)
end
return {give, math.max(0, room - give), per - into}";

/// How often the task looks for what nobody uses.
const BEAT: Duration = Duration::from_millis(250);
/// A key of which nothing is left is asked for again after that, at the latest.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// Keys that are asked for at once.
const BATCH: usize = 500;

impl SharedSettings {
    /// What may be spent before Redis has answered.
    pub fn ahead(&self, most: u64) -> u64 {
        let tenth = most / (10 * u64::from(self.processes.value.max(1)));
        self.ahead.map_or(tenth, u64::from).max(1)
    }

    /// How many pass in one window at most, over all processes.
    pub fn bound(&self, most: u64) -> u64 {
        most.saturating_add(u64::from(self.processes.value).saturating_mul(self.ahead(most)))
    }

    /// How many processes share it.
    pub fn processes(&self) -> u64 {
        u64::from(self.processes.value.max(1))
    }
}

impl Shared {
    /// `name` says whose limit it is, the same in all processes.
    pub fn new(
        written: &SharedSettings,
        name: &str,
        most: u64,
        windows: Windows,
        keys: usize,
        destination: Arc<dyn Destination>,
    ) -> Self {
        // what of the window before still counts becomes less, and others give back what they do not
        // use: ask again before this one ends
        let again = windows.lasts(SystemTime::now()) / 50;
        let again = again.clamp(Duration::from_millis(50), LONGEST_REST);
        Shared {
            slices: Slices::new(Rule { most, ahead: written.ahead(most), keys, again }),
            most,
            windows,
            processes: written.processes(),
            prefix: format!("{}:{name}:", written.prefix),
            destination,
            entrance: Entrance {
                user: written.user.clone(),
                password: written.password.clone(),
                database: written.database,
            },
            patience: written.patience.get(),
            when_away: written.away,
            is_away: AtomicBool::new(false),
            wake: Notify::new(),
            answered: watch::channel(()).0,
        }
    }

    /// Spends `cost` of a key. Waits only where this process has nothing of it left and Redis is there.
    pub async fn take(&self, key: &[u8], cost: u64, worker: &Worker) -> Said {
        let hash = key_of(key);
        let begun = Instant::now();
        let mut answered = None;
        loop {
            if self.is_away.load(Ordering::Relaxed) {
                return self.alone(key, cost);
            }
            let now = Instant::now();
            let lasts = self.windows.lasts(SystemTime::now());
            let (taken, wake) = self.slices.take(hash, cost, now, now + lasts);
            if wake {
                self.wake.notify_one();
            }
            let verdict = match taken {
                Taken::Passes { left, reset } => Verdict { passes: true, left, wait: nanos(reset) },
                Taken::Refused { wait } => Verdict { passes: false, left: 0, wait: nanos(wait) },
                Taken::Asked => {
                    let left = self.patience.saturating_sub(now.saturating_duration_since(begun));
                    // looked for once more after it can no longer be missed
                    let Some(answer) = &mut answered else {
                        answered = Some(self.answered.subscribe());
                        continue;
                    };
                    if left.is_zero() || within(worker, left, answer.changed()).await.is_none() {
                        return self.alone(key, cost);
                    }
                    continue;
                }
            };
            return Said { verdict, alone: false };
        }
    }

    /// Gives back what was taken for a request that does not pass after all.
    pub fn refund(&self, key: &[u8], cost: u64) {
        self.slices.refund(key_of(key), cost);
    }

    /// What is left of a key for everybody, as far as this process has heard.
    pub fn left(&self, key: &[u8]) -> Option<u64> {
        self.slices.left(key_of(key), Instant::now())
    }

    fn alone(&self, key: &[u8], cost: u64) -> Said {
        let verdict = match self.when_away {
            Away::Open => Verdict { passes: true, left: self.most, wait: self.windows.whole() },
            Away::Closed => Verdict { passes: false, left: 0, wait: nanos(LATEST) },
            Away::Local => self.windows.alone(key_of(key), cost),
        };
        Said { verdict, alone: true }
    }

    fn commands(&self, script: &[u8], questions: &[Question]) -> Vec<u8> {
        let told = self.windows.told(SystemTime::now());
        let (per, most) = (told.per.to_string(), self.most.to_string());
        let processes = self.processes.to_string();
        let mut out = Vec::with_capacity(questions.len() * 200);
        for question in questions {
            // one slot of a cluster for both windows
            let key = format!("{}{{{:032x}}}{}", self.prefix, question.key, told.suffix);
            let (debt, want) = (question.debt.to_string(), question.want.to_string());
            let words: [&[u8]; 10] = [
                b"EVALSHA",
                script,
                b"1",
                key.as_bytes(),
                per.as_bytes(),
                most.as_bytes(),
                debt.as_bytes(),
                want.as_bytes(),
                processes.as_bytes(),
                told.mode,
            ];
            command(&words, &mut out);
        }
        out
    }
}

fn grant(reply: &Reply) -> Result<Grant, String> {
    let Reply::List(items) = reply else { return Err(format!("it answered {reply:?}")) };
    let [Reply::Number(given), Reply::Number(left), Reply::Number(ends)] = items[..] else {
        return Err(format!("it answered {reply:?}"));
    };
    let whole = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Grant { given: whole(given), left: whole(left), ends: Duration::from_millis(whole(ends)) })
}

impl User for Shared {
    // each counts for itself meanwhile, or as the file says
    const AT_ONCE: bool = false;

    async fn serve(&self, mut link: Link, worker: &Worker) -> Result<(), String> {
        let mut load = Vec::new();
        command(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()], &mut load);
        let loaded = link.ask(&load, 1, TIMEOUT).await?;
        let [Reply::Text(script)] = &loaded[..] else {
            return Err(format!("the script was not taken: {loaded:?}"));
        };
        self.is_away.store(false, Ordering::Relaxed);
        let mut looked = Instant::now();
        loop {
            within(worker, BEAT, self.wake.notified()).await;
            let asked = Instant::now();
            let mut questions = self.slices.questions(BATCH);
            if asked.saturating_duration_since(looked) >= BEAT {
                looked = asked;
                questions.extend(self.slices.idle(BATCH, asked));
            }
            if questions.is_empty() {
                continue;
            }
            if questions.len() >= BATCH {
                // there may be more
                self.wake.notify_one();
            }
            let commands = self.commands(script, &questions);
            let replies = link.ask(&commands, questions.len(), TIMEOUT).await?;
            for (question, reply) in questions.iter().zip(replies) {
                self.slices.granted(*question, grant(&reply)?, asked);
            }
            self.answered.send_replace(());
        }
    }

    fn away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
        self.slices.unanswered();
        self.answered.send_replace(());
    }
}

impl Task for Shared {
    fn run(self: Arc<Self>, local: Rc<Local>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { keep(&*self, &self.destination, &self.entrance, &local).await })
    }
}
