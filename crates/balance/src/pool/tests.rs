use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use transom_proxy::destination::{AttemptResult, Outcome};

use super::*;
use crate::algorithm::Hashing;
use crate::algorithm::testing::{hashing, specs};
use crate::state::{Administrative, Health};

fn settings(algorithm: Kind) -> Settings {
    Settings { algorithm, ..Settings::default() }
}

/// Members a, b, c, ... in turn.
fn pool(weights: &[u32]) -> Arc<Pool> {
    Pool::new("p", specs(weights), settings(Kind::RoundRobin), None)
}

fn lease(pool: &dyn Destination, tried: &[u64]) -> Option<Lease> {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match pool.lease(&Ask { client, http: None, tried, now: Instant::now() }) {
        Leasing::Ready(lease) => Some(lease),
        _ => None,
    }
}

fn picks(pool: &dyn Destination, picks: usize) -> String {
    let name = |_| lease(pool, &[]).map_or("-".to_owned(), |lease| lease.endpoint().name.clone());
    (0..picks).map(name).collect()
}

#[test]
fn who_is_not_usable_is_not_picked_until_too_few_are_left() {
    let pool = pool(&[1, 1, 1, 1]);
    let members = pool.members();
    assert_eq!(picks(&*pool, 4), "abcd");
    members[1].state.set_health(Health::Down, "refused");
    pool.refresh();
    assert_eq!(picks(&*pool, 3), "cda", "the order goes on");
    members[2].state.eject(Instant::now() + Duration::from_secs(60), "errors");
    pool.refresh();
    assert!(!pool.panics(), "half is enough");
    assert!(picks(&*pool, 8).chars().all(|name| "ad".contains(name)));
    members[3].state.set_health(Health::Down, "refused");
    pool.refresh();
    assert!(pool.panics());
    assert_eq!(picks(&*pool, 4).len(), 4);
    let mut all: Vec<char> = picks(&*pool, 4).chars().collect();
    all.sort_unstable();
    assert_eq!(all, ['a', 'b', 'c', 'd'], "a quarter is not: all are used");
    members[0].state.set_administrative(Administrative::Maintenance, "by hand");
    pool.refresh();
    assert!(!picks(&*pool, 8).contains('a'), "what is taken out by hand stays out");
    let views = pool.view();
    let standings: Vec<&str> = views.iter().map(|view| view.standing.as_str()).collect();
    assert_eq!(standings, ["maintenance", "down", "ejected", "down"]);
    assert_eq!(views[1].reason, "refused");
}

#[test]
fn without_a_panic_threshold_nobody_is_better_than_somebody_bad() {
    let settings = Settings { panic_threshold: 0.0, ..settings(Kind::RoundRobin) };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    for member in pool.members() {
        member.state.set_health(Health::Down, "refused");
    }
    pool.refresh();
    assert_eq!(picks(&*pool, 2), "--");
}

#[test]
fn members_that_stay_keep_their_state() {
    let pool = pool(&[1, 1]);
    let held = lease(&*pool, &[]).unwrap();
    pool.members()[0].state.set_health(Health::Down, "refused");
    let mut replaced = specs(&[1, 1, 2]);
    replaced.remove(1);
    pool.replace(replaced);
    let views = pool.view();
    assert_eq!(views[0].standing.as_str(), "down");
    assert_eq!((views[0].in_flight, views[0].attempts, views[1].attempts), (1, 1, 0));
    assert_eq!(picks(&*pool, 3), "ccc");
    drop(held);
    assert_eq!(pool.view()[0].in_flight, 0);
    let next = Pool::new("p", specs(&[1, 1]), Settings::default(), Some(&pool));
    assert_eq!(next.view()[0].standing.as_str(), "down", "over a reload too");
}

#[test]
fn an_attempt_does_not_go_where_another_has_been() {
    let pool = pool(&[5, 1]);
    for _ in 0..6 {
        assert_eq!(lease(&*pool, &[1]).unwrap().endpoint().name, "b");
    }
    assert!(lease(&*pool, &[1, 2]).is_none());
}

#[test]
fn who_starts_slowly_gets_a_part_of_its_weight() {
    let pool = pool(&[1, 1]);
    pool.members()[1].state.set_share(250);
    pool.refresh();
    assert_eq!(picks(&*pool, 5).matches('b').count(), 1);
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
    let mut held = lease(&*pool, &[]).unwrap();
    held.answered(Instant::now());
    held.end(AttemptResult::Answered(500));
    assert_eq!(told.0.load(Ordering::Relaxed), 1);
    assert!(pool.view()[0].latency.is_some());
}

#[test]
fn lb14_a_rule_takes_a_subset_and_an_algorithm_of_its_own() {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labelled = specs(&[1, 1, 1]);
    labelled[1].labels.extend([label("version", "v2"), label("size", "big")]);
    labelled[2].labels.extend([label("version", "v2")]);
    let pool = Pool::new("p", labelled.clone(), settings(Kind::RoundRobin), None);
    let by = |labels: &[(String, String)], algorithm: Kind| {
        pool.by(Rule { subset: labels.iter().cloned().collect(), algorithm })
    };
    let v2 = by(&[label("version", "v2")], Kind::RoundRobin);
    let big = by(&[label("version", "v2"), label("size", "big")], Kind::RoundRobin);
    let none = by(&[label("version", "v3")], Kind::RoundRobin);
    let first = by(&[], Kind::FirstAvailable);
    assert_eq!(picks(&*pool, 6), "abcabc");
    assert_eq!((picks(&v2, 4), picks(&big, 2)), ("bcbc".into(), "bb".into()));
    assert_eq!((picks(&none, 1), picks(&first, 3)), ("-".into(), "aaa".into()));
    let names: Vec<String> = v2.candidates().iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, ["b", "c"]);
    let chances: Vec<bool> = v2.chances().iter().map(Option::is_some).collect();
    assert_eq!(chances, [false, true, true]);
    // changes reach every rule
    pool.members()[1].state.set_health(Health::Down, "refused");
    pool.refresh();
    assert_eq!((picks(&v2, 2), picks(&first, 1)), ("cc".into(), "a".into()));
    pool.replace(labelled[1..].to_vec());
    assert_eq!((picks(&v2, 2), picks(&first, 1)), ("cc".into(), "c".into()));
    // the same rule is the same
    assert_eq!(by(&[], Kind::FirstAvailable).place, first.place);
}

#[test]
fn lb12_backups_step_in_for_who_was_tried() {
    let mut tiers = specs(&[1, 1, 1]);
    tiers[2].priority = 1;
    let pool = Pool::new("p", tiers, settings(Kind::RoundRobin), None);
    assert_eq!(picks(&*pool, 4), "abab");
    assert_eq!(lease(&*pool, &[1, 2]).unwrap().endpoint().name, "c");
    pool.members()[0].state.set_health(Health::Down, "refused");
    pool.refresh();
    let picked = picks(&*pool, 10_000);
    let backup = picked.matches('c').count();
    assert!((2700..3300).contains(&backup), "half of two gives 70 %: {backup}");
    assert!(!picked.contains('a'));
    let mut spread = specs(&[1, 1, 1, 1]);
    spread[3].priority = 1;
    let pool = Pool::new("p", spread, settings(Kind::RoundRobin), None);
    pool.members()[2].state.set_health(Health::Down, "refused");
    pool.refresh();
    let picked = picks(&*pool, 10_000);
    let (a, b) = (picked.matches('a').count(), picked.matches('b').count());
    assert!(a.abs_diff(b) <= 1, "those of one priority still take turns: {a} {b}");
}

#[test]
fn lb10_equal_addresses_come_to_the_same_member_over_reloads() {
    let algorithm = Kind::Maglev(hashing(None));
    let pool = Pool::new("p", specs(&[1; 10]), settings(algorithm.clone()), None);
    let one = picks(&*pool, 1);
    assert_eq!(picks(&*pool, 20), one.repeat(20));
    let mut reordered = specs(&[1; 10]);
    reordered.reverse();
    let next = Pool::new("p", reordered, settings(algorithm), Some(&pool));
    assert_eq!(picks(&*next, 1), one, "the order of the file does not matter");
}

#[test]
fn lb11_what_is_in_flight_is_counted_over_the_pool() {
    let bound = Some(1.25);
    let algorithm = Kind::Ring(Hashing { bound, ..hashing(None) });
    let pool = Pool::new("p", specs(&[1; 100]), settings(algorithm.clone()), None);
    let held: Vec<_> = (0..400).map(|_| lease(&*pool, &[]).unwrap()).collect();
    let most = pool.view().iter().map(|view| view.in_flight).max();
    assert_eq!(most, Some(5), "1.25 times a mean of 4");
    let next = Pool::new("p", specs(&[1; 100]), settings(algorithm), Some(&pool));
    let count = |pool: &Pool| pool.hooks.in_flight.as_ref().unwrap().load(Ordering::Relaxed);
    assert_eq!(count(&next), 400, "a reload forgets nothing");
    drop(held);
    assert_eq!(count(&next), 0);
}

#[test]
fn nobody_has_more_than_its_ceiling_whoever_is_faster() {
    let pool = pool(&[1, 1]);
    for member in pool.members() {
        member.state.set_ceiling(3);
    }
    let held = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    held.lock().unwrap().extend(lease(&*pool, &[]));
                }
            });
        }
    });
    assert!(pool.view().iter().all(|view| view.in_flight <= 3));
    held.lock().unwrap().clear();
    assert_eq!(picks(&*pool, 4), "abab");
}

#[test]
fn lb08_a_field_of_the_response_tells_the_load() {
    let settings =
        Settings { load_field: Some(crate::load::FIELD.into()), ..settings(Kind::ReportedLoad) };
    let pool = Pool::new("p", specs(&[1, 1]), settings, None);
    for (name, load) in [("a", "TEXT cpu_utilization=0.9"), ("b", "TEXT cpu_utilization=0.2")] {
        let mut fields = transom_proxy::fields::Fields::new();
        fields.append(crate::load::FIELD, load.as_bytes());
        let held = lease(&*pool, if name == "a" { &[2] } else { &[1] }).unwrap();
        assert_eq!(held.endpoint().name, name);
        held.heard(&fields);
    }
    assert_eq!(picks(&*pool, 4), "bbbb");
    let loads: Vec<_> =
        pool.view().iter().map(|view| view.load.map(|l| (l * 10.0).round())).collect();
    assert_eq!(loads, [Some(9.0), Some(2.0)]);
}
