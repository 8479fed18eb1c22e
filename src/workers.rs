//! The threads that serve: one per core, each with sockets of its own.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use transom_net::Worker;
use transom_net::listen::Bound;
use transom_net::tasks::Tasks;
use transom_proxy::client::pool;
use transom_proxy::local::Local;
use transom_proxy::serve::Serving;
use transom_proxy::site::Sites;

use crate::door::{self, Door};

/// What a worker is told to do.
enum Command {
    Open(Arc<Door>, Bound),
    /// Accept nothing more at this address; what is open goes on, and closes when it can.
    Close(String),
    /// As `Close`, for every address.
    CloseAll,
    Stop,
}

/// Every worker thread.
pub struct Workers(Vec<Thread>);

struct Thread {
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<io::Result<()>>,
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let start = |id| {
            let (commands, orders) = mpsc::channel(64);
            let handle = transom_net::worker::start(id, move |worker| run(worker, orders))?;
            Ok(Thread { commands, handle })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Workers)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Starts to serve at an address: one socket per worker. A single socket, such as one on a Unix
    /// path or one from systemd, is shared.
    ///
    /// # Errors
    /// When a socket cannot be duplicated.
    pub async fn open(&self, door: &Arc<Door>, mut sockets: Vec<Bound>) -> io::Result<()> {
        while sockets.len() < self.0.len() {
            sockets.push(sockets[0].try_clone()?);
        }
        for (thread, socket) in self.0.iter().zip(sockets) {
            let _ = thread.commands.send(Command::Open(door.clone(), socket)).await;
        }
        Ok(())
    }

    /// Stops accepting at an address.
    pub async fn close(&self, door: &Door) {
        door.close();
        for thread in &self.0 {
            let _ = thread.commands.send(Command::Close(door.address.clone())).await;
        }
    }

    /// Stops accepting anywhere.
    pub async fn close_all(&self) {
        for thread in &self.0 {
            let _ = thread.commands.send(Command::CloseAll).await;
        }
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

/// What a worker does until it is told to stop.
async fn run(worker: Worker, mut orders: mpsc::Receiver<Command>) {
    let local = Rc::new(Local::new(worker));
    let (tasks, connections) = (Tasks::new(), Tasks::new());
    tasks.start("idle upstream connections", pool::sweep(local.clone()));
    let mut open: HashMap<String, (Rc<Serving>, oneshot::Sender<()>)> = HashMap::new();
    while let Some(command) = orders.recv().await {
        match command {
            Command::Open(door, socket) => {
                let listener = match socket.listen() {
                    Ok(listener) => listener,
                    Err(e) => {
                        crate::log::error(&format!("cannot accept on {}: {e}", door.address));
                        continue;
                    }
                };
                let serving = Serving::new(Sites::new(door.site.clone()), local.clone());
                let (stop, stopped) = oneshot::channel();
                open.insert(door.address.clone(), (serving.clone(), stop));
                let accepting = door::accept(door, listener, serving, connections.clone(), stopped);
                tasks.start("accept", accepting);
            }
            Command::Close(address) => {
                if let Some((serving, stop)) = open.remove(&address) {
                    let _ = stop.send(());
                    serving.drain();
                }
            }
            Command::CloseAll => {
                for (_, (serving, stop)) in open.drain() {
                    let _ = stop.send(());
                    serving.drain();
                }
            }
            Command::Stop => return,
        }
    }
}

/// Connections that are open at these doors.
pub fn open_connections<'a>(doors: impl IntoIterator<Item = &'a Arc<Door>>) -> usize {
    doors.into_iter().map(|door| door.open.load(Ordering::Relaxed)).sum()
}
