//! Real nginx, HAProxy and NSD on either side. Where one of them is not installed its tests say so;
//! `.ci/run` installs them.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use transom_testkit::certificate::Authority;
use transom_testkit::{Client, Endpoint, Line, PATIENCE, Port, Transom, check, until};

use crate::TRANSOM;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A program that runs in the foreground; ended when dropped.
struct Peer {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// Runs `program` with its configuration, unless it is not installed.
    fn run(program: &str, config: impl FnOnce(&Path) -> String, at: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.conf");
        fs::write(&file, config(folder.path())).unwrap();
        let file = file.to_str().unwrap();
        let arguments = match program {
            "nginx" => ["-e", "stderr", "-c", file].to_vec(),
            "haproxy" => ["-q", "-db", "-f", file].to_vec(),
            _ => ["-d", "-c", file].to_vec(),
        };
        // Daemons are where only root looks for programs.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let log = fs::File::create(folder.path().join("said")).unwrap();
        let child = Command::new(program)
            .env("PATH", path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let Ok(child) = child else {
            eprintln!("NOT CHECKED: {program} is not installed; .ci/run installs it");
            return None;
        };
        let mut peer = Peer { child, _folder: folder };
        if program != "nsd" {
            until("the peer listens", || {
                let said = fs::read_to_string(peer._folder.path().join("said")).unwrap_or_default();
                let ended = peer.child.try_wait().unwrap();
                assert!(ended.is_none(), "{program} has ended: {said}");
                std::net::TcpStream::connect(at).is_ok()
            });
        }
        Some(peer)
    }

    /// nginx with these blocks; the module for streams is a file apart where Debian made it.
    fn nginx(blocks: &str, at: SocketAddr) -> Option<Self> {
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        if blocks.contains("stream {") && !Path::new(module).exists() {
            eprintln!("NOT CHECKED: nginx has no module for streams; .ci/run installs it");
            return None;
        }
        let load = match blocks.contains("stream {") {
            true => format!("load_module {module};"),
            false => String::new(),
        };
        let config = |folder: &Path| {
            let folder = folder.display();
            format!(
                "daemon off; master_process off; pid {folder}/pid; {load}\n\
                 events {{ }}\n{}\n",
                blocks.replace("@folder", &folder.to_string())
            )
        };
        Self::run("nginx", config, at)
    }

    fn haproxy(sections: &str, at: SocketAddr) -> Option<Self> {
        let config = |_: &Path| {
            format!(
                "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  \
                 timeout client 5s\n  timeout server 5s\n{sections}\n"
            )
        };
        Self::run("haproxy", config, at)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port() -> Port {
    Port::reserve().unwrap()
}

/// What nginx answers: the client's address as the header told it, and as the socket has it.
const TELL: &str = "return 200 \"$proxy_protocol_addr:$proxy_protocol_port\";";

fn nginx_that_tells(at: SocketAddr) -> Option<Peer> {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path @folder/{name};"));
    let blocks = format!(
        "http {{ access_log off; {} server {{ listen {at} proxy_protocol; location / {{ {TELL} }} }} }}",
        paths.join(" ")
    );
    Peer::nginx(&blocks, at)
}

fn haproxy_that_tells(at: SocketAddr) -> Option<Peer> {
    let sections = format!(
        "frontend f\n  bind {at} accept-proxy\n  \
         http-request return status 200 content-type text/plain lf-string \
         \"%[src]:%[src_port] %[fc_pp_authority] %[fc_pp_unique_id,length]\""
    );
    Peer::haproxy(&sections, at)
}

#[test]
fn lb32_nginx_and_haproxy_read_what_is_sent_to_them() {
    let (nginx, haproxy) = (port(), port());
    let (nginx, haproxy) = (nginx.address, haproxy.address);
    let receivers = [
        ("nginx", nginx, nginx_that_tells(nginx)),
        ("haproxy", haproxy, haproxy_that_tells(haproxy)),
    ];
    for (name, at, receiver) in &receivers {
        if receiver.is_none() {
            continue;
        }
        for setting in
            ["v1", "v2", "{ version: v2, tlvs: [authority, alpn, ssl, unique-id, crc32c] }"]
        {
            for serves in ["tcp: o", "routes: [{ forward: o }]"] {
                let config = format!(
                    "listeners:\n  web: {{ address: '@WEB', {serves} }}\n\
                     pools:\n  o: {{ endpoints: '{at}', proxy-protocol: {setting} }}\n"
                );
                let mut transom = Transom::run(TRANSOM, &config);
                let mut client = Client::connect(transom.web());
                let local = client.local();
                let told = client.send(GET).response().text();
                assert!(
                    told.starts_with(&local.to_string()),
                    "{name}, {setting}, {serves}: {told}, and not {local}"
                );
                check::alive(&mut transom);
            }
        }
    }
}

#[test]
fn lb32_haproxy_is_told_the_name_and_an_id() {
    let at = port();
    let Some(_haproxy) = haproxy_that_tells(at.address) else { return };
    let authority = Authority::new();
    let issued = authority.issue(&["shop.example"]);
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    \
           tls: {{ certificate: '@folder/c.pem', key: '@folder/k.pem' }}\n    tcp: o\n\
         pools:\n  o: {{ endpoints: '{}', proxy-protocol: {{ version: v2, tlvs: [authority, ssl, unique-id, crc32c] }} }}\n",
        at.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        fs::write(folder.join("c.pem"), &issued.certificate).unwrap();
        fs::write(folder.join("k.pem"), &issued.key).unwrap();
    });
    let mut client = Client::connect_tls(transom.web(), "shop.example", authority.client());
    let local = client.local();
    let told = client.send(GET).response().text();
    assert_eq!(told, format!("{local} shop.example 32"));
}

#[test]
fn lb32_what_nginx_and_haproxy_send_is_believed() {
    let endpoint = Endpoint::new(|request, line: &mut Line| {
        line.send(transom_testkit::endpoint::echo(request));
        line.end();
    });
    let config = format!(
        "listeners:\n  \
           http: {{ address: '@HTTP', proxy-protocol: {{ from: 127.0.0.0/8 }}, routes: [{{ forward: '{0}' }}] }}\n  \
           tcp: {{ address: '@TCP', proxy-protocol: {{ from: 127.0.0.0/8 }}, tcp: '{0}' }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let mut lines = 0;
    for listener in ["HTTP", "TCP"] {
        let to = transom.address(listener);
        let (one, two, nginx) = (port(), port(), port());
        let server = |at: &Port, version: &str| {
            format!(
                "listen l{version}\n  mode tcp\n  bind {}\n  server s {to} send-proxy{version}",
                at.address
            )
        };
        let sections = [server(&one, ""), server(&two, "-v2")].join("\n");
        let haproxy = Peer::haproxy(&sections, one.address);
        let blocks = format!(
            "stream {{ server {{ listen {}; proxy_pass {to}; proxy_protocol on; }} }}",
            nginx.address
        );
        let stream = Peer::nginx(&blocks, nginx.address);
        // Each of the two looked whether they listen, which is a connection without a word.
        for (at, is_there) in [
            (one.address, haproxy.is_some()),
            (two.address, haproxy.is_some()),
            (nginx.address, stream.is_some()),
        ] {
            if !is_there {
                continue;
            }
            // Another address than the proxy's own, so that it can be told apart.
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.connect(&at.into()).unwrap();
            let mut socket = std::net::TcpStream::from(socket);
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            std::io::Write::write_all(&mut socket, GET.as_bytes()).unwrap();
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut socket, &mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{listener} {at}: {answer}");
            lines += 1;
            until("its line tells the client", || {
                let all = transom.lines();
                all.iter().filter(|line| line["client"] == "127.0.0.9").count() == lines
            });
        }
    }
}

/// Two real TLS servers, told apart by name; what they show is theirs.
#[test]
fn rp06_tls_passes_through_to_two_real_servers() {
    let authority = Authority::new();
    let names = ["shop.example", "api.example"];
    let ports = [port(), port()];
    let mut servers = Vec::new();
    for (name, port) in names.iter().zip(&ports) {
        let issued = authority.issue(&[name]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("c.pem"), &issued.certificate).unwrap();
        fs::write(folder.path().join("k.pem"), &issued.key).unwrap();
        let (at, keys) = (port.address, folder.path().display().to_string());
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path @folder/{name};"));
        let blocks = format!(
            "http {{ access_log off; {} server {{ listen {at} ssl; ssl_certificate {keys}/c.pem; \
             ssl_certificate_key {keys}/k.pem; location / {{ return 200 \"{name} $ssl_server_name\"; }} }} }}",
            paths.join(" ")
        );
        let Some(server) = Peer::nginx(&blocks, at) else { return };
        servers.push((server, folder));
    }
    let config = format!(
        "listeners:\n  web: {{ address: '@WEB', tcp: {{ routes: [\
           {{ match: {{ sni: shop.example }}, forward: '{}' }}, \
           {{ match: {{ sni: api.example }}, forward: '{}' }}] }} }}\n",
        ports[0].address, ports[1].address
    );
    let transom = Transom::run(TRANSOM, &config);
    for name in names {
        let mut client = Client::connect_tls(transom.web(), name, authority.client());
        assert_eq!(client.send(GET).response().text(), format!("{name} {name}"));
        // As a user does, with another library behind.
        let output = Command::new("curl")
            .args(["--silent", "--insecure", "--resolve"])
            .arg(format!("{name}:{}:127.0.0.1", transom.web().port()))
            .arg(format!("https://{name}:{}/", transom.web().port()))
            .output();
        if let Ok(output) = output {
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name} {name}"));
        }
    }
}

/// A question of DNS: the address of `www.shop.example`.
fn question(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in ["www", "shop", "example"] {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

#[test]
fn lb02_a_real_dns_server_answers_over_udp_and_tcp() {
    let at = port();
    let config = |folder: &Path| {
        fs::write(
            folder.join("zone"),
            "$ORIGIN shop.example.\n$TTL 60\n@ IN SOA a b 1 2 3 4 5\n@ IN NS a\nwww IN A 192.0.2.80\n",
        )
        .unwrap();
        let (folder, address) = (folder.display(), at.address);
        format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
             pidfile: \"{folder}/pid\"\n  database: \"\"\n  xfrdfile: \"{folder}/xfrd\"\n  \
             zonelistfile: \"{folder}/zones\"\n  cookie-secret-file: \"{folder}/cookies\"\n  \
             xfrdir: \"{folder}\"\n  logfile: \"{folder}/log\"\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: shop.example\n  zonefile: zone\n",
            address.ip(),
            address.port()
        )
        .replace("  cookie-secret-file: ", "  # cookie-secret-file: ")
    };
    let Some(_nsd) = Peer::run("nsd", config, at.address) else { return };
    let config = format!(
        "listeners:\n  \
           dns: {{ address: '@DNS', udp: {{ forward: dns, replies: 1 }} }}\n  \
           tcp: {{ address: '@DNS', tcp: dns }}\n\
         pools:\n  dns: {{ endpoints: '{}' }}\n",
        at.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(transom.address("DNS")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut room = [0; 512];
    until("the server answers", || {
        socket.send(&question(7)).is_ok() && socket.recv(&mut room).is_ok()
    });
    for id in 100..200 {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&question(id)).unwrap();
        let n = socket.recv(&mut room).unwrap();
        if room[..2] != id.to_be_bytes() {
            // A late answer to one of the first.
            continue;
        }
        assert!(room[..n].windows(4).any(|four| four == [192, 0, 2, 80]), "{:?}", &room[..n]);
    }
    let mut client = Client::connect(transom.address("DNS"));
    let question = question(9);
    client.send([&(question.len() as u16).to_be_bytes()[..], &question].concat());
    let len = client.read(2).unwrap();
    let answer = client.read(u16::from_be_bytes([len[0], len[1]]).into()).unwrap();
    assert!(answer.windows(4).any(|four| four == [192, 0, 2, 80]), "{answer:?}");
}

/// Without PROXY a connection is kept for anybody; with it, for its own client alone.
#[test]
fn rs19_a_connection_that_is_announced_is_for_one_client() {
    let endpoint = Endpoint::raw(|line: &mut Line| {
        // The header's line, then requests.
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            let Some(byte) = line.read(1) else { return };
            header.extend(byte);
        }
        let header = String::from_utf8(header).unwrap();
        while line.read_request().is_some() {
            line.send(transom_testkit::endpoint::ok(header.trim_end()));
        }
    });
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: '{}', proxy-protocol: v1 }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut one, mut other) = (Client::connect(transom.web()), Client::connect(transom.web()));
    for _ in 0..3 {
        for client in [&mut one, &mut other] {
            let (from, to) = (client.local(), transom.web());
            let expect =
                format!("PROXY TCP4 {} {} {} {}", from.ip(), to.ip(), from.port(), to.port());
            assert_eq!(client.send(GET).response().text(), expect);
        }
    }
    assert_eq!(endpoint.connections(), 2, "each client keeps its own");
}
