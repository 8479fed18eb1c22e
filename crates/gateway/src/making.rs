//! With what a policy is made: what the root lends while it builds a snapshot.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use transom_balance::log::Log;
use transom_proxy::destination::Destination;
use transom_settings::{HeaderName, Span, Spanned, Target};

use crate::consumer::Consumers;
use crate::limit::ledger::Ledgers;
use crate::limit::meter::Meter;
use crate::task::Task;
use crate::token::revoked::Revoked;

/// Who builds a snapshot, as policies see it.
pub trait Lender {
    /// A finding that keeps the configuration from running.
    fn error(&mut self, place: Span, path: String, what: String, hint: String);

    /// A finding that does not.
    fn warning(&mut self, place: Span, path: String, what: String, hint: String);

    /// What a file held that the policy names with [`Kind::files`](crate::Kind::files), by the path
    /// as it is written.
    fn file(&self, path: &Path) -> Option<Bytes>;

    /// A pool, a split or an address. What is wrong with it becomes a finding.
    fn destination(&mut self, target: &Spanned<Target>, path: &str)
    -> Option<Arc<dyn Destination>>;

    /// Header fields in which any policy of the file tells endpoints who asks.
    fn vouched(&mut self) -> Arc<[HeaderName]>;

    /// Everybody who may ask, and the plans.
    fn consumers(&self) -> Consumers;

    /// What outlives reloads.
    fn kept(&mut self) -> &mut Kept;

    /// Tokens that were revoked while the program runs.
    fn revoked(&self) -> Arc<Revoked>;

    /// What was used of quotas.
    fn ledgers(&self) -> Arc<Ledgers>;

    /// Whether that is written to a place where it outlives the process.
    fn survives(&self) -> bool;

    /// A quota that operators can ask for who has used what.
    fn metered(&mut self, meter: Arc<Meter>);

    /// Where what happens beside requests is told.
    fn log(&self) -> Log;

    /// Something that goes on beside requests, as long as the snapshot runs.
    fn task(&mut self, name: &'static str, task: Arc<dyn Task>);
}

/// The making of one policy.
pub struct Making<'a> {
    /// What the policy is called: its name, or its place in the file. The same over reloads as long as
    /// the file says the same.
    pub name: &'a str,
    /// The path of its settings, for findings: `policies.per-user.rate-limit`.
    pub path: &'a str,
    /// Where it stands in the file.
    pub place: Span,
    pub lender: &'a mut dyn Lender,
    /// How many findings it has that keep it from running.
    errors: usize,
}

impl<'a> Making<'a> {
    pub fn new(name: &'a str, path: &'a str, place: Span, lender: &'a mut dyn Lender) -> Self {
        Making { name, path, place, lender, errors: 0 }
    }

    /// What clients may be told that it is called: the name it has in the file, or that of its kind.
    pub fn title(&self) -> &'a str {
        let (place, kind) = self.path.rsplit_once('.').unwrap_or(("", self.path));
        if place.starts_with("policies.") { self.name } else { kind }
    }

    /// How many findings there are that keep it from running.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// A finding about one of its settings, `key` being the path below its own; empty for all of it.
    pub fn error(&mut self, place: Span, key: &str, what: impl Into<String>, hint: &str) {
        let path = self.below(key);
        self.errors += 1;
        self.lender.error(place, path, what.into(), hint.to_owned());
    }

    /// As [`Making::error`], for what does not keep it from running.
    pub fn warning(&mut self, place: Span, key: &str, what: impl Into<String>, hint: &str) {
        let path = self.below(key);
        self.lender.warning(place, path, what.into(), hint.to_owned());
    }

    /// See [`Lender::file`].
    pub fn file(&self, path: &Path) -> Option<Bytes> {
        self.lender.file(path)
    }

    /// See [`Lender::destination`].
    pub fn destination(
        &mut self,
        target: &Spanned<Target>,
        key: &str,
    ) -> Option<Arc<dyn Destination>> {
        let path = self.below(key);
        self.lender.destination(target, &path)
    }

    /// What the policy had before a reload, if it `fits` what the file says now; otherwise what
    /// `make` makes. By its type and the name of the policy.
    pub fn keep<T: Send + Sync + 'static>(
        &mut self,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        self.lender.kept().keep(self.name, fits, make)
    }

    /// See [`Lender::log`].
    pub fn log(&self) -> Log {
        self.lender.log()
    }

    /// See [`Lender::task`].
    pub fn task(&mut self, name: &'static str, task: Arc<dyn Task>) {
        self.lender.task(name, task);
    }

    fn below(&self, key: &str) -> String {
        match key {
            "" => self.path.to_owned(),
            _ => format!("{}.{key}", self.path),
        }
    }
}

type Things = HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>;

/// What outlives reloads, by type and name. What a configuration does not ask for is forgotten with
/// it.
#[derive(Clone, Default)]
pub struct Kept {
    now: Things,
    earlier: Things,
}

impl Kept {
    /// An empty one that takes over from `previous` what is asked for again.
    pub fn following(previous: Option<&Kept>) -> Self {
        let earlier = previous.map(|previous| previous.now.clone()).unwrap_or_default();
        Kept { now: HashMap::new(), earlier }
    }

    /// Forgets what was not asked for.
    #[must_use]
    pub fn finished(mut self) -> Self {
        self.earlier = HashMap::new();
        self
    }

    /// What has this name and `fits`, from this configuration or the one before; otherwise what `make`
    /// makes.
    pub fn keep<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let key = (TypeId::of::<T>(), name.to_owned());
        let known = self.now.get(&key).or_else(|| self.earlier.get(&key)).cloned();
        let known = known.and_then(|known| known.downcast::<T>().ok());
        let kept = known.filter(|known| fits(known)).unwrap_or_else(|| Arc::new(make()));
        self.now.insert(key, kept.clone());
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_goes_on_and_the_rest_is_forgotten() {
        let mut first = Kept::following(None);
        let a = first.keep("a", |_: &u32| true, || 1);
        first.keep("b", |_: &u32| true, || 2);
        let first = first.finished();
        let mut second = Kept::following(Some(&first));
        assert!(Arc::ptr_eq(&a, &second.keep("a", |n: &u32| *n == 1, || 7)));
        let second = second.finished();
        let mut third = Kept::following(Some(&second));
        assert_eq!(*third.keep("a", |n: &u32| *n == 5, || 8), 8, "it did not fit");
        assert_eq!(*third.keep("b", |_: &u32| true, || 9), 9, "nobody asked for it");
        assert_eq!(*third.keep("a", |_: &String| true, String::new), "", "another type");
    }
}
