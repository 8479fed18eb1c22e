//! What keeps a pool from being asked for more than it can do.

use transom_settings::{Duration, Limit, Percent, Spanned, Switch, settings};

settings! {
    /// How much a pool may be asked at once. What is over a limit waits in its queue.
    pub struct PoolLimits {
        /// Requests at once, over all members.
        pub requests: Spanned<Limit<u32>> = Limit::Unlimited.into(),
        /// Requests at once for each member.
        pub per_member: Spanned<Limit<u32>> = Limit::Unlimited.into(),
        /// Open connections at once, over all members and all workers, idle ones among them; for
        /// UDP flows.
        pub connections: Spanned<Limit<u32>> = Limit::Unlimited.into(),
        /// Open connections at once for each member, over all workers, idle ones among them; for
        /// UDP flows.
        pub connections_per_member: Spanned<Limit<u32>> = Limit::Unlimited.into(),
        /// Retries at once.
        pub retries: Limit<u32> = Limit::Unlimited,
        /// A limit of requests at once that finds itself by their latency.
        pub adaptive: Switch<Adaptive> = Switch::Off,
    }

    /// A limit of requests at once that finds itself (Envoy's gradient controller). Every 100 ms the
    /// median latency is compared with the least: `gradient = least × (1 + buffer) / median`, and
    /// the limit becomes `limit × gradient + √limit`.
    pub struct Adaptive {
        /// The lowest limit.
        pub min: Spanned<u32> = 3.into(),
        /// The highest limit.
        pub max: u32 = 1000,
        /// How often the least latency is measured anew, with three requests at once for fifty
        /// requests.
        pub measure: Spanned<Duration> = Duration::minutes(1).into(),
        /// By which part the latency may be above the least.
        pub buffer: Percent = Percent::of(25),
    }

    /// Requests that wait until a member has room.
    pub struct Queue {
        /// How many may wait. Any more are answered with 503.
        pub length: u32 = 1000,
        /// How long one may wait. Then 503.
        pub timeout: Spanned<Duration> = Duration::seconds(1).into(),
    }

    /// When a pool is left alone because it mostly fails.
    pub struct Breaker {
        /// The share of errors (no whole response, or 500 to 599) from which on it opens.
        pub errors: Spanned<Percent> = Percent::of(50).into(),
        /// How many requests there must have been within the window.
        pub min_requests: u32 = 20,
        /// Over which time they are counted.
        pub window: Spanned<Duration> = Duration::seconds(10).into(),
        /// How long nothing passes; twice as long each further time, 5 minutes at most.
        pub open: Spanned<Duration> = Duration::seconds(5).into(),
        /// Requests that pass after that. If all of them succeed, it closes.
        pub trials: u32 = 3,
    }

    /// How many attempts there may be beyond those that clients ask for, over 10 seconds.
    pub struct RetryBudget {
        /// In proportion to the requests.
        pub share: Percent = Percent::of(20),
        /// How many a second there may always be.
        pub min_per_second: u32 = 3,
    }
}
