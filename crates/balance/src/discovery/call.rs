//! One HTTP/1.1 request to whoever knows about endpoints: a registry, Docker, a webhook.
//!
//! It dials and encrypts as requests do, and takes answers apart with the codec of the house. A
//! redirect is not followed: it is an answer like any other that is not 2xx (U-11).

use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use transom_net::tls::client::{ClientTls, server_name};
use transom_net::{Address, Size, Source, Stream, Target, dial};
use transom_proxy::codec::head::{self, HeadLimits};
use transom_proxy::codec::{Decoder, Piece, framing};
use transom_proxy::fields::Fields;
use transom_proxy::message::Method;
use transom_settings::json::Value as Json;
use transom_settings::{EndpointAddress, EndpointHost};

use super::Reach;

/// Longest line or body that is taken, bytes.
const LONGEST: usize = 16 << 20;

/// Where to ask.
#[derive(Clone)]
pub struct Server {
    pub address: EndpointAddress,
    pub tls: Option<Arc<ClientTls>>,
    /// In front of every path.
    pub prefix: String,
    /// Sent with every request: who asks.
    pub fields: Vec<(String, String)>,
}

/// What is asked.
pub struct Request<'a> {
    pub method: &'static str,
    pub path: &'a str,
    pub fields: &'a [(&'a str, &'a str)],
    pub body: Option<&'a Json>,
    /// How long the head of the answer may take.
    pub patience: Duration,
}

/// How long a server may acknowledge nothing, after a minute of silence.
const UNANSWERED: Duration = Duration::from_secs(30);

/// Ten seconds: for everything but questions that wait for news.
pub const PATIENCE: Duration = Duration::from_secs(10);

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Request { method: "GET", path, fields: &[], body: None, patience: PATIENCE }
    }

    pub fn post(path: &'a str, body: &'a Json) -> Self {
        Request { method: "POST", body: Some(body), ..Request::get(path) }
    }
}

/// An answer whose body is still to be read.
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    stream: Stream,
    decoder: Decoder,
    /// Read of the body and not yet asked for.
    held: Vec<u8>,
}

impl Server {
    /// A server behind a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let address = EndpointAddress::Unix(path.into());
        Server { address, tls: None, prefix: String::new(), fields: Vec::new() }
    }

    /// Asks, on a connection of its own.
    ///
    /// # Errors
    /// Why there is no answer, in one line.
    pub async fn call(&self, reach: &Reach, request: Request<'_>) -> Result<Answer, String> {
        let patience = request.patience;
        let answer = tokio::time::timeout(patience, self.exchange(reach, request)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", patience.as_secs()));
        answer.and_then(|answer| answer).map_err(|why| format!("{}: {why}", self.address))
    }

    /// Asks for JSON, and takes no answer but 2xx.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub async fn json(&self, reach: &Reach, request: Request<'_>) -> Result<Json, String> {
        self.call(reach, request).await?.ok(&self.address).await?.json().await
    }

    async fn exchange(&self, reach: &Reach, request: Request<'_>) -> Result<Answer, String> {
        let target = self.target(reach).await?;
        let mut stream = dial(&target, &reach.worker).await.map_err(|e| with_causes(&e))?;
        // News may be waited for without end: a server that is gone without a word must not look like one
        // that has none (U-09).
        stream.watch_for_silence(UNANSWERED);
        write(&mut stream, &self.head(&request)).await.map_err(|e| format!("sending: {e}"))?;
        let head = loop {
            if let Some(head) = head::response(stream.filled(), &HeadLimits::RESPONSE)
                .map_err(|e| format!("its answer is not HTTP: {e}"))?
            {
                stream.consume(head.length);
                match head.status {
                    100..200 => continue,
                    _ => break head,
                }
            }
            match poll_fn(|cx| stream.poll_fill(Size::Large, cx)).await {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(_) => {}
                Err(e) => return Err(format!("reading: {e}")),
            }
        };
        let method = Method::of(request.method);
        let framing = framing::of_response(head.version, head.status, &head.fields, &method)
            .map_err(|e| e.to_string())?;
        Ok(Answer {
            status: head.status,
            fields: head.fields,
            stream,
            decoder: Decoder::new(framing),
            held: Vec::new(),
        })
    }

    fn head(&self, request: &Request<'_>) -> Vec<u8> {
        let Request { method, path, .. } = request;
        let host = match &self.address {
            EndpointAddress::Unix(_) => "localhost".to_owned(),
            tcp => tcp.to_string(),
        };
        let mut text = format!("{method} {}{path} HTTP/1.1\r\nhost: {host}\r\n", self.prefix);
        let own = self.fields.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in own.chain(request.fields.iter().copied()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("accept: application/json\r\nuser-agent: transom\r\nconnection: close\r\n");
        let body = request.body.map(Json::to_string);
        if let Some(body) = &body {
            let length = body.len();
            text.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        text.push_str("\r\n");
        text.push_str(&body.unwrap_or_default());
        text.into_bytes()
    }

    async fn target(&self, reach: &Reach) -> Result<Target, String> {
        let (host, port) = match &self.address {
            EndpointAddress::Unix(path) => {
                return Ok(Target {
                    address: Address::Unix(path.clone()),
                    tls: None,
                    source: Source::Any,
                });
            }
            EndpointAddress::Tcp { host, port } => (host, *port),
        };
        let ip: IpAddr = match host {
            EndpointHost::Ip(ip) => *ip,
            EndpointHost::Name(name) => {
                let found = reach.resolver.addresses(name).await.map_err(|e| e.to_string())?;
                found.found.first().copied().ok_or("it has no address")?
            }
        };
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let name = server_name(&host.to_string()).map_err(|e| e.to_string())?;
                Some((tls.clone(), name))
            }
        };
        Ok(Target { address: Address::Tcp(SocketAddr::new(ip, port)), tls, source: Source::Any })
    }
}

impl Answer {
    /// This answer, if it is 2xx.
    ///
    /// # Errors
    /// What it says otherwise.
    pub async fn ok(mut self, asked: &EndpointAddress) -> Result<Self, String> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        let said = match tokio::time::timeout(PATIENCE, self.more()).await {
            Ok(Ok(Some(bytes))) => String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into(),
            _ => String::new(),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).collect();
        Err(format!("{asked}: it answers {status}: {said}"))
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// When it is cut off, too long, or no JSON.
    pub async fn json(mut self) -> Result<Json, String> {
        let mut whole = std::mem::take(&mut self.held);
        let reading = async {
            while let Some(more) = self.more().await? {
                whole.extend_from_slice(&more);
                if whole.len() > LONGEST {
                    return Err("its answer is longer than 16 MiB".to_owned());
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.map_err(|_| "its answer does not end".to_owned())??;
        transom_settings::json::from_slice(&whole)
            .map_err(|e| format!("its answer is no JSON: {e}"))
    }

    /// The next line of a body that goes on; nothing at its end. Waits as long as it takes.
    ///
    /// # Errors
    /// When it is cut off or too long.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.held[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.held.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.held, rest)));
            }
            searched = self.held.len();
            if searched > LONGEST {
                return Err("a line is longer than 16 MiB".into());
            }
            match self.more().await? {
                Some(more) => self.held.extend_from_slice(&more),
                None if self.held.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.held))),
            }
        }
    }

    /// More of the body; nothing at its end.
    async fn more(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let bytes = self.stream.filled();
            match self.decoder.front(bytes).map_err(|e| e.to_string())? {
                Piece::Data(n) if n > 0 => {
                    let data = bytes[..n].to_vec();
                    self.decoder.took(n);
                    self.stream.consume(n);
                    return Ok(Some(data));
                }
                Piece::Skip(n) => self.stream.consume(n),
                Piece::End => return Ok(None),
                Piece::Data(_) | Piece::More => {
                    match poll_fn(|cx| self.stream.poll_fill(Size::Large, cx)).await {
                        Ok(0) if self.decoder.close() => return Ok(None),
                        Ok(0) => return Err("it closed the connection in its answer".into()),
                        Ok(_) => {}
                        Err(e) => return Err(format!("reading: {e}")),
                    }
                }
            }
        }
    }
}

async fn write(stream: &mut Stream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(&[IoSlice::new(bytes)], cx)).await?;
        bytes = &bytes[n..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A text as a part of a path or query.
pub fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}
