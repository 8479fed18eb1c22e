//! # rate-limit
//!
//! **What it does.** Lets so many requests pass in a time for each client, consumer, or whatever a text
//! with variables makes of a request; the others are answered with 429 and told when to come again. It
//! is exact over all workers of one machine, and goes on over reloads as long as `by`, `window` and the
//! time of the rate stay what they are. `also` adds limits: a request passes if all let it pass, and
//! counts against none if one does not.
//!
//! How it counts is said by `window`. `sliding` looks at the time that has just passed, so that the
//! hundred and first request within a minute is one too many whenever the minute began. `fixed` begins
//! with nothing every so often; twice as much may pass around that edge. `even` is a token bucket: as
//! evenly as the rate says, `burst` of them at once.
//!
//! Traps. What a client chooses itself, such as a header field, is no key for its limit: it will choose
//! another one each time. Use it beside a limit by `client`. Requests without the field count together.
//! Memory is bounded by `keys`, 16 bytes each: a flood of more keys than that makes the limit forget
//! those that used least, so that it becomes looser, never slower. Behind a load balancer without
//! `trusted-proxies` all clients are one. See docs/limits.md.
//!
//! With `shared`, several processes share the limits through Redis or Valkey. No request asks it: each
//! process is given slices of a limit ahead of their use, so that a little more may pass than the limit
//! says; how much at most is said by `transom check`. While Redis is away each process counts for itself
//! with its part of the limit, or what `away` says.
//!
//! **When it runs.** Stage `limit`, after it is known who asks; with `early` in stage `admit`, before a
//! password is looked at.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   per-user: { rate-limit: { rate: 100/min, by: consumer } }
//!   sign-in:
//!     rate-limit:
//!       rate: 5/min
//!       early: true
//!       also:
//!         - { rate: 1000/h, by: all }
//! ```
//!
//! **What the client sees.** `RateLimit` and `RateLimit-Policy` on every response; the fault
//! `rate-limited` (429) with `Retry-After`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

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
use transom_settings::{List, Rate, Spanned, Target, settings};

use crate::expression::{Amount, Expression, Facts, Program};
use crate::kind::Kind;
use crate::limit::by::By;
use crate::limit::counting::{Counting, Verdict, Window};
use crate::limit::shared::{Shared, SharedSettings};
use crate::limit::table::Table;
use crate::limit::told::{Shown, Standing, Told};
use crate::making::Making;

settings! {
    /// Lets so many requests pass in a time.
    pub struct RateLimit short(rate) {
        /// How many in a time, such as `100/min`.
        pub rate: Spanned<Rate>,
        /// For whom it counts: `client` (its address; of IPv6 the /64), `consumer` (its address where
        /// it is nobody), `all` together, or a text with variables such as `{header.x-tenant}`.
        pub by: By = By::Client,
        /// What stretch of time it looks at.
        pub window: Window = Window::Sliding,
        /// How many may come at once, where `window` is `even`; as many as `rate` has by default.
        pub burst: Option<Spanned<u32>> = None,
        /// Whether the rates of the plan of who asks hold in place of these, for each consumer. Who
        /// has no plan, or one without a rate, keeps these.
        pub plans: bool = false,
        /// Through which Redis or Valkey several processes share it; all limits of the policy.
        pub shared: Option<SharedSettings> = None,
        /// Further limits, all of which have to let a request pass.
        pub also: List<Further> = List::default(),
        /// As how many requests each one counts: a number, or an expression such as
        /// `request.method == "POST" ? 5 : 1`. One that comes to nothing, or to less than one, counts
        /// as one.
        pub cost: Spanned<Expression<Amount>> = Spanned::from(Expression::known("1")),
        /// How many keys are remembered for each limit, 16 bytes each.
        pub keys: Spanned<u32> = Spanned::from(131_072),
        /// What clients are told of where they stand.
        pub headers: Told = Told::Standard,
        /// Whether it runs before it is known who asks, so that a flood costs no look at passwords.
        pub early: bool = false,
        /// Whether requests above the limit pass nevertheless: they are marked in the access log
        /// (`dry_run`) and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }

    /// A further limit.
    pub struct Further short(rate) {
        /// How many in a time.
        pub rate: Spanned<Rate>,
        /// For whom it counts.
        pub by: By = By::Client,
        /// What stretch of time it looks at.
        pub window: Window = Window::Sliding,
        /// How many may come at once, where `window` is `even`.
        pub burst: Option<Spanned<u32>> = None,
    }
}

impl RateLimit {
    fn all(&self) -> impl Iterator<Item = (String, Further)> {
        let first = Further {
            rate: self.rate,
            by: self.by.clone(),
            window: self.window,
            burst: self.burst,
        };
        let further = self.also.numbered();
        std::iter::once((String::new(), first))
            .chain(further.map(|(index, further)| (format!("also[{index}]."), further.clone())))
    }

    /// What is wrong with one limit.
    fn check(&self, at: &str, written: &Further, making: &mut Making<'_>) -> bool {
        let (rate, window) = (written.rate.value, written.window);
        let before = making.errors();
        if let (Some(burst), Window::Sliding | Window::Fixed) = (&written.burst, window) {
            let what = format!("`burst` says nothing where `window` is `{window}`");
            making.error(burst.span, &format!("{at}burst"), what, "write `window: even`");
        }
        if window == Window::Sliding && rate.count > Counting::MOST_SLIDING {
            let what = format!(
                "a sliding window counts to {} at most, not to {}",
                Counting::MOST_SLIDING,
                rate.count
            );
            let hint = "take a shorter time, such as `1000/s`, or `window: even`";
            making.error(written.rate.span, &format!("{at}rate"), what, hint);
        }
        if self.early && written.by == By::Consumer {
            let hint = "leave `early` out, or limit by `client`";
            let what = "consumers are not known yet where `early` is set";
            making.error(written.rate.span, &format!("{at}by"), what, hint);
        }
        if self.shared.is_some() && window == Window::Even {
            let hint = "write `window: sliding` or `fixed`";
            let what = "a limit that is shared is counted in windows";
            making.error(written.rate.span, &format!("{at}window"), what, hint);
        }
        let most = counting(written).most();
        if most == 0 {
            let hint = "write how many pass; to let nobody pass, remove the route";
            making.error(written.rate.span, &format!("{at}rate"), "nothing would ever pass", hint);
        } else if let Some(cost) = self.cost.program().constant()
            && !u64::try_from(cost).is_ok_and(|cost| (1..=most).contains(&cost))
        {
            let what = format!("a request costs {cost}, where 1 to {most} may be used");
            making.error(self.cost.span, "cost", what, "change `cost`, or raise the limit");
        }
        making.errors() == before
    }
}

impl RateLimit {
    /// One limit as it runs; `same` is what makes it the same over reloads.
    fn limit(&self, making: &mut Making<'_>, written: Further, same: String, at: usize) -> Limit {
        let rate = written.rate.value;
        let keys = if written.by == By::All { 1 } else { self.keys.value as usize };
        let fits = |table: &Table| table.capacity() == Table::new(keys).capacity();
        let table = making.lender.kept().keep(&same, fits, || Table::new(keys));
        let name = match at {
            0 => making.title().to_owned(),
            at => format!("{}-{}", making.title(), at + 1),
        };
        let seconds = rate.per.get().as_secs_f64().ceil() as u64;
        let shared = self.shared(making, &written, &same);
        let mut words = format!("{rate} {}", written.by.words());
        if let Some(shared) = &self.shared {
            words += &format!(
                ", shared by {} processes which pass {} at most",
                shared.processes.value,
                shared.bound(rate)
            );
        }
        Limit {
            shown: Shown::new(&name, rate.count, Some(seconds)),
            words,
            shared,
            counting: counting(&written),
            by: written.by,
            same,
            table,
        }
    }
}

impl RateLimit {
    /// What shares a limit with other processes, and the task that keeps it supplied.
    fn shared(
        &self,
        making: &mut Making<'_>,
        written: &Further,
        same: &str,
    ) -> Option<Arc<Shared>> {
        let settings = self.shared.as_ref()?;
        let (rate, keys) = (written.rate.value, self.keys.value as usize);
        let destination = making.destination(&settings.redis, "shared.redis")?;
        let shared = Shared::new(settings, same, rate, written.window, keys, destination);
        let shared = Arc::new(shared);
        making.task("shared-limit", shared.clone());
        Some(shared)
    }
}

fn counting(written: &Further) -> Counting {
    let burst = written.burst.map(|burst| u64::from(burst.value));
    Counting::new(written.rate.value, written.window, burst)
}

impl Kind for RateLimit {
    const NAME: &'static str = "rate-limit";
    const SUMMARY: &'static str = "Lets so many requests pass in a time.";
    const STAGE: Stage = Stage::Limit;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        self.shared.iter().map(|shared| ("shared.redis", &shared.redis)).collect()
    }

    fn templates(&self) -> Vec<&Template> {
        let further = self.also.iter().map(|further| &further.by);
        std::iter::once(&self.by).chain(further).filter_map(By::template).collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let mut whole = true;
        if self.keys.value == 0 {
            making.error(self.keys.span, "keys", "no key would be remembered", "write at least 1");
            whole = false;
        }
        if self.early && self.plans {
            let hint = "leave one of them out";
            let what = "plans are not known yet where `early` is set";
            making.error(self.rate.span, "plans", what, hint);
            whole = false;
        }
        let mut limits: Vec<Limit> = Vec::new();
        for (at, written) in self.all() {
            whole &= self.check(&at, &written, making);
            let rate = written.rate.value;
            // the same words mean the same thing before and after a reload
            let (by, window) = (&written.by, written.window);
            let same = format!("{} {by} {window} {}", making.name, rate.per);
            if limits.iter().any(|known| known.same == same) {
                let hint = "leave out the larger one";
                let what = "a limit for the same, over the same time, stands here twice";
                making.error(written.rate.span, &format!("{at}rate"), what, hint);
                whole = false;
            }
            limits.push(self.limit(making, written, same, limits.len()));
        }
        let mut plans = HashMap::new();
        if self.plans {
            let consumers = making.lender.consumers();
            for (plan, rates) in &consumers.written.plans {
                let rates = rates.rate.iter().enumerate().map(|(at, rate)| {
                    let (rate, window) = (Spanned::from(*rate), self.window);
                    let further = Further { rate, by: By::Consumer, window, burst: self.burst };
                    let same = format!("{} plan {plan} {window} {}", making.name, rate.per);
                    self.limit(making, further, same, at)
                });
                let rates: Vec<Limit> = rates.collect();
                if !rates.is_empty() {
                    plans.insert(plan.clone(), rates);
                }
            }
        }
        whole.then(|| {
            Arc::new(Limited {
                name: making.name.into(),
                limits,
                plans,
                cost: self.cost.program().clone(),
                told: self.headers,
                stage: if self.early { Stage::Admit } else { Self::STAGE },
                dry_run: self.dry_run,
            }) as Arc<dyn Policy>
        })
    }
}

struct Limited {
    name: Arc<str>,
    limits: Vec<Limit>,
    /// By the name of the plan.
    plans: HashMap<String, Vec<Limit>>,
    cost: Arc<Program>,
    told: Told,
    stage: Stage,
    dry_run: bool,
}

struct Limit {
    by: By,
    counting: Counting,
    table: Arc<Table>,
    /// In place of the table.
    shared: Option<Arc<Shared>>,
    shown: Shown,
    words: String,
    /// What makes it the same over reloads.
    same: String,
}

/// What each limit says, in their order.
type Verdicts = SmallVec<[Verdict; 2]>;

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
        let cost = self.cost(exchange, request);
        let worker = exchange.local.worker.clone();
        let (mut verdicts, mut alone, mut taken) =
            (Verdicts::new(), false, Vec::<(&Arc<Shared>, Vec<u8>)>::new());
        for limit in limits {
            let mut key = Vec::with_capacity(48);
            limit.by.write(exchange, request, &mut key);
            let Some(shared) = &limit.shared else { continue };
            let said = shared.take(&key, cost, &worker).await;
            verdicts.push(said.verdict);
            alone |= said.alone;
            if !said.verdict.passes {
                for (shared, key) in &taken {
                    shared.refund(key, cost);
                }
                // of the others nothing is known, and nothing is told
                let unknown = Verdict { passes: true, ..said.verdict };
                verdicts.resize(limits.len(), unknown);
                break;
            }
            taken.push((shared, key));
        }
        (verdicts, alone)
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
        charge(limits, &hashes, now, self.cost(exchange, request))
    }

    fn cost(&self, exchange: &Exchange, request: &Request) -> u64 {
        let known = self.cost.constant().map(Ok);
        let cost = known.unwrap_or_else(|| self.cost.amount(&Facts::new(exchange, request)));
        cost.ok().and_then(|cost| u64::try_from(cost).ok()).unwrap_or(1).max(1)
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
        format!("{}{plans}{dry_run}", words.join(" and "))
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Request,
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
            let over = verdicts.iter().zip(limits).filter(|(verdict, _)| !verdict.passes);
            let mut response = match over.max_by_key(|(verdict, _)| verdict.wait) {
                Some((verdict, limit)) if !self.dry_run => {
                    let detail = format!("`{}`: {}", self.name, limit.words);
                    let wait = std::time::Duration::from_nanos(verdict.wait);
                    let fault = Fault::new(Code::RateLimited, detail).retry_after(wait);
                    answer::to(exchange, fault)
                }
                over => {
                    if over.is_some() {
                        exchange.record.would_refuse(&self.name);
                    }
                    next.run(exchange, request).await
                }
            };
            self.tell(limits, &verdicts, &mut response.fields);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use transom_settings::FromText;

    use super::*;

    fn limit(rate: &str) -> Limit {
        let rate = Rate::from_text(rate).unwrap();
        Limit {
            by: By::All,
            counting: Counting::new(rate, Window::Sliding, None),
            table: Arc::new(Table::new(8)),
            shared: None,
            shown: Shown::new("a", 1, None),
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
