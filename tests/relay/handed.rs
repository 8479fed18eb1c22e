//! Sockets that whoever starts us has opened, as systemd does (sd_listen_fds(3)).

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::{FdFlags, fcntl_setfd};
use transom_testkit::{PATIENCE, Transom, client};

use crate::TRANSOM;

/// A program that hands these to Transom and becomes it.
fn handing(folder: &Path, sockets: &[BorrowedFd<'_>]) -> String {
    let mut script = String::from("#!/bin/bash\n");
    for (socket, number) in sockets.iter().zip(3..) {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
        script += &format!("exec {}<&{}\n", number + 100, socket.as_raw_fd());
    }
    for number in 3..3 + sockets.len() {
        script += &format!("exec {number}<&{0} {0}<&-\n", number + 100);
    }
    script +=
        &format!("export LISTEN_FDS={} LISTEN_PID=$$\nexec {TRANSOM} \"$@\"\n", sockets.len());
    let file = folder.join("hand-over");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn sockets_of_all_kinds_are_taken_over_by_their_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one", "other"].map(|name| folder.path().join(name));
    let [one, other] = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    // the same port, for datagrams
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
    let unused = UdpSocket::bind("127.0.0.1:0").unwrap();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let handed = [&other as &dyn AsFd, &udp, &unused, &tcp, &one].map(AsFd::as_fd);
    let program = handing(folder.path(), &handed);
    let config = format!(
        "workers: 3\nlisteners:\n  \
           one: {{ address: 'unix:{}', routes: [{{ respond: one }}] }}\n  \
           other: {{ address: 'unix:{}', routes: [{{ respond: other }}] }}\n  \
           tcp: {{ address: '{address}', routes: [{{ respond: tcp }}] }}\n  \
           udp: {{ address: '{address}', udp: '{}' }}\n",
        paths[0].display(),
        paths[1].display(),
        echo.local_addr().unwrap(),
        address = tcp.local_addr().unwrap(),
    );
    let transom = Transom::run(&program, &config);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let at = |path: &Path| {
        let (mut stream, mut told) = (UnixStream::connect(path).unwrap(), String::new());
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_string(&mut told).unwrap();
        told
    };
    // on all workers
    for _ in 0..20 {
        for (path, name) in paths.iter().zip(["one", "other"]) {
            let told = at(path);
            assert!(told.ends_with(&format!("\r\n\r\n{name}")), "{told}");
        }
        assert_eq!(client::ask(tcp.local_addr().unwrap(), request).text(), "tcp");
    }
    // all of a client's have one flow
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(udp.local_addr().unwrap()).unwrap();
    for socket in [&client, &echo] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut room = [0; 16];
    let mut sources = Vec::new();
    for _ in 0..20 {
        client.send(b"question").unwrap();
        let (n, from) = echo.recv_from(&mut room).unwrap();
        echo.send_to(&room[..n], from).unwrap();
        assert_eq!(client.recv(&mut room).unwrap(), 8);
        sources.push(from);
    }
    sources.dedup();
    assert_eq!(sources.len(), 1, "{sources:?}");
    let closed = format!("inherited socket at {} (UDP) is closed", unused.local_addr().unwrap());
    assert!(transom.said().contains(&closed), "{}", transom.said());
    assert_eq!(transom.said().matches("inherited").count(), 1, "{}", transom.said());
}
