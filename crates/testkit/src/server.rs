//! An endpoint for load: it remembers nothing, so that it can run for hours, also as a process of
//! its own.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::Port;
use crate::message::{Reader, Received};

/// Answers on a loopback port until the process ends.
///
/// | target | answer |
/// |---|---|
/// | `/ws…` with an `Upgrade` | 101, and then every byte again |
/// | `/stream` | [`pattern`], 4 KiB at a time and slowly, until [`Server::finish_streams`] |
/// | `/after-N…` | as any other, after so many milliseconds |
/// | `/busy-N…` | as any other, with a report that so many hundredths of its CPU are used |
/// | any other | the server's name, the method, the target and the length of the body |
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    streams_end: AtomicBool,
    streamed: AtomicU64,
}

/// The byte of a stream at this place.
pub fn pattern(place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place / 251)) as u8
}

impl Server {
    pub fn start(name: &str) -> Self {
        Self::on(Port::listen(), name)
    }

    /// Answers on this socket.
    pub fn on(listener: TcpListener, name: &str) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Shared::new(name);
        let its = shared.clone();
        thread::spawn(move || accept(&listener, &its));
        Server { address, shared }
    }

    /// Lets every stream come to its end.
    pub fn finish_streams(&self) {
        self.shared.streams_end.store(true, Ordering::Relaxed);
    }

    /// How many bytes of streams were sent.
    pub fn streamed(&self) -> u64 {
        self.shared.streamed.load(Ordering::Relaxed)
    }
}

/// Answers on `listener` until the process ends.
pub fn serve(listener: &TcpListener, name: &str) {
    accept(listener, &Shared::new(name));
}

impl Shared {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Shared {
            name: name.to_owned(),
            streams_end: AtomicBool::new(false),
            streamed: AtomicU64::new(0),
        })
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept() {
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = socket.set_nodelay(true);
            let mut reader = Reader::new(socket);
            while let Ok(Some(request)) = reader.request(true) {
                if !request.whole || answer(&request, &mut reader, &shared).is_err() {
                    break;
                }
                reader.log.clear();
            }
        });
    }
}

fn answer(request: &Received, reader: &mut Reader<TcpStream>, shared: &Shared) -> io::Result<()> {
    if request.field("upgrade").is_some() {
        return echo(reader);
    }
    if request.target == "/stream" {
        return stream(&mut reader.stream, shared);
    }
    if let Some(millis) = number(&request.target, "/after-") {
        thread::sleep(Duration::from_millis(millis));
    }
    let load = number(&request.target, "/busy-").map_or(String::new(), |hundredths| {
        let load = hundredths as f64 / 100.0;
        format!("endpoint-load-metrics: TEXT cpu_utilization={load}\r\n")
    });
    let Received { method, target, body, .. } = request;
    let body = format!("{} {method} {target} {}", shared.name, body.len());
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\n{load}Content-Length: {length}\r\n\r\n{body}");
    reader.stream.write_all(answer.as_bytes())
}

/// The number that follows in a target.
fn number(target: &str, before: &str) -> Option<u64> {
    let rest = target.strip_prefix(before)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn echo(reader: &mut Reader<TcpStream>) -> io::Result<()> {
    // the answer to the key of RFC 6455 §1.3, which is the one that tests send
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    reader.stream.write_all(head)?;
    loop {
        if reader.ahead().is_empty() && reader.fill()? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = reader.exactly(reader.ahead().len())?;
        reader.stream.write_all(&bytes)?;
        reader.log.clear();
    }
}

fn stream(socket: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut place = 0;
    while !shared.streams_end.load(Ordering::Relaxed) {
        let bytes: Vec<u8> = (place..place + 4096).map(pattern).collect();
        socket.write_all(b"1000\r\n")?;
        socket.write_all(&bytes)?;
        socket.write_all(b"\r\n")?;
        place += 4096;
        shared.streamed.fetch_add(4096, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    socket.write_all(b"0\r\n\r\n")
}
