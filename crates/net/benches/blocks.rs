//! What a look-up among a million blocks costs, and what it takes to read them:
//! `cargo bench -p transom-net --bench blocks`.
//!
//! Addresses are asked for in random order, half of them on the list, so the figures hold the
//! misses of the processor's caches. Prints the median of seven rounds.

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use transom_net::blocks::{Blocks, text};

const ASKED: usize = 1 << 20;

fn main() {
    println!("{:<28}{:>10}{:>12}{:>12}{:>14}", "blocks", "ns", "MB", "read ms", "bytes/block");
    for count in [1_000, 100_000, 1_000_000, 5_000_000] {
        run("IPv4 addresses", count, |n| IpAddr::V4(Ipv4Addr::from(n as u32)), 32);
        run("IPv4 /24", count, |n| IpAddr::V4(Ipv4Addr::from(n as u32 & 0xffff_ff00)), 24);
        run("IPv6 /64", count, |n| v6(n & !u128::from(u64::MAX)), 64);
        run("IPv6 addresses", count, v6, 128);
    }
}

/// Of the eighth of the space that is given out.
fn v6(n: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(n >> 3 | 1 << 125))
}

fn run(name: &str, count: usize, make: impl Fn(u128) -> IpAddr, prefix: u8) {
    let mut random = Random(7);
    let listed: Vec<IpAddr> = (0..count).map(|_| make(random.next())).collect();
    let mut list = String::new();
    for address in &listed {
        match prefix {
            64 => {
                let IpAddr::V6(address) = address else { continue };
                let network = u128::from(*address) & !u128::from(u64::MAX);
                let _ = writeln!(list, "{}/64", Ipv6Addr::from(network));
            }
            prefix => _ = writeln!(list, "{address}/{prefix}"),
        }
    }
    let start = Instant::now();
    let blocks = text::read(list.as_bytes()).expect("memory is read").expect("all are blocks");
    let read = start.elapsed();
    let asked: Vec<IpAddr> = (0..ASKED)
        .map(|n| match n % 2 {
            0 => listed[random.next() as usize % listed.len()],
            _ => make(random.next()),
        })
        .collect();
    println!(
        "{:<28}{:>10.1}{:>12.1}{:>12}{:>14.1}",
        format!("{count} {name}"),
        nanoseconds(&blocks, &asked),
        blocks.size() as f64 / 1e6,
        read.as_millis(),
        blocks.size() as f64 / count as f64,
    );
}

fn nanoseconds(blocks: &Blocks, asked: &[IpAddr]) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            for address in asked {
                black_box(blocks.contains(black_box(*address)));
            }
            start.elapsed().as_nanos() as f64 / asked.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// xorshift64*, twice.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u128 {
        let mut half = || {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
        };
        half() << 64 | half()
    }
}
