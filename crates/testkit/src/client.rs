//! A client that sends any bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::PATIENCE;
use crate::message::{Reader, Response};

/// One connection to a Transom.
pub struct Client {
    reader: Reader<Wire>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("somebody listens")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Client { reader: Reader::new(Wire::Plain(dial(address)?)) })
    }

    /// From another of this machine's own addresses, such as 127.0.0.2.
    pub fn try_connect_from(from: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&address.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: Reader::new(Wire::Plain(stream)) })
    }

    /// Asks for `name` over TLS, with the trust and versions of `config`.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Self {
        Self::try_connect_tls(address, name, config).expect("somebody listens")
    }

    pub fn try_connect_tls(
        address: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = name.to_owned().try_into().expect("a host name");
        let session = ClientConnection::new(config, name).expect("a valid configuration");
        let stream = StreamOwned::new(session, dial(address)?);
        Ok(Client { reader: Reader::new(Wire::Tls(Box::new(stream))) })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // That the other side takes no more is for the test to find in what it reads.
        let _ = self.reader.stream.write_all(bytes.as_ref());
        let _ = self.reader.stream.flush();
        self
    }

    /// Sends as long as bytes are taken; says how many were.
    pub fn pour(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.reader.stream.write(&bytes[sent..]) {
                Ok(n) if n > 0 => sent += n,
                _ => break,
            }
        }
        sent
    }

    /// Sends one byte at a time, each in a packet of its own.
    pub fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
        self
    }

    /// Sends one byte, waits, and so on, until all are sent or the other side has ended.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>, every: Duration) -> &mut Self {
        for byte in bytes.as_ref() {
            if self.reader.stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(every);
        }
        self
    }

    /// Ends our direction only.
    pub fn end_sending(&mut self) -> &mut Self {
        if let Wire::Tls(stream) = &mut self.reader.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
        self
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// The response to a GET.
    ///
    /// # Panics
    /// When there is none, or it is not valid HTTP.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The response to a request with `method`.
    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).unwrap_or_else(|e| {
            panic!("no response: {e}; read: {}", self.reader.log.escape_ascii())
        })
    }

    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        self.reader.response(method)
    }

    /// Remembers no longer what was read so far.
    pub fn forget(&mut self) {
        self.reader.log.clear();
    }

    /// The next `n` bytes.
    pub fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        self.reader.exactly(n)
    }

    /// How the connection ends, once it does; what comes before is thrown away.
    ///
    /// # Panics
    /// When it stays open.
    #[track_caller]
    pub fn end(&mut self) -> End {
        self.rest().1
    }

    /// All bytes up to the end, and how it came.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        match self.reader.rest() {
            Ok(bytes) => (bytes, End::Closed),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("still open; read: {}", self.reader.log.escape_ascii())
            }
            Err(_) => (self.reader.ahead().to_vec(), End::Reset),
        }
    }

    /// Asserts that the other side ends the connection cleanly and says nothing more.
    #[track_caller]
    pub fn ends(&mut self) {
        let (bytes, end) = self.rest();
        assert_eq!(bytes.escape_ascii().to_string(), "", "more was said before the end");
        assert_eq!(end, End::Closed);
    }

    /// Asserts that nothing comes, and no end, for a while.
    #[track_caller]
    pub fn is_silent_for(&mut self, time: Duration) {
        assert!(self.reader.ahead().is_empty(), "{}", self.reader.ahead().escape_ascii());
        let _ = self.socket().set_read_timeout(Some(time));
        let start = Instant::now();
        match self.reader.fill() {
            Ok(n) => panic!("{n} bytes came: {}", self.reader.ahead().escape_ascii()),
            Err(e) => assert!(start.elapsed() >= time, "ended early: {e}"),
        }
        let _ = self.socket().set_read_timeout(Some(PATIENCE));
    }

    /// Makes the kernel's receive buffer this small, so that what is not read is not taken.
    pub fn receive_buffer(&mut self, bytes: usize) -> &mut Self {
        let _ = socket2::SockRef::from(self.socket()).set_recv_buffer_size(bytes);
        self
    }

    /// Whether TLS went on from an earlier session. Known once something was read.
    pub fn is_resumed(&self) -> bool {
        match &self.reader.stream {
            Wire::Plain(_) => false,
            Wire::Tls(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.socket().local_addr().expect("connected")
    }

    pub fn socket(&self) -> &TcpStream {
        match &self.reader.stream {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }
}

/// Sends `bytes` over a connection of their own; the first response to them.
#[track_caller]
pub fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let bytes = bytes.as_ref();
    let method = bytes.split(|b| *b == b' ').next().unwrap_or_default();
    let method = String::from_utf8_lossy(method).into_owned();
    Client::connect(address).send(bytes).response_to(&method)
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(room),
            Wire::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
