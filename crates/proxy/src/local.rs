//! What one worker keeps for all its exchanges: idle upstream connections, the date, ids.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Instant, SystemTime};

use transom_net::Worker;
use transom_net::tasks::Tasks;

use crate::client::h2::Connections;
use crate::client::places::Heard;
use crate::client::pool::Idle;
use crate::exchange::RequestId;

/// The HTTP side of a worker.
pub struct Local {
    pub worker: Worker,
    pub idle: RefCell<Idle>,
    /// Upstream connections that carry many exchanges at once.
    pub http2: Connections,
    /// The ceilings of endpoints that it has connections to.
    pub ceilings: Heard,
    /// What runs beside all exchanges and nobody waits for.
    pub aside: Tasks,
    id_high: u64,
    id_low: Cell<u64>,
    random: Cell<u64>,
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
            http2: Connections::default(),
            ceilings: Heard::default(),
            aside: Tasks::new(),
            id_high: random(1),
            id_low: Cell::new(random(2)),
            random: Cell::new(random(3)),
            date: RefCell::new(Date { made: None, text: String::new() }),
        }
    }

    /// An id that no other request has: random per worker, then counted.
    pub fn request_id(&self) -> RequestId {
        let low = self.id_low.get().wrapping_add(1);
        self.id_low.set(low);
        RequestId::Own(self.id_high, low)
    }

    /// A number from 0 up to 1 that nobody outside can foretell well enough to matter; never for
    /// secrets (SplitMix64).
    pub fn random(&self) -> f64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
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
