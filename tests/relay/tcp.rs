//! Plain TCP listeners.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use transom_testkit::client::End;
use transom_testkit::server::pattern;
use transom_testkit::{Client, Endpoint, Line, Port, Transom, check, until};

use crate::TRANSOM;

/// A Transom that carries TCP to these endpoints; `tcp` are further settings.
fn carrying(endpoints: &[&Endpoint], tcp: &str) -> Transom {
    let endpoints: Vec<_> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    Transom::run(TRANSOM, &config(&endpoints.join(", "), tcp))
}

fn config(endpoints: &str, tcp: &str) -> String {
    format!(
        "workers: 2\n\
         grace: 1s\n\
         listeners:\n  web: {{ address: '@WEB', tcp: {{ forward: o{tcp} }} }}\n\
         pools:\n  o: {{ endpoints: [{endpoints}] }}\n"
    )
}

/// Sends every byte back, and ends when the client does.
fn echoing() -> Endpoint {
    Endpoint::raw(|line: &mut Line| {
        while let Some(byte) = line.read(1) {
            line.send(byte);
        }
    })
}

#[test]
fn lb01_bytes_pass_both_ways_unread() {
    let endpoint = echoing();
    let mut transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    // What no HTTP parser would take.
    let bytes = b"\0\xff\r\n\r\nGET nonsense\n";
    client.send(bytes);
    assert_eq!(client.read(bytes.len()).unwrap(), bytes);
    client.end_sending();
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    let lines = check::lines(&transom, 1);
    let line = &lines[0];
    assert_eq!(line["listener"], "web");
    assert_eq!(line["protocol"], "tcp");
    assert_eq!(line["end"], "closed");
    assert_eq!(line["pool"], "o");
    assert_eq!(line["endpoint"], endpoint.address.to_string());
    assert_eq!(line["attempts"], 1);
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&19.into(), &19.into()));
    transom.metric_becomes("transom_relayed_total{listener=\"web\",end=\"closed\"}", 1.0);
    let bytes = "transom_relayed_bytes_total{listener=\"web\",direction=\"in\"}";
    transom.metric_becomes(bytes, 19.0);
    check::alive(&mut transom);
}

#[test]
fn lb01_an_endpoint_may_speak_first() {
    let endpoint = Endpoint::raw(|line: &mut Line| {
        line.send("220 ready\r\n");
        line.stall();
    });
    let transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    assert_eq!(client.read(11).unwrap(), b"220 ready\r\n");
}

/// Many times what a buffer and a pipe hold, through a receiver that takes little at a time.
#[test]
fn u19_large_streams_are_byte_exact_both_ways() {
    const SIZE: usize = 8 << 20;
    let bytes: Vec<u8> = (0..SIZE as u64).map(pattern).collect();
    let expect = bytes.clone();
    let endpoint = Endpoint::raw(move |line: &mut Line| {
        assert!(line.read(SIZE).as_deref() == Some(&expect[..]), "what came is not what was sent");
        line.send(&expect);
    });
    let transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    client.receive_buffer(64 * 1024);
    client.send(&bytes).end_sending();
    let (back, end) = client.rest();
    assert!(back == bytes, "{} of {SIZE} bytes came back, or others", back.len());
    assert_eq!(end, End::Closed);
    let lines = check::lines(&transom, 1);
    assert_eq!(lines[0]["bytes_in"], SIZE);
    assert_eq!(lines[0]["bytes_out"], SIZE);
}

#[test]
fn rs16_the_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    let endpoint = Endpoint::raw(|line: &mut Line| {
        let question = line.read_rest();
        line.send([b"answer to ", &question[..]].concat());
        line.end();
    });
    let transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    client.send("question").end_sending();
    assert_eq!(client.rest(), (b"answer to question".to_vec(), End::Closed));

    let endpoint = Endpoint::raw(|line: &mut Line| {
        line.send("first");
        line.end_sending();
        line.read_rest();
    });
    let transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    assert_eq!(client.rest(), (b"first".to_vec(), End::Closed));
    client.send("late");
    client.end_sending();
    endpoint.until("what came late is there", |log| log.bytes[0] == b"late");
    assert_eq!(check::lines(&transom, 1)[0]["end"], "closed");
}

#[test]
fn u19_a_reset_is_passed_on_as_a_reset() {
    let endpoint = Endpoint::raw(|line: &mut Line| {
        line.send("half of ");
        line.read(1);
        line.reset();
    });
    let transom = carrying(&[&endpoint], "");
    let mut client = Client::connect(transom.web());
    assert_eq!(client.read(8).unwrap(), b"half of ");
    client.send("x");
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    assert_eq!(check::lines(&transom, 1)[0]["end"], "endpoint");

    // And from the client: the endpoint must not take what came for all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let transom =
        Transom::run(TRANSOM, &config(&format!("'{}'", listener.local_addr().unwrap()), ""));
    let mut client = Client::connect(transom.web());
    client.send("half of ");
    let (mut socket, _) = listener.accept().unwrap();
    let mut room = [0; 64];
    assert_eq!(std::io::Read::read(&mut socket, &mut room).unwrap(), 8);
    client.reset();
    let error = std::io::Read::read(&mut socket, &mut room).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(check::lines(&transom, 1)[0]["end"], "client");
}

#[test]
fn w03_a_connection_on_which_nothing_moves_is_closed() {
    let endpoint = echoing();
    let transom = carrying(&[&endpoint], ", idle: 1s");
    let mut client = Client::connect(transom.web());
    let start = Instant::now();
    // What moves keeps it open.
    while start.elapsed() < Duration::from_millis(1500) {
        client.send("x");
        assert_eq!(client.read(1).unwrap(), b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    client.ends();
    assert_eq!(check::lines(&transom, 1)[0]["end"], "idle");
    endpoint.until("its side is closed too", |log| log.ended == 1);
}

#[test]
fn rs16_what_is_half_closed_is_waited_for_less_long() {
    let endpoint = Endpoint::raw(|line: &mut Line| line.stall());
    let transom = carrying(&[&endpoint], ", idle: 1h, half-closed: 200ms");
    let mut client = Client::connect(transom.web());
    client.send("x").end_sending();
    client.ends();
    let lines = check::lines(&transom, 1);
    assert!(matches!(lines[0]["end"].as_str(), Some("idle" | "closed")), "{lines:#?}");
}

#[test]
fn u01_a_refused_connection_goes_to_another_endpoint() {
    let port = Port::reserve().unwrap();
    let gone = port.address;
    let endpoint = echoing();
    let endpoints = format!("'{gone}', '{}'", endpoint.address);
    let transom = Transom::run(TRANSOM, &config(&endpoints, ""));
    for _ in 0..4 {
        let mut client = Client::connect(transom.web());
        client.send("x");
        assert_eq!(client.read(1).unwrap(), b"x");
    }
    let lines = check::lines(&transom, 4);
    assert!(lines.iter().any(|line| line["attempts"] == 2), "{lines:#?}");

    let transom = Transom::run(TRANSOM, &config(&format!("'{gone}'"), ""));
    let mut client = Client::connect(transom.web());
    client.ends();
    let line = &check::lines(&transom, 1)[0];
    assert_eq!((&line["fault"], &line["end"]), (&"connect-refused".into(), &"endpoint".into()));
}

#[test]
fn who_may_not_connect_is_closed_at_once() {
    let endpoint = echoing();
    for (rule, served) in [
        ("deny: [127.0.0.0/8]", false),
        ("allow: [10.0.0.0/8]", false),
        ("allow: [127.0.0.0/8]", true),
        ("allow: [127.0.0.0/8], deny: [127.0.0.1]", false),
    ] {
        let transom = {
            let config = config(&format!("'{}'", endpoint.address), "");
            let clients = format!("address: '@WEB', clients: {{ {rule} }},");
            Transom::run(TRANSOM, &config.replace("address: '@WEB',", &clients))
        };
        let mut client = Client::connect(transom.web());
        if served {
            client.send("x");
            assert_eq!(client.read(1).unwrap(), b"x", "{rule}");
        } else {
            client.ends();
            let refused = "transom_connections_refused_total{listener=\"web\",reason=\"address\"}";
            transom.metric_becomes(refused, 1.0);
        }
    }
}

#[test]
fn sl07_connections_have_a_limit() {
    let endpoint = echoing();
    let config = format!(
        "listeners:\n  web: {{ address: '@WEB', limits: {{ connections: 2 }}, tcp: '{}' }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let mut open: Vec<Client> = (0..2).map(|_| Client::connect(transom.web())).collect();
    for client in &mut open {
        client.send("x");
        assert_eq!(client.read(1).unwrap(), b"x");
    }
    Client::connect(transom.web()).ends();
    drop(open);
    until("there is room again", || {
        let mut client = Client::connect(transom.web());
        let _ = client.socket().write_all(b"x");
        client.read(1).is_ok()
    });
}

#[test]
fn d01_a_reload_keeps_what_is_open_and_serves_anew_what_comes() {
    let (old, new) = (echoing(), Endpoint::raw(|line: &mut Line| line.send("new")));
    let mut transom = carrying(&[&old], "");
    let mut client = Client::connect(transom.web());
    client.send("x");
    assert_eq!(client.read(1).unwrap(), b"x");
    transom.write(&config(&format!("'{}'", new.address), ""));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    client.send("y");
    assert_eq!(client.read(1).unwrap(), b"y");
    assert_eq!(Client::connect(transom.web()).read(3).unwrap(), b"new");

    // From a relay to HTTP, at the same address.
    transom.write("listeners:\n  web: { address: '@WEB', routes: [{ respond: hello }] }\n");
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    // A connection that was on its way may still meet the relay.
    until("HTTP is served", || {
        let mut client = Client::connect(transom.web());
        client.pour(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_response("GET").is_ok_and(|answer| answer.text() == "hello")
    });
    client.send("z");
    assert_eq!(client.read(1).unwrap(), b"z");
}

#[test]
fn d04_at_the_end_what_is_open_has_the_grace_to_finish() {
    let endpoint = echoing();
    let mut transom = carrying(&[&endpoint], "");
    let (mut one, mut other) = (Client::connect(transom.web()), Client::connect(transom.web()));
    for client in [&mut one, &mut other] {
        client.send("x");
        assert_eq!(client.read(1).unwrap(), b"x");
    }
    transom.signal(Signal::TERM);
    until("it drains", || transom.said().contains("draining 2 connections"));
    one.send("y");
    assert_eq!(one.read(1).unwrap(), b"y");
    one.end_sending();
    assert_eq!(one.rest(), (Vec::new(), End::Closed));
    assert!(transom.ended().success());
    // The other had its second.
    let (rest, _) = other.rest();
    assert!(rest.is_empty());
    let lines = transom.lines();
    let ends: Vec<_> = lines.iter().map(|line| line["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["closed", "cut-off"]);
}
