//! # concurrency
//!
//! **What it does.** Lets so many requests of each client, consumer, or whatever a text with variables
//! makes of a request be under way at once. A place is given back when the last byte of the response
//! has been sent or the client has gone; a WebSocket keeps its place while it is open. Exact over all
//! workers of one machine.
//!
//! Traps. A limit by `all` is shared by everybody, so that one client can use it up: give each client
//! fewer beside it. Places of slow clients are taken for as long as they read. The next request on a
//! connection of HTTP/1.1 finds the place of the one before free; on another connection, or as another
//! stream, it may come a moment before the place is given back: let clients that take turns over
//! several connections have one more.
//!
//! **When it runs.** Stage `limit`, after it is known who asks.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   at-once: { concurrency: { most: 10, by: consumer } }
//! ```
//!
//! **What the client sees.** `RateLimit` and `RateLimit-Policy` on every response; the fault
//! `rate-limited` (429) with `Retry-After: 1`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use transom_proxy::answer;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{Spanned, settings};

use crate::kind::Kind;
use crate::limit::by::By;
use crate::limit::flight::Flights;
use crate::limit::told::{Shown, Standing, Told, Unit};
use crate::making::Making;

settings! {
    /// Lets so many requests be under way at once.
    pub struct Concurrency short(most) {
        /// How many.
        pub most: Spanned<u32>,
        /// For whom it counts: `client` (its address; of IPv6 the /64), `consumer` (its address where
        /// it is nobody), `all` together, or a text with variables such as `{header.x-tenant}`.
        pub by: By = By::Client,
        /// Whether what the plan of who asks says holds in place of `most`, for each consumer. Who has
        /// no plan, or one that says nothing, keeps `most`.
        pub plans: bool = false,
        /// What clients are told of where they stand.
        pub headers: Told = Told::Standard,
        /// Whether requests above the limit pass nevertheless: they are marked in the access log
        /// (`dry_run`) and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }
}

/// When one may come again that found no place.
const AGAIN: Duration = Duration::from_secs(1);

impl Kind for Concurrency {
    const NAME: &'static str = "concurrency";
    const SUMMARY: &'static str = "Lets so many requests be under way at once.";
    const STAGE: Stage = Stage::Limit;

    fn templates(&self) -> Vec<&Template> {
        self.by.template().into_iter().collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if self.most.value == 0 {
            let hint = "write how many; to let nobody pass, remove the route";
            making.error(self.most.span, "most", "nothing would ever pass", hint);
            return None;
        }
        let same = format!("{} {}", making.name, self.by);
        let most =
            |most: u32| Most { most, shown: Shown::new(making.title(), most.into(), Unit::AtOnce) };
        let consumers = making.lender.consumers();
        let plans = consumers.written.plans.iter().filter(|_| self.plans);
        let plans = plans.filter_map(|(name, plan)| Some((name.clone(), most(plan.concurrency?))));
        Some(Arc::new(AtOnce {
            name: making.name.into(),
            plans: plans.collect(),
            most: most(self.most.value),
            by: self.by.clone(),
            flights: making.lender.kept().keep(&same, |_| true, Flights::default),
            told: self.headers,
            dry_run: self.dry_run,
        }))
    }
}

struct AtOnce {
    name: Arc<str>,
    most: Most,
    /// By the name of the plan.
    plans: HashMap<String, Most>,
    by: By,
    flights: Arc<Flights>,
    told: Told,
    dry_run: bool,
}

struct Most {
    most: u32,
    shown: Shown,
}

impl Policy for AtOnce {
    fn kind(&self) -> &'static str {
        Concurrency::NAME
    }

    fn stage(&self) -> Stage {
        Concurrency::STAGE
    }

    fn describe(&self) -> String {
        let dry_run = if self.dry_run { ", only told in the log" } else { "" };
        let plans = if self.plans.is_empty() { "" } else { ", or what the plan says" };
        format!("{} at once {}{plans}{dry_run}", self.most.most, self.by.words())
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let plan = exchange.identity.as_ref().and_then(|identity| identity.plan.as_deref());
            let of_plan = plan.and_then(|plan| self.plans.get(plan));
            let Most { most, shown } = of_plan.unwrap_or(&self.most);
            let mut key = Vec::with_capacity(48);
            match of_plan {
                Some(_) => By::Consumer.write(exchange, &request, &mut key),
                None => self.by.write(exchange, &request, &mut key),
            }
            let entered = self.flights.enter(&key, *most);
            let left = entered.as_ref().map_or(0, |(_, left)| *left);
            let mut response = match entered {
                None if !self.dry_run => {
                    let words = self.by.words();
                    let detail = format!("`{}`: {most} at once {words}", self.name);
                    let fault = Fault::new(Code::RateLimited, detail).retry_after(AGAIN);
                    answer::to(exchange, fault)
                }
                entered => {
                    match entered {
                        Some((flight, _)) => flight.hold(exchange),
                        None => exchange.record.would_refuse(&self.name),
                    }
                    next.run(exchange, request).await
                }
            };
            let standing = Standing { left: left.into(), reset: None };
            self.told.write(&[(shown, standing)], &mut response.fields);
            Ok(response)
        })
    }
}
