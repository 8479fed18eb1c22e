//! Has as many servers as are needed, and tells why.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use transom_net::background::Running;
use transom_net::{Background, Worker};

use super::decide::{Decider, Decision, Rules, Seen};
use super::{Driver, Hold, Times};
use crate::Pool;
use crate::discovery::roster::{Remark, Tell};
use crate::discovery::{Reach, Resolver, Roster};

mod servers;
mod view;

use servers::Server;
pub use view::ScaleView;

/// How often it is looked whether there are enough.
const LOOK: Duration = Duration::from_millis(100);
/// After a start that failed; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so long without a failure the next one is the first: twice the longest pause, so that servers
/// which come up and die again are tried ever later, too.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Decisions that are kept to be shown.
const KEPT: usize = 20;

/// See the module.
pub struct Scaler {
    name: String,
    driver: Driver,
    resolver: Arc<Resolver>,
    tell: Tell,
    plan: Mutex<Plan>,
    /// What it works for now; another one after a reload.
    work: Mutex<Option<Work>>,
    servers: Mutex<Vec<Arc<Server>>>,
    waiting: AtomicUsize,
    /// Own servers that are members and may be used.
    usable: AtomicUsize,
    /// Counts the times at which servers have become ready.
    ready: watch::Sender<u64>,
    wake: Notify,
    shown: Mutex<Shown>,
    running: Mutex<Vec<Running>>,
    over: watch::Sender<bool>,
}

struct Plan {
    rules: Rules,
    hold: Hold,
    times: Times,
}

#[derive(Clone)]
struct Work {
    roster: Weak<Roster>,
    pool: Arc<Pool>,
    background: Background,
}

#[derive(Default)]
struct Shown {
    wanted: usize,
    decisions: VecDeque<(SystemTime, String)>,
    /// Starts that failed in a row, and the reason of the last.
    failures: u32,
    failed: Option<(String, Instant)>,
}

/// A request's place among those that are held.
pub(super) struct Place(Arc<Scaler>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Scaler {
    pub fn new(
        name: impl Into<String>,
        driver: Driver,
        rules: Rules,
        hold: Hold,
        times: Times,
        resolver: Arc<Resolver>,
        tell: Tell,
    ) -> Arc<Self> {
        Arc::new(Scaler {
            name: name.into(),
            driver,
            resolver,
            tell,
            plan: Mutex::new(Plan { rules, hold, times }),
            work: Mutex::new(None),
            servers: Mutex::default(),
            waiting: AtomicUsize::new(0),
            usable: AtomicUsize::new(0),
            ready: watch::Sender::new(0),
            wake: Notify::new(),
            shown: Mutex::default(),
            running: Mutex::default(),
            over: watch::Sender::new(false),
        })
    }

    /// What holds from now on.
    pub fn set(&self, rules: Rules, hold: Hold, times: Times) {
        *locked(&self.plan) = Plan { rules, hold, times };
        self.wake.notify_one();
    }

    /// Begins to work for this roster, if it works for none: a roster that may yet come to nothing
    /// takes no scaler away from the one that is used.
    pub(crate) fn begin_for(self: &Arc<Self>, roster: &Arc<Roster>, background: &Background) {
        let works = locked(&self.work).is_some();
        if !works {
            self.work_for(roster, background);
        }
    }

    /// Works for this roster from now on, and begins to if it has not.
    pub(crate) fn work_for(self: &Arc<Self>, roster: &Arc<Roster>, background: &Background) {
        let place = Work {
            roster: Arc::downgrade(roster),
            pool: roster.pool().clone(),
            background: background.clone(),
        };
        let earlier = locked(&self.work).replace(place);
        match earlier {
            None => {
                let this = self.clone();
                let task =
                    background.run("scale", move |worker| async move { this.run(worker).await });
                locked(&self.running).push(task);
            }
            // who came or went since this roster was made has told the earlier one
            Some(earlier) if !earlier.roster.ptr_eq(&Arc::downgrade(roster)) => self.tell_list(),
            Some(_) => {}
        }
        self.wake.notify_one();
    }

    /// Begins to stop every server, each after it was drained, and starts no other.
    pub fn begin_end(&self) {
        self.over.send_replace(true);
        self.wake.notify_one();
    }

    /// As [`Scaler::begin_end`], and completes when all are gone.
    pub async fn end(&self) {
        self.begin_end();
        let mut changes = self.over.subscribe();
        while !locked(&self.servers).is_empty() {
            // told of by every server that goes
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether any server accepts requests.
    pub(super) fn has_servers(&self) -> bool {
        match self.driver {
            Driver::Own(_) => self.usable.load(Ordering::Relaxed) > 0,
            Driver::Asked(_) => self.members() > 0,
        }
    }

    /// A place for a request that finds no server, as long as there is room.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Place> {
        let most = self.holds().most;
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < most).then_some(waiting + 1)
        });
        taken.ok()?;
        self.wake.notify_one();
        Some(Place(self.clone()))
    }

    pub(super) fn holds(&self) -> Hold {
        locked(&self.plan).hold
    }

    pub(super) fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        locked(&self.shown).failed.as_ref().map(|(why, _)| why.clone())
    }

    fn members(&self) -> usize {
        locked(&self.work).as_ref().map_or(0, |place| place.pool.members().len())
    }

    async fn run(self: Arc<Self>, worker: Worker) {
        let reach = Reach { worker, resolver: self.resolver.clone() };
        let mut decider = Decider::default();
        let mut members = self.members();
        decider.begin(self.staying(), Instant::now());
        loop {
            let place = locked(&self.work).clone();
            let Some(place) = place else { return };
            let ending = *self.over.borrow() || place.roster.strong_count() == 0;
            if ending {
                self.leave(&place, usize::MAX);
            } else {
                self.look(&place, &mut decider, &reach).await;
            }
            self.stop_drained(&place);
            // who comes by another source is there for those who wait, too
            let now = self.members();
            if now > members {
                self.ready.send_modify(|count| *count += 1);
            }
            members = now;
            if ending && locked(&self.servers).is_empty() {
                return;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(self: &Arc<Self>, place: &Work, decider: &mut Decider, reach: &Reach) {
        let now = Instant::now();
        let rules = locked(&self.plan).rules.clone();
        let members = place.pool.members();
        let in_flight = members.iter().map(|m| m.state.in_flight.load(Ordering::Relaxed)).sum();
        let servers = match self.driver {
            Driver::Own(_) => self.staying(),
            Driver::Asked(_) => locked(&self.shown).wanted,
        };
        let waiting = self.waiting.load(Ordering::Relaxed);
        let load = match rules.target_load {
            Some(_) => members.iter().filter_map(|m| m.state.reported_load(now)).sum(),
            None => 0.0,
        };
        let decision = decider.decide(&rules, Seen { in_flight, waiting, servers, load }, now);
        let (wanted, change, why) = match decision {
            Decision::Stay => return,
            Decision::Up(more, why) => (servers + more, format!("{more} more"), why),
            Decision::Down(fewer, why) => (servers - fewer, format!("{fewer} fewer"), why),
        };
        if wanted > servers && self.pauses(now) {
            return;
        }
        let told = format!("{change}, {wanted} in all: {why}");
        match &self.driver {
            Driver::Own(_) => {
                self.decided(wanted, told);
                match wanted.checked_sub(servers) {
                    Some(more) => self.start(place, more),
                    None => self.leave(place, servers - wanted),
                }
            }
            Driver::Asked(webhook) => {
                match webhook.tell(reach, &self.name, wanted, servers, &why).await {
                    Ok(()) => {
                        self.decided(wanted, told);
                        locked(&self.shown).failures = 0;
                    }
                    Err(error) => self.failed(format!("it was not heard: {error}")),
                }
            }
        }
    }

    /// Whether it is too early to try again after starts that failed.
    fn pauses(&self, now: Instant) -> bool {
        let shown = locked(&self.shown);
        let Some((_, at)) = &shown.failed else { return false };
        if shown.failures == 0 {
            return false;
        }
        let pause = PAUSE.saturating_mul(1 << (shown.failures - 1).min(6)).min(LONGEST_PAUSE);
        now.duration_since(*at) < pause
    }

    fn decided(&self, wanted: usize, what: String) {
        (self.tell)(Remark::Change(format!("pool `{}`: scale: {what}", self.name)));
        let mut shown = locked(&self.shown);
        shown.wanted = wanted;
        shown.keep(what);
    }

    fn failed(&self, why: String) {
        (self.tell)(Remark::Trouble(format!("pool `{}`: scale: {why}", self.name)));
        let mut shown = locked(&self.shown);
        // What failed long ago is another matter.
        let again = shown.failed.as_ref().is_some_and(|(_, at)| at.elapsed() < FORGOTTEN);
        shown.failures = if again { shown.failures.saturating_add(1) } else { 1 };
        shown.failed = Some((why.clone(), Instant::now()));
        shown.keep(why);
    }

    fn noted(&self, what: String) {
        (self.tell)(Remark::Change(format!("pool `{}`: scale: {what}", self.name)));
        locked(&self.shown).keep(what);
    }
}

impl Shown {
    fn keep(&mut self, what: String) {
        if self.decisions.len() == KEPT {
            self.decisions.pop_front();
        }
        self.decisions.push_back((SystemTime::now(), what));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
