//! What a kind of policy is: the settings that the file has of it, and how what runs is made of them.

use std::any::Any;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::json::Value as Json;
use transom_settings::{Context, Definitions, HeaderName, Node, Setting, Spanned, Target};

use crate::making::Making;

/// A kind of policy. Implemented by the type of its settings.
pub trait Kind: Setting + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The key that names it in the file.
    const NAME: &'static str;
    /// What it does, in one sentence.
    const SUMMARY: &'static str;
    /// Where in the chain it runs.
    const STAGE: Stage;

    /// Files that have to be read before it can be built.
    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        Vec::new()
    }

    /// Pools and addresses that it calls, each with the key that names it.
    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        Vec::new()
    }

    /// Texts with variables: the header fields that they ask for are kept for them.
    fn templates(&self) -> Vec<&Template> {
        Vec::new()
    }

    /// Header fields in which endpoints are told who asks. Nobody outside may send them: they are
    /// taken off every request, on every route.
    fn vouched(&self) -> Vec<&HeaderName> {
        Vec::new()
    }

    /// It is used where requests are described by this document, whose paths stand below `base`: for
    /// kinds that need one and name none.
    fn described(&mut self, document: &Spanned<PathBuf>, base: &str) {
        let _ = (document, base);
    }

    /// Makes what runs. Nothing where that cannot be: `making` then has the findings that say why.
    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>>;
}

/// A kind of policy, as the list of all kinds has it.
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub stage: Stage,
    decode: fn(&Node, &mut Context<'_>) -> Option<Rule>,
    schema: fn(&mut Definitions) -> Json,
}

/// The entry of a kind.
pub const fn entry<K: Kind>() -> Entry {
    Entry {
        name: K::NAME,
        summary: K::SUMMARY,
        stage: K::STAGE,
        decode: |node, at| Some(Rule(Box::new(K::decode(node, at)?))),
        schema: K::schema,
    }
}

impl Entry {
    /// What the file says of a policy of this kind.
    pub fn decode(&self, node: &Node, at: &mut Context<'_>) -> Option<Rule> {
        (self.decode)(node, at)
    }

    pub fn schema(&self, definitions: &mut Definitions) -> Json {
        (self.schema)(definitions)
    }
}

/// The settings of one policy, of whichever kind.
#[derive(Debug)]
pub struct Rule(Box<dyn Configured>);

trait Configured: Any + Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn to_json(&self) -> Json;
    fn files(&self) -> Vec<&Spanned<PathBuf>>;
    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)>;
    fn templates(&self) -> Vec<&Template>;
    fn vouched(&self) -> Vec<&HeaderName>;
    fn described(&mut self, document: &Spanned<PathBuf>, base: &str);
    fn stage(&self) -> Stage;
    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>>;
    fn copy(&self) -> Box<dyn Configured>;
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<K: Kind> Configured for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn to_json(&self) -> Json {
        Setting::to_json(self)
    }

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        Kind::files(self)
    }

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        Kind::targets(self)
    }

    fn templates(&self) -> Vec<&Template> {
        Kind::templates(self)
    }

    fn vouched(&self) -> Vec<&HeaderName> {
        Kind::vouched(self)
    }

    fn described(&mut self, document: &Spanned<PathBuf>, base: &str) {
        Kind::described(self, document, base);
    }

    fn stage(&self) -> Stage {
        K::STAGE
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        Kind::build(self, making)
    }

    fn copy(&self) -> Box<dyn Configured> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<K>() == Some(self)
    }
}

impl Rule {
    /// Of settings that were not decoded with the list of kinds.
    pub fn of<K: Kind>(settings: K) -> Self {
        Rule(Box::new(settings))
    }

    /// See [`Kind::described`].
    pub fn described(&mut self, document: &Spanned<PathBuf>, base: &str) {
        self.0.described(document, base);
    }

    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        self.0.name()
    }

    /// As it would be written, with secrets masked.
    pub fn to_json(&self) -> Json {
        self.0.to_json()
    }

    /// See [`Kind::files`].
    pub fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.0.files()
    }

    /// See [`Kind::targets`].
    pub fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        self.0.targets()
    }

    /// See [`Kind::templates`].
    pub fn templates(&self) -> Vec<&Template> {
        self.0.templates()
    }

    /// See [`Kind::vouched`].
    pub fn vouched(&self) -> Vec<&HeaderName> {
        self.0.vouched()
    }

    /// Where in the chain it runs.
    pub fn stage(&self) -> Stage {
        self.0.stage()
    }

    /// See [`Kind::build`].
    pub fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        self.0.build(making)
    }
}

impl Clone for Rule {
    fn clone(&self) -> Self {
        Rule(self.0.copy())
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let other: &dyn Any = &*other.0;
        self.0.equals(other)
    }
}
