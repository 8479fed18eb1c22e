//! What it costs to find out whose a key is: `cargo bench -p transom-gateway --bench keys`.
//!
//! A question is a whole one: the digest of the key, the table of keys, the table of consumers. Warm
//! asks for a thousand keys in turn, as of clients that ask often; cold for all of them in an order
//! that no cache foresees. Prints nanoseconds, the median of nine rounds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use transom_gateway::consumer::digest::Digest;
use transom_gateway::consumer::{Consumer, Consumers, Held, Stored};

fn main() {
    println!(
        "{:>12}{:>10}{:>10}{:>12}{:>12}{:>12}",
        "keys", "warm", "cold", "unknown", "insert", "fill ms"
    );
    for count in [1_000, 100_000, 1_000_000] {
        measure(count);
    }
}

fn measure(count: usize) {
    let keys: Vec<String> = (0..count).map(|n| format!("tr_abcdefgh_{n:032x}")).collect();
    let stored = Stored::default();
    let name = |n: usize| -> Arc<str> { format!("consumer-{n}").into() };
    let held = |n| Held { consumer: name(n), until: Held::FOREVER, scopes: None };
    let began = Instant::now();
    stored.consumers.replace(
        (0..count).map(|n| (name(n), Arc::new(Consumer { name: name(n), ..Consumer::default() }))),
    );
    stored
        .keys
        .replace(keys.iter().enumerate().map(|(n, key)| (Digest::of(key.as_bytes()), held(n))));
    let filled = began.elapsed();
    let consumers = Consumers { stored: Arc::new(stored), ..Consumers::default() };
    let now = SystemTime::now();
    let ask = |key: &str| drop(black_box(consumers.by_key(black_box(key.as_bytes()), now)));
    let warm = median(|n| ask(&keys[n % 1000.min(count)]));
    // a prime that is no divisor of any count visits all of them
    let cold = median(|n| ask(&keys[n.wrapping_mul(7_368_787) % count]));
    let unknown = median(|_| ask("tr_abcdefgh_nobodys"));
    let insert =
        median_of(100, |n| consumers.stored.keys.insert(Digest::of(&n.to_le_bytes()), held(n)));
    println!(
        "{count:>12}{warm:>10.0}{cold:>10.0}{unknown:>12.0}{insert:>12.0}{:>12.0}",
        filled.as_millis()
    );
}

fn median(ask: impl FnMut(usize)) -> f64 {
    median_of(200_000, ask)
}

fn median_of(each: usize, mut ask: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..9)
        .map(|round| {
            let began = Instant::now();
            (0..each).for_each(|n| ask(round * each + n));
            began.elapsed().as_nanos() as f64 / each as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[4]
}
