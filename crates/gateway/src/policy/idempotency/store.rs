//! What was answered to requests that have a key, for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use transom_proxy::fields::Fields;

/// SHA-256, of a key and whose it is, or of a request.
pub(super) type Digest = [u8; 32];

/// A response that is given again.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Bytes,
}

impl Answer {
    /// About how much memory it takes.
    fn size(&self) -> usize {
        let fields: usize =
            self.fields.iter().map(|field| field.name.len() + field.value.len() + 16).sum();
        self.body.len() + fields + 256
    }
}

/// What is known of a key when a request with it comes.
pub(super) enum Found {
    /// Nothing: this request is the first, and has to say what becomes of it.
    Nothing(First),
    /// The first is under way. Wait for this to change or end, and ask again.
    UnderWay(watch::Receiver<()>),
    Answered(Arc<Answer>),
    /// The first may have reached the endpoint, and nobody knows what became of it.
    Lost,
    /// The key was used for another request.
    Another,
}

/// See the module.
#[derive(Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<Digest, Entry>,
    /// Those that are over, the oldest first.
    over: VecDeque<(Digest, Instant)>,
    size: usize,
}

struct Entry {
    /// Of the request.
    request: Digest,
    state: Progress,
}

enum Progress {
    /// Ends with the first request.
    UnderWay(watch::Receiver<()>),
    Over {
        answer: Option<Arc<Answer>>,
        since: Instant,
    },
}

/// How long, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) keep: Duration,
    /// Bytes.
    pub(super) memory: usize,
}

impl Store {
    /// What is known of `key`; if that is nothing, it is under way from now on.
    pub(super) fn ask(
        self: &Arc<Self>,
        key: Digest,
        request: Digest,
        now: Instant,
        bounds: Bounds,
    ) -> Found {
        let mut state = self.state();
        state.forget(now, bounds);
        match state.entries.get(&key) {
            Some(entry) if entry.request != request => Found::Another,
            Some(Entry { state: Progress::UnderWay(over), .. }) => Found::UnderWay(over.clone()),
            Some(Entry { state: Progress::Over { answer: Some(answer), .. }, .. }) => {
                Found::Answered(answer.clone())
            }
            Some(Entry { state: Progress::Over { answer: None, .. }, .. }) => Found::Lost,
            None => {
                let (ends, over) = watch::channel(());
                state.entries.insert(key, Entry { request, state: Progress::UnderWay(over) });
                let store = self.clone();
                Found::Nothing(First { store, key, bounds, begun: false, said: false, _ends: ends })
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets go of what is too old, and of the oldest where it is too much.
    fn forget(&mut self, now: Instant, bounds: Bounds) {
        while let Some((key, since)) = self.over.front().copied() {
            let old = now.saturating_duration_since(since) >= bounds.keep;
            if !old && self.size <= bounds.memory {
                return;
            }
            self.over.pop_front();
            // an entry that was made anew is another one
            let same = |entry: &Entry| matches!(&entry.state, Progress::Over { since: its, .. } if *its == since);
            if self.entries.get(&key).is_some_and(same)
                && let Some(Entry { state: Progress::Over { answer, .. }, .. }) =
                    self.entries.remove(&key)
            {
                self.size -= size(answer.as_deref());
            }
        }
    }
}

fn size(answer: Option<&Answer>) -> usize {
    answer.map_or(256, Answer::size)
}

/// The first request with a key. Whoever drops it without a word after it has begun does not know what
/// became of it.
pub(super) struct First {
    store: Arc<Store>,
    key: Digest,
    bounds: Bounds,
    begun: bool,
    said: bool,
    /// Those who wait hear of it when this is dropped.
    _ends: watch::Sender<()>,
}

impl First {
    /// From here on it may be done.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Nothing was done: the next request with the key is the first.
    pub(super) fn forget(mut self) {
        self.never();
    }

    fn never(&mut self) {
        self.said = true;
        self.store.state().entries.remove(&self.key);
    }

    /// This was the answer.
    pub(super) fn answered(mut self, answer: Arc<Answer>, now: Instant) {
        self.over(Some(answer), now);
    }

    fn over(&mut self, answer: Option<Arc<Answer>>, now: Instant) {
        self.said = true;
        let mut state = self.store.state();
        let Some(entry) = state.entries.get_mut(&self.key) else { return };
        let size = size(answer.as_deref());
        entry.state = Progress::Over { answer, since: now };
        state.size += size;
        state.over.push_back((self.key, now));
        state.forget(now, self.bounds);
    }
}

impl Drop for First {
    fn drop(&mut self) {
        match (self.said, self.begun) {
            (true, _) => {}
            (false, false) => self.never(),
            (false, true) => self.over(None, Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { keep: Duration::from_secs(60), memory: 10_000 };

    fn answer(length: usize) -> Arc<Answer> {
        let body = vec![b'a'; length].into();
        Arc::new(Answer { status: 201, fields: Fields::new(), body })
    }

    fn shown(found: &Found) -> &'static str {
        match found {
            Found::Nothing(_) => "nothing",
            Found::UnderWay(_) => "under way",
            Found::Answered(_) => "answered",
            Found::Lost => "lost",
            Found::Another => "another",
        }
    }

    #[test]
    fn a_key_goes_from_nothing_to_an_answer_and_is_forgotten_in_time() {
        let store = Arc::new(Store::default());
        let now = Instant::now();
        let ask = |request: u8, seconds: u64| {
            store.ask([1; 32], [request; 32], now + Duration::from_secs(seconds), BOUNDS)
        };
        let Found::Nothing(first) = ask(1, 0) else { panic!("it is the first") };
        let Found::UnderWay(mut wait) = ask(1, 0) else { panic!("it is the second") };
        assert_eq!(shown(&ask(2, 0)), "another");
        assert!(wait.has_changed().is_ok());
        first.answered(answer(5), now);
        assert!(wait.has_changed().is_err(), "who waits hears of it");
        drop(wait.borrow_and_update());
        assert_eq!(shown(&ask(1, 59)), "answered");
        assert_eq!(shown(&ask(2, 59)), "another");
        let Found::Nothing(first) = ask(2, 60) else { panic!("the old one is forgotten") };
        first.forget();
        let Found::Nothing(first) = ask(3, 60) else { panic!("nothing was done") };
        drop(first);
        let Found::Nothing(mut first) = ask(3, 60) else { panic!("it had not begun") };
        first.begin();
        drop(first);
        assert_eq!(shown(&ask(3, 60)), "lost");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_gives_way() {
        let store = Arc::new(Store::default());
        let now = Instant::now();
        for n in 0..100 {
            let Found::Nothing(first) = store.ask([n; 32], [0; 32], now, BOUNDS) else { panic!() };
            first.answered(answer(1000), now + Duration::from_millis(n.into()));
        }
        let state = store.state();
        assert!(state.size <= 10_000 && state.entries.len() == 7, "{}", state.entries.len());
        assert_eq!(state.entries.len(), state.over.len());
        drop(state);
        assert_eq!(shown(&store.ask([99; 32], [0; 32], now, BOUNDS)), "answered");
        assert_eq!(shown(&store.ask([0; 32], [0; 32], now, BOUNDS)), "nothing");
    }
}
