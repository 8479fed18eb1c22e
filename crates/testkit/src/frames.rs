//! An HTTP/2 client that sends any frames, right or wrong.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;

/// With which a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    /// The last stream of GOAWAY.
    pub fn last_stream(&self) -> u32 {
        let bytes = self.payload.get(..4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }
}

/// One connection.
pub struct Frames {
    wire: Wire,
    /// By how much windows were opened, by stream; 0 is the connection's.
    pub opened: BTreeMap<u32, u32>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Frames {
    /// Connects, and sends preface and empty settings.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let mut frames = Self::raw(address);
        frames.send(PREFACE).frame(SETTINGS, 0, 0, b"");
        frames
    }

    /// Connects, and sends nothing.
    #[track_caller]
    pub fn raw(address: SocketAddr) -> Self {
        Frames { wire: Wire::Plain(dial(address)), opened: BTreeMap::new() }
    }

    /// As [`Frames::raw`], over TLS; and what was agreed on there.
    #[track_caller]
    pub fn tls(
        address: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> (Self, Option<Vec<u8>>) {
        let name = name.to_owned().try_into().expect("a host name");
        let session = ClientConnection::new(config, name).expect("a valid configuration");
        let mut stream = StreamOwned::new(session, dial(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        let agreed = stream.conn.alpn_protocol().map(<[u8]>::to_vec);
        (Frames { wire: Wire::Tls(Box::new(stream)), opened: BTreeMap::new() }, agreed)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        // That the other side takes no more is for the test to find in what it reads.
        let _ = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        self
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// A GET without a body.
    pub fn get(&mut self, stream: u32, path: &str) -> &mut Self {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(path)))
    }

    /// A POST whose body is still to come.
    pub fn post(&mut self, stream: u32, more: &[(&str, &str)]) -> &mut Self {
        let mut lines = get("/");
        lines[0].1 = "POST";
        lines.extend_from_slice(more);
        self.frame(HEADERS, END_HEADERS, stream, &block(&lines))
    }

    pub fn headers(&mut self, stream: u32, flags: u8, lines: &[(&str, &str)]) -> &mut Self {
        self.frame(HEADERS, END_HEADERS | flags, stream, &block(lines))
    }

    pub fn reset(&mut self, stream: u32) -> &mut Self {
        self.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
    }

    pub fn open_window(&mut self, stream: u32, by: u32) -> &mut Self {
        self.frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
    }

    /// The next frame.
    pub fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.read_exact(&mut head)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b));
        let mut payload = vec![0; number(&head[..3]) as usize];
        self.read_exact(&mut payload)?;
        let stream = number(&head[5..]) & 0x7fff_ffff;
        if head[3] == WINDOW_UPDATE {
            *self.opened.entry(stream).or_default() += number(&payload);
        }
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn read_exact(&mut self, room: &mut [u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.read_exact(room),
            Wire::Tls(stream) => stream.read_exact(room),
        }
    }

    /// The next frame for which `wanted` holds; others are passed over, SETTINGS and PING
    /// acknowledged.
    ///
    /// # Panics
    /// When the connection ends before.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        loop {
            let frame = self.read().unwrap_or_else(|e| panic!("no {what}: {e}, after {seen:?}"));
            if wanted(&frame) {
                return frame;
            }
            if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
                let payload = if frame.kind == PING { frame.payload.clone() } else { Vec::new() };
                self.frame(frame.kind, ACK, 0, &payload);
            }
            seen.push((frame.kind, frame.stream, frame.payload.len()));
        }
    }

    /// The GOAWAY that comes.
    #[track_caller]
    pub fn goaway(&mut self) -> Frame {
        self.until("GOAWAY", |frame| frame.kind == GOAWAY)
    }

    /// With which error this stream is reset.
    #[track_caller]
    pub fn reset_of(&mut self, stream: u32) -> u32 {
        self.until("RST_STREAM", |frame| frame.kind == RST_STREAM && frame.stream == stream).code()
    }

    /// The head of the response on this stream has come.
    #[track_caller]
    pub fn answer_of(&mut self, stream: u32) -> Frame {
        self.until("HEADERS", |frame| frame.kind == HEADERS && frame.stream == stream)
    }

    /// The connection ends, whatever comes before.
    #[track_caller]
    pub fn ends(&mut self) {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    panic!("the connection stays open")
                }
                Err(_) => return,
            }
        }
    }

    pub fn is_alive(&mut self) -> bool {
        self.frame(PING, 0, 0, b"are you?");
        loop {
            match self.read() {
                Ok(frame) if frame.kind == PING && frame.flags & ACK != 0 => return true,
                Ok(frame) if frame.kind == GOAWAY => return false,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The lines of a GET.
pub fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// A header block without compression (RFC 7541 §6.2.2), in which any bytes may stand.
pub fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in lines {
        out.push(0);
        text(name.as_bytes(), &mut out);
        text(value.as_bytes(), &mut out);
    }
    out
}

/// A literal of RFC 7541 §5.2, without Huffman coding.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() < 127 {
        out.push(bytes.len() as u8);
    } else {
        out.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            out.push(rest as u8 | 128);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(bytes);
}
