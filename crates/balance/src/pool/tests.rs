use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transom_net::{Address, Target};
use transom_proxy::destination::{AttemptResult, KeepAlive, Outcome};

use super::*;
use crate::state::Health;

/// Members a, b, c, ... with these weights.
fn specs(weights: &[u32]) -> Vec<MemberSpec> {
    let spec = |(index, weight): (usize, &u32)| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, index as u16 + 1));
        let name = char::from(b'a' + index as u8).to_string();
        let mut spec = MemberSpec::new(Endpoint {
            key: index as u64 + 1,
            target: Target { address: Address::Tcp(address), tls: None },
            authority: name.clone(),
            name,
            pool: Arc::from("p"),
            keep_alive: KeepAlive::default(),
        });
        spec.weight = *weight;
        spec
    };
    weights.iter().enumerate().map(spec).collect()
}

fn pool(weights: &[u32]) -> Arc<Pool> {
    Pool::new("p", specs(weights), Settings::default(), None)
}

fn lease(pool: &Pool, tried: &[u64]) -> Option<Lease> {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match pool.lease(&Ask { client, http: None, tried, now: Instant::now() }) {
        Leasing::Ready(lease) => Some(lease),
        _ => None,
    }
}

fn picks(pool: &Pool, picks: usize) -> String {
    let name = |_| lease(pool, &[]).map_or("-".to_owned(), |lease| lease.endpoint().name.clone());
    (0..picks).map(name).collect()
}

#[test]
fn who_is_not_usable_is_not_picked_until_too_few_are_left() {
    let pool = pool(&[1, 1, 1, 1]);
    let members = pool.members();
    assert_eq!(picks(&pool, 4), "abcd");
    members[1].state.set_health(Health::Down, "refused");
    pool.refresh();
    assert_eq!(picks(&pool, 3), "cda", "the order goes on");
    members[2].state.eject(Instant::now() + Duration::from_secs(60), "errors");
    pool.refresh();
    assert!(!pool.panics(), "half is enough");
    assert!(picks(&pool, 8).chars().all(|name| "ad".contains(name)));
    members[3].state.set_health(Health::Down, "refused");
    pool.refresh();
    assert!(pool.panics());
    assert_eq!(picks(&pool, 4).len(), 4);
    let mut all: Vec<char> = picks(&pool, 4).chars().collect();
    all.sort_unstable();
    assert_eq!(all, ['a', 'b', 'c', 'd'], "a quarter is not: all are used");
    members[0].state.set_administrative(Administrative::Maintenance, "by hand");
    pool.refresh();
    assert!(!picks(&pool, 8).contains('a'), "what is taken out by hand stays out");
    let views = pool.view();
    let standings: Vec<&str> = views.iter().map(|view| view.standing.as_str()).collect();
    assert_eq!(standings, ["maintenance", "down", "ejected", "down"]);
    assert_eq!(views[1].reason, "refused");
}

#[test]
fn without_a_panic_threshold_nobody_is_better_than_somebody_bad() {
    let settings = Settings { panic_threshold: 0.0, ..Settings::default() };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    for member in pool.members() {
        member.state.set_health(Health::Down, "refused");
    }
    pool.refresh();
    assert_eq!(picks(&pool, 2), "--");
}

#[test]
fn members_that_stay_keep_their_state() {
    let pool = pool(&[1, 1]);
    let held = lease(&pool, &[]).unwrap();
    pool.members()[0].state.set_health(Health::Down, "refused");
    let mut replaced = specs(&[1, 1, 2]);
    replaced.remove(1);
    pool.replace(replaced);
    let views = pool.view();
    assert_eq!(views[0].standing.as_str(), "down");
    assert_eq!((views[0].in_flight, views[0].attempts, views[1].attempts), (1, 1, 0));
    assert_eq!(picks(&pool, 3), "ccc");
    drop(held);
    assert_eq!(pool.view()[0].in_flight, 0);
    let next = Pool::new("p", specs(&[1, 1]), Settings::default(), Some(&pool));
    assert_eq!(next.view()[0].standing.as_str(), "down", "over a reload too");
}

#[test]
fn an_attempt_does_not_go_where_another_has_been() {
    let pool = pool(&[5, 1]);
    for _ in 0..6 {
        assert_eq!(lease(&pool, &[1]).unwrap().endpoint().name, "b");
    }
    assert!(lease(&pool, &[1, 2]).is_none());
}

#[test]
fn who_starts_slowly_gets_a_part_of_its_weight() {
    let pool = pool(&[1, 1]);
    pool.members()[1].state.set_share(250);
    pool.refresh();
    assert_eq!(picks(&pool, 5).matches('b').count(), 1);
    assert_eq!(pool.view()[1].effective_weight, 0.25);
}

#[test]
fn every_end_is_told() {
    struct Told(AtomicUsize);
    impl Passive for Told {
        fn ended(&self, member: &PoolMember, outcome: &Outcome) {
            assert_eq!(member.spec.weight, 1);
            assert_eq!(outcome.result, AttemptResult::Answered(500));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let told = Arc::new(Told(AtomicUsize::new(0)));
    let settings = Settings { passive: Some(told.clone()), ..Settings::default() };
    let pool = Pool::new("p", specs(&[1]), settings, None);
    let mut held = lease(&pool, &[]).unwrap();
    held.answered(Instant::now());
    held.end(AttemptResult::Answered(500));
    assert_eq!(told.0.load(Ordering::Relaxed), 1);
    assert!(pool.view()[0].latency.is_some());
}
