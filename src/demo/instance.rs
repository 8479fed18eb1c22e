//! One instance of the order service, which can be killed and comes back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// How long one stays away that was killed.
pub(super) const AWAY: Duration = Duration::from_secs(15);

/// A server on a thread of its own.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Kill,
    Start,
}

impl Instance {
    /// Takes a port that is free, and answers there.
    pub(super) fn start(service: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (orders, given) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("instance".into());
        thread.spawn(move || run(listener, address, &service, given))?;
        Ok(Instance { address, orders })
    }

    /// Ends it at once, with all of its connections.
    pub(super) fn kill(&self) {
        let _ = self.orders.send(Order::Kill);
    }

    /// Has it come back at once.
    pub(super) fn come_back(&self) {
        let _ = self.orders.send(Order::Start);
    }
}

fn run(
    listener: TcpListener,
    address: SocketAddr,
    service: &Router,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = Some(listener);
    loop {
        // its connections end with the runtime, as those of a process do
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        let bound = listener.take().map_or_else(|| TcpListener::bind(address), Ok);
        if let Ok(bound) = bound {
            let killed = runtime.block_on(serve(bound, service.clone(), &mut orders));
            drop(runtime);
            if killed.is_none() {
                return;
            }
        }
        if !wait(&mut orders) {
            return;
        }
    }
}

/// Answers until it is killed; nothing when the demo is over.
async fn serve(
    listener: TcpListener,
    service: Router,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Option<()> {
    listener.set_nonblocking(true).ok()?;
    let listener = tokio::net::TcpListener::from_std(listener).ok()?;
    let killed = async {
        loop {
            match orders.recv().await {
                Some(Order::Kill) => return Some(()),
                Some(Order::Start) => {}
                None => return None,
            }
        }
    };
    tokio::select! {
        _ = axum::serve(listener, service) => None,
        killed = killed => killed,
    }
}

/// Stays away for a while, or until it is wanted back; false when the demo is over.
fn wait(orders: &mut mpsc::UnboundedReceiver<Order>) -> bool {
    let runtime: io::Result<Runtime> = Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return false };
    runtime.block_on(async {
        let wanted = async {
            loop {
                match orders.recv().await {
                    Some(Order::Start) => return true,
                    Some(Order::Kill) => {}
                    None => return false,
                }
            }
        };
        tokio::time::timeout(AWAY, wanted).await.unwrap_or(true)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use axum::routing::get;

    use super::*;

    fn ask(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn one_that_is_killed_answers_nobody_and_comes_back() {
        let instance = Instance::start(Router::new().route("/", get(async || "here"))).unwrap();
        let kept = TcpStream::connect(instance.address).unwrap();
        assert!(ask(instance.address).unwrap().ends_with("here"));
        instance.kill();
        let gone = (&kept).read(&mut [0; 1]);
        assert!(matches!(gone, Ok(0) | Err(_)), "its connections end too");
        assert!(ask(instance.address).is_err());
        instance.come_back();
        while ask(instance.address).is_err() {
            std::thread::yield_now();
        }
    }
}
