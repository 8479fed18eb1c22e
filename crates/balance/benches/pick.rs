//! What it costs to pick a member and to give it back: `cargo bench -p transom-balance --bench pick`.
//!
//! Members have weights and requests in flight, as they would have under load. A question is a whole
//! one: the pool's set is loaded, the key of the request is hashed, the algorithm picks among members
//! that were not tried. "and lease" counts the attempt too and ends it. Prints nanoseconds of
//! the quickest of many short rounds, as whoever else is on the machine only ever adds to them; after
//! `--`, names of algorithms are measured alone.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_balance::Pool;
use transom_balance::algorithm::key::Key;
use transom_balance::algorithm::{Hashing, Kind, Sharding};
use transom_balance::members::MemberSpec;
use transom_balance::pool::Settings;
use transom_net::{Address, Source, Target};
use transom_proxy::destination::{Ask, AttemptResult, Destination, Endpoint, KeepAlive, Leasing};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let hashing = |bound| Hashing { key: Key::Address { ipv4: 32, ipv6: 64 }, bound };
    println!("{:<28}{:>9}{:>12}{:>12}{:>12}", "", "members", "pick", "and lease", "build ms");
    for (name, kind) in [
        ("round-robin", Kind::RoundRobin),
        ("least-requests", Kind::LeastRequests),
        ("random", Kind::Random),
        ("two-choices", Kind::TwoChoices),
        ("peak-ewma", Kind::PeakEwma),
        ("reported-load", Kind::ReportedLoad),
        ("ring", Kind::Ring(hashing(None))),
        ("maglev", Kind::Maglev(hashing(None))),
        ("ring, bounded", Kind::Ring(hashing(Some(1.25)))),
        ("maglev, bounded", Kind::Maglev(hashing(Some(1.25)))),
        ("shards of two", Kind::Shards(Sharding { hashing: hashing(None), size: 2 })),
        ("first-available", Kind::FirstAvailable),
    ] {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            for count in [1, 10, 1_000] {
                measure(name, &kind, count);
            }
        }
    }
}

fn measure(name: &str, kind: &Kind, count: u32) {
    let began = Instant::now();
    let settings = Settings { algorithm: kind.clone(), ..Settings::default() };
    let pool = Pool::new("bench", specs(count), settings, None);
    let built = began.elapsed();
    let now = Instant::now();
    for (index, member) in pool.members().iter().enumerate() {
        member.state.measure(Duration::from_micros(900 + index as u64 % 200), now);
        member.state.report_load(0.5 + f64::from(index as u32 % 10) / 100.0, now);
    }
    // some in flight everywhere, given out by the pool itself
    let held: Vec<_> = (0..count * 4).filter_map(|n| lease(&pool, n, now)).collect();
    let pick = quickest(|n| drop(black_box(pool.peek(&ask(n, now)))));
    let lease = quickest(|n| {
        if let Some(lease) = lease(&pool, n, now) {
            lease.end(AttemptResult::Answered(200));
        }
    });
    drop(held);
    let built = built.as_secs_f64() * 1e3;
    println!("{name:<28}{count:>9}{pick:>12.1}{lease:>12.1}{built:>12.2}");
}

fn ask(n: u32, now: Instant) -> Ask<'static> {
    // clients in no order
    let client = IpAddr::V4(Ipv4Addr::from(n.wrapping_mul(0x9e37_79b9)));
    Ask { client, http: None, tried: &[], now }
}

fn lease(pool: &Arc<Pool>, n: u32, now: Instant) -> Option<transom_proxy::destination::Lease> {
    match pool.lease(&ask(n, now)) {
        Leasing::Ready(lease) => Some(lease),
        _ => None,
    }
}

/// Nanoseconds per call.
fn quickest(mut call: impl FnMut(u32)) -> f64 {
    const CALLS: u32 = 20_000;
    let rounds = (0..100).map(|_| {
        let start = Instant::now();
        (0..CALLS).for_each(&mut call);
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Members of which every third has twice the weight.
fn specs(count: u32) -> Vec<MemberSpec> {
    let spec = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(10, a, b, c), 8080));
        let mut spec = MemberSpec::new(Endpoint {
            key: u64::from(n) + 1,
            target: Target { address: Address::Tcp(address), tls: None, source: Source::Any },
            name: address.to_string(),
            authority: address.to_string(),
            pool: Arc::from("bench"),
            keep_alive: KeepAlive::default(),
            http2: None,
            ceilings: Vec::new(),
            announce: None,
        });
        spec.weight = if n.is_multiple_of(3) { 2 } else { 1 };
        spec
    };
    (0..count).map(spec).collect()
}
