//! A description of a service: WSDL 1.1, with bindings of SOAP that are document/literal.

use transom_settings::closest;

use super::schema::{Schema, meant};
use super::{Version, XSD};
use crate::content::xml::element::{Element, Name, parse};

const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const SOAP: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP12: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";

/// What of a description is used: one port, and the types.
#[derive(Debug)]
pub struct Service {
    pub port: String,
    pub version: Version,
    /// The path of its address, where it has one.
    pub path: Option<String>,
    pub operations: Vec<Operation>,
    pub schema: Schema,
}

/// One thing that can be asked for.
#[derive(Clone, Debug)]
pub struct Operation {
    pub name: String,
    pub action: String,
    /// The element of a request; none where its body is empty.
    pub input: Option<Name>,
    /// The element of a response; none where its body is empty, or where there is none.
    pub output: Option<Name>,
}

impl Service {
    /// The service of this document; `schemas` are documents of XML Schema that it imports. Of several
    /// ports the one of this name, or the first of this version.
    ///
    /// # Errors
    /// What of them cannot be used.
    pub fn read(
        document: &str,
        schemas: &[&str],
        port: Option<&str>,
        version: Option<Version>,
    ) -> Result<Self, String> {
        let root = parse(document).map_err(|error| error.to_string())?;
        if !root.name.is(WSDL, "definitions") {
            return Err("it is no WSDL 1.1: its root is not `definitions` of that".to_owned());
        }
        let mut imported = Vec::new();
        for schema in schemas {
            let schema = parse(schema).map_err(|error| format!("a schema: {error}"))?;
            if !schema.name.is(XSD, "schema") {
                return Err("a file of `schemas` is no `xsd:schema`".to_owned());
            }
            imported.push(schema);
        }
        let own = root.all(WSDL, "types").flat_map(|types| types.all(XSD, "schema"));
        let all: Vec<&Element> = own.chain(&imported).collect();
        let schema = Schema::of(&all)?;
        let document = Document { root: &root, schema: &schema };
        let (port, address, spoken) = document.port(port, version)?;
        let binding = document.named("binding", port, "binding")?;
        let operations = document.operations(binding, spoken)?;
        let path = address.and_then(|address| path_of(&address));
        let port = port.attribute("name").unwrap_or_default().to_owned();
        let version = if spoken == SOAP { Version::One } else { Version::Two };
        Ok(Service { port, version, path, operations, schema })
    }

    /// # Errors
    /// That there is none of this name, and what was probably meant.
    pub fn operation(&self, name: &str) -> Result<&Operation, String> {
        let found = self.operations.iter().find(|operation| operation.name == name);
        found.ok_or_else(|| {
            let names = self.operations.iter().map(|operation| &*operation.name);
            let meant = closest(name, names).map(|meant| format!(", but `{meant}`"));
            format!(
                "the port `{}` has no operation `{name}`{}",
                self.port,
                meant.unwrap_or_default()
            )
        })
    }
}

/// The path of a URL.
fn path_of(address: &str) -> Option<String> {
    let (_, rest) = address.trim().split_once("://")?;
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    Some(path.split(['?', '#']).next().unwrap_or("/").to_owned())
}

struct Document<'d> {
    root: &'d Element,
    schema: &'d Schema,
}

type Port<'d> = (&'d Element, Option<String>, &'static str);

impl<'d> Document<'d> {
    /// The port, its address and the namespace of its extensions.
    fn port(&self, name: Option<&str>, version: Option<Version>) -> Result<Port<'d>, String> {
        let services = self.root.all(WSDL, "service");
        let mut ports = services.flat_map(|service| service.all(WSDL, "port")).filter_map(|port| {
            let spoken = [SOAP, SOAP12]
                .into_iter()
                .find_map(|space| port.child(space, "address").map(|address| (address, space)));
            let (address, space) = spoken?;
            Some((port, address.attribute("location").map(str::to_owned), space))
        });
        let fits = |(port, _, space): &Port<'d>| {
            let own = if *space == SOAP { Version::One } else { Version::Two };
            name.is_none_or(|name| port.attribute("name") == Some(name))
                && version.is_none_or(|version| version == own)
        };
        ports.find(fits).ok_or_else(|| match (name, version) {
            (Some(name), _) => format!("it has no port `{name}` for SOAP of that version"),
            (None, Some(version)) => format!("it has no port for SOAP {version}"),
            (None, None) => "it has no port for SOAP".to_owned(),
        })
    }

    /// What the attribute `key` names.
    fn named(&self, kind: &'d str, of: &Element, key: &str) -> Result<&'d Element, String> {
        let own = of.attribute("name").unwrap_or_default();
        let name = of.attribute(key).ok_or_else(|| format!("`{own}` has no `{key}`"))?;
        let name = meant(of, name)?;
        let space = self.root.attribute("targetNamespace").unwrap_or_default();
        let mut all = self.root.all(WSDL, kind);
        let found = all.find(|each| {
            name.space == space && each.attribute("name") == Some(name.local.as_str())
        });
        found.ok_or_else(|| {
            format!("there is no {kind} `{name}`; what is imported has to stand in the document")
        })
    }

    fn operations(&self, binding: &Element, spoken: &str) -> Result<Vec<Operation>, String> {
        let kind = self.named("portType", binding, "type")?;
        let overall = binding.child(spoken, "binding").and_then(|own| own.attribute("style"));
        let mut operations = Vec::new();
        for bound in binding.all(WSDL, "operation") {
            let name = bound.attribute("name").unwrap_or_default();
            let own = bound.child(spoken, "operation");
            let style = own.and_then(|own| own.attribute("style")).or(overall);
            if style.is_some_and(|style| style != "document") {
                return Err(format!("the operation `{name}` is not document/literal"));
            }
            let declared = kind.all(WSDL, "operation");
            let mut declared = declared.filter(|each| each.attribute("name") == Some(name));
            let declared = declared.next();
            let declared = declared.ok_or_else(|| format!("no port type has `{name}`"))?;
            let input = self.message(declared, bound, "input", spoken)?;
            let output = self.message(declared, bound, "output", spoken)?;
            let action = own.and_then(|own| own.attribute("soapAction")).unwrap_or_default();
            // it stands between quotes, in a header field
            if !action.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b'"' && b != b'\\') {
                return Err(format!("the action of `{name}` is no URI"));
            }
            operations.push(Operation {
                name: name.to_owned(),
                action: action.to_owned(),
                input,
                output,
            });
        }
        Ok(operations)
    }

    /// The element in the body of a message of an operation.
    fn message(
        &self,
        declared: &Element,
        bound: &Element,
        way: &str,
        spoken: &str,
    ) -> Result<Option<Name>, String> {
        let operation = bound.attribute("name").unwrap_or_default();
        let Some(declared) = declared.child(WSDL, way) else { return Ok(None) };
        let message = self.named("message", declared, "message")?;
        let bound = bound.child(WSDL, way);
        let body = bound.and_then(|bound| bound.child(spoken, "body"));
        if body.and_then(|body| body.attribute("use")).is_some_and(|how| how != "literal") {
            return Err(format!("the operation `{operation}` is not document/literal"));
        }
        let only = body.and_then(|body| body.attribute("parts"));
        let headers = bound.into_iter().flat_map(|bound| bound.all(spoken, "header"));
        let headers: Vec<_> = headers.filter_map(|header| header.attribute("part")).collect();
        let in_body = |part: &&Element| {
            let name = part.attribute("name").unwrap_or_default();
            match only {
                Some(parts) => parts.split_ascii_whitespace().any(|each| each == name),
                None => !headers.contains(&name),
            }
        };
        let parts: Vec<&Element> = message.all(WSDL, "part").filter(in_body).collect();
        let part = match parts[..] {
            [] => return Ok(None),
            [part] => part,
            _ => return Err(format!("the body of `{operation}` has several parts")),
        };
        let Some(element) = part.attribute("element") else {
            return Err(format!("the operation `{operation}` has parts of types, not of elements"));
        };
        let name = meant(part, element)?;
        match self.schema.element(&name) {
            Some(_) => Ok(Some(name)),
            None => Err(format!("the element `{name}` of `{operation}` is declared nowhere")),
        }
    }
}
