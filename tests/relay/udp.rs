//! UDP listeners.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use transom_testkit::{PATIENCE, Transom, check, until};

use crate::TRANSOM;

/// Answers each datagram with its name and the datagram, `times` over.
struct Echo {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
    sources: Arc<std::sync::Mutex<HashSet<SocketAddr>>>,
}

impl Echo {
    fn named(name: &'static str) -> Self {
        Self::replying(name, 1)
    }

    fn replying(name: &'static str, times: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (heard, sources) = (Arc::<AtomicUsize>::default(), Arc::default());
        let echo = Echo { address, heard: heard.clone(), sources: Arc::clone(&sources) };
        std::thread::spawn(move || {
            let mut room = vec![0; 65_536];
            while let Ok((n, from)) = socket.recv_from(&mut room) {
                heard.fetch_add(1, Ordering::Relaxed);
                sources.lock().unwrap().insert(from);
                for _ in 0..times {
                    let reply = [name.as_bytes(), &room[..n]].concat();
                    let _ = socket.send_to(&reply[..reply.len().min(65_507)], from);
                }
            }
        });
        echo
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

fn carrying(echoes: &[&Echo], udp: &str) -> Transom {
    Transom::run(TRANSOM, &config(echoes, udp, ""))
}

fn config(echoes: &[&Echo], udp: &str, listener: &str) -> String {
    let endpoints: Vec<_> = echoes.iter().map(|echo| format!("'{}'", echo.address)).collect();
    format!(
        "workers: 2\n\
         grace: 5s\n\
         listeners:\n  dns: {{ address: '@DNS', udp: {{ forward: o{udp} }}{listener} }}\n\
         pools:\n  o: {{ endpoints: [{}], algorithm: round-robin }}\n",
        endpoints.join(", ")
    )
}

fn client(transom: &Transom) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A connected socket hears nobody else, so replies must come from where it sends to.
    socket.connect(transom.address("DNS")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[track_caller]
fn reply(socket: &UdpSocket) -> Vec<u8> {
    let mut room = vec![0; 65_536];
    let n = socket.recv(&mut room).expect("a reply");
    room.truncate(n);
    room
}

#[track_caller]
fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).unwrap();
    reply(socket)
}

#[test]
fn lb02_a_flow_has_one_endpoint_and_datagrams_pass_unread() {
    let (a, b) = (Echo::named("a"), Echo::named("b"));
    let mut transom = carrying(&[&a, &b], ", idle: 2s");
    let (one, other) = (client(&transom), client(&transom));
    let first = ask(&one, b"\0\xff");
    assert_eq!(&first[1..], b"\0\xff");
    let second = ask(&other, b"x");
    assert_ne!(first[0], second[0], "flows go in turn");
    for _ in 0..10 {
        assert_eq!(ask(&one, b"y")[0], first[0]);
        assert_eq!(ask(&other, b"y")[0], second[0]);
    }
    // Empty ones, and ones larger than any MTU.
    assert_eq!(ask(&one, b"").len(), 1);
    assert_eq!(ask(&one, &[7; 60_000]).len(), 60_001);
    assert_eq!(transom.metric("transom_connections_open{listener=\"dns\",protocol=\"udp\"}"), 2.0);
    assert_eq!(a.sources.lock().unwrap().len() + b.sources.lock().unwrap().len(), 2);
    let lines = transom.lines_when(2);
    let line = lines.iter().find(|line| line["datagrams_in"] == 13).expect("the first flow");
    assert_eq!((&line["protocol"], &line["end"]), (&"udp".into(), &"idle".into()));
    assert_eq!((&line["datagrams_out"], &line["bytes_in"]), (&13.into(), &60_012.into()));
    transom.metric_becomes("transom_connections_open{listener=\"dns\",protocol=\"udp\"}", 0.0);
    check::alive(&mut transom);
}

#[test]
fn lb02_a_flow_ends_with_the_replies_it_is_due() {
    let echo = Echo::replying("e", 2);
    let transom = carrying(&[&echo], ", replies: 2, idle: 1h");
    let socket = client(&transom);
    for _ in 0..3 {
        assert_eq!(ask(&socket, b"x"), b"ex");
        assert_eq!(reply(&socket), b"ex");
    }
    let lines = transom.lines_when(3);
    assert!(lines.iter().all(|line| line["end"] == "closed" && line["datagrams_out"] == 2));
    assert_eq!(echo.sources.lock().unwrap().len(), 3, "each had a socket of its own");
}

#[test]
fn lb02_each_datagram_may_be_balanced_by_itself() {
    let (a, b) = (Echo::named("a"), Echo::named("b"));
    let transom = carrying(&[&a, &b], ", balance: datagram");
    let socket = client(&transom);
    for _ in 0..6 {
        ask(&socket, b"x");
    }
    assert_eq!((a.heard(), b.heard()), (3, 3));
    assert_eq!(a.sources.lock().unwrap().len(), 1, "its flow to an endpoint goes on");
}

/// Whoever may not send here does not, however datagrams are balanced.
#[test]
fn l_06_who_may_not_send_reaches_no_endpoint() {
    let echo = Echo::named("e");
    for balance in ["flow", "datagram"] {
        let transom = Transom::run(
            TRANSOM,
            &config(&[&echo], &format!(", balance: {balance}"), ", clients: { deny: [127.0.0.9] }"),
        );
        let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
        stranger.connect(transom.address("DNS")).unwrap();
        stranger.send(b"stranger").unwrap();
        let refused = "transom_connections_refused_total{listener=\"dns\",reason=\"address\"}";
        until("it is refused", || transom.metric(refused) == 1.0);
        let heard = echo.heard();
        assert_eq!(ask(&client(&transom), b"x"), b"ex");
        assert_eq!(echo.heard(), heard + 1, "{balance}");
    }
    assert_eq!(echo.heard(), 2);
}

#[test]
fn u_20_an_endpoint_where_nobody_listens_is_left() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let there = Echo::named("e");
    let config = format!(
        "listeners:\n  dns: {{ address: '@DNS', udp: o }}\n\
         pools:\n  o: {{ endpoints: ['{gone}', '{}'], algorithm: round-robin }}\n",
        there.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let socket = client(&transom);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut room = [0; 16];
    until("a datagram comes back", || socket.send(b"x").is_ok() && socket.recv(&mut room).is_ok());
    let line = &transom.lines_when(1)[0];
    assert_eq!((&line["fault"], &line["end"]), (&"connect-refused".into(), &"endpoint".into()));
    transom.metric_becomes("transom_member_failures_total", 1.0);
}

#[test]
fn u_20_silence_where_replies_are_due_is_a_failure() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "listeners:\n  dns: {{ address: '@DNS', udp: {{ forward: o, replies: 1, idle: 100ms }} }}\n\
         pools:\n  o: {{ endpoints: ['{}'] }}\n",
        silent.local_addr().unwrap()
    );
    let transom = Transom::run(TRANSOM, &config);
    client(&transom).send(b"x").unwrap();
    assert_eq!(transom.lines_when(1)[0]["fault"], "response-timeout");
    transom.metric_becomes("transom_member_failures_total", 1.0);
}

#[test]
fn u_20_a_client_gets_no_more_than_its_share_of_what_it_sent() {
    let echo = Echo::replying("amplified", 50);
    let transom = carrying(&[&echo], ", max-amplification: 100, idle: 1s");
    let socket = client(&transom);
    socket.send(b"x").unwrap();
    // 50 replies of 10 bytes for one byte: ten of them are a hundred times as much.
    let line = &transom.lines_when(1)[0];
    assert_eq!((&line["datagrams_out"], &line["bytes_out"]), (&10.into(), &100.into()));
    assert_eq!(line["detail"], "40 datagrams were lost");
}

#[test]
fn u_20_a_reply_from_elsewhere_does_not_reach_the_client() {
    let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "listeners:\n  dns: {{ address: '@DNS', udp: '{}' }}\n",
        quiet.local_addr().unwrap()
    );
    let transom = Transom::run(TRANSOM, &config);
    let socket = client(&transom);
    socket.send(b"x").unwrap();
    quiet.set_read_timeout(Some(PATIENCE)).unwrap();
    let (_, flow) = quiet.recv_from(&mut [0; 16]).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"spoofed", flow).unwrap();
    quiet.send_to(b"true", flow).unwrap();
    assert_eq!(reply(&socket), b"true");
}

#[test]
fn u_20_flows_are_bounded_and_the_quiet_ones_make_room() {
    let echo = Echo::named("e");
    let config =
        config(&[&echo], "", ", limits: { connections: 20 }").replace("workers: 2", "workers: 1");
    let mut transom = Transom::run(TRANSOM, &config);
    let used = client(&transom);
    for _ in 0..200 {
        assert_eq!(ask(&used, b"x"), b"ex");
        assert_eq!(ask(&client(&transom), b"x"), b"ex");
    }
    let open = transom.metric("transom_connections_open{listener=\"dns\",protocol=\"udp\"}");
    assert!(open <= 21.0, "{open}");
    let sources = echo.sources.lock().unwrap().len();
    // The one that is used has kept its own. (A port whose flow has ended may be given again.)
    assert!(sources <= 210, "{sources}");
    check::alive(&mut transom);

    let per_client = config.replace("connections: 20", "connections-per-client: 5");
    transom.write(&per_client);
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let refused =
        "transom_connections_refused_total{listener=\"dns\",reason=\"connections-per-client\"}";
    client(&transom).send(b"x").unwrap();
    until("one too many is refused", || transom.metric(refused) == 1.0);
}

#[test]
fn d01_a_reload_keeps_flows_and_the_same_port_may_carry_tcp() {
    let (old, new) = (Echo::named("o"), Echo::named("n"));
    let mut transom = carrying(&[&old], "");
    let socket = client(&transom);
    assert_eq!(ask(&socket, b"x"), b"ox");
    let tcp = "\n  tcp: { address: '@DNS', tcp: '127.0.0.1:1' }\npools:";
    transom.write(&config(&[&new], "", "").replace("\npools:", tcp));
    let reloaded = transom.admin("POST", "/reload");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(ask(&socket, b"y"), b"oy");
    assert_eq!(ask(&client(&transom), b"z"), b"nz");
    std::net::TcpStream::connect(transom.address("DNS")).unwrap();
}

/// Such a listener was refused: "already in use".
#[test]
fn d01_a_listener_may_move_from_one_address_to_all_of_them_and_back() {
    let echo = Echo::named("e");
    let mut transom = carrying(&[&echo], ", idle: 1s");
    let address = transom.address("DNS");
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let asking = |kept: bool| {
        let opened = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let mut socket = opened();
        while !stop.load(Ordering::Relaxed) {
            // a client may have so many flows at once
            std::thread::sleep(Duration::from_millis(10));
            if !kept {
                socket = opened();
            }
            assert_eq!(ask(&socket, b"x"), b"ex");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for kept in [true, true, false, false] {
            scope.spawn({
                let asking = &asking;
                move || asking(kept)
            });
        }
        let port = address.port();
        let places = ["@DNS".to_owned(), format!(":{port}"), format!("0.0.0.0:{port}")];
        for n in 1..=6 {
            let before = answered.load(Ordering::Relaxed);
            transom.write(&config(&[&echo], ", idle: 1s", "").replace("@DNS", &places[n % 3]));
            let reloaded = transom.admin("POST", "/reload");
            assert_eq!(reloaded.status, 200, "to {}: {}", places[n % 3], reloaded.text());
            until("they are answered", || answered.load(Ordering::Relaxed) > before + 100);
        }
        stop.store(true, Ordering::Relaxed);
    });
    check::alive(&mut transom);
}

#[test]
fn d04_at_the_end_flows_that_are_silent_end_soon() {
    let echo = Echo::named("e");
    let mut transom = carrying(&[&echo], "");
    let socket = client(&transom);
    assert_eq!(ask(&socket, b"x"), b"ex");
    transom.signal(Signal::TERM);
    until("it drains", || transom.said().contains("draining 1 connections"));
    assert_eq!(ask(&socket, b"y"), b"ey");
    assert!(transom.ended().success());
    assert_eq!(transom.lines()[0]["end"], "idle");
}

#[test]
fn lb32_the_client_is_told_before_each_datagram_and_believed_from_a_proxy() {
    let echo = Echo::named("e");
    let inner = Transom::run(
        TRANSOM,
        &format!(
            "listeners:\n  dns: {{ address: '@DNS', proxy-protocol: {{ from: 127.0.0.0/8 }}, \
             udp: {{ forward: '{}', idle: 1s }} }}\n",
            echo.address
        ),
    );
    let outer = Transom::run(
        TRANSOM,
        &format!(
            "listeners:\n  dns: {{ address: '@DNS', udp: {{ forward: o, idle: 1s }} }}\n\
             pools:\n  o: {{ endpoints: '{}', proxy-protocol: {{ version: v2, tlvs: [unique-id, crc32c] }} }}\n",
            inner.address("DNS")
        ),
    );
    let socket = UdpSocket::bind("127.0.0.7:0").unwrap();
    socket.connect(outer.address("DNS")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&socket, b"x"), b"ex");
    }
    assert_eq!(inner.lines_when(1)[0]["client"], "127.0.0.7");
    assert_eq!(inner.lines()[0]["datagrams_in"], 2);

    // Without the header nobody is served.
    let bare = client(&inner);
    bare.send(b"x").unwrap();
    let refused = "transom_connections_refused_total{listener=\"dns\",reason=\"proxy-header\"}";
    until("it is refused", || inner.metric(refused) == 1.0);
}
