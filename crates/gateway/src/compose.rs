//! The action `compose`: several services are asked, and one answer is made of theirs.
//!
//! [`plan`] finds out which part waits for which, [`run`] asks and waits, [`shape`] makes the share of
//! each answer and joins them, [`caching`] says for how long the whole may be kept. What the file says
//! of a part is [`text`] with [`path`]s into answers. docs/compose.md is the manual.

mod caching;
mod join;
pub mod path;
mod plan;
mod run;
mod shape;
pub mod text;
mod worst;

use transom_proxy::action::Action;
use transom_proxy::action::forward::HostRule;
use transom_proxy::variables::Template;
use transom_settings::{
    Any, ByteSize, Duration, HeaderName, Map, Method, Name, Spanned, StatusPattern, Target,
    settings,
};

use self::path::Place;
use self::text::Text;
use crate::making::Making;

settings! {
    /// Asks several services and makes one answer of theirs. A part that uses the answer of another
    /// waits for it; all others are asked at once.
    pub struct Compose {
        /// What is asked, each part by its name. Where two answers say the same, the later part wins.
        pub parts: Map<Name, Spanned<Part>>,
        /// For how long all of it is waited; parts that are not there then are left out.
        pub timeout: Duration = Duration::seconds(2),
        /// The field that says whether every part is there: `true` or `false`.
        pub completed_header: HeaderName = HeaderName::known("x-transom-completed"),
        /// What the parts may cost at most; a composition that could cost more is refused.
        pub limits: Spanned<ComposeLimits> = Spanned::default(),
    }

    /// What one composed answer may cost.
    pub struct ComposeLimits {
        /// Calls for one request.
        pub calls: u32 = 20,
        /// Calls of which each waits for the one before.
        pub depth: u32 = 5,
        /// Bodies of all answers together.
        pub bytes: ByteSize = ByteSize::mib(32),
    }

    /// One part of a composed answer: a request, and what is taken of its answer, which is JSON.
    pub struct Part {
        /// The name of a pool or a split, or one address.
        pub to: Spanned<Target>,
        /// Path and query: `/users/{capture.id}`, or `/carts/{user.cart}` with the answer of the part
        /// `user`.
        pub path: Spanned<Text>,
        /// The method: GET, or POST where there is a body.
        pub method: Option<Method> = None,
        /// Fields of the request, beside those of the client.
        pub headers: Map<HeaderName, Spanned<Text>> = Map::new(),
        /// The body, sent as JSON. Its texts may hold variables; one that is nothing but `{user.tags}`
        /// becomes what is there, of whatever type. `"{body}"` is what the client sent.
        pub body: Option<Spanned<Any>> = None,
        /// Parts that must have been answered before, beside those whose answers are used.
        pub after: Vec<Spanned<Name>> = Vec::new(),
        /// Whether there is no answer without this part.
        pub required: bool = false,
        /// Statuses that mean that there is nothing to tell: `404`. The part is left out, and the answer
        /// is complete.
        pub absent: Vec<StatusPattern> = Vec::new(),
        /// What stands there in place of an answer that could not be had.
        pub fallback: Option<Any> = None,
        /// For how long the answer is waited for; the composition's own timeout holds, too.
        pub timeout: Option<Duration> = None,
        /// The longest body of its answer.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// The place in the answer that is looked at alone: `data.items`.
        pub target: Option<Place> = None,
        /// What alone is kept of it: `[name, "items.*.id"]`.
        pub allow: Vec<Place> = Vec::new(),
        /// What is left out.
        pub deny: Vec<Place> = Vec::new(),
        /// What gets another place, from left to right: `{ cost: price }`. A `*` that stands only on the
        /// left collects into one list: `{ "orders.*.items": items }`.
        pub rename: Map<Place, Place> = Map::new(),
        /// Where it is put in the whole. Without one, its fields stand at the top.
        pub group: Option<Place> = None,
        /// One call for all items of a list in another answer, each of which gets what belongs to it.
        pub join: Option<Spanned<Join>> = None,
    }

    /// One call for all items of a list. `{keys}` in its path or body is what the items name.
    pub struct Join {
        /// The items, beginning with the part that they are in: `orders.items.*`.
        pub items: Spanned<Place>,
        /// The field of an item that names what belongs to it.
        pub key: Place,
        /// The field of the answer's items that holds the same. Without it, the answer is a map by
        /// keys.
        pub by: Option<Place> = None,
        /// The field of an item in which it is put.
        pub into: Place,
        /// How many different keys are asked for at most.
        pub most: u32 = 100,
    }
}

impl Compose {
    /// What it does, in one sentence.
    pub const SUMMARY: &'static str = "Asks several services and makes one answer of theirs.";

    /// Pools and addresses that it calls, each with the key that names it.
    pub fn targets(&self) -> Vec<(String, &Spanned<Target>)> {
        self.parts.iter().map(|(name, part)| (format!("parts.{name}.to"), &part.to)).collect()
    }

    /// Texts with variables of the request, each with its place.
    pub fn templates(&self) -> Vec<&Template> {
        let texts = self.parts.values().flat_map(|part| {
            part.headers.values().map(|text| text.variables()).chain([part.path.variables()])
        });
        texts.collect()
    }

    /// Makes what runs. Nothing where that cannot be: `making` then has the findings that say why.
    pub fn build(&self, making: &mut Making<'_>, host: HostRule) -> Option<Box<dyn Action>> {
        plan::build(self, making, host).map(|composition| Box::new(composition) as Box<dyn Action>)
    }
}
