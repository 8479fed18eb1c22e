//! Names: addresses by their TTLs, services, and what is not taken from an answer.

use std::net::TcpListener;
use std::process::Command;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use transom_testkit::server::Server;
use transom_testkit::{Port, Transom, client, until};

use super::rig::{Process, TRANSOM, come_and_go, config, members, shown, start, until_members_are};

/// A DNS server whose names stand in a file.
struct Dns {
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: Port,
}

impl Dns {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hosts"), "").unwrap();
        let mut dns = Dns { process: None, folder, port: Port::reserve().unwrap() };
        dns.run(&[]);
        dns
    }

    fn run(&mut self, more: &[String]) {
        self.process = None;
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--listen-address=127.0.0.1", "--local=/test/", "--user="])
            .args(["--local-ttl=0", "--pid-file=", "--no-daemon"])
            .arg(format!("--port={}", self.port.address.port()))
            .arg(format!("--addn-hosts={}", self.folder.path().join("hosts").display()))
            .args(more);
        self.process = Some(start(&mut command));
        until("the DNS server answers", || self.answers());
    }

    /// Whether it answers a question: only then does it know what to do with a signal.
    fn answers(&self) -> bool {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01x\x04test\0\0\x01\0\x01";
        socket.send_to(question, self.port.address).is_ok() && socket.recv(&mut [0; 512]).is_ok()
    }

    /// The addresses of `shop.test` from now on.
    fn set(&self, servers: &[&Server]) {
        let lines: String =
            servers.iter().map(|server| format!("{} shop.test\n", server.address.ip())).collect();
        fs::write(self.folder.path().join("hosts"), lines).unwrap();
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().expect("it runs").0.id();
        kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
    }
}

/// Servers on one port of several addresses of this machine.
fn servers_on_one_port() -> [Server; 3] {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let bound = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
            .map(|ip| TcpListener::bind((ip.parse::<std::net::IpAddr>().unwrap(), port)));
        if bound.iter().all(Result::is_ok) {
            let [a, b, c] = bound.map(Result::unwrap);
            return [Server::on(a, "a"), Server::on(b, "b"), Server::on(c, "c")];
        }
    }
}

fn resolver(dns: &Dns) -> String {
    format!(
        "resolver: {{ servers: ['{}'], min-ttl: 50ms, timeout: 300ms, refuse: [] }}\n",
        dns.port.address
    )
}

#[test]
fn lb28_u09_all_addresses_of_a_name_are_used_and_followed_by_ttl() {
    let mut dns = Dns::start();
    let servers = servers_on_one_port();
    let port = servers[0].address.port();
    let pool = format!("    endpoints: ['shop.test:{port}']");
    let transom = Transom::run(TRANSOM, &config(&pool, &resolver(&dns)));
    // a name that does not resolve at start is simply down
    assert_eq!(members(&transom), [""; 0]);
    let answer = client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 503);
    come_and_go(&transom, &servers, |now| dns.set(now));

    // no server: stale
    dns.process = None;
    until("the name cannot be looked up", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(members(&transom), [servers[0].address.to_string()]);
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    // and back, with other addresses
    dns.run(&[]);
    dns.set(&[&servers[1], &servers[2]]);
    until_members_are(&transom, &[&servers[1], &servers[2]]);
    // NXDOMAIN for good, three times: nobody is better than nobody
    dns.set(&[]);
    until("the name is not there", || {
        let shown = shown(&transom);
        shown["sources"][0]["failing"]
            .as_str()
            .is_some_and(|why| why.contains("Non-Existent Domain"))
    });
    thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(members(&transom).len(), 2, "the last addresses are kept");
}

#[test]
fn lb28_services_of_srv_records_are_followed() {
    let mut dns = Dns::start();
    let servers = servers_on_one_port();
    let port = servers[0].address.port();
    let names = |who: &[(&str, &str, u8)]| -> Vec<String> {
        let host = |(name, ip, _): &(&str, &str, u8)| format!("--host-record={name}.test,{ip}");
        let srv = |(name, _, priority): &(&str, &str, u8)| {
            format!("--srv-host=_http._tcp.shop.test,{name}.test,{port},{priority},5")
        };
        who.iter().flat_map(|one| [host(one), srv(one)]).collect()
    };
    dns.run(&names(&[("a", "127.0.0.1", 10), ("b", "127.0.0.2", 20)]));
    let pool = "    sources: [{ srv: _http._tcp.shop.test }]";
    let transom = Transom::run(TRANSOM, &config(pool, &resolver(&dns)));
    until_members_are(&transom, &[&servers[0], &servers[1]]);
    let tiers: Vec<_> = shown(&transom)["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["weight"].clone(), member["priority"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(tiers, [(json!(5), 0), (json!(5), 1)]);
    dns.run(&names(&[("c", "127.0.0.3", 10)]));
    until_members_are(&transom, &[&servers[2]]);
}

#[test]
fn u09_what_means_this_machine_is_not_taken_from_dns() {
    let mut dns = Dns::start();
    let server = Server::start("inside");
    let port = server.address.port();
    let targets = ["localhost", "here.localhost", "127.0.0.1", "alias.test", "plain.test"];
    let mut told: Vec<String> = targets
        .map(|target| format!("--srv-host=_http._tcp.shop.test,{target},{port}"))
        .into_iter()
        .collect();
    told.extend(
        [
            "host-record=localhost,127.0.0.1",
            "cname=alias.test,localhost",
            "host-record=plain.test,127.0.0.1",
        ]
        .map(|one| format!("--{one}")),
    );
    dns.run(&told);
    let resolver = resolver(&dns).replace(", refuse: []", "");
    let pool = "    sources: [{ srv: _http._tcp.shop.test }]";
    let transom = Transom::run(TRANSOM, &config(pool, &resolver));
    // two are names that could mean anybody, until they are looked up
    until("the services are told", || shown(&transom)["sources"][0]["found"] == 2);
    until("the names were asked for", || {
        let shown = shown(&transom);
        let sources = shown["sources"].as_array().unwrap().iter();
        sources.filter(|source| source["failing"].is_string()).count() == 2
    });
    assert_eq!(members(&transom), [""; 0]);
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 503);
    drop(transom);

    // what is written here is meant
    let pool = format!("    endpoints: ['localhost:{port}']");
    let without = resolver.replace("resolver: {", "resolver: { hosts: false,");
    let transom = Transom::run(TRANSOM, &config(&pool, &without));
    until_members_are(&transom, &[&server]);
}
