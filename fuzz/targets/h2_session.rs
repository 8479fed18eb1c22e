//! A client's bytes on an HTTP/2 connection that is served: it ends, soon, however the bytes are
//! cut, and what is answered is no more than the frames that were asked for.
#![no_main]

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, LocalOptions};
use transom_net::{Stream, Worker};
use transom_proxy::action::Action;
use transom_proxy::exchange::Exchange;
use transom_proxy::local::Local;
use transom_proxy::message::{Request, Response};
use transom_proxy::peer::Peer;
use transom_proxy::policy::Answering;
use transom_proxy::route::{Router, Rule};
use transom_proxy::serve::{self, Serving};
use transom_proxy::site::{Http2, Route, Site, Sites};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

// The first byte says how the rest is cut.
fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(*cut) + 1;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let answered = runtime.expect("a runtime").block_on(session(cut, bytes));
    // A few bytes of the client's can ask for a whole response of ours, and no more than that.
    assert!(answered <= 4096 + bytes.len() * 64, "{answered} bytes for {}", bytes.len());
});

/// Serves one connection; how many bytes it said.
async fn session(cut: usize, bytes: &[u8]) -> usize {
    let worker = Worker::new(0);
    let wheel = worker.wheel().clone();
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    let local = Rc::new(Local::new(worker.clone()));
    let serving = Serving::new(Sites::new(Arc::new(ArcSwap::from_pointee(site()))), local);
    let peer = Rc::new(Peer::new(Peer::NOWHERE, Peer::NOWHERE, None));
    let served = serve::serve(Stream::unix(ours, worker), peer, serving);
    let (mut read, mut write) = theirs.into_split();
    let client = async {
        let _ = write.write_all(PREFACE).await;
        for piece in bytes.chunks(cut) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            // So that the piece is read alone.
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let reader = async {
        let mut answered = 0;
        let mut room = vec![0; 64 << 10];
        while let Ok(n) = read.read(&mut room).await
            && n > 0
        {
            answered += n;
        }
        answered
    };
    let all = async { tokio::join!(served, client, reader) };
    let wheel = async move { wheel.run().await };
    let mut wheel = std::pin::pin!(wheel);
    let mut all = std::pin::pin!(tokio::time::timeout(Duration::from_secs(8), all));
    let ended = poll_fn(|cx| {
        let _ = wheel.as_mut().poll(cx);
        all.as_mut().poll(cx)
    });
    let ((), (), answered) = ended.await.expect("a connection that is over ends");
    answered
}

/// Gives each request its own body back.
struct Echo;

impl Action for Echo {
    fn kind(&self) -> &'static str {
        "echo"
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn run<'a>(&'a self, _: &'a mut Exchange, request: Box<Request>) -> Answering<'a> {
        let mut response = Response::new(200);
        response.body = request.body;
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn site() -> Site {
    let rule = Rule::default();
    let route = Route {
        name: "echo".into(),
        chain: vec![],
        action: Box::new(Echo),
        keep: vec![],
        body_limit: None,
        bandwidth: None,
        timeouts: Default::default(),
        priority: 0,
        pages: Default::default(),
    };
    Site {
        client_auth: None,
        name: "web".into(),
        generation: 1,
        router: Router::build(vec![rule]).expect("one rule without conditions is a router"),
        routes: vec![route],
        limits: Default::default(),
        ceilings: None,
        timeouts: Default::default(),
        http2: Some(Http2::default()),
        paths: Default::default(),
        trusted: vec![],
        forwarded: Default::default(),
        request_id: Default::default(),
        vouched: vec![].into(),
        pages: Default::default(),
        sinks: vec![],
    }
}
