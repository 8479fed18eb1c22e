//! Has as many servers as are needed, and tells why.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use transom_net::background::Running;
use transom_net::{Address, Background, Worker};
use transom_settings::EndpointAddress;

use super::decide::{Decider, Decision, Rules, Seen};
use super::{Driver, Hold, Times};
use crate::Pool;
use crate::discovery::roster::{Remark, Tell};
use crate::discovery::{Listed, Reach, Resolver, Roster};
use crate::state::Administrative;

/// How often it is looked whether there are enough.
const LOOK: Duration = Duration::from_millis(100);
/// How often a server that was started is asked whether it accepts connections.
const KNOCK: Duration = Duration::from_millis(5);
/// After a start that failed; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Decisions that are kept to be shown.
const KEPT: usize = 20;
/// A request that was given a member just before that began to drain is under way by then.
const SETTLED: Duration = Duration::from_millis(100);

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

/// One server from its start to its end.
struct Server {
    address: Mutex<Option<EndpointAddress>>,
    name: Mutex<String>,
    phase: Mutex<Phase>,
    stop: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// Nothing new, since then.
    Draining(Instant),
    Stopping,
}

/// What is to be shown of a scaler.
#[derive(Clone, Debug)]
pub struct ScaleView {
    pub min: usize,
    pub max: usize,
    pub target: f64,
    /// That accept requests, and that will soon.
    pub ready: usize,
    pub starting: usize,
    /// On their way out.
    pub leaving: usize,
    pub wanted: usize,
    /// Requests that are held.
    pub waiting: usize,
    /// The last decisions with their reasons, latest first.
    pub decisions: Vec<(SystemTime, String)>,
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

    /// Works for this roster from now on, and begins to if it has not.
    pub(crate) fn work_for(self: &Arc<Self>, roster: &Arc<Roster>, background: &Background) {
        let place = Work {
            roster: Arc::downgrade(roster),
            pool: roster.pool().clone(),
            background: background.clone(),
        };
        if locked(&self.work).replace(place).is_none() {
            let this = self.clone();
            let task = background.run("scale", move |worker| async move { this.run(worker).await });
            locked(&self.running).push(task);
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

    pub fn view(&self) -> ScaleView {
        let (min, max, target) = {
            let plan = locked(&self.plan);
            (plan.rules.min, plan.rules.max, plan.rules.target)
        };
        let count = |fits: fn(Phase) -> bool| {
            locked(&self.servers).iter().filter(|one| fits(one.phase())).count()
        };
        let shown = locked(&self.shown);
        ScaleView {
            min,
            max,
            target,
            ready: match self.driver {
                Driver::Own(_) => count(|phase| phase == Phase::Ready),
                Driver::Asked(_) => self.members(),
            },
            starting: count(|phase| phase == Phase::Starting),
            leaving: count(|phase| matches!(phase, Phase::Draining(_) | Phase::Stopping)),
            wanted: shown.wanted,
            waiting: self.waiting.load(Ordering::Relaxed),
            decisions: shown.decisions.iter().rev().cloned().collect(),
        }
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

    /// Servers that are there or on their way, and shall stay.
    fn staying(&self) -> usize {
        let stays = |one: &&Arc<Server>| matches!(one.phase(), Phase::Starting | Phase::Ready);
        locked(&self.servers).iter().filter(stays).count()
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
        shown.failures += 1;
        shown.failed = Some((why.clone(), Instant::now()));
        shown.keep(why);
    }

    /// More servers: those that were just on their way out first, then new ones.
    fn start(self: &Arc<Self>, place: &Work, more: usize) {
        let mut more = more;
        let draining: Vec<_> = locked(&self.servers)
            .iter()
            .filter(|one| matches!(one.phase(), Phase::Draining(_)))
            .cloned()
            .collect();
        for server in draining.into_iter().take(more) {
            server.set(Phase::Ready);
            self.stand(place, &server, Administrative::Ready, "needed again");
            self.tell_list();
            more -= 1;
        }
        for _ in 0..more {
            let server = Arc::new(Server {
                address: Mutex::new(None),
                name: Mutex::new("a server".to_owned()),
                phase: Mutex::new(Phase::Starting),
                stop: Notify::new(),
            });
            locked(&self.servers).push(server.clone());
            let this = self.clone();
            let task = place.background.run("server", move |worker| async move {
                this.live(&server, worker).await;
                locked(&this.servers).retain(|one| !Arc::ptr_eq(one, &server));
                this.tell_list();
                this.over.send_modify(|_| ());
                this.wake.notify_one();
            });
            let mut running = locked(&self.running);
            running.retain(|task| !task.has_ended());
            running.push(task);
        }
    }

    /// Takes so many servers out: nothing new goes there from now on.
    fn leave(&self, place: &Work, fewer: usize) {
        let servers = locked(&self.servers).clone();
        let staying = |one: &&Arc<Server>| matches!(one.phase(), Phase::Starting | Phase::Ready);
        let mut ranked: Vec<_> =
            servers.iter().filter(staying).map(|one| (self.in_flight(place, one), one)).collect();
        // who has the least to do goes first
        ranked.sort_by_key(|(in_flight, _)| *in_flight);
        for (_, server) in ranked.into_iter().take(fewer) {
            match server.phase() {
                Phase::Starting => {
                    server.set(Phase::Stopping);
                    server.stop.notify_one();
                }
                _ => {
                    server.set(Phase::Draining(Instant::now()));
                    // before the pool is empty, so that who finds it empty is held
                    self.count();
                    self.stand(place, server, Administrative::Drain, "scaled in");
                }
            }
        }
    }

    /// Stops servers whose requests have ended, or have had their time.
    fn stop_drained(&self, place: &Work) {
        let drain = locked(&self.plan).times.drain;
        let servers = locked(&self.servers).clone();
        for server in servers {
            let Phase::Draining(since) = server.phase() else { continue };
            let idle = since.elapsed() >= SETTLED && self.in_flight(place, &server) == 0;
            if idle || since.elapsed() >= drain {
                server.set(Phase::Stopping);
                self.tell_list();
                server.stop.notify_one();
            }
        }
    }

    fn in_flight(&self, place: &Work, server: &Server) -> usize {
        let members = place.pool.members();
        let mine =
            members.iter().filter(|member| server.is_at(&member.spec.endpoint.target.address));
        mine.map(|member| member.state.in_flight.load(Ordering::Relaxed)).sum()
    }

    fn stand(&self, place: &Work, server: &Server, wanted: Administrative, why: &str) {
        for member in place.pool.members() {
            if server.is_at(&member.spec.endpoint.target.address) {
                member.state.set_administrative(wanted, why);
            }
        }
        place.pool.refresh();
    }

    /// Tells the roster who is there.
    fn tell_list(&self) {
        let place = locked(&self.work).clone();
        let Some(roster) = place.and_then(|place| place.roster.upgrade()) else { return };
        let there = |one: &Arc<Server>| match one.phase() {
            Phase::Ready | Phase::Draining(_) => locked(&one.address).clone().map(Listed::new),
            Phase::Starting | Phase::Stopping => None,
        };
        let list: Vec<_> = locked(&self.servers).iter().filter_map(there).collect();
        roster.scaled().found(list);
        roster.apply();
        self.count();
        self.ready.send_modify(|count| *count += 1);
    }

    fn count(&self) {
        let ready = |one: &&Arc<Server>| one.phase() == Phase::Ready;
        let usable = locked(&self.servers).iter().filter(ready).count();
        self.usable.store(usable, Ordering::Relaxed);
    }

    /// One server, from its start to its end.
    async fn live(&self, server: &Server, worker: Worker) {
        let Driver::Own(driver) = &self.driver else { return };
        let times = locked(&self.plan).times;
        let reach = Reach { worker, resolver: self.resolver.clone() };
        let begun = Instant::now();
        let mut started = match driver.start(&reach).await {
            Ok(started) => started,
            Err(why) => return self.failed(why),
        };
        *locked(&server.name) = started.name();
        let address = started.address();
        let up = tokio::select! {
            up = tokio::time::timeout(times.start, accepts(&address)) => up.is_ok(),
            how = started.ended() => {
                return self.failed(format!("{} did not start: {how}", server.name()));
            }
            () = server.stop.notified() => return started.stop(times.stop).await,
        };
        if !up {
            let seconds = times.start.as_secs();
            self.failed(format!("{} did not start in {seconds} s", server.name()));
            return started.stop(times.stop).await;
        }
        *locked(&server.address) = Some(address.clone());
        if !server.becomes_ready() {
            // It was not needed any more at that very moment, and nobody is to be sent there.
            return started.stop(times.stop).await;
        }
        self.tell_list();
        let took = begun.elapsed().as_millis();
        self.noted(format!("{} is there at {address} after {took} ms", server.name()));
        tokio::select! {
            how = started.ended() => {
                // one that was there proves that others can be
                server.set(Phase::Stopping);
                self.tell_list();
                self.failed(format!("{} has ended by itself: {how}", server.name()));
                if begun.elapsed() > PAUSE {
                    locked(&self.shown).failures = 0;
                }
            }
            () = server.stop.notified() => {
                started.stop(times.stop).await;
                self.noted(format!("{} is gone", server.name()));
            }
        }
    }

    fn noted(&self, what: String) {
        (self.tell)(Remark::Change(format!("pool `{}`: scale: {what}", self.name)));
        let mut shown = locked(&self.shown);
        shown.failures = 0;
        shown.keep(what);
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

impl Server {
    fn phase(&self) -> Phase {
        *locked(&self.phase)
    }

    fn set(&self, phase: Phase) {
        *locked(&self.phase) = phase;
    }

    /// Whether it still starts, and is ready from now on.
    fn becomes_ready(&self) -> bool {
        let mut phase = locked(&self.phase);
        let starts = *phase == Phase::Starting;
        if starts {
            *phase = Phase::Ready;
        }
        starts
    }

    fn name(&self) -> String {
        locked(&self.name).clone()
    }

    fn is_at(&self, address: &Address) -> bool {
        let mine = locked(&self.address);
        match (&*mine, address) {
            (Some(EndpointAddress::Tcp { host, port }), Address::Tcp(address)) => {
                address.port() == *port
                    && host.to_string().trim_matches(['[', ']']) == address.ip().to_string()
            }
            (Some(EndpointAddress::Unix(mine)), Address::Unix(path)) => mine == path,
            _ => false,
        }
    }
}

/// Waits until somebody accepts connections there.
async fn accepts(address: &EndpointAddress) {
    loop {
        let connected = match address {
            EndpointAddress::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
            tcp => tokio::net::TcpStream::connect(tcp.to_string()).await.is_ok(),
        };
        if connected {
            return;
        }
        tokio::time::sleep(KNOCK).await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
