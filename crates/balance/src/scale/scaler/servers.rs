//! The servers of a scaler, each from its start to its end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use transom_net::{Address, Worker};
use transom_settings::EndpointAddress;

use super::{FORGOTTEN, Scaler, Work, locked};
use crate::discovery::{Listed, Reach};
use crate::scale::Driver;
use crate::state::Administrative;

/// How often a server that was started is asked whether it accepts connections.
const KNOCK: Duration = Duration::from_millis(5);

/// A request that was given a member just before that began to drain is under way by then.
const SETTLED: Duration = Duration::from_millis(100);

/// One server from its start to its end.
pub(super) struct Server {
    address: Mutex<Option<EndpointAddress>>,
    name: Mutex<String>,
    phase: Mutex<Phase>,
    stop: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    /// Nothing new, since then.
    Draining(Instant),
    Stopping,
}

impl Server {
    pub(super) fn phase(&self) -> Phase {
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

impl Scaler {
    /// Servers that are there or on their way, and shall stay.
    pub(super) fn staying(&self) -> usize {
        let stays = |one: &&Arc<Server>| matches!(one.phase(), Phase::Starting | Phase::Ready);
        locked(&self.servers).iter().filter(stays).count()
    }

    /// More servers: those that were just on their way out first, then new ones.
    pub(super) fn start(self: &Arc<Self>, place: &Work, more: usize) {
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
    pub(super) fn leave(&self, place: &Work, fewer: usize) {
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
    pub(super) fn stop_drained(&self, place: &Work) {
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
    pub(super) fn tell_list(&self) {
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
                server.set(Phase::Stopping);
                self.tell_list();
                self.failed(format!("{} has ended by itself: {how}", server.name()));
                // one that was there for long proves that others can be
                if begun.elapsed() > FORGOTTEN {
                    locked(&self.shown).failures = 0;
                }
            }
            () = server.stop.notified() => {
                started.stop(times.stop).await;
                self.noted(format!("{} is gone", server.name()));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_stopped_while_it_starts_is_never_ready() {
        let server = |phase| Server {
            address: Mutex::new(None),
            name: Mutex::new(String::new()),
            phase: Mutex::new(phase),
            stop: Notify::new(),
        };
        for (phase, becomes, then) in
            [(Phase::Starting, true, Phase::Ready), (Phase::Stopping, false, Phase::Stopping)]
        {
            let server = server(phase);
            assert_eq!(server.becomes_ready(), becomes);
            assert!(server.phase() == then);
        }
    }
}
