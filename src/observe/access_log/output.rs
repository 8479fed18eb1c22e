//! Where lines go.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::line::civil;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Appended to, and made for its owner and group where it is not there.
    File(PathBuf),
    Stderr,
    Stdout,
    Syslog(Syslog),
}

/// Where the system's log listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syslog {
    Udp(SocketAddr),
    /// Usually [`Syslog::LOCAL`].
    Unix(PathBuf),
}

impl Syslog {
    pub const LOCAL: &str = "/dev/log";
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::File(path) => write!(f, "`{}`", path.display()),
            Output::Stderr => f.write_str("`stderr`"),
            Output::Stdout => f.write_str("`stdout`"),
            Output::Syslog(Syslog::Udp(address)) => write!(f, "syslog at {address}"),
            Output::Syslog(Syslog::Unix(path)) => write!(f, "syslog at `{}`", path.display()),
        }
    }
}

impl Output {
    pub(super) fn open(&self) -> io::Result<Opened> {
        Ok(match self {
            Output::File(path) => Opened::Stream(Stream::new(file(path)?, Some(path.clone()))),
            // Not through the handle of the standard library: a reader that stands still would
            // stop everyone who prints.
            Output::Stderr => Opened::Stream(Stream::new(duplicate(io::stderr())?, None)),
            Output::Stdout => Opened::Stream(Stream::new(duplicate(io::stdout())?, None)),
            Output::Syslog(to) => Opened::Syslog(Daemon { socket: connect(to)?, to: to.clone() }),
        })
    }
}

/// An output in use.
pub(super) enum Opened {
    Stream(Stream),
    Syslog(Daemon),
}

/// What became of a write.
pub(super) struct Written {
    /// Lines that arrived whole.
    pub(super) lines: u64,
    pub(super) error: Option<io::Error>,
}

impl Opened {
    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        match self {
            Opened::Stream(stream) => stream.write(lines),
            Opened::Syslog(daemon) => daemon.write(lines),
        }
    }

    /// Opens a file anew. Where that fails, the old one stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Opened::Stream(Stream { file: opened, path: Some(path), torn }) = self {
            *opened = file(path)
                .map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", path.display())))?;
            *torn = false;
        }
        Ok(())
    }
}

fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn duplicate(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

pub(super) struct Stream {
    file: File,
    path: Option<PathBuf>,
    /// The last line is not whole, because writing it failed half way.
    torn: bool,
}

impl Stream {
    fn new(file: File, path: Option<PathBuf>) -> Self {
        Stream { file, path, torn: false }
    }

    fn write(&mut self, lines: &[u8]) -> Written {
        let mut error = None;
        if self.torn {
            match self.file.write_all(b"\n") {
                Ok(()) => self.torn = false,
                Err(e) => return Written { lines: 0, error: Some(e) },
            }
        }
        let mut done = 0;
        while done < lines.len() {
            match self.file.write(&lines[done..]) {
                Ok(0) => {
                    error = Some(ErrorKind::WriteZero.into());
                    break;
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Somebody else made the terminal or pipe non-blocking.
                #[allow(clippy::disallowed_methods)] // On the writer's own thread.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        let done = &lines[..done];
        self.torn = done.last().is_some_and(|last| *last != b'\n');
        Written { lines: done.iter().filter(|b| **b == b'\n').count() as u64, error }
    }
}

/// The system's log: one datagram for each line.
pub(super) struct Daemon {
    socket: Socket,
    to: Syslog,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Socket::Udp(socket) => socket.send(datagram),
            Socket::Unix(socket) => socket.send(datagram),
        }
        .map(drop)
    }
}

fn connect(to: &Syslog) -> io::Result<Socket> {
    match to {
        Syslog::Udp(address) => {
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            Ok(Socket::Udp(socket))
        }
        Syslog::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Ok(Socket::Unix(socket))
        }
    }
}

impl Daemon {
    fn write(&mut self, lines: &[u8]) -> Written {
        let mut written = Written { lines: 0, error: None };
        let mut datagram = self.head(SystemTime::now()).into_bytes();
        let head = datagram.len();
        let mut connected = false;
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            datagram.truncate(head);
            datagram.extend_from_slice(line);
            let mut sent = self.socket.send(&datagram);
            if sent.is_err() && !connected {
                // Once for each batch: the daemon was started anew, or is not there.
                connected = true;
                if let Ok(socket) = connect(&self.to) {
                    self.socket = socket;
                    sent = self.socket.send(&datagram);
                }
            }
            match sent {
                Ok(()) => written.lines += 1,
                Err(e) => written.error = Some(e),
            }
        }
        written
    }

    /// Facility local0, severity informational. Local daemons are spoken to as the C library does
    /// (RFC 3164), others as RFC 5424 says.
    fn head(&self, now: SystemTime) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let process = std::process::id();
        match self.to {
            Syslog::Unix(_) => {
                let month = MONTHS[month as usize - 1];
                format!("<134>{month} {day:2} {h:02}:{m:02}:{s:02} transom[{process}]: ")
            }
            Syslog::Udp(_) => format!(
                "<134>1 {year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z - transom {process} access - "
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut stream = Stream::new(file(&path).unwrap(), None);
        stream.write(b"half");
        assert!(stream.torn);
        assert_eq!(stream.write(b"whole\n").lines, 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half\nwhole\n");
    }

    #[test]
    fn a_daemon_over_udp_gets_rfc_5424() {
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Output::Syslog(Syslog::Udp(daemon.local_addr().unwrap()));
        assert_eq!(to.open().unwrap().write(b"one\ntwo\n").lines, 2);
        let mut datagram = [0; 256];
        let n = daemon.recv(&mut datagram).unwrap();
        let text = std::str::from_utf8(&datagram[..n]).unwrap();
        assert!(text.starts_with("<134>1 20") && text.ends_with(" access - one"), "{text}");
    }

    #[test]
    fn a_daemon_that_was_started_anew_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut opened = Output::Syslog(Syslog::Unix(path.clone())).open().unwrap();
        drop(first);
        assert!(opened.write(b"lost\n").error.is_some());
        std::fs::remove_file(&path).unwrap();
        let _second = UnixDatagram::bind(&path).unwrap();
        assert_eq!(opened.write(b"found\n").lines, 1);
    }
}
