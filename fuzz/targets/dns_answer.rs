//! What a DNS server answers, over the resolver as it runs: however hostile, a question is soon over
//! and leads to few others; what is taken of it is little, is allowed, and becomes endpoints.
#![no_main]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioTime};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::time::Instant;
use transom_balance::discovery::answer::{MOST, is_refused};
use transom_balance::discovery::resolver::{Family, Resolver, Settings};
use transom_balance::discovery::srv::listed;

/// More questions than that for one of ours would make Transom a weapon.
const QUESTIONS: usize = 64;

// Answers, each behind its length in two bytes; the first byte of all says what is asked for. What
// there is goes round until nobody asks any more.
fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let family = match how % 5 {
        0 => Family::PreferIpv4,
        1 => Family::PreferIpv6,
        2 => Family::Ipv4,
        3 => Family::Ipv6,
        _ => Family::Both,
    };
    let settings = Settings {
        servers: vec![SocketAddr::from(([192, 0, 2, 53], 53))],
        family,
        hosts: false,
        ..Settings::default()
    };
    // Time goes on by itself as soon as everybody waits.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let said = Said { answers: answers(bytes), questions: 0 };
        let server = Server { said: Arc::new(Mutex::new(said)), tasks: TokioHandle::default() };
        let resolver = Resolver::over(settings.clone(), server.clone());
        let patience = settings.timeout * 3 + Duration::from_millis(10);

        let begun = Instant::now();
        let services = resolver.services("_http._tcp.shop.example").await;
        assert!(begun.elapsed() <= patience, "{:?}", begun.elapsed());
        let asked = server.said.lock().unwrap().questions;
        assert!(asked <= QUESTIONS, "{asked} questions");
        if let Ok(services) = services {
            assert!((1..=MOST).contains(&services.found.len()));
            assert!((settings.min_ttl..=settings.max_ttl).contains(&services.ttl));
            assert!(services.found.is_sorted());
            let endpoints = listed(&services.found);
            assert_eq!(endpoints.len(), services.found.len(), "{:?}", services.found);
            let most = endpoints.iter().map(|one| one.priority).max().unwrap_or(0);
            for one in &endpoints {
                assert!((1..=65535).contains(&one.weight) && one.priority <= most);
                let text = one.address.to_string();
                let read = transom_balance::discovery::Listed::read(&format!("{text:?}"));
                assert_eq!(read.map(|read| read.address), Ok(one.address.clone()));
            }
        }

        let begun = Instant::now();
        let addresses = resolver.addresses("shop.example").await;
        assert!(begun.elapsed() <= patience, "{:?}", begun.elapsed());
        let asked = server.said.lock().unwrap().questions - asked;
        assert!(asked <= QUESTIONS, "{asked} questions");
        if let Ok(addresses) = addresses {
            assert!((1..=MOST).contains(&addresses.found.len()));
            assert!((settings.min_ttl..=settings.max_ttl).contains(&addresses.ttl));
            assert!(addresses.found.is_sorted());
            for ip in addresses.found {
                assert!(!is_refused(&settings.refuse, ip), "{ip}");
                assert!(ip == ip.to_canonical(), "{ip}");
            }
        }
    });
});

fn answers(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let [high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (one, more) = rest.split_at(length);
        all.push(one.to_vec());
        bytes = more;
    }
    all
}

struct Said {
    answers: Vec<Vec<u8>>,
    questions: usize,
}

/// A server that knows what a question is numbered, as one that is hostile does.
#[derive(Clone)]
struct Server {
    said: Arc<Mutex<Said>>,
    /// What the resolver starts, for as long as it is used.
    tasks: TokioHandle,
}

impl Server {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut said = self.said.lock().unwrap();
        said.questions += 1;
        let turn = (said.questions - 1).checked_rem(said.answers.len())?;
        let mut answer = said.answers[turn].clone();
        if let (Some(theirs), Some(number)) = (answer.get_mut(..2), question.get(..2)) {
            theirs.copy_from_slice(number);
        }
        Some(answer)
    }
}

/// One question and its answer.
struct Socket {
    server: Server,
    answer: Mutex<(Option<(Vec<u8>, SocketAddr)>, Option<Waker>)>,
}

impl DnsUdpSocket for Socket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut waiting = self.answer.lock().unwrap();
        let Some((answer, from)) = waiting.0.take() else {
            waiting.1 = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let n = answer.len().min(buf.len());
        buf[..n].copy_from_slice(&answer[..n]);
        Poll::Ready(Ok((n, from)))
    }

    fn poll_send_to(
        &self,
        _: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.answer.lock().unwrap();
        waiting.0 = self.server.answer(buf).map(|answer| (answer, target));
        if let Some(waker) = waiting.1.take() {
            waker.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }
}

impl RuntimeProvider for Server {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Socket;
    type Tcp = AsyncIoTokioAsStd<DuplexStream>;

    fn create_handle(&self) -> TokioHandle {
        self.tasks.clone()
    }

    fn connect_tcp(
        &self,
        _: SocketAddr,
        _: Option<SocketAddr>,
        _: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        let (ours, theirs) = duplex(1 << 17);
        tokio::spawn(serve(self.clone(), theirs));
        Box::pin(std::future::ready(Ok(AsyncIoTokioAsStd(ours))))
    }

    fn bind_udp(
        &self,
        _: SocketAddr,
        _: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Socket>>>> {
        let socket = Socket { server: self.clone(), answer: Mutex::default() };
        Box::pin(std::future::ready(Ok(socket)))
    }
}

/// The same over TCP, where each message stands behind its length.
async fn serve(server: Server, mut stream: DuplexStream) -> Option<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.ok()?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).await.ok()?;
        let answer = server.answer(&question)?;
        let length = u16::try_from(answer.len()).ok()?;
        stream.write_all(&length.to_be_bytes()).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}
