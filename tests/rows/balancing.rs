//! Who gets which request: algorithms, subsets, stickiness and splits against real endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use transom_testkit::{Client, Endpoint, Response, Transom};

use super::rig::TRANSOM;

mod affinity;
mod mirrors;
mod parts;
mod shares;

/// Answers with its name, and with further field lines.
fn named(name: &'static str, lines: &'static str) -> Endpoint {
    let lines = lines.replace('\n', "\r\n");
    let length = name.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n{name}");
    Endpoint::new(move |_, line| line.send(&answer))
}

/// A Transom whose pool `o` has these settings beside these endpoints.
fn over(endpoints: &[&Endpoint], settings: &str) -> Transom {
    let list: Vec<String> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: [{}], {settings} }}\n",
        list.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

fn get(transom: &Transom, path: &str, lines: &str) -> Response {
    let mut client = Client::connect(transom.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).response()
}

/// How often each endpoint answers.
fn shares(
    transom: &Transom,
    count: usize,
    lines: impl Fn(usize) -> String,
) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = Client::connect(transom.web());
    for n in 0..count {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(n));
        let response = client.send(head).response();
        assert_eq!(response.status, 200, "{}", response.text());
        *shares.entry(response.text()).or_default() += 1;
    }
    shares
}

/// The first part of a `Set-Cookie`, as the client sends it back.
fn cookie(response: &Response) -> Option<String> {
    let line = response.field("set-cookie")?;
    Some(format!("Cookie: {}\r\n", line.split(';').next().unwrap()))
}

/// Where the connections of an endpoint come from: one by one, each is answered and closed.
fn seen_from() -> (SocketAddr, std::sync::mpsc::Receiver<std::net::IpAddr>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 1024]);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = connection.write_all(answer.as_bytes());
            if told.send(connection.peer_addr().unwrap().ip()).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

#[test]
fn lb_33_an_endpoint_sees_the_address_that_the_file_says() {
    use std::io::{Read as _, Write as _};
    for (from, sees) in [("any", "127.0.0.1"), ("127.0.0.7", "127.0.0.7"), ("client", "127.0.0.5")]
    {
        if from == "client"
            && let Err(error) = transom_net::dial::may_be_transparent()
        {
            eprintln!("nothing is tested of `client`: {error}");
            continue;
        }
        for listener in ["routes: [{ forward: o }]", "tcp: o"] {
            let (endpoint, heard) = seen_from();
            let from =
                if from == "any" { String::new() } else { format!(", connect-from: {from}") };
            let config = format!(
                "workers: 1\nlisteners:\n  web: {{ address: '@WEB', {listener} }}\n\
                 pools:\n  o: {{ endpoints: '{endpoint}'{from} }}\n"
            );
            let transom = Transom::run(TRANSOM, &config);
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&"127.0.0.5:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.connect(&transom.web().into()).unwrap();
            let mut client = std::net::TcpStream::from(socket);
            client.set_read_timeout(Some(transom_testkit::PATIENCE)).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{config}: {answer}");
            let seen = heard.recv_timeout(transom_testkit::PATIENCE).unwrap();
            assert_eq!(seen.to_string(), sees, "{config}");
        }
    }
}
