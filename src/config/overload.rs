//! When the process as a whole has too much to do or to hold.

use transom_settings::{
    ByteSize, Duration, FromText, Limit, Percent, Rate, Refusal, Spanned, json::Value as Json,
    quote, settings,
};

settings! {
    /// When the process as a whole has too much to do or to hold, and what it gives up then, one
    /// after the other. It takes everything back as soon as there is room.
    pub struct Overload {
        /// The memory that is there for it: `auto` is what its control group may have, else the
        /// machine; `off` does not look.
        pub memory: Spanned<MemoryBudget> = MemoryBudget::Auto.into(),
        /// Of memory or file descriptors: from here on connections that lie idle are closed, the
        /// longest idle first, and none is kept.
        pub tight: Spanned<Percent> = Percent::of(80).into(),
        /// Of memory or file descriptors: from here on requests are answered with 503.
        pub shed: Spanned<Percent> = Percent::of(90).into(),
        /// Of memory or file descriptors: from here on nothing is accepted. Who connects waits in
        /// the kernel's queue.
        pub close: Spanned<Percent> = Percent::of(95).into(),
        /// How late a worker may be before a growing share of requests is answered with 503.
        pub lag: Spanned<Limit<Duration>> = Limit::At(Duration::seconds(1)).into(),
        /// How long a worker may not come round at all before the process ends itself, with a core
        /// dump where the system makes one, so that a supervisor starts another.
        pub abort: Spanned<Limit<Duration>> = Limit::Unlimited.into(),
        /// Connections of all listeners at once. One more is closed.
        pub connections: Limit<u32> = Limit::Unlimited,
        /// New connections of all listeners in a time, let in evenly. Who comes too soon waits in the
        /// kernel's queue.
        pub connection_rate: Spanned<Limit<Rate>> = Limit::Unlimited.into(),
        /// Requests of all listeners under way at once. One more is answered with 503.
        pub requests: Limit<u32> = Limit::Unlimited,
    }
}

/// How much memory there is for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// What its control group may have, else the machine.
    Auto,
    Off,
    Of(ByteSize),
}

impl FromText for MemoryBudget {
    const WHAT: &'static str = "`auto`, `off` or a size such as `512MiB`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "auto" => Ok(MemoryBudget::Auto),
            "off" => Ok(MemoryBudget::Off),
            text => match ByteSize::from_text(text) {
                Ok(size) if size.bytes() > 0 => Ok(MemoryBudget::Of(size)),
                _ => {
                    let what = format!("expected {}, found {}", Self::WHAT, quote(text));
                    Err(Refusal::new(what))
                }
            },
        }
    }

    fn schema() -> Json {
        transom_settings::json::json!({
            "anyOf": [{ "enum": ["auto", "off"] }, <ByteSize as FromText>::schema()],
        })
    }

    fn to_json(&self) -> Json {
        match self {
            MemoryBudget::Auto => "auto".into(),
            MemoryBudget::Off => "off".into(),
            MemoryBudget::Of(size) => FromText::to_json(size),
        }
    }
}
