//! A limit that several processes share.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use transom_testkit::{Transom, until};

use super::rig::{TRANSOM, passed};

/// What of Redis a shared limit needs: its script, as Redis would run it. The script itself is tried
/// against the real one by hand.
struct Redis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    given: Mutex<HashMap<String, i64>>,
    sockets: Mutex<Vec<TcpStream>>,
    away: AtomicBool,
}

impl Redis {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if its.away.load(Ordering::Acquire) {
                    continue;
                }
                its.sockets.lock().unwrap().push(socket.try_clone().unwrap());
                let its = its.clone();
                std::thread::spawn(move || serve(&socket, &its));
            }
        });
        Redis { address, shared }
    }

    /// Breaks every connection, and takes none until it is back.
    fn away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Release);
        if away {
            for socket in self.shared.sockets.lock().unwrap().drain(..) {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    fn asked(&self) -> bool {
        !self.shared.sockets.lock().unwrap().is_empty()
    }
}

fn words(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let word = |_| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut bytes = vec![0; line.trim().strip_prefix('$')?.parse::<usize>().ok()? + 2];
        reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(bytes.len() - 2);
        String::from_utf8(bytes).ok()
    };
    (0..count).map(word).collect()
}

fn serve(socket: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(socket);
    while let Some(words) = words(&mut reader) {
        let answer = match &*words[0] {
            "AUTH" if words[1..] == ["transom", "hunter2"] => "+OK\r\n".to_owned(),
            "AUTH" => "-WRONGPASS\r\n".to_owned(),
            "SCRIPT" => "$40\r\n0123456789012345678901234567890123456789\r\n".to_owned(),
            "EVALSHA" => {
                let number = |at: usize| words[at].parse::<i64>().unwrap();
                let (per, most, debt, want, processes) =
                    (number(4), number(5), number(6), number(7), number(8));
                let mut given = shared.given.lock().unwrap();
                let used = given.entry(words[3].clone()).or_insert(0);
                let room = most - *used - debt;
                let give = match room > 0 && want > 0 {
                    true => want.min(room / processes).max(1),
                    false => 0,
                };
                *used += debt + give;
                format!("*3\r\n:{give}\r\n:{}\r\n:{per}\r\n", (room - give).max(0))
            }
            other => format!("-ERR unknown command '{other}'\r\n"),
        };
        let mut socket = socket;
        socket.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

fn process(redis: SocketAddr, more: &str) -> Transom {
    let config = format!(
        "workers: 2\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [shared], respond: ok }}] }} }}\n\
         policies:\n  shared:\n    rate-limit:\n      \
           rate: 100/d\n      window: fixed\n      \
           shared: {{ redis: '{redis}', processes: 3, patience: 1s, user: transom, password: hunter2{more} }}\n"
    );
    Transom::run(TRANSOM, &config)
}

#[test]
fn gw_18_three_processes_admit_what_one_would_within_the_bound() {
    let redis = Redis::start();
    let processes: Vec<_> = (0..3).map(|_| process(redis.address, "")).collect();
    until("they are connected", || redis.shared.sockets.lock().unwrap().len() == 3);
    let sum: usize = std::thread::scope(|scope| {
        let asking: Vec<_> =
            processes.iter().map(|process| scope.spawn(|| passed(process, 120))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).sum()
    });
    // 3 processes may be 3 ahead each; a machine that is pressed may leave slices unused for a while
    assert!((80..=109).contains(&sum), "{sum}");
}

#[test]
fn l_04_without_redis_each_counts_its_part_and_nobody_waits() {
    let redis = Redis::start();
    let processes = [process(redis.address, ""), process(redis.address, "")];
    until("they are connected", || redis.asked());
    assert_eq!(passed(&processes[0], 5), 5);
    redis.away(true);
    // a third of 100 is counted by each alone
    until("it is noticed", || {
        passed(&processes[0], 1);
        let lines = processes[0].lines();
        lines.iter().any(|line| line["detail"] == "`shared`: counted without Redis")
    });
    assert!(passed(&processes[1], 100) <= 33 + 3 + 30);
    redis.away(false);
    until("it is back", || redis.asked());
    let spare = process(redis.address, ", away: closed");
    until("it is connected", || passed(&spare, 1) == 1);
    redis.away(true);
    until("nobody passes", || passed(&spare, 1) == 0);
}
