//! # soap
//!
//! **What it does.** Lets clients of REST call a service of SOAP: what they ask for becomes an envelope, its
//! result becomes JSON, and a fault of the service becomes a status with problem+json. What to write is said
//! by a description of the service (WSDL 1.1, document/literal, SOAP 1.1 and 1.2) or by a template.
//!
//! **When it runs.** Stage `shape`: after who asks is known and counted.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   order-by-id: { soap: { wsdl: orders.wsdl, operation: GetOrder, faults: { NoSuchOrder: 404 } } }
//!   price:
//!     soap:
//!       action: urn:prices#Quote
//!       template: '<p:Quote xmlns:p="urn:prices"><p:sku>{{ request.capture.sku }}</p:sku></p:Quote>'
//! ```
//!
//! With a description, the arguments of the operation are taken from variables of the path, then from the
//! query, then from the body (JSON or a form), by their names; `operation` may be left out, then the last
//! segment of the path names it. With `template` there is no description: the text is what stands in the body
//! of the envelope, and sees `body`, `request` and `identity`, each value escaped. `header` is the same for
//! the header of the envelope, such as one of WS-Security.
//!
//! | XML | JSON |
//! |---|---|
//! | an element with others | an object; several of one name a list, and always one where the schema allows several |
//! | attribute `a`, text beside attributes | `@a`, `#text` |
//! | `xsd:int`, `xsd:decimal`, `xsd:double`, … | a number, unless it would lose digits: then a text |
//! | `xsd:boolean` | `true`, `false` |
//! | `xsi:nil="true"` | `null` |
//! | all else, dates too | a text |
//!
//! Without a description all values are texts.
//!
//! **What the client sees.** `bad-request` with `errors` for arguments that are missing, not known or of another
//! type; `unsupported-media` for a body that is neither JSON nor a form; `not-found` for an operation that there
//! is not; `bad-response` where the service does not answer in SOAP. A fault of the service is
//! `application/problem+json` with the service's `detail` and `fault`, its code: the status is what `faults` says
//! of the name of the first element of its detail, of its subcode or its code (`Client.NoSuchOrder` is also
//! `NoSuchOrder`); without that 400 where the service blames the client, and 502.
//!
//! **Limits and cost.** Requests and responses are read whole, up to `max-body`, nested 64 deep at most; what is
//! made of them has the same limit (413, `bad-response`).
//! XML that declares a type or entities is not read, nor what is in another coding than UTF-8: one that extends
//! ASCII (ISO-8859-1) is read as far as it is ASCII.
//!
//! **Traps.** What stands in the detail of a fault (often a stack trace) is told with `fault-detail: true` only.
//! Of the types, order, names and simple types count; patterns and lengths are for the service to check.
//! Values for `xsd:any` cannot be sent. RPC style and SOAP encoding are refused when the file is read.

mod answer;
mod arguments;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::json::{Value as Json, json};
use transom_settings::{ByteSize, HeaderValue, Map, Spanned, Status, settings};

use crate::call::OF_ITS_OWN;
use crate::content::template::BodyTemplate;
use crate::content::xml;
use crate::content::{Form, facts};
use crate::kind::Kind;
use crate::making::Making;
use crate::soap::envelope::wrap;
use crate::soap::write::Prefixes;
use crate::soap::wsdl::{Operation, Service};
use crate::soap::{Version, write};

settings! {
    /// Lets REST call a service of SOAP.
    pub struct Soap {
        /// A description of the service: WSDL 1.1.
        pub wsdl: Option<Spanned<PathBuf>> = None,
        /// Documents of XML Schema that it imports.
        pub schemas: Vec<Spanned<PathBuf>> = Vec::new(),
        /// The port of the description; without it, the first for SOAP.
        pub port: Option<String> = None,
        /// The operation; without it, the one that the last segment of the path names.
        pub operation: Option<Spanned<String>> = None,
        /// What stands in the body of the envelope, where there is no description: a template in Jinja's
        /// language.
        pub template: Option<Spanned<String>> = None,
        /// The same, in a file.
        pub template_file: Option<Spanned<PathBuf>> = None,
        /// What stands in the header of the envelope, as a template.
        pub header: Option<Spanned<String>> = None,
        /// The version of SOAP; without it, that of the port, or 1.1.
        pub version: Option<Version> = None,
        /// The action that is named beside the envelope; without it, that of the operation.
        pub action: Option<HeaderValue> = None,
        /// The path at the endpoint; without it, that of the description's address, or the client's.
        pub path: Option<Spanned<String>> = None,
        /// The statuses of faults: `{ NoSuchOrder: 404 }`.
        pub faults: Map<String, Status> = Map::new(),
        /// Whether clients are told the detail of faults.
        pub fault_detail: bool = false,
        /// The largest body that is read, of requests and responses, and the longest that is made of one.
        pub max_body: ByteSize = ByteSize::mib(1),
    }
}

impl Kind for Soap {
    const NAME: &'static str = "soap";
    const SUMMARY: &'static str = "Lets REST call a service of SOAP.";
    const STAGE: Stage = Stage::Shape;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.wsdl.iter().chain(&self.schemas).chain(&self.template_file).collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let header = match &self.header {
            Some(header) => Some(template(header.value.clone(), header.span, "header", making)?),
            None => None,
        };
        if let Some(path) = &self.path
            && (!path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic() || b == b'?'))
        {
            let what = format!("`{}` is no path", path.value);
            making.error(
                path.span,
                "path",
                what,
                "begin it with `/`, and escape what is not ASCII",
            );
            return None;
        }
        let given = (&self.wsdl, &self.template, &self.template_file);
        let (calls, version, path) = match given {
            (Some(file), None, None) => {
                let service = self.service(file, making)?;
                let version = self.version.unwrap_or(service.version);
                let path = service.path.clone();
                (Calls::described(service, self.operation.as_deref().cloned()), version, path)
            }
            (None, Some(text), None) => {
                let template = template(text.value.clone(), text.span, "template", making)?;
                (Calls::Template(template), self.version.unwrap_or(Version::One), None)
            }
            (None, None, Some(file)) => {
                let text = text_of(file, "template-file", making)?;
                let template = template(text, file.span, "template-file", making)?;
                (Calls::Template(template), self.version.unwrap_or(Version::One), None)
            }
            _ => {
                let what = "exactly one of `wsdl`, `template` and `template-file` is given";
                making.error(making.place, "", what, "name one of them");
                return None;
            }
        };
        let path = self.path.as_ref().map(|path| path.value.clone()).or(path);
        Some(Arc::new(Calling { written: self.clone(), calls, version, path, header }))
    }
}

impl Soap {
    /// The service that the file describes, with its operation where one is named.
    fn service(&self, file: &Spanned<PathBuf>, making: &mut Making<'_>) -> Option<Service> {
        let document = text_of(file, "wsdl", making)?;
        let mut schemas = Vec::new();
        for schema in &self.schemas {
            schemas.push(text_of(schema, "schemas", making)?);
        }
        let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
        let service = Service::read(&document, &schemas, self.port.as_deref(), self.version);
        let service = match service {
            Ok(service) => service,
            Err(why) => {
                let what = format!("`{}` cannot be used: {why}", file.display());
                let hint = "correct the document, or write the envelope with `template`";
                making.error(file.span, "wsdl", what, hint);
                return None;
            }
        };
        if let Some(operation) = &self.operation
            && let Err(what) = service.operation(operation)
        {
            let names: Vec<_> = service.operations.iter().map(|each| &*each.name).collect();
            let hint = format!("there are: {}", names.join(", "));
            making.error(operation.span, "operation", what, &hint);
            return None;
        }
        Some(service)
    }
}

fn text_of(file: &Spanned<PathBuf>, key: &str, making: &mut Making<'_>) -> Option<String> {
    // one that could not be read is found already
    let bytes = making.file(file)?;
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => Some(text),
        Err(_) => {
            making.error(file.span, key, "the file is no text", "write it in UTF-8");
            None
        }
    }
}

fn template(
    source: String,
    place: transom_settings::Span,
    key: &str,
    making: &mut Making<'_>,
) -> Option<BodyTemplate> {
    let made = BodyTemplate::new(source, Form::Xml);
    let why = match made {
        Ok(template) => match without_values(&template) {
            Ok(()) => return Some(template),
            Err(why) => format!("without any values, {why}"),
        },
        Err(why) => why,
    };
    making.error(place, key, format!("the template cannot be used: {why}"), "correct the template");
    None
}

/// What is wrong with a template whatever it is filled with.
fn without_values(template: &BodyTemplate) -> Result<(), String> {
    match template.render(json!({}), 1 << 20) {
        Ok(text) => xml::check(&format!("<a>{text}</a>")).map_err(|error| error.to_string()),
        // it may need what is not there
        Err(_) => Ok(()),
    }
}

/// How the body of an envelope is made.
enum Calls {
    Described { service: Service, prefixes: Prefixes, declared: String, only: Option<String> },
    Template(BodyTemplate),
}

impl Calls {
    fn described(service: Service, only: Option<String>) -> Calls {
        let prefixes = Prefixes::of(&service.schema);
        let declared = prefixes.declared();
        Calls::Described { service, prefixes, declared, only }
    }
}

struct Calling {
    written: Soap,
    calls: Calls,
    version: Version,
    path: Option<String>,
    header: Option<BodyTemplate>,
}

impl Calling {
    /// The operation that is asked for.
    fn operation(&self, request: &Request) -> Result<Option<&Operation>, Fault> {
        let Calls::Described { service, only, .. } = &self.calls else { return Ok(None) };
        let last = request.path.rsplit('/').next().unwrap_or_default();
        let found = service.operation(only.as_deref().unwrap_or(last));
        found.map(Some).map_err(|why| Fault::new(Code::NotFound, format!("soap: {why}")))
    }

    /// Makes a request of it that the service understands.
    async fn call(
        &self,
        exchange: &Exchange,
        operation: Option<&Operation>,
        request: &mut Request,
    ) -> Result<(), Fault> {
        let most = self.written.max_body.len();
        let given = arguments::body(request, most).await?;
        let facts = |body: &Json| {
            let mut facts = facts::of(exchange);
            facts["body"] = body.clone();
            facts
        };
        let rendered = |template: &BodyTemplate| {
            let text = template.render(facts(&given), most);
            text.map_err(|why| Fault::new(Code::BadRequest, format!("soap: the template: {why}")))
        };
        let header = self.header.as_ref().map(rendered).transpose()?;
        let (prefixes, body) = match (&self.calls, operation) {
            (Calls::Template(template), _) => ("", rendered(template)?),
            (Calls::Described { service, prefixes, declared, .. }, operation) => {
                let input = operation.and_then(|operation| operation.input.as_ref());
                let field = input.and_then(|input| service.schema.element(input));
                let body = match field {
                    None => String::new(),
                    Some(field) => {
                        let found =
                            arguments::of(exchange, request, &service.schema, field, given.clone());
                        let (arguments, from) = found?;
                        write::element(&service.schema, prefixes, field, &arguments, most)
                            .map_err(|why| arguments::unwritten(why, &from))?
                    }
                };
                (&**declared, body)
            }
        };
        let mut envelope = wrap(self.version, prefixes, header.as_deref(), &body);
        if header.is_some() || matches!(self.calls, Calls::Template(_)) {
            envelope = xml::legal(&envelope);
            xml::check(&envelope).map_err(|why| {
                Fault::new(Code::Internal, format!("soap: the envelope of the template: {why}"))
            })?;
        }
        self.address(operation, request);
        request.body = Body::of(Bytes::from(envelope));
        Ok(())
    }

    /// Method, path and fields of a request with an envelope.
    fn address(&self, operation: Option<&Operation>, request: &mut Request) {
        let action = self.written.action.as_deref();
        let action = action.or(operation.map(|operation| &*operation.action)).unwrap_or_default();
        request.method = Method::Post;
        request.query = None;
        if let Some(path) = &self.path {
            request.path = Rc::from(&**path);
        }
        for name in OF_ITS_OWN {
            request.fields.remove(name);
        }
        for name in ["Content-MD5", "Content-Digest", "Repr-Digest", "Digest"] {
            request.fields.remove(name);
        }
        let content_type = self.version.content_type(action);
        request.fields.set(Known::ContentType, content_type.as_bytes());
        request.fields.set(Known::Accept, b"text/xml, application/soap+xml");
        match self.version {
            Version::One => request.fields.set("SOAPAction", format!("\"{action}\"").as_bytes()),
            Version::Two => request.fields.remove("SOAPAction"),
        }
    }
}

impl Policy for Calling {
    fn kind(&self) -> &'static str {
        Soap::NAME
    }

    fn stage(&self) -> Stage {
        Soap::STAGE
    }

    fn describe(&self) -> String {
        let version = self.version;
        match &self.calls {
            Calls::Described { service, only: Some(only), .. } => {
                format!("calls `{only}` of the port `{}` in SOAP {version}", service.port)
            }
            Calls::Described { service, only: None, .. } => {
                let (port, count) = (&service.port, service.operations.len());
                format!("calls one of {count} operations of the port `{port}` in SOAP {version}")
            }
            Calls::Template(_) => format!("calls in SOAP {version}, by a template"),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let operation = self.operation(&request)?;
            self.call(exchange, operation, &mut request).await?;
            let mut response = next.run(exchange, request).await;
            // it has become an answer of ours already
            if exchange.record.fault.is_none() {
                self.answer(exchange, operation, &mut response).await?;
            }
            Ok::<Response, Fault>(response)
        })
    }
}
