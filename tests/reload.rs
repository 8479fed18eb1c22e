//! Reloads under load: nothing that is open, asked for or under way notices them, and a file that
//! is wrong changes nothing.
//!
//! `TRANSOM_RELOADS=1000` makes it a thousand of them.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use transom_testkit::certificate::{Authority, Issued};
use transom_testkit::load::{Lane, Load};
use transom_testkit::message::Response;
use transom_testkit::server::{Server, pattern};
use transom_testkit::{Client, Transom, until};

/// Every so many reloads a wrong file is offered first.
const WRONG: usize = 10;

#[test]
fn d_01_d_02_d_03_reloads_are_noticed_by_nobody() {
    let reloads = std::env::var("TRANSOM_RELOADS").map_or(60, |n| n.parse().unwrap());
    let rig = Rig::new();
    let mut transom = Transom::run_with(env!("CARGO_BIN_EXE_transom"), &rig.file(0), |folder| {
        rig.put_certificate(folder, 0);
    });
    let (web, tls) = (transom.web(), transom.address("TLS"));
    let coming_and_going = ["RARE", "OFTEN"].map(|name| transom.address(name));

    let mut lanes = vec![Lane { fits: is_shop, ..Lane::new(web, "/shop/a", 200) }; 7];
    lanes.extend(vec![Lane { requests: 1, fits: is_shop, ..Lane::new(web, "/shop/new", 100) }; 2]);
    let secure = Lane {
        tls: Some(("shop.example".into(), rig.authority.client())),
        fits: is_shop,
        ..Lane::new(tls, "/shop/tls", 150)
    };
    lanes.extend([secure.clone(), secure.clone(), Lane { requests: 20, rate: 50, ..secure }]);
    let post =
        Lane { method: "POST", body: "posted", fits: is_posted, ..Lane::new(web, "/shop/p", 100) };
    lanes.push(post);
    let load = Load::start(lanes);
    let extra_load = Load::start(coming_and_going.into_iter().flat_map(|address| {
        let kept = Lane { may_be_gone: true, ..Lane::new(address, "/extra", 100) };
        let fresh = Lane { requests: 1, ..kept.clone() };
        [kept.clone(), kept, fresh.clone(), fresh]
    }));
    let sockets = WebSockets::open(web, 20);
    let download = thread::spawn(move || {
        let mut client = Client::connect(web);
        client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").response()
    });

    let mut kept = Client::connect(web);
    let mut generation = 1;
    let mut refused = 0;
    let mut early = None;
    for n in 1..=reloads {
        if n % WRONG == 0 {
            refused += 1;
            rig.offer_a_wrong_file(&mut transom, refused, generation);
            assert_eq!(rig.generation(&mut kept), generation, "the old file goes on");
            assert_eq!(transom.metric("transom_config_last_reload_successful"), 0.0);
        }
        generation += 1;
        rig.put_certificate(transom.folder(), n);
        transom.write(&rig.file(n));
        if n % 2 == 0 {
            let answer = transom.admin("POST", "/reload");
            let expected = format!("generation {generation} is running\n");
            assert_eq!((answer.status, answer.text()), (200, expected), "{}", transom.said());
        } else {
            transom.signal(Signal::HUP);
            until("the reload is done", || {
                transom.metric("transom_config_generation") == f64::from(generation)
            });
        }
        assert_eq!(rig.generation(&mut kept), generation, "on a kept connection, at once");
        assert_eq!(rig.generation(&mut Client::connect(web)), generation, "and on a new one");
        if n % 5 == 0 {
            rig.generation_over_tls(tls, n);
        }
        let failures = load.failures();
        assert!(failures.is_empty(), "reload {n}: {failures:#?}");
        if n == 50.min(reloads / 2) {
            early = Some((transom.memory(), transom.descriptors()));
        }
        // Some follow each other at once.
        if n % 7 != 0 {
            thread::sleep(Duration::from_millis(150));
        }
    }
    rig.shop.finish_streams();
    let download = download.join().unwrap();
    let echoes = sockets.end();
    let load = load.end();
    let extra = extra_load.end();

    let (memory, descriptors) = early.unwrap();
    let now = (transom.memory(), transom.descriptors());
    eprintln!(
        "{reloads} reloads, {refused} wrong files: {} requests at {}/s over {} connections, {} failed; \
         {} at a listener that came and went, {} failed, {} found nobody; {echoes} WebSocket frames; \
         {} bytes downloaded; memory {memory} KiB then {} KiB, descriptors {descriptors} then {}",
        load.answered,
        load.rate(),
        load.connections,
        load.failures.len(),
        extra.answered,
        extra.failures.len(),
        extra.refused,
        download.body.len(),
        now.0,
        now.1,
    );
    assert!(load.failures.is_empty(), "{:#?}", load.failures);
    assert!(extra.failures.is_empty(), "{:#?}", extra.failures);
    assert!(extra.refused > 0, "the listener was never gone");
    assert!(download.whole, "the download is cut off");
    assert_eq!(download.body.len() as u64, rig.shop.streamed());
    assert!(download.body.iter().zip(0..).all(|(byte, place)| *byte == pattern(place)));
    assert_eq!(transom.metric("transom_config_generation"), f64::from(generation));
    let offered =
        |result| transom.metric(&format!("transom_config_reloads_total{{result=\"{result}\""));
    assert_eq!((offered("success"), offered("failure")), (reloads as f64, refused as f64));
    assert_eq!(transom.metric("transom_config_last_reload_successful"), 1.0);
    assert!(now.0 < memory + memory / 5 + 4096, "memory grows: {memory} then {} KiB", now.0);
    until("descriptors are back", || transom.descriptors() <= descriptors + 8);
    assert!(!transom.said().contains("panic"), "{}", transom.said());
}

/// A listener that moved to an address around its own, or inside it, was refused: "already in use".
#[test]
fn a_listener_may_move_from_one_address_to_all_of_them_and_back() {
    let file = |address: &str| {
        format!(
            "workers: 2\nlisteners: {{ web: {{ address: '{address}', routes: [{{ respond: here }}] }} }}\n"
        )
    };
    let mut transom = Transom::run(env!("CARGO_BIN_EXE_transom"), &file("@WEB"));
    let (web, port) = (transom.web(), transom.web().port());
    let kept = Lane::new(web, "/", 100);
    let fresh = Lane { requests: 1, ..Lane::new(web, "/", 200) };
    let load = Load::start([kept, fresh.clone(), fresh.clone(), fresh]);
    let places = ["@WEB".to_owned(), format!(":{port}"), format!("0.0.0.0:{port}")];
    for n in 1..=12 {
        transom.write(&file(&places[n % 3]));
        let answer = transom.admin("POST", "/reload");
        assert_eq!(answer.status, 200, "to {}: {}", places[n % 3], answer.text());
        thread::sleep(Duration::from_millis(100));
    }
    until("it was asked often", || load.answered() > 100);
    let load = load.end();
    assert!(load.failures.is_empty(), "{:#?}", load.failures);
}

/// What the program that is told to reload says and ends with.
fn reload(transom: &Transom) -> (i32, String) {
    let socket = transom.folder().join("admin.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["reload", "--socket", socket.to_str().unwrap()])
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_right_file_that_cannot_run_here_is_told_from_a_wrong_one() {
    let listener = |name: &str, address: &str| {
        format!("  {name}: {{ address: '{address}', routes: [{{ respond: {name} }}] }}\n")
    };
    let file = format!("workers: 16\nlisteners:\n{}", listener("web", "@WEB"));
    let mut transom = Transom::run(env!("CARGO_BIN_EXE_transom"), &file);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    transom.write(&format!("{file}{}", listener("taken", &address)));
    let (status, said) = reload(&transom);
    assert_eq!(status, 1, "{said}");
    assert!(said.starts_with(&format!("error: address {address} is already in use\n")), "{said}");
    transom.write("listenerz: {}\n");
    assert_eq!(reload(&transom).0, 64);

    // Not every worker can have the socket: those that could were left to serve alone.
    let path = transom.folder().join("web.sock");
    let more = listener("more", &format!("unix:{}", path.display()));
    transom.write(&format!("{file}{more}"));
    let pid = transom.pid().to_string();
    let limit = |most: usize| {
        let most = format!("--nofile={most}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &most]).status().unwrap().success());
    };
    limit(transom.descriptors() + 8);
    let (status, said) = reload(&transom);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("Too many open files"), "{said}");
    assert_eq!(transom.metric("transom_config_generation"), 1.0);
    limit(4096);
    assert_eq!(reload(&transom), (0, String::new()));
    assert_eq!(transom.metric("transom_config_generation"), 2.0);
    until("all of them serve there", || std::os::unix::net::UnixStream::connect(&path).is_ok());
}

/// Whatever made a reload fail is looked at once, and again when it has changed; that was forgotten of
/// files that only the wrong file named, and certificates were read again for ever.
#[test]
fn what_is_watched_is_read_again_whenever_it_changes_and_only_then() {
    let config = |more: &str| {
        format!(
            "reload: {{ watch: true }}\n{more}listeners:\n  web: {{ address: '@WEB', routes: [{{ respond: {{ status: 200, body: '${{file:page}}' }} }}] }}\n"
        )
    };
    let mut transom = Transom::run_with(env!("CARGO_BIN_EXE_transom"), &config(""), |folder| {
        std::fs::write(folder.join("page"), "one").unwrap();
        std::fs::create_dir(folder.join("conf.d")).unwrap();
    });
    let put = |transom: &Transom, name: &str, text: &str| {
        std::fs::write(transom.folder().join(name), text).unwrap();
    };
    let failures =
        |transom: &Transom| transom.metric("transom_config_reloads_total{result=\"failure\"");
    let generation = |transom: &Transom, expected: f64| {
        until("it is reloaded", || transom.metric("transom_config_generation") == expected);
    };
    put(&transom, "page", "three");
    generation(&transom, 2.0);
    // A file that the right configuration does not name yet.
    put(&transom, "extra.yaml", "listenerz: {}\n");
    transom.write(&config("include: [extra.yaml, conf.d/*.yaml]\n"));
    until("it is refused", || failures(&transom) == 1.0);
    put(&transom, "extra.yaml", "pools: { a: { endpoints: '127.0.0.1:1' } }\n");
    generation(&transom, 3.0);
    // One that a pattern names, once it is there.
    put(&transom, "conf.d/b.yaml", "pools: { b: { endpoints: 'x' } }\n");
    until("it is refused", || failures(&transom) == 2.0);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(failures(&transom), 2.0, "looked at again, though nothing has changed");
    std::fs::remove_file(transom.folder().join("conf.d/b.yaml")).unwrap();
    generation(&transom, 4.0);
    // A file that is named and not there yet, such as a certificate.
    let named = "  s: { address: '127.0.0.1:0', tls: { certificate: a.pem, key: a.key }, \
                 routes: [{ respond: secret }] }\n";
    transom.write(&(config("include: [extra.yaml, conf.d/*.yaml]\n") + named));
    until("it is refused", || failures(&transom) == 3.0);
    let own = Authority::new().issue(&["s.example"]);
    put(&transom, "a.pem", &own.certificate);
    until("it is refused", || failures(&transom) >= 4.0);
    put(&transom, "a.key", &own.key);
    generation(&transom, 5.0);
}

fn is_shop(response: &Response) -> bool {
    let text = response.text();
    response.status == 200
        && (text.starts_with("shop GET /shop/") || text.starts_with("other GET /shop/"))
}

fn is_posted(response: &Response) -> bool {
    response.status == 200 && response.text().ends_with(" POST /shop/p 6")
}

/// Whoever had connected before went on without a certificate for as long as its connection lasted.
#[test]
fn a_06_who_is_asked_for_a_certificate_by_a_reload_shows_one_or_goes() {
    let authority = Authority::new();
    let (server, own) = (authority.issue(&["shop.example"]), authority.issue(&["a.example"]));
    let config = |certificates: &str| {
        format!(
            "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    tls: {{ certificate: shop.pem, \
             key: shop.key{certificates} }}\n    routes: [{{ respond: hello }}]\n"
        )
    };
    let mut transom = Transom::run_with(env!("CARGO_BIN_EXE_transom"), &config(""), |folder| {
        std::fs::write(folder.join("shop.pem"), &server.certificate).unwrap();
        std::fs::write(folder.join("shop.key"), &server.key).unwrap();
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    });
    let connect = |own: Option<&Issued>| {
        let config = own.map_or_else(|| authority.client(), |own| authority.client_with(own));
        Client::try_connect_tls(transom.web(), "shop.example", config).unwrap()
    };
    let ask = |client: &mut Client| {
        client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").response()
    };
    let mut early = connect(None);
    assert_eq!(ask(&mut early).status, 200);
    let [mut known, mut stranger] = [Some(&own), None].map(|own| {
        let mut client = connect(own);
        assert_eq!(ask(&mut client).status, 200);
        client
    });
    let web = transom.web();
    let reload = |transom: &mut Transom, certificates: &str| {
        transom.write(&config(certificates));
        assert_eq!(transom.admin("POST", "/reload").status, 200);
    };
    // What does not change who is asked for what changes nothing for who is there.
    reload(&mut transom, ", min-version: '1.3'");
    assert_eq!(ask(&mut early).status, 200);
    reload(&mut transom, ", client-certificates: { mode: required, ca: ca.pem }");
    for client in [&mut early, &mut known, &mut stranger] {
        let refused = ask(client);
        assert_eq!((refused.status, refused.closes()), (421, true));
        client.ends();
    }
    let mut again = Client::connect_tls(web, "shop.example", authority.client_with(&own));
    assert_eq!(ask(&mut again).status, 200);
}

/// Endpoints and certificates, and the files that go round.
struct Rig {
    shop: Server,
    other: Server,
    authority: Authority,
    certificates: [Issued; 2],
    taken: TcpListener,
}

impl Rig {
    fn new() -> Self {
        let authority = Authority::new();
        Rig {
            shop: Server::start("shop"),
            other: Server::start("other"),
            certificates: [
                authority.issue(&["shop.example", "even.example"]),
                authority.issue(&["shop.example", "odd.example"]),
            ],
            authority,
            taken: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    /// The file of a round: routes, the endpoints of the pool and one listener come and go.
    fn file(&self, round: usize) -> String {
        let (shop, other) = (self.shop.address, self.other.address);
        let endpoints = match round % 4 {
            0 => format!("['{shop}', '{other}']"),
            1 => format!("['{shop}']"),
            2 => format!("[{{ address: '{other}', weight: 3 }}, '{shop}']"),
            _ => format!("['{other}']"),
        };
        let mut routes = format!(
            "      - {{ match: {{ path: /shop/** }}, forward: shop }}\n      \
             - {{ match: {{ path: /ws }}, forward: shop }}\n      \
             - {{ match: {{ path: /stream }}, forward: '{shop}' }}\n      \
             - {{ match: {{ path: /generation }}, respond: 'round {round}' }}\n"
        );
        for more in 0..round % 23 {
            let _ = writeln!(
                routes,
                "      - {{ name: extra-{round}-{more}, match: {{ path: /{round}/{more}/** }}, \
                 respond: 'extra {more}' }}"
            );
        }
        let listener = |name: &str, there: bool| match there {
            true => format!(
                "  {name}:\n    address: '@{}'\n    routes: [{{ respond: extra }}]\n",
                name.to_uppercase()
            ),
            false => String::new(),
        };
        let rare = listener("rare", (round / 12).is_multiple_of(2));
        let often = listener("often", round % 3 != 2);
        format!(
            "workers: 2\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n{routes}\
             \u{20} secure:\n    address: '@TLS'\n    \
             tls: {{ certificate: shop.pem, key: shop.key }}\n    routes:\n{routes}\
             {rare}{often}pools:\n  shop: {{ endpoints: {endpoints}, keep-alive: {{ idle: 2s }} }}\n"
        )
    }

    fn put_certificate(&self, folder: &std::path::Path, round: usize) {
        let issued = &self.certificates[round % 2];
        std::fs::write(folder.join("shop.pem"), &issued.certificate).unwrap();
        std::fs::write(folder.join("shop.key"), &issued.key).unwrap();
    }

    /// The generation that answers: the first one is round 0.
    fn generation(&self, client: &mut Client) -> u32 {
        let address = client.socket().peer_addr().unwrap();
        let response = client.send("GET /generation HTTP/1.1\r\nHost: a\r\n\r\n").response();
        let text = response.text();
        if response.closes() {
            // After a thousand requests.
            *client = Client::connect(address);
        }
        text.strip_prefix("round ").unwrap_or_else(|| panic!("{text}")).parse::<u32>().unwrap() + 1
    }

    /// A new connection gets the certificate of this round.
    fn generation_over_tls(&self, address: SocketAddr, round: usize) {
        let name = ["even.example", "odd.example"][round % 2];
        let mut client = Client::connect_tls(address, name, self.authority.client());
        assert_eq!(self.generation(&mut client) as usize, round + 1);
    }

    /// Offers a file that cannot run, each time another one and in another way.
    fn offer_a_wrong_file(&self, transom: &mut Transom, number: usize, generation: u32) {
        let good = self.file(3);
        let taken = self.taken.local_addr().unwrap().to_string();
        let (file, finding) = match number % 7 {
            0 => ("listeners: [".to_owned(), "this is not valid YAML".to_owned()),
            1 => {
                (format!("{good}listenerz: {{}}\n"), "there is no key `listenerz` here".to_owned())
            }
            2 => (good.replace("shop.pem", "gone.pem"), "cannot read `gone.pem`".to_owned()),
            3 => (good.replace("shop.key", "transom.yaml"), "no private key".to_owned()),
            4 => (
                good.replace(
                    "pools:",
                    &format!(
                        "  taken: {{ address: '{taken}', routes: [{{ respond: 200 }}] }}\npools:"
                    ),
                ),
                format!("address {taken} is already in use"),
            ),
            5 => (
                good.replace("forward: shop", "forward: shopp"),
                "no pool named `shopp`".to_owned(),
            ),
            _ => (
                good.replace("path: /stream", "path: '~(/stream'"),
                "is not a regular expression".to_owned(),
            ),
        };
        transom.write(&file);
        let failures = || transom.metric("transom_config_reloads_total{result=\"failure\"");
        let before = failures();
        match number % 3 {
            0 => {
                let answer = transom.admin("POST", "/reload");
                assert_eq!(answer.status, if number % 7 == 4 { 503 } else { 422 });
                assert!(answer.text().contains(&finding), "{finding}\n{}", answer.text());
            }
            1 => {
                let said = transom.said().len();
                transom.signal(Signal::HUP);
                until("the file is refused", || failures() > before);
                until("the log says why", || transom.said()[said..].contains(&finding));
            }
            _ => {
                let (status, said) = reload(transom);
                assert_eq!(status, if number % 7 == 4 { 1 } else { 64 }, "{said}");
                assert!(said.contains(&finding), "{finding}\n{said}");
            }
        }
        assert_eq!(failures(), before + 1.0);
        assert_eq!(transom.metric("transom_config_generation"), f64::from(generation));
    }
}

/// Open WebSockets, on each of which a frame goes to the endpoint and back every now and then.
struct WebSockets {
    over: Arc<AtomicBool>,
    echoes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl WebSockets {
    fn open(address: SocketAddr, count: usize) -> Self {
        let (over, echoes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let open = |number: usize| {
            let (over, echoes) = (over.clone(), echoes.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                client.send(
                    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                );
                assert_eq!(client.response().status, 101);
                for counter in 0_u32.. {
                    // A masked text frame of eight bytes (RFC 6455 §5.2).
                    let mut frame = vec![0x81, 0x88, 1, 2, 3, 4];
                    frame.extend_from_slice(&counter.to_be_bytes());
                    frame.extend_from_slice(&(number as u32).to_be_bytes());
                    let echo = client.send(&frame).read(frame.len());
                    let echo = echo.unwrap_or_else(|e| panic!("socket {number} was closed: {e}"));
                    assert_eq!(echo, frame);
                    client.forget();
                    echoes.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            })
        };
        let threads = (0..count).map(open).collect();
        WebSockets { over, echoes, threads }
    }

    /// How many frames went round, when all of them are still open.
    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a WebSocket was closed");
        }
        self.echoes.load(Ordering::Relaxed)
    }
}
