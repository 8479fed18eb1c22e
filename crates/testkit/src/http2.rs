//! An HTTP/2 client that keeps the rules.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::PATIENCE;
use crate::message::{Fields, Response};

/// One connection without TLS. It is served only while one of its functions waits.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// A request on its way.
pub struct Asked {
    pub response: ResponseFuture,
    pub body: SendStream<Bytes>,
}

impl Http2 {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(address, |_| ())
    }

    /// With further settings.
    #[track_caller]
    pub fn with(address: SocketAddr, set: impl FnOnce(&mut Builder)) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut builder = Builder::new();
        set(&mut builder);
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("somebody listens");
            let (sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Http2 { runtime, sender }
    }

    /// Waits for what is to be, and no longer than must be.
    #[track_caller]
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        waited.unwrap_or_else(|_| panic!("waited in vain"))
    }

    /// Begins a request; `last` where it has no body.
    #[track_caller]
    pub fn begin(&mut self, request: Request<()>, last: bool) -> Result<Asked, h2::Error> {
        let sender = self.sender.clone();
        let mut sender = self.wait(sender.ready())?;
        let (response, body) = sender.send_request(request, last)?;
        Ok(Asked { response, body })
    }

    /// The response to a request that has begun.
    #[track_caller]
    pub fn finish(&self, asked: Asked) -> Result<Response, h2::Error> {
        self.wait(response(asked.response))
    }

    /// The head of the response, and what follows.
    #[track_caller]
    pub fn head(&self, asked: Asked) -> Result<(u16, HeaderMap, RecvStream), h2::Error> {
        let (head, body) = self.wait(asked.response)?.into_parts();
        Ok((head.status.as_u16(), head.headers, body))
    }

    /// The response to a request with this body.
    #[track_caller]
    pub fn try_ask(&mut self, request: Request<()>, body: &[u8]) -> Result<Response, h2::Error> {
        let mut asked = self.begin(request, body.is_empty())?;
        if !body.is_empty() {
            asked.body.send_data(Bytes::copy_from_slice(body), true)?;
        }
        self.finish(asked)
    }

    #[track_caller]
    pub fn ask(&mut self, request: Request<()>, body: &[u8]) -> Response {
        self.try_ask(request, body).unwrap_or_else(|e| panic!("no response: {e}"))
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(request("GET", path, &[]), b"")
    }

    /// The connection has been ended by the other side.
    #[track_caller]
    pub fn ended(&self) -> bool {
        let mut sender = self.sender.clone();
        self.wait(poll_fn(|cx| match sender.poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(true),
            _ => Poll::Ready(false),
        }))
    }

    /// Serves the connection for so long.
    pub fn pass(&self, time: std::time::Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Serves the connection until `condition` holds.
    #[track_caller]
    pub fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
            self.pass(std::time::Duration::from_millis(5));
        }
    }
}

/// A request to the host `a`.
#[track_caller]
pub fn request(method: &str, path: &str, lines: &[(&str, &str)]) -> Request<()> {
    let uri = format!("http://a{path}");
    let mut request = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a valid request")
}

async fn response(mut coming: ResponseFuture) -> Result<Response, h2::Error> {
    let mut interim = Vec::new();
    let coming = poll_fn(|cx| {
        while let Poll::Ready(Some(head)) = coming.poll_informational(cx) {
            match head {
                Ok(head) => interim.push(head.status().as_u16()),
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        std::pin::Pin::new(&mut coming).poll(cx)
    });
    let (head, mut stream) = coming.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    let trailers = stream.trailers().await?.map(|map| fields(&map)).unwrap_or_default();
    Ok(Response {
        interim,
        status: head.status.as_u16(),
        fields: fields(&head.headers),
        body,
        trailers,
        whole: true,
    })
}

fn fields(map: &HeaderMap) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}
