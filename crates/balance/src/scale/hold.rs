//! A pool whose requests wait for a server while there is none.

use std::sync::Arc;
use std::time::Instant;

use transom_proxy::destination::{Ask, Destination, Endpoint, Lease, Leasing, Permit};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;

use super::Scaler;
use crate::pool::{Pool, Question, Rule, Scoped, Wish};

/// A pool with a scaler.
pub struct Scaled {
    scoped: Scoped,
    scaler: Arc<Scaler>,
}

impl Scaled {
    pub fn new(pool: &Arc<Pool>, scaler: Arc<Scaler>) -> Self {
        Scaled { scoped: pool.whole(), scaler }
    }

    /// The same for one that picks by another rule.
    pub fn by(&self, rule: Rule) -> Self {
        Scaled { scoped: self.scoped.pool.by(rule), scaler: self.scaler.clone() }
    }
}

impl Destination for Scaled {
    fn name(&self) -> &str {
        self.scoped.name()
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        let refused = match self.scoped.lease(ask) {
            Leasing::Refused(fault) if fault.code() == Code::NoEndpoint => fault,
            other => return other,
        };
        if self.scaler.has_servers() {
            // there are servers, and this request may have none of them
            return Leasing::Refused(refused);
        }
        let Some(place) = self.scaler.hold() else {
            let most = self.scaler.holds().most;
            let detail = format!("pool `{}` has no server, and {most} wait for one", self.name());
            return Leasing::Refused(Fault::new(Code::NoEndpoint, detail));
        };
        let Scoped { pool, place: rule } = &self.scoped;
        let held = Held {
            wish: pool.wish(*rule, ask),
            scoped: self.scoped.clone(),
            scaler: self.scaler.clone(),
            tried: ask.tried.to_vec(),
            _place: place,
        };
        Leasing::Wait(Box::pin(held.wait()))
    }

    fn lease_instead(&self, ask: &Ask<'_>, permit: &mut Option<Permit>) -> Leasing {
        match self.scoped.lease_instead(ask, permit) {
            // it may have been the only one that has died
            Leasing::Refused(_) if !self.scaler.has_servers() => self.lease(ask),
            other => other,
        }
    }

    fn retry(&self, ask: &Ask<'_>) -> Option<Permit> {
        self.scoped.retry(ask)
    }

    fn answered(&self, ask: &Ask<'_>, endpoint: &Endpoint, fields: &mut Fields) {
        self.scoped.answered(ask, endpoint, fields);
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.scoped.candidates()
    }
}

/// A request that waits.
struct Held {
    wish: Wish,
    scoped: Scoped,
    scaler: Arc<Scaler>,
    tried: Vec<u64>,
    _place: super::scaler::Place,
}

impl Held {
    async fn wait(self) -> Result<Lease, Fault> {
        let patience = self.scaler.holds().timeout;
        match tokio::time::timeout(patience, self.server()).await {
            Ok(lease) => lease,
            Err(_) => {
                let name = self.scoped.name();
                let detail = match self.scaler.last_failure() {
                    Some(why) => format!("pool `{name}`: no server has come: {why}"),
                    None => {
                        format!("pool `{name}`: no server has come in {} s", patience.as_secs())
                    }
                };
                Err(Fault::new(Code::NoEndpoint, detail))
            }
        }
    }

    /// A member, as soon as there is one.
    async fn server(&self) -> Result<Lease, Fault> {
        let mut ready = self.scaler.ready();
        loop {
            ready.mark_unchanged();
            let question = Question { wish: self.wish, tried: &self.tried, now: Instant::now() };
            match self.scoped.pool.lease_for(self.scoped.place, &question) {
                Leasing::Ready(lease) => return Ok(lease),
                Leasing::Wait(waiting) => return waiting.await,
                Leasing::Refused(fault) if fault.code() != Code::NoEndpoint => return Err(fault),
                Leasing::Refused(_) => {}
            }
            // the scaler ends with its pool, which this request holds
            if ready.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
