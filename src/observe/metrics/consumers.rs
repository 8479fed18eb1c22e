//! By consumer: exchanges as they end, of so many consumers as can be told apart on a screen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::cells::{Counter, Sharded};
use super::text::Text;

/// Consumers that are counted by their name; all others are one. A token may name anybody, and
/// memory, and what reads the numbers, must not grow with whom it names.
const MOST: usize = 500;
const OTHERS: &str = "(others)";

/// Longer names, in bytes, are among the others.
const LONGEST: usize = 128;

type Cells = Arc<Sharded<ConsumerCells>>;

#[derive(Default)]
pub(super) struct ConsumerCells {
    /// By who is to blame, as far as the status tells: passed, refused or wrong, failed.
    outcomes: [Counter; OUTCOMES.len()],
}

const OUTCOMES: [&str; 3] = ["passed", "client", "server"];

/// The consumers that have asked. Asked for without a lock; one that is new takes it once.
#[derive(Default)]
pub(super) struct ByConsumer {
    known: ArcSwap<HashMap<Arc<str>, Cells>>,
    change: Mutex<()>,
}

impl ByConsumer {
    /// Counts an exchange of this consumer that ended with this status.
    pub(super) fn count(&self, name: &Arc<str>, status: u16, worker: usize, workers: usize) {
        let outcome = match status {
            200..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        let known = self.known.load();
        match known.get(name) {
            Some(cells) => cells.at(worker).outcomes[outcome].add(1),
            None => self.cells(name, workers).at(worker).outcomes[outcome].add(1),
        }
    }

    fn cells(&self, name: &Arc<str>, workers: usize) -> Cells {
        let known = self.known.load();
        let full = known.len() >= MOST || name.len() > LONGEST;
        let name = if full { Arc::from(OTHERS) } else { name.clone() };
        if let Some(cells) = known.get(&name) {
            return cells.clone();
        }
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = HashMap::clone(&self.known.load());
        let cells = changed.entry(name).or_insert_with(|| Arc::new(Sharded::new(workers))).clone();
        self.known.store(Arc::new(changed));
        cells
    }

    pub(super) fn render(&self, text: &mut Text) {
        text.family("transom_consumer_requests_total", "counter", "Exchanges of consumers that ended: passed (2xx, 3xx), refused or wrong (`client`, 4xx), failed (`server`). The first 500 that ask have their name, all others are `(others)`.");
        let known = self.known.load();
        let mut names: Vec<_> = known.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        for (name, cells) in names {
            for (at, outcome) in OUTCOMES.iter().enumerate() {
                let count = cells.sum(|cells| &cells.outcomes[at]);
                text.sample(&[("consumer", name), ("outcome", outcome)], count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_counted_by_name_until_there_are_too_many() {
        let by = ByConsumer::default();
        let ann: Arc<str> = "a\"nn".into();
        for (status, worker) in [(200, 0), (304, 1), (403, 0), (502, 1), (0, 0)] {
            by.count(&ann, status, worker, 2);
        }
        for n in 0..2 * MOST {
            by.count(&n.to_string().into(), 200, 0, 2);
        }
        by.count(&"x".repeat(LONGEST + 1).into(), 200, 0, 2);
        let mut text = Text::default();
        by.render(&mut text);
        let text = text.into_string();
        for (outcome, count) in [("passed", 2), ("client", 1), ("server", 2)] {
            let line = format!(
                "transom_consumer_requests_total{{consumer=\"a\\\"nn\",outcome=\"{outcome}\"}} {count}"
            );
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.lines().count() <= 3 * (MOST + 1) + 2);
        let others = format!("consumer=\"(others)\",outcome=\"passed\"}} {}", MOST + 2);
        assert!(text.contains(&others), "{}", text.lines().last().unwrap_or_default());
    }
}
