//! # quota
//!
//! **What it does.** Lets so many requests pass in an hour, a day, a week or a month of the calendar, for
//! each consumer, client, or whatever a text with variables makes of a request; the others are answered
//! with 429 until the period ends. A period begins when the calendar says, not with the first request:
//! hours and days as clocks show them in `zone`, weeks on Monday, months on the day `month-starts`. It is
//! exact over all workers of one machine. Of several quotas a request is charged to all or to none.
//!
//! What was used survives: with `data:` it is written there every half second, beside requests, so that
//! after a restart the count goes on where it stood. When the process is killed (`kill -9`, a loss of
//! power), what was used in the last second may not have been written: so much may be used once more.
//! A count belongs to the name of the policy, `by`, `zone` and `month-starts`, and to the period: as long
//! as these stay what they are, the numbers of quotas and the plans of consumers may change, and what was
//! used stays used.
//!
//! With `plans`, the quotas of the plan of who asks hold in place of `most`, for each consumer. Without
//! `most`, who has no plan has no quota. `transom consumer usage NAME` shows what a consumer has used.
//!
//! Traps. Write it below `policies:`: a policy that stands at its route is known by its place there, and
//! its counts go to another one when lines are moved. What a client chooses itself, such as a header
//! field, is no key for its quota. Memory is bounded by `keys`, about 150 bytes each: where more come, those
//! that used least are forgotten. The clock of the machine decides when a period ends: one that is set
//! back by hours goes on counting in the later period, one that is set back by months is believed. A
//! quota is no limit on speed: put a `rate-limit` beside it.
//!
//! With `shared`, several processes share it through Redis or Valkey as they share a `rate-limit`; then
//! Redis keeps what was used, as long as it keeps anything, and `data:` is not needed.
//!
//! **When it runs.** Stage `limit`, after it is known who asks; in the order of the file beside others of
//! that stage. Put it behind a `rate-limit`, so that what that refuses is not charged.
//!
//! **Example.**
//!
//! ```yaml
//! data: /var/lib/transom
//!
//! policies:
//!   per-month: { quota: { most: [1000/day, 20000/month], plans: true, warn-at: 80% } }
//!
//! plans:
//!   vip: { quota: [250000/month] }
//! ```
//!
//! **What the client sees.** `RateLimit` and `RateLimit-Policy` on every response, with the seconds until
//! the period ends as `t`; the fault `quota-exceeded` (429) with `Retry-After`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use transom_proxy::answer;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{OneOrMany, Percent, Spanned, Target, settings};

use crate::expression::{Amount, Expression, Program};
use crate::kind::Kind;
use crate::limit::by::By;
use crate::limit::calendar::{Calendar, Quota, Zone};
use crate::limit::cost::cost;
use crate::limit::counting::{Verdict, Verdicts};
use crate::limit::ledger::key_of;
use crate::limit::meter::{Meter, Terms};
use crate::limit::shared::windows::Windows;
use crate::limit::shared::{self, Shared, SharedSettings};
use crate::limit::told::{Shown, Standing, Told, Unit};
use crate::making::Making;
use crate::token::seconds;

settings! {
    /// Lets so many requests pass in a period of the calendar.
    pub struct Quotas short(most) {
        /// How many in which period, such as `10000/day`: `hour`, `day`, `week` or `month`. Several hold
        /// together. May be left out with `plans`.
        pub most: Option<Spanned<OneOrMany<Quota>>> = None,
        /// For whom it counts: `consumer` (its address where it is nobody), `client` (its address; of
        /// IPv6 the /64), `all` together, or a text with variables such as `{header.x-tenant}`.
        pub by: By = By::Consumer,
        /// Whether the quotas of the plan of who asks hold in place of these, for each consumer. Who
        /// has no plan, or one without a quota, keeps these.
        pub plans: Spanned<bool> = Spanned::from(false),
        /// Where it is midnight when a day begins: `UTC`, `+02:00`, or a name such as `Europe/Berlin`.
        pub zone: Zone = Zone::utc(),
        /// The day with which a month begins, from 1 to 28.
        pub month_starts: Spanned<u8> = Spanned::from(1),
        /// Through which Redis or Valkey several processes share it.
        pub shared: Option<SharedSettings> = None,
        /// As how many requests each one counts: a number, or an expression such as
        /// `request.method == "POST" ? 5 : 1`. One that comes to nothing, or to less than one, counts
        /// as one.
        pub cost: Spanned<Expression<Amount>> = Spanned::from(Expression::known("1")),
        /// From which part of a quota on it is remarked: the request with which so much is used says so
        /// in the access log (`detail`).
        pub warn_at: Option<Percent> = None,
        /// How many keys are remembered.
        pub keys: Spanned<u32> = Spanned::from(131_072),
        /// What clients are told of where they stand.
        pub headers: Told = Told::Standard,
        /// Whether requests above the quota pass nevertheless, and are counted on: they are marked in
        /// the access log (`dry_run`) and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }
}

impl Quotas {
    fn calendar(&self) -> Calendar {
        Calendar { zone: self.zone.clone(), month_starts: self.month_starts.value }
    }

    fn most(&self) -> &[Quota] {
        self.most.as_ref().map_or(&[], |most| &most.value)
    }

    fn check(&self, making: &mut Making<'_>) {
        let place = self.most.as_ref().map_or(making.place, |most| most.span);
        if self.most.is_none() && !self.plans.value {
            let hint = "write `most`, such as `most: 10000/day`, or `plans: true`";
            making.error(place, "most", "there is no quota", hint);
        }
        if !(1..=28).contains(&self.month_starts.value) {
            let hint = "write a day that every month has: 1 to 28";
            let what = format!("no month begins on the {}.", self.month_starts.value);
            making.error(self.month_starts.span, "month-starts", what, hint);
        }
        if self.keys.value == 0 {
            making.error(self.keys.span, "keys", "no key would be remembered", "write at least 1");
        }
        let cost = self.cost.program().constant();
        let most = self.most();
        for (at, quota) in most.iter().enumerate() {
            if most[..at].iter().any(|other| other.per == quota.per) {
                let what = format!("a quota for the same period as `{quota}` stands here twice");
                making.error(place, "most", what, "leave out the larger one");
            }
            if quota.count == 0 {
                let hint = "write how many pass; to let nobody pass, remove the route";
                making.error(place, "most", "nothing would ever pass", hint);
            } else if let Some(cost) = cost
                && !u64::try_from(cost).is_ok_and(|cost| (1..=quota.count).contains(&cost))
            {
                let what =
                    format!("a request costs {cost}, where 1 to {} may be used", quota.count);
                making.error(self.cost.span, "cost", what, "change `cost`, or raise the quota");
            }
        }
        if self.shared.is_none() && !making.lender.survives() {
            let hint = "name a directory: `data: /var/lib/transom`";
            let what = "what is used is forgotten at a restart: there is no `data`";
            making.warning(place, "", what, hint);
        }
    }

    /// Quotas that hold together, for who `by` says.
    fn terms(&self, making: &mut Making<'_>, by: &By, quotas: &[Quota]) -> Option<Terms> {
        let mut terms = Terms {
            by: by.clone(),
            quotas: quotas.to_vec(),
            shown: Vec::new(),
            shared: Vec::new(),
        };
        for (at, quota) in quotas.iter().enumerate() {
            let name = match at {
                0 => making.title().to_owned(),
                at => format!("{}-{}", making.title(), at + 1),
            };
            let unit = quota.per.seconds().map_or(Unit::Month, Unit::Seconds);
            terms.shown.push(Shown::new(&name, quota.count, unit));
            if let Some(settings) = &self.shared {
                let destination = making.destination(&settings.redis, "shared.redis")?;
                // the plan is no part of the name: who gets another one has used what it has used
                let name = format!("{} {}", self.same(making, by), quota.per.as_str());
                let (processes, keys) = (settings.processes(), self.keys.value as usize);
                let windows = Windows::of_quota(*quota, self.calendar(), processes, keys);
                let shared =
                    Arc::new(Shared::new(settings, &name, quota.count, windows, keys, destination));
                making.task("shared-quota", shared.clone());
                terms.shared.push(shared);
            }
        }
        Some(terms)
    }

    /// What makes a count the same over reloads and restarts.
    fn same(&self, making: &Making<'_>, by: &By) -> String {
        format!("{} {by} {} {}", making.name, self.zone, self.month_starts.value)
    }

    /// The quotas as people read them.
    fn words(&self) -> String {
        let most = self.most();
        if most.is_empty() {
            return "what the plan says".to_owned();
        }
        let listed = |each: &dyn Fn(&Quota) -> String| {
            most.iter().map(each).collect::<Vec<_>>().join(" and ")
        };
        let mut words = format!("{} {}", listed(&Quota::to_string), self.by.words());
        if self.plans.value {
            words += ", or what the plan says";
        }
        if let Some(shared) = &self.shared {
            let bounds = listed(&|quota| shared.bound(quota.count).to_string());
            let processes = shared.processes();
            words += &format!(", shared by {processes} processes which pass {bounds} at most");
        }
        words
    }
}

impl Kind for Quotas {
    const NAME: &'static str = "quota";
    const SUMMARY: &'static str = "Lets so many requests pass in a period of the calendar.";
    const STAGE: Stage = Stage::Limit;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        self.shared.iter().map(|shared| ("shared.redis", &shared.redis)).collect()
    }

    fn templates(&self) -> Vec<&Template> {
        self.by.template().into_iter().collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        self.check(making);
        let ordinary = self.terms(making, &self.by, self.most())?;
        let mut plans = HashMap::new();
        if self.plans.value {
            let consumers = making.lender.consumers();
            for (name, plan) in &consumers.written.plans {
                if !plan.quota.is_empty() {
                    plans.insert(name.clone(), self.terms(making, &By::Consumer, &plan.quota)?);
                }
            }
            if plans.is_empty() {
                let hint =
                    "write one below `plans:`, such as `plans: { vip: { quota: [10000/day] } }`";
                making.warning(self.plans.span, "plans", "no plan has a quota", hint);
            }
        }
        let kept = match (&self.shared, making.lender.survives()) {
            (None, true) => ", kept on disk (a kill loses a second at most)",
            _ => "",
        };
        let ledger = self.same(making, &self.by);
        let keys = self.keys.value as usize;
        let ledger = making.lender.ledgers().open(&ledger, keys);
        let title = making.title().to_owned();
        let calendar = self.calendar();
        let meter = Arc::new(Meter { title, calendar, ledger, keys, ordinary, plans });
        making.lender.metered(meter.clone());
        Some(Arc::new(Metered {
            name: making.name.into(),
            words: self.words(),
            kept,
            meter,
            cost: self.cost.program().clone(),
            warn_at: self.warn_at.map(Percent::ratio),
            told: self.headers,
            dry_run: self.dry_run,
        }))
    }
}

struct Metered {
    name: Arc<str>,
    words: String,
    kept: &'static str,
    meter: Arc<Meter>,
    cost: Arc<Program>,
    /// From 0 to 1.
    warn_at: Option<f64>,
    told: Told,
    dry_run: bool,
}

impl Metered {
    /// Charges a request to all quotas that hold for who asks. Says whether one of them had to be counted
    /// by this process alone.
    async fn take(
        &self,
        terms: &Terms,
        exchange: &Exchange,
        key: &[u8],
        cost: u64,
    ) -> (Verdicts, bool) {
        if terms.shared.is_empty() {
            let (meter, now) = (&self.meter, seconds(SystemTime::now()));
            let key = key_of(key);
            let charge =
                meter.ledger.charge(key, &terms.quotas, &meter.calendar, cost, now, self.dry_run);
            return (charge, false);
        }
        let of = terms.shared.iter().map(|shared| (&**shared, key.to_vec()));
        shared::take(of.collect(), cost, &exchange.local.worker).await
    }

    fn tell(&self, terms: &Terms, verdicts: &[Verdict], fields: &mut Fields) {
        let standing =
            |verdict: &Verdict| Standing { left: verdict.left, reset: Some(verdict.seconds()) };
        let limits: SmallVec<[(&Shown, Standing); 2]> =
            terms.shown.iter().zip(verdicts.iter().map(standing)).collect();
        self.told.write(&limits, fields);
    }
}

/// Whether with this request so much of a quota is used as had not been used before it.
fn crosses(quota: Quota, verdict: Verdict, cost: u64, part: f64) -> bool {
    let used = quota.count.saturating_sub(verdict.left);
    let mark = (quota.count as f64 * part).ceil() as u64;
    verdict.passes && used >= mark && used.saturating_sub(cost) < mark
}

impl Policy for Metered {
    fn kind(&self) -> &'static str {
        Quotas::NAME
    }

    fn stage(&self) -> Stage {
        Quotas::STAGE
    }

    fn describe(&self) -> String {
        let dry_run = if self.dry_run { ", only told in the log" } else { "" };
        format!("{}{}{dry_run}", self.words, self.kept)
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let plan = exchange.identity.as_ref().and_then(|identity| identity.plan.as_deref());
            let terms = self.meter.terms(plan);
            if terms.quotas.is_empty() {
                return Ok(next.run(exchange, request).await);
            }
            let mut key = Vec::with_capacity(48);
            terms.by.write(exchange, &request, &mut key);
            let cost = cost(&self.cost, exchange, &request);
            let (verdicts, alone) = self.take(terms, exchange, &key, cost).await;
            if alone {
                exchange.record.remark(format!("`{}`: counted without Redis", self.name));
            }
            if let Some(part) = self.warn_at {
                let mut each = terms.quotas.iter().zip(&verdicts);
                if let Some((quota, _)) =
                    each.find(|(q, verdict)| crosses(**q, **verdict, cost, part))
                {
                    let percent = part * 100.0;
                    exchange
                        .record
                        .remark(format!("`{}`: {percent} % of {quota} is used", self.name));
                }
            }
            let over = verdicts.iter().zip(&terms.quotas).filter(|(verdict, _)| !verdict.passes);
            let mut response = match over.max_by_key(|(verdict, _)| verdict.wait) {
                Some((verdict, quota)) if !self.dry_run => {
                    let detail = format!("`{}`: {quota} {}", self.name, terms.by.words());
                    let wait = Duration::from_nanos(verdict.wait);
                    let fault = Fault::new(Code::QuotaExceeded, detail).retry_after(wait);
                    answer::to(exchange, fault)
                }
                over => {
                    if over.is_some() {
                        exchange.record.would_refuse(&self.name);
                    }
                    next.run(exchange, request).await
                }
            };
            if self.told != Told::Nothing {
                self.tell(terms, &verdicts, &mut response.fields);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::calendar::Period;

    #[test]
    fn gw_20_the_request_that_uses_so_much_says_so_and_no_other() {
        let quota = Quota { count: 10, per: Period::Day };
        for (left, cost, passes, expected) in [
            (3, 1, true, false),
            (2, 1, true, true),
            (1, 1, true, false),
            (0, 5, true, true),
            (0, 1, true, false),
            (2, 1, false, false),
        ] {
            let verdict = Verdict { passes, left, wait: 0 };
            assert_eq!(crosses(quota, verdict, cost, 0.8), expected, "{left} after {cost}");
        }
    }
}
