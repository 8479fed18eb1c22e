//! A scripted HTTP/1 server that remembers every byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::message::{Reader, Received};
use crate::{PATIENCE, Port};

/// A server on a loopback port of its own. What it does with a request, or with a whole connection,
/// is a closure. Dropping it ends its connections.
pub struct Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// One connection, in the hands of a script.
pub struct Line {
    /// Which connection of the endpoint, from 0.
    pub connection: usize,
    reader: Reader<Logged>,
    open: bool,
}

type OnRequest = Box<dyn Fn(&Received, &mut Line) + Send + Sync>;
type OnAccept = Box<dyn Fn(&mut Line) + Send + Sync>;

enum Script {
    /// After the whole request was read.
    Request(OnRequest),
    /// After the head was read.
    Head(OnRequest),
    /// Instead of reading requests.
    Connection(OnAccept),
}

struct Shared {
    script: Script,
    tls: Option<Arc<ServerConfig>>,
    log: Mutex<Log>,
    changed: Condvar,
    over: AtomicBool,
}

/// What has happened so far.
#[derive(Default)]
pub struct Log {
    /// Every byte, by connection.
    pub bytes: Vec<Vec<u8>>,
    pub requests: Vec<Received>,
    /// Connections that have ended.
    pub ended: usize,
    /// What was not HTTP.
    pub broken: Vec<String>,
    sockets: Vec<TcpStream>,
}

impl Endpoint {
    /// Answers each request with a JSON object that says what arrived.
    pub fn echo() -> Self {
        Self::new(|request, line| line.send(echo(request)))
    }

    /// Hands each request, once it is whole, to `script`.
    pub fn new(script: impl Fn(&Received, &mut Line) + Send + Sync + 'static) -> Self {
        Self::start(Script::Request(Box::new(script)))
    }

    /// Hands each head to `script`, which reads the body if it wants it.
    pub fn early(script: impl Fn(&Received, &mut Line) + Send + Sync + 'static) -> Self {
        Self::start(Script::Head(Box::new(script)))
    }

    /// Hands each connection to `script` as it is accepted.
    pub fn raw(script: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        Self::start(Script::Connection(Box::new(script)))
    }

    /// Sends these bytes as the answer to each request, whatever it is, except that targets which
    /// begin with `/victim` are echoed.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |request, line| {
            if request.target.starts_with("/victim") {
                line.send(echo(request));
            } else {
                line.send(&bytes);
            }
        })
    }

    /// As [`Endpoint::answering`], and then ends the connection.
    pub fn answering_last(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |request, line| {
            if request.target.starts_with("/victim") {
                line.send(echo(request));
            } else {
                line.send(&bytes);
                line.end();
            }
        })
    }

    /// As [`Endpoint::new`], over TLS.
    pub fn tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Received, &mut Line) + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Script::Request(Box::new(script)), Some(config))
    }

    fn start(script: Script) -> Self {
        Self::start_with(script, None)
    }

    fn start_with(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = Port::listen();
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script,
            tls,
            log: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let its = shared.clone();
        let accepting = Some(thread::spawn(move || accept(&listener, &its)));
        Endpoint { address, shared, accepting }
    }

    /// What has happened so far.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log.lock().expect("no script panics with the log in hand")
    }

    pub fn requests(&self) -> Vec<Received> {
        self.log().requests.clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn request(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().expect("there is one")
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.log().bytes.len()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        let log = self.log();
        log.bytes.len() - log.ended
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub fn until(&self, what: &str, condition: impl Fn(&Log) -> bool) {
        let start = Instant::now();
        let mut log = self.log();
        while !condition(&log) {
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                drop(log);
                panic!("waited in vain until {what}");
            };
            let waited = self.shared.changed.wait_timeout(log, left);
            log = waited.expect("no script panics with the log in hand").0;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for socket in self.log().sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the one who accepts, so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
        // From here on nobody listens there.
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// The answer of [`Endpoint::echo`].
pub fn echo(request: &Received) -> Vec<u8> {
    let body = json!({
        "connection": request.connection,
        "number": request.number,
        "method": request.method,
        "target": request.target,
        "fields": request.fields,
        "body": request.text(),
    });
    ok(&body.to_string())
}

/// A plain response with this body.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.over.load(Ordering::Relaxed) {
            return;
        }
        let connection = {
            let mut log = shared.log.lock().expect("no script panics with the log in hand");
            log.bytes.push(Vec::new());
            log.sockets.extend(socket.try_clone());
            log.bytes.len() - 1
        };
        shared.changed.notify_all();
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = socket.set_nodelay(true);
            let wire = match &shared.tls {
                None => Wire::Plain(socket),
                Some(config) => {
                    let session = ServerConnection::new(config.clone());
                    let session = session.expect("a valid configuration");
                    Wire::Tls(Box::new(StreamOwned::new(session, socket)))
                }
            };
            let stream = Logged { wire, connection, shared: shared.clone() };
            let mut line = Line { connection, reader: Reader::new(stream), open: true };
            let _ = serve(&mut line, &shared);
            line.end();
            shared.log.lock().expect("no script panics with the log in hand").ended += 1;
            shared.changed.notify_all();
        });
    }
}

fn serve(line: &mut Line, shared: &Shared) -> io::Result<()> {
    let (script, with_body) = match &shared.script {
        Script::Request(script) => (script, true),
        Script::Head(script) => (script, false),
        Script::Connection(script) => {
            script(line);
            return Ok(());
        }
    };
    for number in 0.. {
        let request = match line.reader.request(with_body) {
            Ok(Some(request)) => request,
            Ok(None) => break,
            Err(e) => {
                let mut log = shared.log.lock().expect("no script panics with the log in hand");
                log.broken.push(format!("connection {}: {e}", line.connection));
                break;
            }
        };
        let request = Received { connection: line.connection, number, ..request };
        {
            let mut log = shared.log.lock().expect("no script panics with the log in hand");
            log.requests.push(request.clone());
        }
        shared.changed.notify_all();
        script(&request, line);
        if !line.open {
            break;
        }
    }
    Ok(())
}

impl Line {
    /// Sends bytes; that nobody takes them any more is no fault of the script.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.stream.wire.write_all(bytes.as_ref());
    }

    /// Sends as long as bytes are taken; says how many were.
    pub fn pour(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.reader.stream.wire.write(&bytes[sent..]) {
                Ok(n) if n > 0 => sent += n,
                _ => break,
            }
        }
        sent
    }

    /// Sends one byte at a time.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>, every: Duration) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            thread::sleep(every);
        }
    }

    /// Says and reads nothing until the other side has ended.
    pub fn stall(&mut self) {
        let _ = self.reader.rest();
        self.open = false;
    }

    /// Waits.
    pub fn wait(&mut self, time: Duration) {
        thread::sleep(time);
    }

    /// Ends our direction only.
    pub fn end_sending(&mut self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Ends the connection with FIN; over TLS without a word before.
    pub fn end(&mut self) {
        self.open = false;
        let _ = self.socket().shutdown(Shutdown::Both);
    }

    /// Says over TLS that this was all.
    pub fn close_notify(&mut self) {
        if let Wire::Tls(stream) = &mut self.reader.stream.wire {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }

    /// The name that was asked for over TLS.
    pub fn name(&self) -> Option<String> {
        match &self.reader.stream.wire {
            Wire::Tls(stream) => stream.conn.server_name().map(str::to_owned),
            Wire::Plain(_) => None,
        }
    }

    fn socket(&self) -> &TcpStream {
        match &self.reader.stream.wire {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// Ends the connection with RST.
    pub fn reset(&mut self) {
        self.open = false;
        let shared = self.reader.stream.shared.clone();
        let mut log = shared.log.lock().expect("no script panics with the log in hand");
        let own = self.socket().peer_addr().ok();
        // The last handle must go for the linger time to count.
        log.sockets.retain(|socket| socket.peer_addr().ok() != own);
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
        if let Ok(nowhere) = unconnected() {
            self.reader.stream.wire = Wire::Plain(nowhere);
        }
    }

    /// Reads a head and no more.
    pub fn read_request(&mut self) -> Option<Received> {
        self.reader.request(true).ok().flatten()
    }

    /// The next `n` bytes.
    pub fn read(&mut self, n: usize) -> Option<Vec<u8>> {
        self.reader.exactly(n).ok()
    }

    /// Everything up to the end.
    pub fn read_rest(&mut self) -> Vec<u8> {
        self.reader.rest().unwrap_or_default()
    }
}

/// A socket that takes the place of one that must be closed now.
fn unconnected() -> io::Result<TcpStream> {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).map(TcpStream::from)
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
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

/// A socket whose bytes are remembered.
struct Logged {
    wire: Wire,
    connection: usize,
    shared: Arc<Shared>,
}

impl Read for Logged {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let n = self.wire.read(room)?;
        let mut log = self.shared.log.lock().expect("no script panics with the log in hand");
        log.bytes[self.connection].extend_from_slice(&room[..n]);
        drop(log);
        self.shared.changed.notify_all();
        Ok(n)
    }
}
