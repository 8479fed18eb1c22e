//! A small strict reader of HTTP/1 messages.

use std::io::{self, ErrorKind, Read};

/// Name and value, in the order and spelling of the message.
pub type Fields = Vec<(String, String)>;

/// A response as a client received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status codes of the responses before it.
    pub interim: Vec<u16>,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The body ended as the head had announced.
    pub whole: bool,
}

/// A request as an endpoint received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Which connection of the endpoint, from 0.
    pub connection: usize,
    /// Which request of that connection, from 0.
    pub number: usize,
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The body ended as the head had announced.
    pub whole: bool,
}

impl Response {
    /// The value of the only field of this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        only(&self.fields, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What [`Endpoint::echo`](crate::Endpoint::echo) told about the request.
    #[track_caller]
    pub fn echo(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {} {text}", self.status))
    }

    /// It says that the connection ends.
    pub fn closes(&self) -> bool {
        all(&self.fields, "connection").any(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Received {
    /// The value of the only field of this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        only(&self.fields, name)
    }

    /// Every value of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        all(&self.fields, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Every value of this name.
pub fn all<'a, 'n>(
    fields: &'a Fields,
    name: &'n str,
) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
    fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

#[track_caller]
fn only<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let values: Vec<_> = all(fields, name).collect();
    assert!(values.len() < 2, "{name} stands {} times: {values:?}", values.len());
    values.first().copied()
}

/// Reads messages off a stream.
#[derive(Debug)]
pub struct Reader<S> {
    pub stream: S,
    buffer: Vec<u8>,
    /// Every byte that was ever read.
    pub log: Vec<u8>,
}

/// How the end of a body is known.
enum Length {
    None,
    Bytes(usize),
    Chunked,
    UntilClose,
}

impl<S: Read> Reader<S> {
    pub fn new(stream: S) -> Self {
        Reader { stream, buffer: Vec::new(), log: Vec::new() }
    }

    /// What was read ahead.
    pub fn ahead(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads some more bytes; 0 is the end.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut room = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(n) => {
                    self.buffer.extend_from_slice(&room[..n]);
                    self.log.extend_from_slice(&room[..n]);
                    return Ok(n);
                }
            }
        }
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The next `n` bytes.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            self.must_fill()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Start line and fields; nothing at a clean end.
    pub fn head(&mut self) -> io::Result<Option<(String, Fields)>> {
        let end = loop {
            match find(&self.buffer, b"\r\n\r\n") {
                Some(end) => break end,
                None if self.fill()? > 0 => {}
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(cut_off()),
            }
        };
        let block = self.exactly(end + 4)?;
        let text: String = block[..end].iter().map(|b| char::from(*b)).collect();
        let (start, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
        Ok(Some((start.to_owned(), lines(fields)?)))
    }

    /// Reads a request; nothing at a clean end. The body only if it is wanted.
    pub fn request(&mut self, with_body: bool) -> io::Result<Option<Received>> {
        let Some((start, fields)) = self.head()? else { return Ok(None) };
        let parts: Vec<_> = start.split(' ').collect();
        let [method, target, "HTTP/1.1" | "HTTP/1.0"] = parts[..] else {
            return Err(wrong(&format!("request line `{start}`")));
        };
        let mut request =
            Received { method: method.into(), target: target.into(), fields, ..Default::default() };
        if with_body {
            let length = match length(&request.fields)? {
                Length::UntilClose => Length::None,
                known => known,
            };
            let (body, trailers, whole) = self.body(length);
            (request.body, request.trailers, request.whole) = (body, trailers, whole);
        }
        Ok(Some(request))
    }

    /// Reads the final response to a request with `method`, and those before it.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = Response::default();
        loop {
            let (start, fields) = self.head()?.ok_or_else(cut_off)?;
            let status = start
                .strip_prefix("HTTP/1.1 ")
                .and_then(|rest| rest.get(..3)?.parse().ok())
                .ok_or_else(|| wrong(&format!("status line `{start}`")))?;
            if status < 200 && status != 101 {
                response.interim.push(status);
                continue;
            }
            (response.status, response.fields) = (status, fields);
            break;
        }
        let bodyless = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        let declared = length(&response.fields)?;
        let length = if bodyless { Length::None } else { declared };
        (response.body, response.trailers, response.whole) = self.body(length);
        Ok(response)
    }

    /// The body, its trailers, and whether it ended as it should.
    fn body(&mut self, length: Length) -> (Vec<u8>, Fields, bool) {
        let mut body = Vec::new();
        let mut trailers = Fields::new();
        let done = match length {
            Length::None => Ok(()),
            Length::Bytes(n) => self.bytes(n, &mut body),
            Length::Chunked => self.chunks(&mut body, &mut trailers),
            Length::UntilClose => {
                let ended = self.rest();
                let cut = ended.is_err();
                body = ended.unwrap_or_else(|_| std::mem::take(&mut self.buffer));
                if cut { Err(cut_off()) } else { Ok(()) }
            }
        };
        (body, trailers, done.is_ok())
    }

    fn bytes(&mut self, n: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let end = body.len() + n;
        while body.len() < end {
            if self.buffer.is_empty() {
                self.must_fill()?;
            }
            let now = self.buffer.len().min(end - body.len());
            body.extend(self.buffer.drain(..now));
        }
        Ok(())
    }

    fn chunks(&mut self, body: &mut Vec<u8>, trailers: &mut Fields) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| wrong("chunk size"))?;
            if size == 0 {
                break;
            }
            self.bytes(size, body)?;
            if self.exactly(2)? != b"\r\n" {
                return Err(wrong("the end of a chunk"));
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            trailers.extend(lines(&line)?);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.exactly(end + 2)?;
                return String::from_utf8(line[..end].to_vec()).map_err(|_| wrong("a line"));
            }
            self.must_fill()?;
        }
    }

    fn must_fill(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(cut_off()) } else { Ok(()) }
    }
}

fn length(fields: &Fields) -> io::Result<Length> {
    let lengths: Vec<_> = all(fields, "content-length").collect();
    let encodings: Vec<_> = all(fields, "transfer-encoding").collect();
    match (&lengths[..], &encodings[..]) {
        ([], []) => Ok(Length::UntilClose),
        ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(Length::Bytes).map_err(|_| wrong("Content-Length"))
        }
        ([], ["chunked"]) => Ok(Length::Chunked),
        _ => Err(wrong(&format!("framing {lengths:?} {encodings:?}"))),
    }
}

fn lines(block: &str) -> io::Result<Fields> {
    let line = |line: &str| match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !line.contains(['\r', '\n', '\0']) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err(wrong(&format!("field line {line:?}"))),
    };
    block.split("\r\n").filter(|l| !l.is_empty()).map(line).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the stream ended inside a message")
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not valid: {what}"))
}
