//! What one worker keeps for all its exchanges: idle upstream connections, the date, ids.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Instant, SystemTime};

use transom_net::Worker;

use crate::client::pool::Idle;
use crate::exchange::RequestId;

/// The HTTP side of a worker.
pub struct Local {
    pub worker: Worker,
    pub idle: RefCell<Idle>,
    id_high: u64,
    id_low: Cell<u64>,
    date: RefCell<Date>,
}

struct Date {
    made: Option<Instant>,
    text: String,
}

impl Local {
    pub fn new(worker: Worker) -> Self {
        let seed = RandomState::new();
        let random = |n: u64| {
            let mut hasher = seed.build_hasher();
            hasher.write_u64(n);
            hasher.finish()
        };
        Local {
            worker,
            idle: RefCell::default(),
            id_high: random(1),
            id_low: Cell::new(random(2)),
            date: RefCell::new(Date { made: None, text: String::new() }),
        }
    }

    /// An id that no other request has: random per worker, then counted.
    pub fn request_id(&self) -> RequestId {
        let low = self.id_low.get().wrapping_add(1);
        self.id_low.set(low);
        RequestId::Own(self.id_high, low)
    }

    /// Shows the value of a `Date` field, made anew once a second.
    pub fn with_date<R>(&self, now: Instant, see: impl FnOnce(&[u8]) -> R) -> R {
        let mut date = self.date.borrow_mut();
        if date.made.is_none_or(|made| now.saturating_duration_since(made).as_millis() >= 1000) {
            date.text = httpdate::fmt_http_date(SystemTime::now());
            date.made = Some(now);
        }
        see(date.text.as_bytes())
    }
}
