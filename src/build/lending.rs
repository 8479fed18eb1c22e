//! What policies are lent while they are built.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use transom_balance::log::Log;
use transom_gateway::consumer::Consumers;
use transom_gateway::limit::ledger::Ledgers;
use transom_gateway::limit::meter::Meter;
use transom_gateway::task::Task;
use transom_gateway::token::revoked::Revoked;
use transom_gateway::{Kept, Lender};
use transom_proxy::destination::Destination;
use transom_settings::{Diagnostic, HeaderName, Span, Spanned, Target};

use super::Build;

impl Lender for Build<'_> {
    fn error(&mut self, place: Span, path: String, what: String, hint: String) {
        Build::error(self, place, path, what, hint);
    }

    fn warning(&mut self, place: Span, path: String, what: String, hint: String) {
        self.findings.push(Diagnostic::warning(place, path, what).hint(hint));
    }

    fn file(&self, path: &Path) -> Option<Bytes> {
        self.materials.file(path).cloned()
    }

    fn destination(
        &mut self,
        target: &Spanned<Target>,
        path: &str,
    ) -> Option<Arc<dyn Destination>> {
        self.called(target, path)
    }

    fn vouched(&mut self) -> Arc<[HeaderName]> {
        Build::vouched(self)
    }

    fn consumers(&self) -> Consumers {
        self.consumers.clone()
    }

    fn kept(&mut self) -> &mut Kept {
        self.shared.kept()
    }

    fn revoked(&self) -> Arc<Revoked> {
        self.shared.revoked()
    }

    fn ledgers(&self) -> Arc<Ledgers> {
        self.shared.ledgers()
    }

    fn survives(&self) -> bool {
        self.config.data.is_some()
    }

    fn metered(&mut self, meter: Arc<Meter>) {
        self.meters.add(meter);
    }

    fn log(&self) -> Log {
        super::log()
    }

    fn task(&mut self, name: &'static str, task: Arc<dyn Task>) {
        self.tasks.push((name, task));
    }
}
