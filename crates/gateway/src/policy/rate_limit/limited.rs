//! What runs: all limits of a policy are charged for a request, or none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use transom_proxy::answer;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Answering, Policy};
use transom_proxy::stage::Stage;

use super::RateLimit;
use crate::expression::{Condition, Expression, Facts, Program};
use crate::kind::Kind;
use crate::limit::by::By;
use crate::limit::cost::cost;
use crate::limit::counting::{Counting, Verdict, Verdicts};
use crate::limit::shared::{self, Shared};
use crate::limit::table::Table;
use crate::limit::told::{Shown, Standing, Told};

pub(super) struct Limited {
    pub(super) name: Arc<str>,
    pub(super) limits: Vec<Limit>,
    /// By the name of the plan.
    pub(super) plans: HashMap<String, Vec<Limit>>,
    pub(super) cost: Arc<Program>,
    pub(super) when: Option<Expression<Condition>>,
    pub(super) told: Told,
    pub(super) stage: Stage,
    pub(super) dry_run: bool,
}

pub(super) struct Limit {
    pub(super) by: By,
    pub(super) counting: Counting,
    pub(super) table: Arc<Table>,
    /// In place of the table.
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) shown: Shown,
    pub(super) words: String,
    /// What makes it the same over reloads.
    pub(super) same: String,
}

impl Limited {
    /// Those that hold for who asks.
    fn limits(&self, exchange: &Exchange) -> &[Limit] {
        let plan = exchange.identity.as_ref().and_then(|identity| identity.plan.as_deref());
        let of_plan = plan.filter(|_| !self.plans.is_empty()).and_then(|plan| self.plans.get(plan));
        of_plan.unwrap_or(&self.limits)
    }

    /// The same where they are shared with other processes. Says whether one of them had to be counted
    /// by this process alone.
    async fn take_shared(
        &self,
        limits: &[Limit],
        exchange: &Exchange,
        request: &Request,
    ) -> (Verdicts, bool) {
        let cost = cost(&self.cost, exchange, request);
        let of = limits.iter().filter_map(|limit| {
            let mut key = Vec::with_capacity(48);
            limit.by.write(exchange, request, &mut key);
            Some((&**limit.shared.as_ref()?, key))
        });
        shared::take(of.collect(), cost, &exchange.local.worker).await
    }

    /// Charges all of them, or none.
    fn take(
        &self,
        limits: &[Limit],
        exchange: &Exchange,
        request: &Request,
        now: Instant,
    ) -> Verdicts {
        let mut key = Vec::with_capacity(48);
        let hashes: SmallVec<[u64; 2]> = limits
            .iter()
            .map(|limit| {
                key.clear();
                limit.by.write(exchange, request, &mut key);
                limit.table.hash(&key)
            })
            .collect();
        charge(limits, &hashes, now, cost(&self.cost, exchange, request))
    }

    /// Why a request does not pass. In a dry run it does, and that is noted.
    fn refusal(
        &self,
        limits: &[Limit],
        verdicts: &[Verdict],
        exchange: &mut Exchange,
    ) -> Option<Fault> {
        let over = verdicts.iter().zip(limits).filter(|(verdict, _)| !verdict.passes);
        let (verdict, limit) = over.max_by_key(|(verdict, _)| verdict.wait)?;
        if self.dry_run {
            exchange.record.would_refuse(&self.name);
            return None;
        }
        let detail = format!("`{}`: {}", self.name, limit.words);
        let wait = Duration::from_nanos(verdict.wait);
        Some(Fault::new(Code::RateLimited, detail).retry_after(wait))
    }

    fn tell(&self, limits: &[Limit], verdicts: &[Verdict], fields: &mut Fields) {
        if self.told == Told::Nothing {
            return;
        }
        let limits: SmallVec<[(&Shown, Standing); 2]> = limits
            .iter()
            .zip(verdicts)
            .map(|(limit, verdict)| {
                let standing = Standing { left: verdict.left, reset: Some(verdict.seconds()) };
                (&limit.shown, standing)
            })
            .collect();
        self.told.write(&limits, fields);
    }
}

/// All of them, or none: looked at first where there are several, and given back where another worker
/// was quicker.
fn charge(limits: &[Limit], hashes: &[u64], now: Instant, cost: u64) -> Verdicts {
    let one = |(limit, hash): (&Limit, &u64)| {
        let time = limit.table.time(now);
        limit.table.change(*hash, |word| limit.counting.charge(word, time, cost))
    };
    let look = |(limit, hash): (&Limit, &u64)| {
        let word = limit.table.word(*hash);
        let (mut verdict, _) = limit.counting.charge(word, limit.table.time(now), cost);
        verdict.left += if verdict.passes { cost } else { 0 };
        verdict
    };
    if limits.len() > 1 {
        let seen: Verdicts = limits.iter().zip(hashes).map(look).collect();
        if seen.iter().any(|verdict| !verdict.passes) {
            return seen;
        }
    }
    let mut verdicts = Verdicts::new();
    for (at, limit) in limits.iter().enumerate() {
        let verdict = one((limit, &hashes[at]));
        verdicts.push(verdict);
        if verdict.passes {
            continue;
        }
        for ((limit, hash), verdict) in limits.iter().zip(hashes).zip(&mut verdicts[..at]) {
            verdict.left += cost;
            let time = limit.table.time(now);
            limit.table.change(*hash, |word| ((), limit.counting.refund(word, time, cost)));
        }
        verdicts.extend(limits.iter().zip(hashes).skip(at + 1).map(look));
        break;
    }
    verdicts
}

impl Policy for Limited {
    fn kind(&self) -> &'static str {
        RateLimit::NAME
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn describe(&self) -> String {
        let words: Vec<_> = self.limits.iter().map(|limit| &*limit.words).collect();
        let dry_run = if self.dry_run { ", only told in the log" } else { "" };
        let plans = if self.plans.is_empty() { "" } else { ", or what the plan says" };
        let when = self.when.as_ref().map(|when| format!(", when {}", when.as_str()));
        format!("{}{plans}{}{dry_run}", words.join(" and "), when.unwrap_or_default())
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        let is_for = |when: &Expression<Condition>| {
            when.program().is_true(&Facts::new(exchange, request)).unwrap_or(true)
        };
        if !self.when.as_ref().is_none_or(is_for) {
            return Ok(Ahead::Done);
        }
        let limits = self.limits(exchange);
        if self.told != Told::Nothing || limits.iter().any(|limit| limit.shared.is_some()) {
            return Ok(Ahead::Around);
        }
        let verdicts = self.take(limits, exchange, request, Instant::now());
        match self.refusal(limits, &verdicts, exchange) {
            Some(fault) => Err(fault),
            None => Ok(Ahead::Done),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let limits = self.limits(exchange);
            let shared = limits.iter().any(|limit| limit.shared.is_some());
            let (verdicts, alone) = match shared {
                true => self.take_shared(limits, exchange, &request).await,
                false => (self.take(limits, exchange, &request, Instant::now()), false),
            };
            if alone {
                exchange.record.remark(format!("`{}`: counted without Redis", self.name));
            }
            let mut response = match self.refusal(limits, &verdicts, exchange) {
                Some(fault) => answer::to(exchange, fault),
                None => next.run(exchange, request).await,
            };
            self.tell(limits, &verdicts, &mut response.fields);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::{FromText, Rate};

    use super::*;
    use crate::limit::counting::Window;
    use crate::limit::told::Unit;

    fn limit(rate: &str) -> Limit {
        let rate = Rate::from_text(rate).unwrap();
        Limit {
            by: By::All,
            counting: Counting::new(rate, Window::Sliding, None),
            table: Arc::new(Table::new(8)),
            shared: None,
            shown: Shown::new("a", 1, Unit::AtOnce),
            words: String::new(),
            same: String::new(),
        }
    }

    #[test]
    fn gw_17_of_several_limits_all_are_charged_or_none() {
        let limits = [limit("10/min"), limit("3/s"), limit("5/h")];
        let now = Instant::now() + Duration::from_secs(3600);
        let lefts = |now: Instant, cost: u64| -> Vec<u64> {
            let verdicts = charge(&limits, &[1, 1, 1], now, cost);
            verdicts.iter().map(|verdict| verdict.left).collect()
        };
        assert_eq!(lefts(now, 1), [9, 2, 4]);
        assert_eq!(lefts(now, 3), [9, 2, 4], "the second refuses, and nothing is charged");
        assert_eq!(lefts(now, 2), [7, 0, 2]);
        assert_eq!(lefts(now + Duration::from_secs(2), 2), [5, 1, 0]);
        let verdicts = charge(&limits, &[1, 1, 1], now + Duration::from_secs(4), 1);
        let passes: Vec<_> = verdicts.iter().map(|verdict| verdict.passes).collect();
        assert_eq!(passes, [true, true, false]);
    }

    #[test]
    fn gw_17_over_eight_threads_several_limits_admit_exactly_the_least() {
        let limits = [limit("2000/h"), limit("1000/h")];
        let passed = std::sync::atomic::AtomicU64::new(0);
        let now = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let verdicts = charge(&limits, &[1, 1], now, 1);
                        let all = verdicts.iter().all(|verdict| verdict.passes);
                        passed.fetch_add(all.into(), std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1000);
        let left = limits[0].counting.charge(limits[0].table.word(1), limits[0].table.time(now), 1);
        assert_eq!(left.0.left, 999, "what the other refused was given back");
    }
}
