//! Changes of header fields.

use transom_proxy::variables::Template;
use transom_settings::{HeaderName, Map, OneOrMany, Spanned, settings};

settings! {
    /// Changes of header fields. What is removed goes first, then what is set, then what is added.
    pub struct HeaderChanges {
        /// Fields with the one value they then have. Values may hold variables such as
        /// `{client.address}`; `{{` stands for `{` itself.
        pub set: Map<HeaderName, Template> = Map::new(),
        /// Fields with values that are added to those already there.
        pub append: Map<HeaderName, OneOrMany<Template>> = Map::new(),
        /// Fields that are removed.
        pub remove: Vec<Spanned<HeaderName>> = Vec::new(),
    }
}

impl HeaderChanges {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.append.is_empty() && self.remove.is_empty()
    }
}
