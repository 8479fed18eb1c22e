//! The threads that serve: one per core, each with sockets of its own.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use transom_balance::relay::udp::{self, Stop};
use transom_net::Worker;
use transom_net::listen::Bound;
use transom_net::pressure::Pressure;
use transom_net::tasks::Tasks;
use transom_net::tls::server::Turns;
use transom_net::udp::Datagrams;
use transom_proxy::client::pool;
use transom_proxy::local::Local;
use transom_proxy::serve::Serving;
use transom_proxy::site::Sites;

use crate::door::{self, Door, Hatch};

/// What a worker is told to do.
enum Command {
    /// Whether somebody accepts there now is told.
    Open(Arc<Door>, Bound, mpsc::Sender<io::Result<()>>),
    /// Accept nothing more at this address; what is open closes when it can, and is cut off after
    /// the grace.
    Close(String, Duration, Stop<Accepting>),
    /// As `Close`, for every address; what is open may go on.
    CloseAll(Accepting),
    Stop,
}

/// Held until a socket is closed.
type Accepting = mpsc::Sender<()>;

/// Addresses at which nobody will accept any more.
pub struct Closing(mpsc::Receiver<()>);

impl Closing {
    fn start() -> (Accepting, Self) {
        let (accepting, closed) = mpsc::channel(1);
        (accepting, Closing(closed))
    }

    /// Completes when every socket is closed.
    pub async fn done(&mut self) {
        while self.0.recv().await.is_some() {}
    }

    pub fn is_done(&mut self) -> bool {
        self.0.try_recv() == Err(mpsc::error::TryRecvError::Disconnected)
    }
}

/// Every worker thread.
pub struct Workers(Vec<Thread>);

struct Thread {
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<io::Result<()>>,
}

/// The name of a worker's thread.
pub fn thread(id: usize) -> String {
    format!("worker-{id}")
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(count: usize, pressure: &Arc<Pressure>) -> io::Result<Self> {
        let start = |id| {
            let (commands, orders) = mpsc::channel(64);
            let handle = {
                let pressure = pressure.clone();
                transom_net::worker::start(&thread(id), id, pressure, move |worker| {
                    run(worker, orders)
                })?
            };
            Ok(Thread { commands, handle })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Workers)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Starts to serve at an address: one socket per worker. A single socket, such as one on a Unix
    /// path or one from systemd, is shared, unless it is for datagrams.
    ///
    /// # Errors
    /// When a socket cannot be duplicated or watched. Nobody accepts there then.
    pub async fn open(&self, door: &Arc<Door>, mut sockets: Vec<Bound>) -> io::Result<()> {
        // One for datagrams that was handed over belongs to one worker: all of a flow happens there.
        let shared = sockets.first().is_some_and(|first| !first.is_datagram());
        while shared && sockets.len() < self.0.len() {
            sockets.push(sockets[0].try_clone()?);
        }
        let (opened, mut outcomes) = mpsc::channel(self.0.len().max(1));
        for (thread, socket) in self.0.iter().zip(sockets) {
            let open = Command::Open(door.clone(), socket, opened.clone());
            let _ = thread.commands.send(open).await;
        }
        drop(opened);
        let mut outcome = Ok(());
        while let Some(one) = outcomes.recv().await {
            outcome = outcome.and(one);
        }
        if outcome.is_err() {
            self.close(door, Duration::ZERO, false).await.done().await;
        }
        outcome
    }

    /// Stops accepting at an address. What is open there has this grace to finish. `replaced`: sockets
    /// of another door take what comes to it from now on.
    pub async fn close(&self, door: &Door, grace: Duration, replaced: bool) -> Closing {
        let (accepting, closing) = Closing::start();
        for thread in &self.0 {
            let stop = Stop { held: accepting.clone(), replaced };
            let close = Command::Close(door.address.clone(), grace, stop);
            let _ = thread.commands.send(close).await;
        }
        closing
    }

    /// Stops accepting anywhere.
    pub async fn close_all(&self) -> Closing {
        let (accepting, closing) = Closing::start();
        for thread in &self.0 {
            let _ = thread.commands.send(Command::CloseAll(accepting.clone())).await;
        }
        closing
    }

    /// Ends the threads; what is still open is cut off.
    pub async fn stop(&self) {
        for thread in &self.0 {
            let _ = thread.commands.send(Command::Stop).await;
        }
        while self.0.iter().any(|thread| !thread.handle.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What one worker has at an address.
struct Post {
    serving: Rc<Serving>,
    connections: Tasks,
    stop: oneshot::Sender<Stop<Accepting>>,
}

impl Post {
    /// Accepts nothing more, and lets what is open end.
    fn close(self, stop: Stop<Accepting>) -> Closed {
        let _ = self.stop.send(stop);
        self.serving.drain();
        Closed { serving: self.serving, connections: self.connections }
    }
}

/// What is still open at an address where nothing more is accepted.
struct Closed {
    serving: Rc<Serving>,
    connections: Tasks,
}

/// How long those have that say a last word before they are cut off.
const LAST_WORD: Duration = Duration::from_millis(100);

impl Closed {
    /// Lets whoever is still there say that it goes.
    async fn leave(&self) {
        self.serving.leave();
        let until = Instant::now() + LAST_WORD;
        while self.connections.count() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a worker does until it is told to stop.
async fn run(worker: Worker, mut orders: mpsc::Receiver<Command>) {
    let local = Rc::new(Local::new(worker));
    let tasks = Tasks::new();
    tasks.start("idle upstream connections", pool::sweep(local.clone()));
    let turns = Rc::new(Turns::default());
    let mut open: HashMap<String, Post> = HashMap::new();
    let mut closed: Vec<Closed> = Vec::new();
    while let Some(command) = orders.recv().await {
        match command {
            Command::Open(door, socket, opened) if socket.is_datagram() => {
                let socket = match Datagrams::new(socket) {
                    Ok(socket) => socket,
                    Err(error) => {
                        let _ = opened.send(Err(error)).await;
                        continue;
                    }
                };
                let serving = Serving::new(Sites::new(door.site.clone()), local.clone());
                let connections = Tasks::new();
                let (stop, stopped) = oneshot::channel();
                let post = Post { serving, connections: connections.clone(), stop };
                open.insert(door.address.clone(), post);
                let hatch = Hatch { door, worker: local.worker.id() };
                let receive = udp::serve(socket, hatch, local.clone(), connections, stopped);
                tasks.start("receive", receive);
                let _ = opened.send(Ok(())).await;
            }
            Command::Open(door, socket, opened) => {
                // What is carried may be a protocol in which the server speaks first.
                if !door.is_relay()
                    && let Err(e) = socket.await_first_word()
                {
                    crate::log::debug(&format!("{} accepts at once: {e}", door.address));
                }
                let listener = match socket.listen() {
                    Ok(listener) => listener,
                    Err(error) => {
                        let _ = opened.send(Err(error)).await;
                        continue;
                    }
                };
                let serving = Serving::new(Sites::new(door.site.clone()), local.clone());
                let connections = Tasks::new();
                let (stop, stopped) = oneshot::channel();
                let post =
                    Post { serving: serving.clone(), connections: connections.clone(), stop };
                open.insert(door.address.clone(), post);
                let turns = turns.clone();
                let accept = door::accept(door, listener, serving, turns, connections, stopped);
                tasks.start("accept", accept);
                let _ = opened.send(Ok(())).await;
            }
            Command::Close(address, grace, stop) => {
                if let Some(post) = open.remove(&address) {
                    let closed = post.close(stop);
                    tasks.start("grace", cut_off(address, closed, grace));
                }
            }
            Command::CloseAll(accepting) => {
                let stop = || Stop { held: accepting.clone(), replaced: false };
                closed.extend(open.drain().map(|(_, post)| post.close(stop())));
            }
            Command::Stop => {
                for closed in closed.iter().filter(|closed| closed.connections.count() > 0) {
                    closed.leave().await;
                }
                return local.http2.close(&local.worker).await;
            }
        }
    }
}

/// Ends what is still open at an address when its grace is over.
async fn cut_off(address: String, closed: Closed, grace: Duration) {
    tokio::time::sleep(grace).await;
    let connections = &closed.connections;
    if connections.count() > 0 {
        closed.leave().await;
        let count = connections.count();
        crate::log::warn(&format!(
            "{count} connections to {address}, which is closed, were cut off"
        ));
        connections.cancel();
    }
}

/// Connections that are open at these doors.
pub fn open_connections<'a>(doors: impl IntoIterator<Item = &'a Arc<Door>>) -> usize {
    doors.into_iter().map(|door| door.open.load(Ordering::Relaxed)).sum()
}
