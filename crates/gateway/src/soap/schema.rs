//! The types of a service: XML Schema (part 1), as far as JSON can be said in it.
//!
//! Of a type remains what writing and reading need: its elements in their order, its attributes and
//! its text. Choices are elements that may be missing, facets (lengths, patterns) are for the endpoint
//! to check.

use std::collections::{BTreeMap, HashMap};

use super::XSD;
use super::simple::Simple;
use crate::content::xml::element::{Element, Name};

/// Elements and types, by name.
#[derive(Debug, Default)]
pub struct Schema {
    elements: HashMap<Name, Field>,
    named: HashMap<Name, Id>,
    types: Vec<Type>,
}

/// A type, by its number in its schema.
pub type Id = usize;

/// What stands in an element.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Simple(Simple),
    /// Values of a simple type with spaces between them (`xsd:list`).
    Words(Simple),
    Complex(Complex),
    /// Whatever it is (`xsd:anyType`).
    Anything,
}

/// A type with structure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Complex {
    pub fields: Vec<Field>,
    pub attributes: Vec<Attribute>,
    /// Its text, where it has nothing but text and attributes.
    pub text: Option<Simple>,
    /// Whether other elements may stand in it (`xsd:any`).
    pub open: bool,
}

/// An element within another.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its namespace is empty where it is written without one.
    pub name: Name,
    pub of: Id,
    pub required: bool,
    /// Whether there may be several, which JSON has as a list.
    pub many: bool,
    pub nillable: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub name: Name,
    pub of: Simple,
    pub required: bool,
}

impl Schema {
    /// The types of these `xsd:schema` elements, which may use each other's.
    ///
    /// # Errors
    /// What of them cannot be used.
    pub fn of(schemas: &[&Element]) -> Result<Self, String> {
        let mut reading = Reading::default();
        for (document, schema) in schemas.iter().enumerate() {
            let space = schema.attribute("targetNamespace").unwrap_or_default();
            for each in &schema.children {
                let Some(name) = each.attribute("name") else { continue };
                let kind = match &*each.name.local {
                    "element" => Global::Element,
                    "complexType" | "simpleType" => Global::Type,
                    "group" => Global::Group,
                    "attribute" => Global::Attribute,
                    "attributeGroup" => Global::AttributeGroup,
                    _ => continue,
                };
                let home = Home { schema: schemas[document], space };
                reading.globals.insert((kind, Name::new(space, name)), (home, each));
            }
        }
        let mut elements: Vec<_> = reading.globals.iter().collect();
        elements.retain(|((kind, _), _)| *kind == Global::Element);
        elements.sort_by(|((_, a), _), ((_, b), _)| a.cmp(b));
        let elements: Vec<_> = elements.into_iter().map(|(_, found)| *found).collect();
        for (home, element) in elements {
            let field = reading.field(home, element, true)?;
            reading.schema.elements.insert(field.name.clone(), field);
        }
        let mut types: Vec<_> = reading.globals.keys().cloned().collect();
        types.retain(|(kind, _)| *kind == Global::Type);
        types.sort_by(|(_, a), (_, b)| a.cmp(b));
        for (_, name) in types {
            reading.later(&name)?;
        }
        while let Some((id, (home, found))) = reading.unread.pop_first() {
            reading.schema.types[id] = reading.type_of(home, found, 0)?;
        }
        Ok(reading.schema)
    }

    pub fn element(&self, name: &Name) -> Option<&Field> {
        self.elements.get(name)
    }

    pub fn get(&self, of: Id) -> &Type {
        self.types.get(of).unwrap_or(&Type::Anything)
    }

    /// The type of this name, as `xsi:type` gives it.
    pub fn named(&self, name: &Name) -> Option<Id> {
        self.named.get(name).copied()
    }

    /// Every namespace that its elements and attributes have.
    pub fn spaces(&self) -> Vec<&str> {
        let inside = self.types.iter().filter_map(|one| match one {
            Type::Complex(complex) => Some(complex),
            _ => None,
        });
        let inside = inside.flat_map(|complex| {
            let fields = complex.fields.iter().map(|field| &field.name);
            fields.chain(complex.attributes.iter().map(|attribute| &attribute.name))
        });
        let mut spaces: Vec<&str> = self.elements.keys().chain(inside).map(|n| &*n.space).collect();
        spaces.sort_unstable();
        spaces.dedup();
        spaces.retain(|space| !space.is_empty());
        spaces
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Global {
    Element,
    Type,
    Group,
    Attribute,
    AttributeGroup,
}

/// The schema in which something stands.
#[derive(Clone, Copy)]
struct Home<'e> {
    schema: &'e Element,
    space: &'e str,
}

#[derive(Default)]
struct Reading<'e> {
    globals: HashMap<(Global, Name), (Home<'e>, &'e Element)>,
    schema: Schema,
    /// Types of elements that are declared for all.
    global_elements: HashMap<Name, Id>,
    /// Types that have their number, but were not looked into: they may lead back to whoever uses them.
    unread: BTreeMap<Id, (Home<'e>, &'e Element)>,
    steps: usize,
}

/// How deep definitions may lie in each other.
const DEEPEST: usize = 64;
/// Types in all.
const MOST: usize = 20_000;
/// Definitions that are looked at, since a group may name others several times.
const STEPS: usize = 1_000_000;

impl<'e> Reading<'e> {
    fn add(&mut self, made: Type) -> Result<Id, String> {
        if self.schema.types.len() >= MOST {
            return Err(format!("it has more than {MOST} types"));
        }
        self.schema.types.push(made);
        Ok(self.schema.types.len() - 1)
    }

    fn find(
        &self,
        kind: Global,
        what: &str,
        name: &Name,
    ) -> Result<(Home<'e>, &'e Element), String> {
        let found = self.globals.get(&(kind, name.clone())).copied();
        found
            .ok_or_else(|| format!("there is no {what} `{name}` in the namespace `{}`", name.space))
    }

    /// The element that is declared here.
    fn field(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        global: bool,
    ) -> Result<Field, String> {
        let count = |name, otherwise| element.attribute(name).unwrap_or(otherwise);
        let (least, most) = (count("minOccurs", "1"), count("maxOccurs", "1"));
        let (required, many) = (least != "0", !matches!(most, "0" | "1"));
        if let Some(name) = element.attribute("ref") {
            let name = meant(element, name)?;
            let (home, global) = self.find(Global::Element, "element", &name)?;
            let nillable = is_true(global.attribute("nillable"));
            let of = self.of_element(home, global, Some(&name))?;
            return Ok(Field { name, of, required, many, nillable });
        }
        let local = element.attribute("name").ok_or("an element has no name")?;
        let form = element.attribute("form").or(home.schema.attribute("elementFormDefault"));
        let qualified = global || form == Some("qualified");
        let name = Name::new(if qualified { home.space } else { "" }, local);
        let nillable = is_true(element.attribute("nillable"));
        let of = self.of_element(home, element, global.then_some(&name))?;
        Ok(Field { name, of, required, many, nillable })
    }

    /// The type of an element; `global` is its name where it is declared for all.
    fn of_element(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        global: Option<&Name>,
    ) -> Result<Id, String> {
        if let Some(known) = global.and_then(|name| self.global_elements.get(name)) {
            return Ok(*known);
        }
        if let Some(name) = element.attribute("type") {
            return self.later(&meant(element, name)?);
        }
        let of = self.add(Type::Anything)?;
        if let Some(name) = global {
            self.global_elements.insert(name.clone(), of);
        }
        let inside = element.child(XSD, "complexType").or(element.child(XSD, "simpleType"));
        if let Some(inside) = inside {
            self.unread.insert(of, (home, inside));
        }
        Ok(of)
    }

    /// The number of the type of this name.
    fn later(&mut self, name: &Name) -> Result<Id, String> {
        if let Some(known) = self.schema.named.get(name) {
            return Ok(*known);
        }
        let id = if name.space == XSD {
            let made = match Simple::named(&name.local) {
                Some(simple) => Type::Simple(simple),
                None if name.local == "anyType" => Type::Anything,
                None => return Err(format!("XML Schema has no type `{name}`")),
            };
            self.add(made)?
        } else {
            let found = self.find(Global::Type, "type", name)?;
            let id = self.add(Type::Anything)?;
            self.unread.insert(id, found);
            id
        };
        self.schema.named.insert(name.clone(), id);
        Ok(id)
    }

    /// The type of this name, looked into.
    fn now(&mut self, name: &Name, depth: usize) -> Result<Type, String> {
        let id = self.later(name)?;
        if let Some((home, found)) = self.unread.remove(&id) {
            self.schema.types[id] = self.type_of(home, found, depth + 1)?;
        }
        Ok(self.schema.types[id].clone())
    }

    fn type_of(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        depth: usize,
    ) -> Result<Type, String> {
        self.steps += 1;
        if depth > DEEPEST || self.steps > STEPS {
            return Err("its types lie too deep in each other".to_owned());
        }
        match &*element.name.local {
            "complexType" => self.complex(home, element, depth),
            _ => self.simple(home, element, depth),
        }
    }

    fn simple(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        depth: usize,
    ) -> Result<Type, String> {
        let mut below = |of: &'e Element, key: &str| match of.attribute(key) {
            Some(name) => self.now(&meant(of, name)?, depth),
            None => match of.child(XSD, "simpleType") {
                Some(inside) => self.type_of(home, inside, depth + 1),
                None => Ok(Type::Simple(Simple::Text)),
            },
        };
        if let Some(restriction) = element.child(XSD, "restriction") {
            return below(restriction, "base");
        }
        if let Some(list) = element.child(XSD, "list") {
            return Ok(match below(list, "itemType")? {
                Type::Simple(simple) => Type::Words(simple),
                _ => Type::Words(Simple::Text),
            });
        }
        // a union: which of its types a value has is said nowhere
        Ok(Type::Simple(Simple::Text))
    }

    fn complex(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        depth: usize,
    ) -> Result<Type, String> {
        let mut made = Complex::default();
        let content = element.child(XSD, "complexContent").or(element.child(XSD, "simpleContent"));
        let Some(content) = content else {
            self.inside(home, element, false, false, depth, &mut made)?;
            return Ok(Type::Complex(made));
        };
        let how = content.child(XSD, "extension").or(content.child(XSD, "restriction"));
        let how = how.ok_or("the content of a type is neither extended nor restricted")?;
        let base = how.attribute("base").ok_or("the content of a type has no base")?;
        let base = meant(how, base)?;
        // SOAP 1.1 §5 is another way to write than the one that is spoken here
        if base.space == "http://schemas.xmlsoap.org/soap/encoding/" {
            return Err("it has arrays of SOAP's own encoding".to_owned());
        }
        let restricts = how.name.local == "restriction";
        match self.now(&base, depth)? {
            Type::Complex(base) if restricts => {
                (made.attributes, made.text) = (base.attributes, base.text);
            }
            Type::Complex(base) => made = base,
            Type::Simple(simple) => made.text = Some(simple),
            Type::Words(_) => made.text = Some(Simple::Text),
            Type::Anything => {}
        }
        self.inside(home, how, false, false, depth, &mut made)?;
        Ok(Type::Complex(made))
    }

    /// Elements and attributes below a type or a group of them. Within a choice none is required, and
    /// where a group may stand several times, each of its elements may.
    fn inside(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        optional: bool,
        several: bool,
        depth: usize,
        made: &mut Complex,
    ) -> Result<(), String> {
        self.steps += 1;
        if depth > DEEPEST || self.steps > STEPS {
            return Err("its types lie too deep in each other".to_owned());
        }
        for each in element.children.iter().filter(|each| each.name.space == XSD) {
            let optional = optional || each.attribute("minOccurs") == Some("0");
            let several = several || !matches!(each.attribute("maxOccurs"), None | Some("0" | "1"));
            match &*each.name.local {
                "element" => {
                    let mut field = self.field(home, each, false)?;
                    field.required &= !optional;
                    field.many |= several;
                    match made.fields.iter_mut().find(|known| known.name == field.name) {
                        Some(known) => known.many = true,
                        None => made.fields.push(field),
                    }
                }
                "sequence" | "all" => {
                    self.inside(home, each, optional, several, depth + 1, made)?;
                }
                "choice" => self.inside(home, each, true, several, depth + 1, made)?,
                "group" => {
                    let name = each.attribute("ref").ok_or("a group has no `ref`")?;
                    let (home, group) = self.find(Global::Group, "group", &meant(each, name)?)?;
                    self.inside(home, group, optional, several, depth + 1, made)?;
                }
                "any" => made.open = true,
                "attribute" => made.attributes.extend(self.attribute(home, each, depth)?),
                "attributeGroup" => {
                    let name = each.attribute("ref").ok_or("an attribute group has no `ref`")?;
                    let name = meant(each, name)?;
                    let (home, group) =
                        self.find(Global::AttributeGroup, "attribute group", &name)?;
                    self.inside(home, group, false, false, depth + 1, made)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The attribute that is declared here; nothing where it is forbidden.
    fn attribute(
        &mut self,
        home: Home<'e>,
        element: &'e Element,
        depth: usize,
    ) -> Result<Option<Attribute>, String> {
        if element.attribute("use") == Some("prohibited") {
            return Ok(None);
        }
        let required = element.attribute("use") == Some("required");
        let (name, declared) = match element.attribute("ref") {
            Some(name) => {
                let name = meant(element, name)?;
                match self.globals.get(&(Global::Attribute, name.clone())) {
                    Some((_, declared)) => (name, *declared),
                    // such as `xml:lang`
                    None => return Ok(Some(Attribute { name, of: Simple::Text, required })),
                }
            }
            None => {
                let local = element.attribute("name").ok_or("an attribute has no name")?;
                let form = element.attribute("form");
                let form = form.or(home.schema.attribute("attributeFormDefault"));
                let space = if form == Some("qualified") { home.space } else { "" };
                (Name::new(space, local), element)
            }
        };
        let of = match (declared.attribute("type"), declared.child(XSD, "simpleType")) {
            (Some(name), _) => self.now(&meant(declared, name)?, depth)?,
            (None, Some(inside)) => self.type_of(home, inside, depth + 1)?,
            (None, None) => Type::Simple(Simple::Text),
        };
        let of = if let Type::Simple(simple) = of { simple } else { Simple::Text };
        Ok(Some(Attribute { name, of, required }))
    }
}

fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("true" | "1"))
}

/// What a name that stands in an attribute means.
pub(super) fn meant(element: &Element, name: &str) -> Result<Name, String> {
    element.name_of(name).ok_or_else(|| format!("the prefix of `{name}` is not declared"))
}
