//! The flows of one socket: found by their addresses, bounded in number.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What the datagrams of a flow have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Who sends them: the client, or a proxy before us.
    pub(super) from: SocketAddr,
    /// The address of ours they are sent to.
    pub(super) to: Option<IpAddr>,
    pub(super) client: SocketAddr,
    /// Where each datagram is balanced by itself: the key of the endpoint. Else zero.
    pub(super) endpoint: u64,
}

/// How many of the oldest flows are looked at to find one that makes room.
const CANDIDATES: usize = 8;

pub(super) struct Flows<F> {
    flows: RefCell<HashMap<Key, Entry<F>, foldhash::fast::RandomState>>,
    /// How many flows each client has.
    clients: RefCell<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
    /// In the order in which they began or were last spared; some have ended.
    order: RefCell<VecDeque<(Key, u64)>>,
    last_number: Cell<u64>,
    draining: Cell<bool>,
    over: Notify,
}

struct Entry<F> {
    number: u64,
    flow: Rc<F>,
    task: AbortHandle,
}

impl<F> Default for Flows<F> {
    fn default() -> Self {
        Flows {
            flows: RefCell::default(),
            clients: RefCell::default(),
            order: RefCell::default(),
            last_number: Cell::new(0),
            draining: Cell::new(false),
            over: Notify::new(),
        }
    }
}

impl<F> Flows<F> {
    pub(super) fn get(&self, key: &Key) -> Option<Rc<F>> {
        self.flows.borrow().get(key).map(|entry| entry.flow.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.flows.borrow().len()
    }

    /// How many flows a client has.
    pub(super) fn of(&self, client: IpAddr) -> usize {
        self.clients.borrow().get(&counted_as(client)).copied().unwrap_or(0)
    }

    /// A number that no flow of this socket has had.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number.set(self.last_number.get() + 1);
        self.last_number.get()
    }

    pub(super) fn insert(&self, key: Key, number: u64, flow: Rc<F>, task: AbortHandle) {
        *self.clients.borrow_mut().entry(counted_as(key.client.ip())).or_default() += 1;
        let mut order = self.order.borrow_mut();
        // What has ended is taken out when it is more than what has not.
        let flows = &mut *self.flows.borrow_mut();
        if order.len() > 2 * flows.len() + 64 {
            order.retain(|(key, number)| flows.get(key).is_some_and(|one| one.number == *number));
        }
        order.push_back((key, number));
        flows.insert(key, Entry { number, flow, task });
    }

    /// The flow's task has ended.
    pub(super) fn remove(&self, key: &Key, number: u64) {
        if self.flows.borrow().get(key).is_some_and(|entry| entry.number == number) {
            self.forget(key);
        }
    }

    /// Ends a flow at once.
    pub(super) fn end(&self, key: &Key) {
        if let Some(entry) = self.forget(key) {
            entry.task.abort();
        }
    }

    fn forget(&self, key: &Key) -> Option<Entry<F>> {
        let entry = self.flows.borrow_mut().remove(key)?;
        let mut clients = self.clients.borrow_mut();
        let client = counted_as(key.client.ip());
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
        if self.flows.borrow().is_empty() {
            self.over.notify_one();
        }
        Some(entry)
    }

    /// Ends the one, among the oldest, on which nothing has passed for longest. The others are
    /// spared for a round, so that a flood of new flows ends its own before those that are used.
    pub(super) fn make_room(&self, last: impl Fn(&F) -> Instant) -> bool {
        let mut looked_at: Vec<(Key, u64)> = Vec::new();
        while looked_at.len() < CANDIDATES {
            let Some((key, number)) = self.order.borrow_mut().pop_front() else { break };
            let flows = self.flows.borrow();
            if flows.get(&key).is_some_and(|entry| entry.number == number) {
                looked_at.push((key, number));
            }
        }
        let quiet_since =
            |(key, _): &(Key, u64)| self.flows.borrow().get(key).map(|entry| last(&entry.flow));
        let quietest = looked_at.iter().min_by_key(|place| quiet_since(place)).copied();
        let mut order = self.order.borrow_mut();
        order.extend(looked_at.into_iter().filter(|place| Some(*place) != quietest));
        drop(order);
        if let Some((key, _)) = quietest {
            self.end(&key);
        }
        quietest.is_some()
    }

    /// No new flows from now on.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Completes when no flow is open.
    pub(super) async fn are_over(&self) {
        while self.len() > 0 {
            self.over.notified().await;
        }
    }
}

/// IPv6 clients are counted by their /64: that is what one of them is given (SL-08).
fn counted_as(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(client: u8) -> Key {
        let client = SocketAddr::from(([10, 0, 0, client], 1));
        Key { from: client, to: None, client, endpoint: 0 }
    }

    fn with_flows(look: impl AsyncFnOnce(&Flows<Instant>, Instant)) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let (flows, start) = (Flows::default(), Instant::now());
            for client in 0..20 {
                // The later one began, the longer it is quiet, but for the first, which is busy.
                let age = if client == 0 { 0 } else { u64::from(client) };
                let last = start - Duration::from_millis(age);
                let task = transom_net::tasks::Tasks::new()
                    .start("flow", std::future::pending::<()>())
                    .abort_handle();
                flows.insert(key(client), flows.next_number(), Rc::new(last), task);
            }
            look(&flows, start).await;
        });
    }

    #[test]
    fn of_the_oldest_the_one_that_was_quiet_longest_makes_room() {
        with_flows(async |flows, _| {
            assert!(flows.make_room(|last| *last));
            // Eight are looked at: numbers 0 to 7.
            assert!(flows.get(&key(7)).is_none() && flows.get(&key(0)).is_some());
            assert_eq!(flows.len(), 19);
            // The next eight, as the others were spared.
            assert!(flows.make_room(|last| *last));
            assert!(flows.get(&key(15)).is_none());
            while flows.len() > 0 {
                assert!(flows.make_room(|last| *last));
            }
            assert!(!flows.make_room(|last| *last));
        });
    }

    #[test]
    fn what_has_ended_is_forgotten_once() {
        with_flows(async |flows, start| {
            assert_eq!(flows.of([10, 0, 0, 3].into()), 1);
            flows.remove(&key(3), 99);
            assert_eq!(flows.len(), 20, "another flow has taken its place");
            flows.remove(&key(3), 4);
            flows.remove(&key(3), 4);
            assert_eq!((flows.len(), flows.of([10, 0, 0, 3].into())), (19, 0));
            for round in 0..1000 {
                let number = flows.next_number();
                let task = transom_net::tasks::Tasks::new()
                    .start("flow", std::future::pending::<()>())
                    .abort_handle();
                flows.insert(key(100), number, Rc::new(start), task);
                flows.remove(&key(100), number);
                let waiting = flows.order.borrow().len();
                assert!(waiting < 200, "{waiting} in round {round}");
            }
        });
    }

    #[test]
    fn sl08_ipv6_clients_are_counted_by_their_network() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_ne!(counted("10.0.0.1"), counted("10.0.0.2"));
    }
}
