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
//! `trusted-proxies` all clients are one. See [limits](../../limits.md).
//!
//! With `shared`, several processes share the limits through Redis or Valkey. No request asks it: each
//! process is given slices of a limit ahead of their use, so that a little more may pass than the limit
//! says; how much at most is said by `transom check`. While Redis is away each process counts for itself
//! with its part of the limit, or what `away` says.
//!
//! `when` says which requests it is for, so that one route has several limits for different things.
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

use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{List, Rate, Spanned, Target, settings};

use crate::expression::{Amount, Condition, Expression};
use crate::kind::Kind;
use crate::limit::by::By;
use crate::limit::counting::{Counting, Window};
use crate::limit::shared::windows::Windows;
use crate::limit::shared::{Shared, SharedSettings};
use crate::limit::table::Table;
use crate::limit::told::{Shown, Told, Unit};
use crate::making::Making;

mod limited;

use limited::{Limit, Limited};

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
        /// Which requests it is for, such as `request.method == "POST"`; the others pass and do not count. It is
        /// also for those for which the condition comes to nothing.
        pub when: Option<Expression<Condition>> = None,
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
                shared.bound(rate.count)
            );
        }
        Limit {
            shown: Shown::new(&name, rate.count, Unit::Seconds(seconds)),
            words,
            shared,
            counting: counting(&written),
            by: written.by,
            same,
            table,
        }
    }

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
        let windows = Windows::of_rate(rate, written.window, settings.processes(), keys);
        let shared = Shared::new(settings, same, rate.count, windows, keys, destination);
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
                when: self.when.clone(),
                told: self.headers,
                stage: if self.early { Stage::Admit } else { Self::STAGE },
                dry_run: self.dry_run,
            }) as Arc<dyn Policy>
        })
    }
}
