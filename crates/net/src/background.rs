//! A thread for what is no request: there sources are asked for endpoints, endpoints are probed and
//! pools are scaled.
//!
//! It is a worker like those that serve, so that what runs on it opens connections as requests do,
//! with the same dialer and the same TLS; and it is none of them, so that no request waits for it.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::pressure::Pressure;
use crate::tasks::Tasks;
use crate::worker::{self, Worker};

type Order = Box<dyn FnOnce(&Worker, &Tasks) + Send>;

/// The thread. Clones are the same; it ends with the last of them and of its tasks.
#[derive(Clone)]
pub struct Background {
    orders: mpsc::UnboundedSender<Order>,
    tasks: Tasks,
}

/// A task of the thread. Dropping it ends the task, at its next await.
#[must_use = "dropping it ends the task"]
#[derive(Debug)]
pub struct Running(oneshot::Sender<()>);

impl Running {
    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

impl Background {
    /// Starts the thread. `id` is the number of its worker, which no serving worker may have.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(id: usize) -> io::Result<Self> {
        let (orders, mut given) = mpsc::unbounded_channel::<Order>();
        let tasks = Tasks::new();
        let started = tasks.clone();
        let calm = Arc::new(Pressure::new(0));
        let (up, is_up) = std::sync::mpsc::sync_channel(1);
        worker::start("background", id, calm, move |worker| async move {
            let _ = up.send(());
            while let Some(order) = given.recv().await {
                order(&worker, &started);
            }
        })?;
        // From here on it opens nothing of its own any more, whatever it is asked to do.
        is_up.recv().map_err(|_| io::Error::other("the background thread has no runtime"))?;
        Ok(Background { orders, tasks })
    }

    /// Runs there what `make` makes. `name` says of what kind it is.
    pub fn run<M, F>(&self, name: &'static str, make: M) -> Running
    where
        M: FnOnce(Worker) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let (running, over) = oneshot::channel();
        let order = move |worker: &Worker, tasks: &Tasks| {
            let task = make(worker.clone());
            tasks.start(name, async move {
                tokio::select! {
                    () = task => {}
                    _ = over => {}
                }
            });
        };
        // Where the thread has ended, the program is ending too.
        let _ = self.orders.send(Box::new(order));
        Running(running)
    }

    /// What runs there, counted.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_task_runs_until_its_handle_is_dropped() {
        let background = Background::start(7).unwrap();
        let (said, heard) = channel();
        let ended = said.clone();
        struct Last(std::sync::mpsc::Sender<usize>);
        impl Drop for Last {
            fn drop(&mut self) {
                let _ = self.0.send(0);
            }
        }
        let running = background.run("one", move |worker| async move {
            let _last = Last(ended);
            said.send(worker.id()).unwrap();
            std::future::pending::<()>().await;
        });
        let patience = Duration::from_secs(10);
        assert_eq!(heard.recv_timeout(patience), Ok(7));
        assert_eq!(background.tasks().by_name(), [("one", 1)]);
        drop(running);
        assert_eq!(heard.recv_timeout(patience), Ok(0));
    }
}
