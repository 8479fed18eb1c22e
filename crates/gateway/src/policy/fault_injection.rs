//! # fault-injection
//!
//! **What it does.** Makes requests wait, or fails them, on purpose: to see what clients do when the
//! service behind is slow or broken, before it is. Which ones is said by a share, by a condition, or by both.
//!
//! **When it runs.** Stage `store`, innermost: in the place where the endpoint would fail. Who is refused by
//! another policy is not touched, and limits count what is failed here. Since no endpoint is asked, there
//! is no other attempt, and neither `outliers` nor `breaker` of the pool learns of it. Beside `idempotency`, write it
//! behind that: then a client that asks again is treated as if the endpoint had failed.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   sometimes-slow: { fault-injection: { delay: { time: 300ms, share: 10% } } }
//!   unruly:
//!     fault-injection:
//!       when: request.headers["x-unruly"] == "yes"
//!       delay: 2s
//!       abort: { status: 503, share: 50%, retry-after: 1s }
//! ```
//!
//! `delay` and `abort` are drawn apart: here all who ask for it wait for two seconds, and then half of them
//! fail. Where the condition comes to nothing, as it does without the header, the request passes. To keep
//! strangers from asking for it, let `when` look at `identity` or `client.address`.
//!
//! **What the client sees.** The fault `injected` with the status that is written, in the form of all
//! faults (to gRPC the code that belongs to that status); or the answer of the endpoint, later.
//!
//! At 3 a.m.: `fault=injected` in the access log, and `transom_faults_total{code="injected"}`, are this
//! policy and nobody's failure; `detail` names it. `delayed by` in `detail` is who was made to wait, and
//! `total_ms` has the wait in it. To end it at once, write `share: 0%` and reload; who waits then does so to
//! the end.

use std::sync::Arc;
use std::time::Duration as Time;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, Percent, Spanned, Status, settings};

use crate::expression::{Condition, Expression, Facts};
use crate::grpc::status::Code as GrpcCode;
use crate::kind::Kind;
use crate::making::Making;

/// The longest that requests are made to wait.
const LONGEST: Time = Time::from_secs(600);

settings! {
    /// Delays requests, or fails them, on purpose.
    pub struct FaultInjection {
        /// Which requests. Default: all.
        pub when: Option<Expression<Condition>> = None,
        /// Makes them wait: for how long, and which part of them.
        pub delay: Option<Delay> = None,
        /// Fails them: with which status, and which part of them.
        pub abort: Option<Abort> = None,
    }

    /// Requests that are made to wait.
    pub struct Delay short(time) {
        /// For how long; at most 10 minutes.
        pub time: Spanned<Duration>,
        /// Which part of the requests.
        pub share: Percent = Percent::of(100),
    }

    /// Requests that are failed.
    pub struct Abort short(status) {
        /// The status they are answered with, from 400 to 599.
        pub status: Spanned<Status>,
        /// Which part of the requests.
        pub share: Percent = Percent::of(100),
        /// When clients are told to come again (`Retry-After`). Default: they are not.
        pub retry_after: Option<Duration> = None,
    }
}

impl Kind for FaultInjection {
    const NAME: &'static str = "fault-injection";
    const SUMMARY: &'static str = "Delays requests, or fails them, on purpose.";
    const STAGE: Stage = Stage::Store;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if self.delay.is_none() && self.abort.is_none() {
            let hint = "write what is to happen, such as `delay: 2s` or `abort: { status: 503, share: 1% }`";
            making.error(making.place, "", "it has neither `delay` nor `abort`", hint);
        }
        if let Some(delay) = self.delay.as_ref().filter(|delay| delay.time.get() > LONGEST) {
            let what = "nobody is made to wait for more than 10 minutes";
            making.error(delay.time.span, "delay.time", what, "write a shorter time");
        }
        if let Some(abort) = &self.abort
            && !(400..600).contains(&abort.status.code())
        {
            let what = format!("{} is no failure", abort.status.code());
            let hint = "write a status from 400 to 599; for answers there is the policy `mock`";
            making.error(abort.status.span, "abort.status", what, hint);
        }
        (making.errors() == 0)
            .then(|| Arc::new(Unruly { name: making.name.into(), rule: self.clone() }) as _)
    }
}

struct Unruly {
    name: Arc<str>,
    rule: FaultInjection,
}

impl Unruly {
    fn is_meant(&self, exchange: &Exchange, request: &Request) -> bool {
        let Some(condition) = &self.rule.when else { return true };
        condition.program().is_true(&Facts::new(exchange, request)).unwrap_or(false)
    }

    fn fault(&self, abort: &Abort) -> Fault {
        let status = abort.status.code();
        let grpc = u8::try_from(GrpcCode::of_http(status).0).unwrap_or_default();
        let fault = Fault::new(Code::Injected, format!("by the policy `{}`", self.name))
            .status(status)
            .grpc(grpc);
        match abort.retry_after {
            Some(time) => fault.retry_after(time.get()),
            None => fault,
        }
    }
}

impl Policy for Unruly {
    fn kind(&self) -> &'static str {
        FaultInjection::NAME
    }

    fn stage(&self) -> Stage {
        FaultInjection::STAGE
    }

    fn describe(&self) -> String {
        let delay = self.rule.delay.as_ref();
        let delay = delay.map(|delay| format!("makes {} wait for {}", delay.share, *delay.time));
        let abort = self.rule.abort.as_ref();
        let abort =
            abort.map(|abort| format!("fails {} with {}", abort.share, abort.status.code()));
        let what: Vec<_> = delay.into_iter().chain(abort).collect();
        match &self.rule.when {
            Some(condition) => format!("{}, where {}", what.join(" and "), condition.as_str()),
            None => what.join(" and "),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            if !self.is_meant(exchange, &request) {
                return Ok(next.run(exchange, request).await);
            }
            let drawn = |share: Percent| exchange.local.random() < share.ratio();
            let delay = self.rule.delay.as_ref().filter(|delay| drawn(delay.share));
            let abort = self.rule.abort.as_ref().filter(|abort| drawn(abort.share));
            if let Some(delay) = delay {
                tokio::time::sleep(delay.time.get()).await;
            }
            if let Some(abort) = abort {
                return Err(self.fault(abort));
            }
            if let Some(delay) = delay {
                let remark = format!("delayed by {} by the policy `{}`", *delay.time, self.name);
                exchange.record.remark(remark);
            }
            Ok(next.run(exchange, request).await)
        })
    }
}
