use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll, Waker};

use transom_proxy::destination::{Ask, Destination};

use super::*;
use crate::algorithm::testing::specs;
use crate::pool::Settings;

const RULES: GuardRules = GuardRules {
    requests: None,
    per_member: None,
    queue: QueueRule { length: 2, timeout: Duration::from_secs(1) },
    breaker: None,
    adaptive: None,
};

fn guarded(weights: &[u32], rules: GuardRules) -> Arc<Pool> {
    let guard = Some(Guard::new(rules, None, Arc::new(|_, _| {})));
    Pool::new("p", specs(weights), Settings { guard, ..Settings::default() }, None)
}

fn lease(pool: &Pool, tried: &[u64]) -> Leasing {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    pool.lease(&Ask { client, http: None, tried, now: Instant::now() })
}

#[track_caller]
fn ready(leasing: Leasing) -> Lease {
    match leasing {
        Leasing::Ready(lease) => lease,
        Leasing::Wait(_) => panic!("it waits"),
        Leasing::Refused(fault) => panic!("{fault}"),
    }
}

#[track_caller]
fn waits(leasing: Leasing) -> Waiting {
    match leasing {
        Leasing::Wait(waiting) => waiting,
        Leasing::Ready(_) => panic!("it waits for nothing"),
        Leasing::Refused(fault) => panic!("{fault}"),
    }
}

#[track_caller]
fn refused(leasing: Leasing) -> Code {
    match leasing {
        Leasing::Refused(fault) => fault.code(),
        _ => panic!("it is not refused"),
    }
}

fn poll(waiting: &mut Waiting) -> Poll<Result<Lease, Fault>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn lease_in(polled: Poll<Result<Lease, Fault>>) -> Lease {
    match polled {
        Poll::Ready(Ok(lease)) => lease,
        Poll::Ready(Err(fault)) => panic!("{fault}"),
        Poll::Pending => panic!("it still waits"),
    }
}

#[tokio::test]
async fn who_finds_no_room_waits_in_order() {
    let pool = guarded(&[1, 1], GuardRules { per_member: Some(1), ..RULES });
    let (a, b) = (ready(lease(&pool, &[])), ready(lease(&pool, &[])));
    assert_ne!(a.endpoint().key, b.endpoint().key);
    let (mut first, mut second) = (waits(lease(&pool, &[])), waits(lease(&pool, &[])));
    assert_eq!(refused(lease(&pool, &[])), Code::PoolFull, "the queue has two places");
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    let freed = b.endpoint().key;
    b.end(AttemptResult::Answered(200));
    assert!(poll(&mut second).is_pending());
    let lease_of_first = lease_in(poll(&mut first));
    assert_eq!(lease_of_first.endpoint().key, freed);
    // Who comes now does not overtake.
    a.end(AttemptResult::Answered(200));
    let mut third = waits(lease(&pool, &[]));
    assert!(poll(&mut third).is_pending());
    drop(lease_in(poll(&mut second)));
    drop(lease_in(poll(&mut third)));
    drop(lease_of_first);
    let view = pool.guard().unwrap().view();
    assert_eq!((view.running, view.waiting, view.refused), (0, 0, 1));
}

/// Those who waited for members of one subset held up all others, and filled the queue for them.
#[tokio::test]
async fn who_waits_for_busy_members_does_not_hold_up_who_may_have_others() {
    use crate::pool::Rule;
    let rules = GuardRules { per_member: Some(1), ..RULES };
    let guard = Some(Guard::new(rules, None, Arc::new(|_, _| {})));
    let mut specs = specs(&[1, 1]);
    for (spec, version) in specs.iter_mut().zip(["1", "2"]) {
        spec.labels.insert("version".into(), version.into());
    }
    let pool = Pool::new("p", specs, Settings { guard, ..Settings::default() }, None);
    let of = |version: &str| {
        let subset = [("version".into(), version.into())].into();
        pool.by(Rule { subset, ..Rule::default() })
    };
    let (one, two) = (of("1"), of("2"));
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let lease = |scoped: &dyn Destination| {
        scoped.lease(&Ask { client, http: None, tried: &[], now: Instant::now() })
    };
    let first = ready(lease(&one));
    let waiting = [waits(lease(&one)), waits(lease(&one))];
    let second = ready(lease(&two));
    assert_eq!(second.endpoint().name, "b", "though two wait, as many as may");
    let [mut front, gone] = waiting;
    drop(gone);
    let mut other = waits(lease(&two));
    second.end(AttemptResult::Answered(200));
    assert_eq!(lease_in(poll(&mut other)).endpoint().name, "b");
    assert!(poll(&mut front).is_pending(), "its members are busy");
    first.end(AttemptResult::Answered(200));
    assert_eq!(lease_in(poll(&mut front)).endpoint().name, "a");
    assert_eq!(pool.guard().unwrap().view().running, 0);
}

/// Shards are for that: who keeps its own members busy holds up nobody who has others.
#[tokio::test]
async fn lb_14_who_keeps_its_own_shard_busy_holds_up_nobody() {
    use crate::algorithm::key::Key;
    use crate::algorithm::{Hashing, Kind, Sharding};
    let rules = GuardRules { per_member: Some(1), ..RULES };
    let guard = Some(Guard::new(rules, None, Arc::new(|_, _| {})));
    let hashing = Hashing { key: Key::Address { ipv4: 32, ipv6: 64 }, bound: None };
    let algorithm = Kind::Shards(Sharding { hashing, size: 1 });
    let settings = Settings { guard, algorithm, ..Settings::default() };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    let ask = |client: u8| Ask {
        client: IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)),
        http: None,
        tried: &[],
        now: Instant::now(),
    };
    let owner = |client: u8| pool.peek(&ask(client)).unwrap().name.clone();
    let noisy = 1;
    let calm = (2..=255).find(|client| owner(*client) != owner(noisy)).unwrap();
    let _held = ready(pool.lease(&ask(noisy)));
    let mut waiting = [waits(pool.lease(&ask(noisy))), waits(pool.lease(&ask(noisy)))];
    drop(ready(pool.lease(&ask(calm))));
    assert!(waiting.iter_mut().all(|one| poll(one).is_pending()));
}

#[tokio::test]
async fn u_15_who_leaves_is_not_waited_for() {
    let rules = GuardRules {
        requests: Some(1),
        queue: QueueRule { length: 10_000, ..RULES.queue },
        ..RULES
    };
    let pool = guarded(&[1], rules);
    let held = ready(lease(&pool, &[]));
    let mut gone: Vec<Waiting> = (0..9_999).map(|_| waits(lease(&pool, &[]))).collect();
    let mut last = waits(lease(&pool, &[]));
    for waiting in &mut gone {
        assert!(poll(waiting).is_pending());
    }
    drop(gone);
    assert_eq!(pool.guard().unwrap().view().waiting, 1);
    held.end(AttemptResult::Answered(200));
    drop(lease_in(poll(&mut last)));
    assert_eq!(pool.guard().unwrap().view().running, 0);
}

#[tokio::test]
async fn a_lease_that_nobody_takes_goes_to_the_next() {
    let pool = guarded(&[1], GuardRules { requests: Some(1), ..RULES });
    let held = ready(lease(&pool, &[]));
    let (first, mut second) = (waits(lease(&pool, &[])), waits(lease(&pool, &[])));
    held.end(AttemptResult::Answered(200));
    // The first has it already, and leaves without having looked.
    assert!(poll(&mut second).is_pending());
    drop(first);
    drop(lease_in(poll(&mut second)));
    assert_eq!(pool.guard().unwrap().view().running, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_queue_allows() {
    let pool = guarded(&[1], GuardRules { requests: Some(1), ..RULES });
    let _held = ready(lease(&pool, &[]));
    let fault = waits(lease(&pool, &[])).await.err().unwrap();
    assert_eq!(fault.code(), Code::QueueTimeout);
    assert_eq!(pool.guard().unwrap().view().waiting, 0);
}

#[tokio::test]
async fn a_member_that_comes_back_serves_those_who_wait() {
    use crate::state::Health;
    let rules = GuardRules { per_member: Some(1), ..RULES };
    let guard = Some(Guard::new(rules, None, Arc::new(|_, _| {})));
    let settings = Settings { guard, panic_threshold: 0.0, ..Settings::default() };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    let members = pool.members();
    members[1].state.set_health(Health::Down, "refused");
    pool.refresh();
    let _held = ready(lease(&pool, &[]));
    let mut waiting = waits(lease(&pool, &[]));
    assert!(poll(&mut waiting).is_pending());
    members[1].state.set_health(Health::Up, "probes pass");
    pool.refresh();
    assert_eq!(lease_in(poll(&mut waiting)).endpoint().name, "b");
    // Where none can be used at all, nobody waits.
    for member in &members {
        member.state.set_health(Health::Down, "refused");
    }
    pool.refresh();
    assert_eq!(refused(lease(&pool, &[])), Code::NoEndpoint);
}

#[tokio::test]
async fn an_open_breaker_refuses_all_and_sends_away_who_waits() {
    let rule = BreakerRule { requests: 4, ..BreakerRule::default() };
    let rules = GuardRules { requests: Some(4), breaker: Some(rule), ..RULES };
    let pool = guarded(&[1], rules);
    let running: Vec<Lease> = (0..4).map(|_| ready(lease(&pool, &[]))).collect();
    let mut waiting = waits(lease(&pool, &[]));
    let queue = pool.guard().unwrap().queue.clone();
    assert_eq!(queue.len(), 1);
    for lease in running {
        lease.end(AttemptResult::Failed(Code::BadResponse));
    }
    // It got the room of the first that failed, or was sent away when the breaker opened.
    drop(poll(&mut waiting));
    assert_eq!(queue.len(), 0);
    assert_eq!(refused(lease(&pool, &[])), Code::CircuitOpen);
    assert_eq!(pool.guard().unwrap().view().breaker, Some(Position::Open));
}

#[tokio::test]
async fn what_runs_and_waits_goes_on_over_a_reload() {
    let rules = GuardRules { requests: Some(1), ..RULES };
    let old = guarded(&[1], rules.clone());
    let held = ready(lease(&old, &[]));
    let mut waiting = waits(lease(&old, &[]));
    let guard = Guard::new(rules, old.guard().map(Arc::as_ref), Arc::new(|_, _| {}));
    let settings = Settings { guard: Some(guard), ..Settings::default() };
    let new = Pool::new("p", specs(&[1]), settings, Some(&old));
    drop(old);
    let mut second = waits(lease(&new, &[]));
    held.end(AttemptResult::Answered(200));
    let lease = lease_in(poll(&mut waiting));
    assert!(poll(&mut second).is_pending());
    drop(lease);
    drop(lease_in(poll(&mut second)));
    assert_eq!(new.guard().unwrap().view().running, 0);
}

#[tokio::test]
async fn who_waits_in_vain_holds_up_nobody() {
    use crate::state::Health;
    let rules = GuardRules { per_member: Some(1), ..RULES };
    let guard = Some(Guard::new(rules, None, Arc::new(|_, _| {})));
    let settings = Settings { guard, panic_threshold: 0.0, ..Settings::default() };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    let members = pool.members();
    let (a, b) = (ready(lease(&pool, &[])), ready(lease(&pool, &[])));
    let key = a.endpoint().key;
    // it has tried the one that will be left
    let (mut vain, mut next) = (waits(lease(&pool, &[key])), waits(lease(&pool, &[])));
    let other = members.iter().find(|member| member.spec.endpoint.key != key).unwrap();
    other.state.set_health(Health::Down, "refused");
    pool.refresh();
    a.end(AttemptResult::Answered(200));
    let Poll::Ready(Err(fault)) = poll(&mut vain) else { panic!("it still waits") };
    assert_eq!(fault.code(), Code::NoEndpoint);
    assert_eq!(lease_in(poll(&mut next)).endpoint().key, key);
    drop(b);
    assert_eq!(pool.guard().unwrap().view().running, 0);
}

/// Two workers and one place, so that what was full a moment ago has room when it is asked about.
#[test]
fn nobody_is_refused_because_room_came_at_the_wrong_moment() {
    let rules = GuardRules {
        per_member: Some(1),
        queue: QueueRule { length: 10, timeout: Duration::from_secs(60) },
        ..RULES
    };
    let pool = guarded(&[1], rules);
    let work = || {
        for _ in 0..100_000 {
            match lease(&pool, &[]) {
                Leasing::Ready(lease) => drop(lease),
                Leasing::Wait(waiting) => drop(waiting),
                Leasing::Refused(fault) => panic!("{fault}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(work);
        }
    });
    let view = pool.guard().unwrap().view();
    assert_eq!((view.running, view.waiting, view.refused), (0, 0, 0));
}

#[test]
fn d_02_a_pool_that_comes_to_nothing_lets_members_do_as_much_as_before() {
    let runs = guarded(&[1, 1], GuardRules { per_member: Some(2), ..RULES });
    let ceilings = |pool: &Pool| -> Vec<usize> {
        pool.members().iter().map(|member| member.state.ceiling()).collect()
    };
    let guard = |per_member| {
        let rules = GuardRules { per_member, ..RULES };
        Some(Guard::new(rules, runs.guard().map(|guard| &**guard), Arc::new(|_, _| {})))
    };
    let next = |guard| {
        Pool::new("p", specs(&[1, 1, 1]), Settings { guard, ..Settings::default() }, Some(&runs))
    };
    for refused in [next(guard(Some(1))), next(None)] {
        refused.replace(specs(&[1, 1]));
        assert_eq!(ceilings(&runs), [2, 2]);
    }
    let taken = next(guard(Some(1)));
    assert_eq!(ceilings(&taken), [2, 2, 1], "those that both have are as they were");
    taken.take_over();
    assert_eq!(ceilings(&taken), [1, 1, 1]);
    taken.replace(specs(&[1, 1]));
    assert_eq!(ceilings(&taken), [1, 1]);
}
