//! A scripted HTTP/2 server, on frames made by the `h2` crate.
//!
//! What no library sends is written byte by byte over [`Endpoint::raw`](crate::Endpoint::raw).

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use crate::message::{Fields, Received};
use crate::{PATIENCE, Port};

/// What the server allows, and when it says goodbye.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub streams: Option<u32>,
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    pub window: Option<u32>,
    /// GOAWAY in two steps once so many streams have begun.
    pub goaway_after: Option<usize>,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
    pub connect: bool,
}

/// A server on a loopback port of its own. Dropping it ends its connections.
pub struct H2Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<H2Log>,
    changed: Condvar,
}

/// What has happened so far.
#[derive(Default)]
pub struct H2Log {
    /// Requests whose head has come; body and trailers follow once a script has read them.
    pub requests: Vec<Received>,
    pub connections: usize,
    pub open: usize,
    /// Streams that are in the hands of a script, and most at once on one connection.
    pub streams: usize,
    pub most_streams: usize,
    /// Streams that the client has reset, with the code.
    pub resets: Vec<u32>,
}

/// One stream, in the hands of a script.
pub struct H2Exchange {
    pub received: Received,
    /// Which request of the endpoint, from 0.
    pub index: usize,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
}

/// The rest of a response whose head was sent.
pub struct H2Sending(pub SendStream<Bytes>);

type Script = Rc<dyn Fn(H2Exchange) -> Pin<Box<dyn Future<Output = ()>>>>;

impl H2Endpoint {
    /// Answers each request with a JSON object that says what arrived.
    pub fn echo() -> Self {
        Self::new(Manners::default(), |exchange| exchange.echo())
    }

    /// Hands each request, once its head is there, to `script`.
    pub fn new<F>(
        manners: Manners,
        script: impl Fn(H2Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::start(manners, None, script)
    }

    /// The same over TLS. Which protocols it offers is in `config`.
    pub fn tls<F>(
        config: Arc<ServerConfig>,
        manners: Manners,
        script: impl Fn(H2Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::start(manners, Some(config), script)
    }

    fn start<F>(
        manners: Manners,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(H2Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = Port::listen();
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let script: Script = Rc::new(move |exchange| Box::pin(script(exchange)));
            let tls = tls.map(tokio_rustls::TlsAcceptor::from);
            LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).expect("a listening socket");
                tokio::select! {
                    () = accept(listener, tls, manners, script, its) => {}
                    _ = stopped => {}
                }
            });
        });
        H2Endpoint { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// What has happened so far.
    pub fn log(&self) -> MutexGuard<'_, H2Log> {
        self.shared.log.lock().expect("no script panics with the log in hand")
    }

    pub fn requests(&self) -> Vec<Received> {
        self.log().requests.clone()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.log().connections
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub fn until(&self, what: &str, condition: impl Fn(&H2Log) -> bool) {
        let start = Instant::now();
        let mut log = self.log();
        while !condition(&log) {
            let left = PATIENCE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| panic!("waited in vain until {what}"));
            let waited = self.shared.changed.wait_timeout(log, left);
            log = waited.expect("no script panics with the log in hand").0;
        }
    }
}

impl Drop for H2Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut H2Log)) {
        change(&mut self.log.lock().expect("no script panics with the log in hand"));
        self.changed.notify_all();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    manners: Manners,
    script: Script,
    shared: Arc<Shared>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        let (script, shared, tls) = (script.clone(), shared.clone(), tls.clone());
        let mut connection = 0;
        shared.note(|log| {
            connection = log.connections;
            log.connections += 1;
            log.open += 1;
        });
        spawn_local(async move {
            match tls {
                None => serve(socket, connection, manners, script, &shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        serve(stream, connection, manners, script, &shared).await;
                    }
                }
            }
            shared.note(|log| log.open -= 1);
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    manners: Manners,
    script: Script,
    shared: &Arc<Shared>,
) {
    let mut builder = server::Builder::new();
    builder.initial_window_size(manners.window.unwrap_or(1 << 20));
    builder.initial_connection_window_size(16 << 20);
    if let Some(streams) = manners.streams {
        builder.max_concurrent_streams(streams);
    }
    if manners.connect {
        builder.enable_connect_protocol();
    }
    let Ok(mut wire) = builder.handshake(stream).await else { return };
    let here = Rc::new(std::cell::Cell::new(0));
    let mut number = 0;
    while let Some(Ok((request, respond))) = wire.accept().await {
        let received = received(&request, connection, number);
        number += 1;
        here.set(here.get() + 1);
        let mut index = 0;
        shared.note(|log| {
            index = log.requests.len();
            log.requests.push(received.clone());
            log.streams += 1;
            log.most_streams = log.most_streams.max(here.get());
        });
        let body = request.into_body();
        let exchange = H2Exchange { received, index, body, respond, shared: shared.clone() };
        let (running, its, here) = (script(exchange), shared.clone(), here.clone());
        spawn_local(async move {
            running.await;
            here.set(here.get() - 1);
            its.note(|log| log.streams -= 1);
        });
        if manners.goaway_after == Some(number) {
            wire.graceful_shutdown();
        }
    }
}

fn received(request: &Request<RecvStream>, connection: usize, number: usize) -> Received {
    let uri = request.uri();
    let mut fields = lines(request.headers());
    if let Some(authority) = uri.authority() {
        fields.insert(0, (":authority".into(), authority.to_string()));
    }
    if let Some(scheme) = uri.scheme_str() {
        fields.insert(0, (":scheme".into(), scheme.into()));
    }
    Received {
        connection,
        number,
        method: request.method().to_string(),
        target: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        fields,
        ..Received::default()
    }
}

fn lines(map: &HeaderMap) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(name, value.parse().expect("a value"));
    }
    map
}

impl H2Exchange {
    /// The next part of the body; nothing at its end.
    pub async fn part(&mut self) -> Option<Bytes> {
        match self.body.data().await? {
            Ok(bytes) => {
                let _ = self.body.flow_control().release_capacity(bytes.len());
                Some(bytes)
            }
            Err(e) => {
                let code = e.reason().map_or(u32::MAX, u32::from);
                self.shared.note(|log| log.resets.push(code));
                None
            }
        }
    }

    /// Reads what is left of the request.
    pub async fn read(&mut self) {
        while let Some(part) = self.part().await {
            self.received.body.extend_from_slice(&part);
        }
        if let Ok(trailers) = self.body.trailers().await {
            self.received.whole = true;
            self.received.trailers = trailers.as_ref().map(lines).unwrap_or_default();
        }
        let (index, received) = (self.index, self.received.clone());
        self.shared.note(|log| log.requests[index] = received);
    }

    /// A response before the final one.
    pub fn interim(&mut self, status: u16, fields: &[(&str, &str)]) {
        let _ = self.respond.send_informational(head(status, fields));
    }

    /// The head of the response, and its end where there is nothing more.
    pub fn head(&mut self, status: u16, fields: &[(&str, &str)], last: bool) -> H2Sending {
        let sent = self.respond.send_response(head(status, fields), last);
        H2Sending(sent.expect("the first response"))
    }

    /// A whole response.
    pub async fn answer(mut self, status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) {
        let body = body.into();
        let mut sending = self.head(status, fields, body.is_empty());
        if !body.is_empty() {
            sending.send(body).await;
            sending.end();
        }
    }

    /// The answer of [`H2Endpoint::echo`].
    pub async fn echo(mut self) {
        self.read().await;
        let request = &self.received;
        let body = serde_json::json!({
            "connection": request.connection,
            "number": request.number,
            "method": request.method,
            "target": request.target,
            "fields": request.fields,
            "body": request.text(),
            "trailers": request.trailers,
        });
        let body = body.to_string();
        let length = body.len().to_string();
        self.answer(200, &[("content-length", &length)], body).await;
    }

    /// Ends the stream at once.
    pub fn reset(mut self, reason: h2::Reason) {
        self.respond.send_reset(reason);
    }

    /// Waits until the client resets the stream; the code.
    pub async fn until_reset(&mut self) -> Option<h2::Reason> {
        let reset = std::future::poll_fn(|cx| self.respond.poll_reset(cx)).await.ok();
        let code = reset.map_or(u32::MAX, u32::from);
        self.shared.note(|log| log.resets.push(code));
        reset
    }

    /// Whether the client has reset the stream by now.
    pub fn is_reset(&mut self) -> bool {
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        self.respond.poll_reset(cx).is_ready()
    }

    /// Waits.
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    *response.headers_mut() = map(fields);
    response
}

impl H2Sending {
    /// Sends as the client takes it. Says whether it took all.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            self.0.reserve_capacity(bytes.len());
            if self.0.capacity() == 0 {
                match std::future::poll_fn(|cx| self.0.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    _ => return false,
                }
            }
            let part = bytes.split_to(self.0.capacity().min(bytes.len()));
            if self.0.send_data(part, false).is_err() {
                return false;
            }
        }
        true
    }

    pub fn end(mut self) {
        let _ = self.0.send_data(Bytes::new(), true);
    }

    pub fn trailers(mut self, fields: &[(&str, &str)]) {
        let _ = self.0.send_trailers(map(fields));
    }

    pub fn reset(mut self, reason: h2::Reason) {
        self.0.send_reset(reason);
    }
}
