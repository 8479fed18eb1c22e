//! Slow clients, bombs, and what one client may take.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use transom_testkit::certificate::Authority;
use transom_testkit::client::End;
use transom_testkit::{Client, Endpoint, PATIENCE, Transom, check, until};

use super::rig::{HANDSHAKE, Rig, TRANSOM, head, post};

#[test]
fn sl_01_bytes_do_not_move_the_deadline_of_a_head() {
    let mut rig = Rig::waiting("header: 500ms", Endpoint::echo());
    let baseline = rig.transom.sockets().len();
    let start = Instant::now();
    let mut slow: Vec<Client> = (0..200).map(|_| rig.client()).collect();
    let bytes = head("GET /", &format!("X: {}\r\n", "x".repeat(1000)));
    for byte in bytes.as_bytes().iter().take(12) {
        for client in &mut slow {
            client.send([*byte]);
        }
        // O7: meanwhile others are served.
        let asked = Instant::now();
        assert_eq!(rig.get("/others").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut slow {
        assert_eq!(client.response().status, 408);
        client.end_sending().ends();
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    rig.expect_lines(200);
    drop(slow);
    check::sockets_are_back_at(&rig.transom, baseline + 1);
    let lines = rig.holds();
    assert_eq!(lines.iter().filter(|line| line["fault"] == "request-timeout").count(), 200);
}

#[test]
fn sl_02_who_says_nothing_is_not_waited_for() {
    let mut rig = Rig::waiting("first-byte: 1s, keep-alive: 1s", Endpoint::echo());
    rig.client().ends();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    assert_eq!(client.response().status, 200);
    client.ends();
    rig.expect_lines(1);
    rig.holds();
}

/// A Transom that speaks TLS on `@TLS`.
fn over_tls(timeouts: &str, endpoint: &Endpoint) -> (Transom, Authority) {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let config = format!(
        "workers: 1\nlisteners:\n  tls:\n    address: '@TLS'\n    \
         tls: {{ certificate: '@folder/cert.pem', key: '@folder/key.pem' }}\n    \
         timeouts: {{ {timeouts} }}\n    routes: [{{ forward: '{}' }}]\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("cert.pem"), &issued.certificate).unwrap();
        std::fs::write(folder.join("key.pem"), &issued.key).unwrap();
    });
    (transom, authority)
}

#[test]
fn sl_02_03_a_handshake_has_one_deadline() {
    let endpoint = Endpoint::echo();
    let (mut transom, authority) = over_tls("tls-handshake: 1500ms", &endpoint);
    let baseline = transom.sockets().len();
    let silent = Client::connect(transom.address("TLS"));
    let mut slow = Client::connect(transom.address("TLS"));
    let start = Instant::now();
    // The beginning of a ClientHello, a byte at a time.
    slow.drip(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxxxxx", Duration::from_millis(100));
    for mut client in [silent, slow] {
        client.end();
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    check::sockets_are_back_at(&transom, baseline);
    let mut client = Client::connect_tls(transom.address("TLS"), "localhost", authority.client());
    client.send(head("GET /", ""));
    assert_eq!(client.response().echo()["target"], "/");
    check::alive(&mut transom);
}

#[test]
fn u_21_when_everybody_comes_back_at_once_those_who_are_there_are_served() {
    let endpoint = Endpoint::echo();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let config = format!(
        "workers: 1\nlisteners:\n  tls:\n    address: '@TLS'\n    \
         tls: {{ certificate: '@folder/cert.pem', key: '@folder/key.pem' }}\n    \
         limits: {{ handshakes: 20 }}\n    routes: [{{ forward: '{}' }}]\n",
        endpoint.address
    );
    let mut transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("cert.pem"), &issued.certificate).unwrap();
        std::fs::write(folder.join("key.pem"), &issued.key).unwrap();
    });
    let address = transom.address("TLS");
    let ask = |client: &mut Client| client.send(head("GET /", "")).try_response("GET");
    let mut there = Client::connect_tls(address, "localhost", authority.client());
    assert_eq!(ask(&mut there).unwrap().status, 200);
    let (served, slowest) = std::thread::scope(|scope| {
        let one = || {
            let mut client = Client::connect_tls(address, "localhost", authority.client());
            usize::from(ask(&mut client).is_ok_and(|response| response.status == 200))
        };
        let herd: Vec<_> = (0..200).map(|_| scope.spawn(one)).collect();
        let mut slowest = Duration::ZERO;
        while !herd.iter().all(|one| one.is_finished()) {
            let asked = Instant::now();
            assert_eq!(ask(&mut there).unwrap().status, 200);
            slowest = slowest.max(asked.elapsed());
        }
        // who is sent away by the ceiling of handshakes has no response
        let served: usize = herd.into_iter().map(|one| one.join().unwrap_or(0)).sum();
        (served, slowest)
    });
    assert!(served >= 20, "{served} of 200");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let mut late = Client::connect_tls(address, "localhost", authority.client());
    assert_eq!(ask(&mut late).unwrap().status, 200, "there is room again at once");
    check::alive(&mut transom);
}

#[test]
fn h1_51_plain_http_on_a_tls_port_is_told_so() {
    let endpoint = Endpoint::echo();
    let (mut transom, _) = over_tls("header: 1s", &endpoint);
    let mut client = Client::connect(transom.address("TLS"));
    client.send(head("GET /", ""));
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(response.closes() && response.whole, "{response:?}");
    assert!(response.text().contains("TLS"), "{}", response.text());
    client.end_sending().ends();
    assert!(endpoint.requests().is_empty());
    check::alive(&mut transom);
}

#[test]
fn h1_01_rs_02_hold_over_tls_too() {
    let endpoint = Endpoint::new(|request, line| {
        if request.target == "/cut" {
            line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            line.wait(Duration::from_millis(50));
            return line.end();
        }
        line.send(transom_testkit::endpoint::echo(request));
    });
    let (mut transom, authority) = over_tls("header: 1s", &endpoint);
    let connect = || Client::connect_tls(transom.address("TLS"), "localhost", authority.client());
    let bytes = post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG");
    let mut client = connect();
    check::refused_on(client.send(&bytes), bytes.as_bytes(), 400);
    let mut client = connect();
    check::refused_on(client.send_bytewise(&bytes), bytes.as_bytes(), 400);
    let mut client = connect();
    client.send(head("GET /cut", ""));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "hello", false));
    // Two requests in one record, and one over many.
    let mut client = connect();
    client.send(head("GET /1", "") + &post("Content-Length: 5\r\n", "hello"));
    assert_eq!(client.response().echo()["target"], "/1");
    assert_eq!(client.response().echo()["body"], "hello");
    client.send_bytewise(head("GET /2", ""));
    assert_eq!(client.response().echo()["target"], "/2");
    check::alive(&mut transom);
}

/// A Transom that takes the PROXY protocol from these.
fn behind_balancer(from: &str, endpoint: Endpoint) -> Rig {
    let settings =
        format!("proxy-protocol: {{ from: '{from}' }}\n    timeouts: {{ proxy-protocol: 1s }}");
    Rig::with(&settings, "", endpoint)
}

#[test]
fn sl_04_the_proxy_protocol_is_believed_from_who_may_speak_it() {
    let rig = behind_balancer("127.0.0.1/32", Endpoint::echo());
    let ask = |header: &[u8]| {
        let mut client = rig.client();
        client.send([header, head("GET /", "").as_bytes()].concat());
        client.response().echo()
    };
    let client_of = |echo: serde_json::Value| {
        let fields = echo["fields"].as_array().unwrap().clone();
        let field = fields.into_iter().find(|f| f[0] == "X-Forwarded-For").unwrap();
        field[1].as_str().unwrap().to_owned()
    };
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    assert_eq!(client_of(ask(v1)), "192.0.2.7");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\x12\x67\0\x50";
    assert_eq!(client_of(ask(v2)), "192.0.2.9");
    // LOCAL: the balancer itself, such as its health check.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(client_of(ask(local)), "127.0.0.1");
    // A byte at a time, too.
    let mut client = rig.client();
    client.send_bytewise([&v1[..], head("GET /", "").as_bytes()].concat());
    assert_eq!(client_of(client.response().echo()), "192.0.2.7");
}

#[test]
fn sl_04_other_proxy_headers_end_the_connection() {
    let mut rig = behind_balancer("127.0.0.1/32", Endpoint::echo());
    let baseline = rig.transom.sockets().len();
    let start = Instant::now();
    let too_long = format!("PROXY TCP4 {}", "1".repeat(200));
    for bytes in [
        too_long.as_bytes(),
        head("GET /", "").as_bytes(),
        b"PROXY TCP4 192.0.2.7",
        b"",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\xc0\0\x02\x09",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\x12\x67\0\x50",
    ] {
        let mut client = rig.client();
        client.send(bytes);
        let (said, _) = client.rest();
        assert!(said.is_empty(), "{}: {}", bytes.escape_ascii(), said.escape_ascii());
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert!(rig.endpoint.requests().is_empty());
    check::sockets_are_back_at(&rig.transom, baseline);
    check::alive(&mut rig.transom);
}

#[test]
fn sl_04_nobody_else_may_speak_the_proxy_protocol() {
    let mut rig = behind_balancer("192.0.2.1/32", Endpoint::echo());
    let mut client = rig.client();
    client.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 1 80\r\n{}", head("GET /", "")));
    assert!(client.rest().0.is_empty());
    assert!(rig.endpoint.requests().is_empty());
    check::alive(&mut rig.transom);
}

#[test]
fn sl_05_a_body_that_stands_still_or_drips_is_given_up() {
    let mut rig = Rig::waiting("body-idle: 300ms", Endpoint::echo());
    let mut still = rig.client();
    still.send(post("Content-Length: 10485760\r\n", "x"));
    assert_eq!(still.response().status, 408);
    still.end_sending().ends();
    // Faster than the idle time, slower than the least rate.
    let start = Instant::now();
    for lines in ["Content-Length: 10485760\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut slow = rig.client();
        slow.send(head("POST /", lines));
        while start.elapsed() < PATIENCE && slow.socket().peek(&mut [0]).is_err() {
            slow.send(if lines.starts_with("T") { "1\r\nx\r\n" } else { "x" });
            let _ = slow.socket().set_read_timeout(Some(Duration::from_millis(50)));
        }
        let _ = slow.socket().set_read_timeout(Some(PATIENCE));
        assert_eq!(slow.response().status, 408, "{lines}");
        slow.end();
    }
    rig.expect_lines(3);
    for request in rig.endpoint.requests() {
        assert!(!request.whole, "{request:#?}");
    }
    rig.holds();
}

#[test]
fn sl_05_a_slow_body_that_is_fast_enough_arrives() {
    let mut rig = Rig::waiting("body-idle: 1s, body-min-rate: 5B/s", Endpoint::echo());
    let mut client = rig.client();
    client.send(post("Content-Length: 60\r\n", ""));
    client.drip("x".repeat(60), Duration::from_millis(30));
    assert_eq!(client.response().echo()["body"], "x".repeat(60));
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn sl_05_a_body_over_the_limit_is_413() {
    let mut rig = Rig::with("limits: { body: 10KiB }", "", Endpoint::echo());
    let exact = "x".repeat(10 << 10);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let response = rig.ask(post("Content-Length: 10240\r\n", &exact));
    assert_eq!(response.echo()["body"], exact);
    let response = rig.ask(post(chunked, &format!("2800\r\n{exact}\r\n0\r\n\r\n")));
    assert_eq!(response.echo()["body"], exact);
    // Told at once, before the body; a short rest is read and the connection stays.
    let mut client = rig.client();
    client.send(post("Content-Length: 10241\r\n", &format!("{exact}x")));
    let response = client.response();
    assert_eq!(response.status, 413);
    // Without a length it is seen on the way.
    let mut client = rig.client();
    client.send(post(chunked, &format!("2801\r\n{exact}x\r\n0\r\n\r\n")));
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.closes());
    client.end_sending().ends();
    rig.expect_lines(2);
    let whole = rig.endpoint.requests().iter().filter(|r| r.whole).count();
    assert_eq!(whole, 2);
    rig.holds();
}

#[test]
fn a_whole_exchange_has_one_deadline_whatever_moves() {
    let every = Duration::from_millis(20);
    let endpoint = Endpoint::new(move |request, line| match &*request.target {
        "/silent" => line.wait(Duration::from_secs(9)),
        "/drips" => {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            line.drip([b'x'; 400], every);
        }
        "/large" => {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 32 << 20));
            line.pour(&vec![b'x'; 32 << 20]);
        }
        _ => line.send(transom_testkit::endpoint::echo(request)),
    });
    let mut rig = Rig::waiting("request: 1s", endpoint);
    let timed = |what: &str, asked: &dyn Fn(&mut Client)| {
        let (start, mut client) = (Instant::now(), rig.client());
        asked(&mut client);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(900), "{what}: {took:?}");
        assert!(took < Duration::from_secs(6), "{what}: {took:?}");
        rig.expect_lines(1);
    };
    timed("an endpoint that says nothing", &|client| {
        assert_eq!(client.send(head("GET /silent", "")).response().status, 504);
    });
    timed("a response that drips", &|client| {
        let response = client.send(head("GET /drips", "")).response();
        assert!(response.status == 200 && !response.whole, "{response:?}");
    });
    for lines in ["Content-Length: 10000\r\n", "Transfer-Encoding: chunked\r\n"] {
        timed("a body that drips", &|client| {
            let start = Instant::now();
            client.send(head("POST /", lines));
            while start.elapsed() < PATIENCE && client.socket().peek(&mut [0]).is_err() {
                client.send(if lines.starts_with("T") { "1\r\nx\r\n" } else { "x" });
                let _ = client.socket().set_read_timeout(Some(every));
            }
            let _ = client.socket().set_read_timeout(Some(PATIENCE));
            assert_eq!(client.response().status, 408, "{lines}");
        });
    }
    timed("a client that takes little at a time", &|client| {
        client.receive_buffer(4096).send(head("GET /large", ""));
        let start = Instant::now();
        let mut socket: &TcpStream = client.socket();
        while start.elapsed() < PATIENCE && socket.read(&mut [0; 512]).is_ok_and(|n| n > 0) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(rig.get("/").status, 200);
    let lines = rig.holds();
    let faults: Vec<_> = lines.iter().map(|line| line["fault"].as_str().unwrap_or("")).collect();
    let timeout = "request-timeout";
    let late = "response-timeout";
    assert_eq!(faults, [late, late, timeout, timeout, "client-closed", ""]);
}

#[test]
fn sl_06_who_takes_a_byte_now_and_then_is_given_up() {
    let body = vec![b'x'; 32 << 20];
    let head_of = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut rig = Rig::waiting(
        "send-idle: 600ms",
        Endpoint::answering([head_of.into_bytes(), body].concat()),
    );
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    let start = Instant::now();
    while rig.transom.lines().is_empty() {
        assert!(start.elapsed() < PATIENCE, "it is still being served");
        let mut socket: &TcpStream = client.socket();
        let _ = socket.read(&mut [0]);
        std::thread::sleep(Duration::from_millis(100));
    }
    check::sockets_are_back_at(&rig.transom, baseline);
    assert_eq!(client.end(), End::Reset);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["fault"], "client-closed", "{}", lines[0]);
}

#[test]
fn sl_07_idle_connections_cost_little_and_hold_nobody_up() {
    let mut rig = Rig::with("limits: { connections-per-client: 5000 }", "", Endpoint::echo());
    rig.get("/");
    let (memory, baseline) = (rig.transom.memory(), rig.transom.sockets().len());
    let mut idle: Vec<Client> = (0..1000).map(|_| rig.client()).collect();
    for client in &mut idle {
        client.send(head("GET /local/x", ""));
        assert_eq!(client.response().status, 200);
    }
    let each = rig.transom.memory().saturating_sub(memory) * 1024 / idle.len();
    assert!(each <= 8 << 10, "{each} bytes each");
    assert_eq!(rig.get("/").status, 200);
    rig.expect_lines(1000);
    drop(idle);
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.holds();
}

#[test]
fn sl_07_those_that_lie_idle_longest_make_room() {
    let rig = Rig::with("limits: { connections: 40 }", "", Endpoint::echo());
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut client = rig.client();
        client.send(head("GET /local/x", ""));
        assert_eq!(client.response().status, 200);
        open.push(client);
    }
    open[0].ends();
    let last = open.last_mut().unwrap();
    last.send(head("GET /local/x", ""));
    assert_eq!(last.response().status, 200);
    rig.expect_lines(101);
}

#[test]
fn what_runs_in_the_background_is_told() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    client.send(head("GET /local/x", ""));
    assert_eq!(client.response().status, 200);
    rig.expect_lines(1);
    let answer = String::from_utf8(rig.transom.admin("GET", "/tasks").body).unwrap();
    let tasks: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let running = |name: &str| {
        let task = tasks
            .as_array()
            .unwrap()
            .iter()
            .find(|task| task["name"].as_str().unwrap().starts_with(name));
        task.unwrap_or_else(|| panic!("no {name}: {answer}"))["running"].as_u64()
    };
    assert_eq!(running("admin socket"), Some(1));
    assert_eq!(running("connection "), Some(1));
    rig.holds();
}

#[test]
fn sl_08_one_client_has_so_many_connections() {
    let mut rig = Rig::with("limits: { connections-per-client: 5 }", "", Endpoint::echo());
    let mut open: Vec<Client> = (0..5).map(|_| rig.client()).collect();
    for client in &mut open {
        client.send(head("GET /", ""));
        assert_eq!(client.response().status, 200);
    }
    rig.client().end();
    open.pop();
    until("there is room again", || {
        rig.client()
            .send(head("GET /local/x", ""))
            .try_response("GET")
            .is_ok_and(|r| r.status == 200)
    });
    drop(open);
    until("all are gone", || {
        rig.client()
            .send(head("GET /local/x", ""))
            .try_response("GET")
            .is_ok_and(|r| r.status == 200)
    });
    check::alive(&mut rig.transom);
}

#[test]
fn sl_09_header_bombs_are_431() {
    let mut rig = Rig::echo();
    // the first exchange takes what every later one uses again
    assert_eq!(rig.ask(head("GET /", "")).status, 200);
    let memory = rig.transom.memory();
    for lines in [
        format!("X: {}\r\n", "x".repeat(64 << 10)),
        format!("X: {}\r\n", "x".repeat(50)).repeat(1000),
        "a: b\r\n".repeat(32_769),
        "a: b\r\n".repeat(101),
        format!("X: {}", "x".repeat(1 << 20)),
    ] {
        let mut client = rig.client();
        client.pour(head("GET /", &lines).as_bytes());
        assert_eq!(client.response().status, 431, "{} bytes", lines.len());
        rig.expect_lines(1);
    }
    assert_eq!(rig.ask(head("GET /", &"a: b\r\n".repeat(99))).status, 200);
    let more = rig.transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
    rig.holds();
}

#[test]
fn heads_of_64_kib_pass_where_they_are_allowed() {
    let fields = format!("X: {}\r\n", "x".repeat((64 << 10) - 5));
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    // The endpoint's own framing counts too: it has none, and closes.
    let endpoint = Endpoint::answering_last(answer);
    let limits = "limits: { request-line: 64B, headers: 65472B, header-line: 64KiB }";
    let mut rig = Rig::with(limits, "", endpoint);
    let lines = |length: usize| format!("X: {}\r\n", "x".repeat(length - 5 - "Host: a\r\n".len()));
    let response = rig.ask(head("GET /", &lines(65472)));
    assert_eq!(response.status, 200);
    assert_eq!(response.field("x").map(str::len), Some((64 << 10) - 5));
    assert_eq!(rig.endpoint.request().field("x").map(str::len), Some(65472 - 14));
    assert_eq!(rig.ask(head("GET /", &lines(65473))).status, 431);
    check::alive(&mut rig.transom);
}

#[test]
fn sl_10_long_targets_are_414() {
    let mut rig = Rig::echo();
    for target in [
        format!("/{}", "x".repeat(8 << 10)),
        format!("/{}", "x".repeat(1 << 20)),
        format!("/?{}", "a=b&".repeat(10_000)),
        "/a".repeat(10_000),
    ] {
        let mut client = rig.client();
        client.pour(head(&format!("GET {target}"), "").as_bytes());
        assert_eq!(client.response().status, 414);
        rig.expect_lines(1);
    }
    let longest = format!("/{}", "x".repeat(8000));
    assert_eq!(rig.get(&longest).echo()["target"], longest);
    rig.holds();
}

#[test]
fn sl_11_what_a_client_writes_is_no_label() {
    let mut rig = Rig::echo();
    for n in 0..20 {
        let lines = format!("X-Secret-{n}: secret-{n}\r\nCookie: secret-{n}=1\r\n");
        let bytes =
            format!("SECRET{n} /secret-{n}?secret-{n} HTTP/1.1\r\nHost: secret-{n}\r\n{lines}\r\n");
        assert_eq!(rig.ask(bytes).status, 200);
    }
    let metrics = rig.transom.admin("GET", "/metrics").text();
    assert!(metrics.contains("transom_"), "{metrics}");
    assert!(!metrics.to_lowercase().contains("secret"), "{metrics}");
    rig.holds();
}

#[test]
fn sl_12_a_compressed_request_body_is_not_decoded() {
    let mut rig = Rig::echo();
    let body = "\u{1f}not gzip at all";
    let lines = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
    assert_eq!(rig.ask(post(&lines, body)).echo()["body"], body);
    assert_eq!(rig.endpoint.request().field("content-encoding"), Some("gzip"));
    rig.holds();
}

#[test]
fn sl_14_many_ranges_cost_no_more_than_the_file() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - match: {{ path: /files/** }}\n        rewrite: {{ strip-prefix: /files }}\n        \
           files: '@folder/public'\n      - forward: '{}'\n",
        endpoint.address
    );
    let mut transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::create_dir(folder.join("public")).unwrap();
        std::fs::write(folder.join("public/a.txt"), "x".repeat(100_000)).unwrap();
    });
    let mut client = Client::connect(transom.web());
    for (range, statuses, most) in [
        (format!("bytes={}0-", "0-,".repeat(1300)), &[200, 206, 416][..], 110_000),
        ("bytes=0-10,5-20,0-99999,1-99999".into(), &[200, 206, 416], 210_000),
        ("bytes=-9223372036854775807".into(), &[200, 206], 100_000),
        ("bytes=-99999999999999999999999999".into(), &[200, 206, 416], 100_000),
        ("bytes=20-10".into(), &[200, 416], 100_000),
        ("bytes=100000-".into(), &[416], 1000),
        ("lines=0-1".into(), &[200], 100_000),
        ("bytes=0-9".into(), &[206], 10),
    ] {
        client.send(head("GET /files/a.txt", &format!("Range: {range}\r\n")));
        let response = client.response();
        let shown = &range[..range.len().min(40)];
        assert!(statuses.contains(&response.status), "{shown}: {}", response.status);
        assert!(response.whole && response.body.len() <= most, "{shown}: {}", response.body.len());
    }
    check::alive(&mut transom);
    check::victim(transom.web());
}

#[test]
fn sl_15_an_expression_costs_linear_time() {
    let routes = "      - match: { path: '~/(a+)+b' }\n        respond: 200";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    let target = format!("/{}", "a".repeat(8000));
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(rig.get(&target).echo()["target"], target);
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    rig.holds();
    let huge = "listeners: { web: { address: ':80', routes: [{ match: { path: '~/((a{1000}){1000}){1000}' }, respond: 200 }] } }";
    assert_eq!(check_file(huge).0, Some(64));
}

/// What `transom check` says about a file of this text.
pub(super) fn check_file(text: &str) -> (Option<i32>, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let output =
        std::process::Command::new(TRANSOM).arg("check").arg(file.path()).output().unwrap();
    let said = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn sl_18_a_tunnel_carries_bytes_until_it_is_silent_for_too_long() {
    let mut rig = Rig::waiting(
        "tunnel-idle: 1s",
        Endpoint::new(|request, line| {
            if request.field("upgrade") != Some("websocket") {
                return line.send(transom_testkit::endpoint::echo(request));
            }
            line.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Some(part) = line.read(10) {
                line.send(part);
            }
            line.end();
        }),
    );
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /ws", HANDSHAKE));
    assert_eq!(client.response().status, 101);
    // A frame of an absurd length is bytes like any other.
    for _ in 0..5 {
        client.send(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(client.read(10).unwrap(), b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        std::thread::sleep(Duration::from_millis(300));
    }
    client.end();
    rig.endpoint.until("the endpoint's side has ended", |log| log.ended == 1);
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["status"], 101, "{}", lines[0]);
}

/// In the queue of the kernel, and not refused.
#[test]
fn lb_41_u_21_a_herd_is_let_in_evenly_and_nobody_is_refused() {
    let endpoint = Endpoint::echo();
    for (limits, overload) in [("connection-rate: 40/s", ""), ("", "connection-rate: 40/s")] {
        let config = format!(
            "workers: 2\noverload: {{ {overload} }}\nlisteners:\n  web: {{ address: '@WEB', \
             limits: {{ {limits} }}, routes: [{{ forward: '{}' }}] }}\n",
            endpoint.address
        );
        let mut transom = Transom::run(TRANSOM, &config);
        // what holds for all listeners is heard of a little after the start
        std::thread::sleep(Duration::from_millis(400));
        let mut there = Client::connect(transom.web());
        there.send(head("GET /there", ""));
        assert_eq!(there.response().status, 200);
        let start = Instant::now();
        let herd: Vec<Client> = (0..40)
            .map(|_| {
                let mut client = Client::connect(transom.web());
                client.send(head("GET /", ""));
                client
            })
            .collect();
        assert!(start.elapsed() < Duration::from_millis(500), "all are connected at once");
        there.send(head("GET /there", ""));
        assert_eq!(there.response().status, 200);
        assert!(start.elapsed() < Duration::from_millis(700), "who is there notices nothing");
        for mut client in herd {
            assert_eq!(client.response().status, 200);
        }
        // four at once, and one more for each worker
        let (least, took) = (Duration::from_millis((40 - 4 - 2) * 25), start.elapsed());
        assert!(took >= least && took < least + Duration::from_secs(3), "{took:?} with {config}");
        assert_eq!(transom.metric("transom_connections_refused_total{listener=\"web\""), 0.0);
        check::alive(&mut transom);
    }
}
