//! Commands of requests, which wait for their replies.
//!
//! Requests are served on many threads and the connection lies on the background thread: commands are
//! handed over in the order in which they come, and go out together. Where the connection breaks, what
//! was not answered is sent once more over the next one: a command must mean the same when it comes
//! twice.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use transom_net::Worker;
use transom_proxy::destination::Destination;
use transom_proxy::local::Local;
use transom_proxy::patience::within;

use super::lasting::{TIMEOUT, User, keep};
use super::link::{Entrance, Link};
use super::resp::{Reply, command};
use crate::task::Task;

/// A Redis that is asked now and then. It goes on over reloads.
#[derive(Default)]
pub struct Asking {
    waiting: Mutex<Vec<Waiting>>,
    wake: Notify,
    is_away: AtomicBool,
}

struct Waiting {
    command: Vec<u8>,
    answer: oneshot::Sender<Reply>,
    /// It was sent already, over a connection that broke.
    again: bool,
}

/// Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

/// How often a connection is tried that nobody uses.
const BEAT: Duration = Duration::from_secs(1);

/// Brings what is asked to where Redis is.
pub struct Bringing {
    pub asking: Arc<Asking>,
    pub destination: Arc<dyn Destination>,
    pub entrance: Entrance,
}

impl Asking {
    /// What Redis answers to these words.
    ///
    /// # Errors
    /// When it is away, or takes longer than `patience`: whether it did it is not known then.
    pub async fn ask(
        &self,
        words: &[&[u8]],
        patience: Duration,
        worker: &Worker,
    ) -> Result<Reply, Away> {
        let answered = self.tell(words).ok_or(Away)?;
        let answer = within(worker, patience, answered).await;
        answer.and_then(Result::ok).ok_or(Away)
    }

    /// Sends these words without waiting; nothing where it is away.
    pub fn tell(&self, words: &[&[u8]]) -> Option<oneshot::Receiver<Reply>> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let mut bytes = Vec::new();
        command(words, &mut bytes);
        self.waiting().push(Waiting { command: bytes, answer, again: false });
        self.wake.notify_one();
        Some(answered)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User for Asking {
    // what was under way is sent over it
    const AT_ONCE: bool = true;

    async fn serve(&self, mut link: Link, worker: &Worker) -> Result<(), String> {
        self.is_away.store(false, Ordering::Relaxed);
        loop {
            if self.waiting().is_empty() {
                within(worker, BEAT, self.wake.notified()).await;
            }
            let mut asked = std::mem::take(&mut *self.waiting());
            let mut commands = Vec::new();
            asked.iter().for_each(|waiting| commands.extend_from_slice(&waiting.command));
            if asked.is_empty() {
                command(&[b"PING"], &mut commands);
            }
            match link.ask(&commands, asked.len().max(1), TIMEOUT).await {
                Ok(replies) => {
                    for (waiting, reply) in asked.into_iter().zip(replies) {
                        // who asked may have left
                        let _ = waiting.answer.send(reply);
                    }
                }
                Err(why) => {
                    asked.retain_mut(|waiting| !std::mem::replace(&mut waiting.again, true));
                    let mut waiting = self.waiting();
                    asked.append(&mut waiting);
                    *waiting = asked;
                    return Err(why);
                }
            }
        }
    }

    fn away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
        // who waits hears of it
        self.waiting().clear();
    }
}

impl Task for Bringing {
    fn run(self: Arc<Self>, local: Rc<Local>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            keep(&*self.asking, &self.destination, &self.entrance, &local).await;
        })
    }
}
