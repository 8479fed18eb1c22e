use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::testing::block_on;

fn port(bound: &Bound) -> u16 {
    let PeerAddr::Ip(address) = bound.local() else { panic!("is TCP") };
    address.port()
}

#[test]
fn workers_share_a_port_and_nobody_else_does() {
    block_on(async {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let port = port(&sockets[0]);
        assert!(sockets.iter().all(|socket| self::port(socket) == port));
        let error = bind(([127, 0, 0, 1], port).into(), 1).unwrap_err();
        assert_eq!(error.to_string(), format!("address 127.0.0.1:{port} is already in use"));
        assert!(error.hint().unwrap().contains("ss -ltnp"));

        let listeners: Vec<_> =
            sockets.into_iter().map(|socket| socket.listen().unwrap()).collect();
        let _client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (accepted, ..) = tokio::select! {
            a = listeners[0].accept(|_| ()) => (a,),
            a = listeners[1].accept(|_| ()) => (a,),
            a = listeners[2].accept(|_| ()) => (a,),
        };
        let Accepted::Tcp(stream, from) = accepted else { panic!("is TCP") };
        assert_eq!(from.ip(), Some([127, 0, 0, 1].into()));
        assert!(stream.nodelay().unwrap(), "inherited from the listener");
    });
}

#[test]
fn a_connection_comes_with_its_first_word_or_after_a_while_without() {
    use std::io::Read;
    block_on(async {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        bound.await_first_word().unwrap();
        let address = ("127.0.0.1", port(&bound));
        let listener = bound.listen().unwrap();
        let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut talker = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut talker, b"hello").await.unwrap();
        // The one that came later is there first, and can be read from at once.
        let Accepted::Tcp(mut stream, from) = listener.accept(|_| ()).await else {
            panic!("is TCP")
        };
        assert_eq!(from, PeerAddr::from(talker.local_addr().unwrap()));
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
        let Accepted::Tcp(mut stream, _) = listener.accept(|_| ()).await else { panic!("is TCP") };
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn who_is_in_the_queue_is_served_and_who_comes_later_turned_away() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        block_on(async {
            let bound = bind(address.parse().unwrap(), 1).unwrap().remove(0);
            let PeerAddr::Ip(local) = bound.local() else { panic!("is TCP") };
            let listener = bound.listen().unwrap();
            let connect = || tokio::net::TcpStream::connect(local.socket());
            let mut early = connect().await.unwrap();
            listener.turn_away().unwrap();
            let soon = std::time::Duration::from_millis(200);
            tokio::time::timeout(soon, connect()).await.unwrap_err();
            let Accepted::Tcp(mut stream, _) = listener.accept(|_| ()).await else {
                panic!("is TCP")
            };
            std::io::Write::write_all(&mut stream, b"served").unwrap();
            drop((stream, listener));
            let mut said = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut early, &mut said).await.unwrap();
            assert_eq!(said, "served");
            assert_eq!(connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    }
}

#[test]
fn an_address_of_nobody_is_told() {
    let error = bind("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
    assert_eq!(error.to_string(), "address 192.0.2.1:0 belongs to no interface of this machine");
}

#[test]
fn any_v6_address_serves_v4_too() {
    block_on(async {
        let mut sockets = bind("[::]:0".parse().unwrap(), 1).unwrap();
        let port = port(&sockets[0]);
        let listener = sockets.remove(0).listen().unwrap();
        let _client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let Accepted::Tcp(_, from) = listener.accept(|_| ()).await else { panic!("is TCP") };
        assert_eq!(from.ip(), Some([127, 0, 0, 1].into()), "undressed");
    });
}

#[test]
fn a_unix_socket_left_by_the_dead_is_replaced() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = bind_unix(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = bind_unix(&path, 0o600).unwrap_err();
        assert!(error.to_string().ends_with("is already in use"), "{error}");
        drop(first);
        let listener = bind_unix(&path, 0o600).unwrap().listen().unwrap();
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept(|_| ()));
        client.unwrap();
        assert!(matches!(accepted, Accepted::Unix(_)));

        let file = directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        bind_unix(&file, 0o600).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    });
}

#[test]
fn sockets_are_adopted_by_number() {
    block_on(async {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let adopted = Bound::adopt_number(given.as_raw_fd()).unwrap();
        assert_eq!(adopted.local(), given.local_addr().unwrap().into());
        let listener = adopted.listen().unwrap();
        let _client = tokio::net::TcpStream::connect(given.local_addr().unwrap()).await.unwrap();
        listener.accept(|_| ()).await;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let given = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let adopted = Bound::adopt_number(given.as_raw_fd()).unwrap();
        assert_eq!((adopted.local(), adopted.path()), (PeerAddr::Unix, Some(path.clone())));
        let listener = adopted.listen().unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        listener.accept(|_| ()).await;

        let given = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let adopted = Bound::adopt_number(given.as_raw_fd()).unwrap();
        assert_eq!(adopted.local(), given.local_addr().unwrap().into());
        assert!(adopted.is_datagram() && adopted.path().is_none());

        let file = tempfile::tempfile().unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        for other in [file.as_raw_fd(), datagrams.as_raw_fd(), unconnected.unwrap().as_raw_fd()] {
            let error = Bound::adopt_number(other).unwrap_err().to_string();
            assert!(error.starts_with("inherited socket cannot be used"), "{error}");
        }
        assert!(Bound::adopt_number(-1).is_err());
    });
}
