//! XML whose names mean something: each with the namespace that its prefix stands for (Namespaces in
//! XML 1.0).

use std::fmt;
use std::rc::Rc;

use super::XmlError;
use super::walk::{Builder, walk};

/// A name and its namespace, which is empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub space: String,
    pub local: String,
}

impl Name {
    pub fn new(space: &str, local: &str) -> Self {
        Name { space: space.to_owned(), local: local.to_owned() }
    }

    pub fn is(&self, space: &str, local: &str) -> bool {
        self.local == local && self.space == space
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local)
    }
}

/// An element with all in it.
#[derive(Debug)]
pub struct Element {
    pub name: Name,
    /// Without those that declare namespaces.
    pub attributes: Vec<(Name, String)>,
    pub children: Vec<Element>,
    /// All text that stands in it, but not in its children.
    pub text: String,
    scope: Rc<Scope>,
}

/// Prefixes that are declared at an element, and around it.
#[derive(Debug, Default)]
struct Scope {
    declared: Vec<(String, String)>,
    around: Option<Rc<Scope>>,
    /// How many are declared in all.
    count: usize,
}

/// Prefixes that may be declared at one place.
const MOST_PREFIXES: usize = 256;

/// The document.
///
/// # Errors
/// As [`super::read`], and where a prefix stands for nothing.
pub fn parse(text: &str) -> Result<Element, XmlError> {
    let mut reading = Reading { open: Vec::new(), root: None, outermost: Rc::default() };
    walk(text, &mut reading)?;
    reading.root.ok_or_else(|| XmlError::Malformed("it ends too early".to_owned()))
}

impl Element {
    /// The attribute of this name, which has no namespace.
    pub fn attribute(&self, local: &str) -> Option<&str> {
        self.attribute_in("", local)
    }

    pub fn attribute_in(&self, space: &str, local: &str) -> Option<&str> {
        let mut found = self.attributes.iter().filter(|(name, _)| name.is(space, local));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Its children of this name.
    pub fn all<'e>(&'e self, space: &'e str, local: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name.is(space, local))
    }

    pub fn child(&self, space: &str, local: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name.is(space, local))
    }

    /// What a name with a prefix means that stands here as a value (XML Schema §3.2.18).
    pub fn name_of(&self, value: &str) -> Option<Name> {
        let value = value.trim();
        match value.split_once(':') {
            Some((prefix, local)) => Some(Name::new(stands_for(&self.scope, prefix)?, local)),
            None => Some(Name::new(stands_for(&self.scope, "").unwrap_or_default(), value)),
        }
    }
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";

fn stands_for<'s>(scope: &'s Scope, prefix: &str) -> Option<&'s str> {
    let around = std::iter::successors(Some(scope), |scope| scope.around.as_deref());
    let mut declared = around.flat_map(|scope| &scope.declared);
    let found = declared.find(|(known, _)| known == prefix).map(|(_, space)| &**space);
    found.or_else(|| (prefix == "xml").then_some(XML))
}

struct Reading {
    open: Vec<Element>,
    root: Option<Element>,
    outermost: Rc<Scope>,
}

impl Builder for Reading {
    fn begin(&mut self, name: &str, attributes: Vec<(String, String)>) -> Result<(), XmlError> {
        let parent = self.open.last().map_or(&self.outermost, |parent| &parent.scope);
        let (declared, attributes): (Vec<_>, Vec<_>) = attributes
            .into_iter()
            .partition(|(name, _)| name == "xmlns" || name.starts_with("xmlns:"));
        let scope = match declared.is_empty() {
            true => parent.clone(),
            false => {
                let count = parent.count + declared.len();
                if count > MOST_PREFIXES {
                    return Err(XmlError::TooMany);
                }
                let prefix = |name: String| name.strip_prefix("xmlns:").unwrap_or("").to_owned();
                let declared = declared.into_iter().map(|(name, space)| (prefix(name), space));
                Rc::new(Scope { declared: declared.collect(), around: Some(parent.clone()), count })
            }
        };
        let resolved = |name: &str, own: &str| match name.split_once(':') {
            None => Ok(Name::new(own, name)),
            Some((prefix, local)) => match stands_for(&scope, prefix) {
                Some(space) => Ok(Name::new(space, local)),
                None => Err(XmlError::Malformed(format!("the prefix `{prefix}` is not declared"))),
            },
        };
        let own = stands_for(&scope, "").unwrap_or_default();
        let name = resolved(name, own)?;
        // an attribute without a prefix has no namespace (§6.2)
        let attributes =
            attributes.into_iter().map(|(name, value)| Ok((resolved(&name, "")?, value)));
        let attributes = attributes.collect::<Result<_, _>>()?;
        let (children, text) = (Vec::new(), String::new());
        self.open.push(Element { name, attributes, children, text, scope });
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn end(&mut self) {
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stand_for_what_is_declared_nearest() {
        let text = "<a xmlns='u' xmlns:p='v' x='1' p:x='2'><p:b t='p:q'><b xmlns=''/></p:b>\
                    <c xmlns:p='w'><p:d/></c>t</a>";
        let root = parse(text).unwrap();
        assert_eq!(root.name, Name::new("u", "a"));
        assert_eq!((root.attribute("x"), root.attribute_in("v", "x")), (Some("1"), Some("2")));
        let b = root.child("v", "b").unwrap();
        assert_eq!(b.name_of(b.attribute("t").unwrap()), Some(Name::new("v", "q")));
        assert_eq!(b.name_of("q"), Some(Name::new("u", "q")));
        assert_eq!(b.name_of("z:q"), None);
        assert_eq!(b.children[0].name, Name::new("", "b"));
        assert!(root.child("u", "c").unwrap().child("w", "d").is_some());
        assert_eq!(root.text, "t");
        for (broken, why) in [
            ("<p:a/>", "the prefix `p` is not declared"),
            ("<a p:x='1'/>", "the prefix `p` is not declared"),
        ] {
            assert_eq!(parse(broken).err(), Some(XmlError::Malformed(why.to_owned())));
        }
    }
}
