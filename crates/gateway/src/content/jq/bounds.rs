//! How far one run of a program goes. Whoever waits for it has gone when its time is over, but the thread
//! on which it runs has not, and what it holds is nobody's to take away: so a program ends itself.

use std::cell::Cell;
use std::time::{Duration, Instant};

use jaq_core::data::HasLut;
use jaq_core::{DataT, Error, Exn, Lut};
use jaq_json::Val;

/// What filters run on: values of JSON, and the bounds of the run.
pub(super) struct Data;

impl DataT for Data {
    type V<'a> = Val;
    type Data<'a> = Running<'a>;
}

#[derive(Clone)]
pub(super) struct Running<'a> {
    pub lut: &'a Lut<Data>,
    pub bounds: &'a Bounds,
}

impl<'a> HasLut<'a, Data> for Running<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        self.lut
    }
}

/// Why it is over when its time is.
pub(super) const LATE: &str = "it takes too long";
/// Steps of each run, and further ones for each value of the body.
const STEPS: u64 = 250_000;
const STEPS_EACH: u64 = 8;
/// Bytes of a text that are made in one step.
const BYTES: usize = 64;
/// So much faster is a copy than what made it.
const COPIED: u64 = 8;
/// How deep values may lie in each other, and how long a path may be.
pub(super) const DEEPEST: usize = 200;
/// Levels that the state of a fold may get on average before it is looked at, and one more for so many
/// values in it: looking at a large state each time would take the square of the time.
const UNSEEN: u64 = 256;
const VALUES_EACH: u64 = 4096;
/// Values that the state of a fold may hold, and its texts with them.
const MOST: u64 = 16_000_000;
/// Steps between two looks at the clock.
const BETWEEN: u32 = 256;

/// What is left of a run.
pub(super) struct Bounds {
    until: Instant,
    left: Cell<u64>,
    since: Cell<u32>,
    /// Updates that go on within each other.
    deep: Cell<usize>,
    /// Levels that one round of a fold can add.
    grows: u64,
    /// Values in the state of a fold, when one was looked at.
    seen: Cell<u64>,
    dice: Cell<u64>,
    over: Cell<Option<&'static str>>,
}

impl Bounds {
    pub(super) fn new(input: &Val, patience: Duration, grows: u64) -> Result<Self, String> {
        let mut values = u64::MAX;
        weigh(input, 0, &mut values)?;
        let left = Cell::new(STEPS + (u64::MAX - values).saturating_mul(STEPS_EACH));
        Ok(Bounds {
            until: Instant::now() + patience,
            left,
            since: Cell::new(0),
            deep: Cell::new(0),
            grows: grows.max(1),
            seen: Cell::new(0),
            dice: Cell::new(0x9e37_79b9_7f4a_7c15),
            over: Cell::new(None),
        })
    }

    /// Why it is over.
    pub(super) fn over(&self) -> Option<&'static str> {
        self.over.get()
    }

    /// So many steps more.
    pub(super) fn charge(&self, steps: u64) -> Result<(), String> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        if left.is_none() {
            self.over.set(Some("it takes too many steps"));
        }
        self.since.set(self.since.get() + 1);
        if self.since.get() >= BETWEEN {
            self.since.set(0);
            self.look_at_clock();
        }
        self.over.get().map_or(Ok(()), |why| Err(why.to_owned()))
    }

    fn look_at_clock(&self) {
        if Instant::now() > self.until {
            self.over.set(Some(LATE));
        }
    }

    /// What it takes to have made a value whose parts were there.
    pub(super) fn made(&self, value: &Val) -> Result<(), String> {
        self.charge(shallow(value))
    }

    /// What it takes to copy a value of which others have the parts, too.
    pub(super) fn copied(&self, value: &Val) -> Result<(), String> {
        self.charge(shallow(value) / COPIED)
    }

    /// What it takes to write all of a value, which may be in itself many times.
    pub(super) fn written(&self, value: &Val) -> Result<(), String> {
        let all = self.left.get();
        let mut left = all;
        let weighed = weigh(value, 0, &mut left);
        self.charge(all - left)?;
        self.held(weighed)
    }

    /// One round of a fold: its state neither grows without end nor gets so deep that whoever walks or drops
    /// it goes through its stack. It is looked at by chance, so that nothing keeps in step with it.
    pub(super) fn round(&self, state: &Val) -> Result<(), String> {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        let every = (UNSEEN + self.seen.get() / VALUES_EACH) / self.grows;
        if !dice.is_multiple_of(every.max(1)) {
            return Ok(());
        }
        let all = MOST;
        let mut left = all;
        let weighed = weigh(state, 0, &mut left);
        self.seen.set(all - left);
        self.look_at_clock();
        self.held(weighed)
    }

    /// What a value has against it ends the run.
    fn held(&self, weighed: Result<(), &'static str>) -> Result<(), String> {
        weighed.map_err(|why| {
            self.over.set(Some(why));
            why.to_owned()
        })
    }

    /// What is done within an update that goes on.
    pub(super) fn within<T>(&self, act: impl FnOnce() -> T) -> Result<T, String> {
        if self.deep.get() >= DEEPEST {
            return Err(format!("a path has more than {DEEPEST} parts"));
        }
        self.deep.set(self.deep.get() + 1);
        let done = act();
        self.deep.set(self.deep.get() - 1);
        Ok(done)
    }
}

/// Steps that make a value of its parts.
fn shallow(value: &Val) -> u64 {
    match value {
        Val::Arr(list) => list.len() as u64,
        Val::Obj(map) => 4 * map.len() as u64,
        Val::TStr(text) | Val::BStr(text) => (text.len() / BYTES) as u64,
        _ => 0,
    }
}

/// Takes a step for each value, and for what its texts hold.
fn weigh(value: &Val, deep: usize, left: &mut u64) -> Result<(), &'static str> {
    if deep > DEEPEST {
        return Err("a value is nested deeper than 200");
    }
    let mut take = |steps: usize| {
        *left = left.checked_sub(steps as u64).ok_or("a value is too large")?;
        Ok(())
    };
    match value {
        Val::TStr(text) | Val::BStr(text) => take(1 + text.len() / BYTES),
        Val::Arr(list) => {
            take(1)?;
            list.iter().try_for_each(|one| weigh(one, deep + 1, left))
        }
        Val::Obj(map) => {
            take(1)?;
            map.iter().try_for_each(|(key, value)| {
                weigh(key, deep + 1, left)?;
                weigh(value, deep + 1, left)
            })
        }
        _ => take(1),
    }
}

/// As an error of the program.
pub(super) fn failed<'a>(why: String) -> Exn<'a, Val> {
    Exn::from(Error::new(Val::from(why)))
}
