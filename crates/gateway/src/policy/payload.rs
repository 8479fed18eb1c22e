//! # payload
//!
//! **What it does.** Keeps bodies away that are made to hurt whoever parses them: JSON and XML that nest
//! too deep, have too many keys, elements or attributes, names or texts too long, or that declare
//! entities; forms with files (`multipart/form-data`, RFC 7578) that have too many parts, parts too long, or files
//! of types that are not meant, and that two readers would read in two ways. JSON and XML in their parts are
//! limited as anywhere else. Bodies of some types may be limited in size, and types that are not meant refused.
//!
//! **When it runs.** Stage `admit`. Nothing is held back: the body is read with the eyes of a parser as
//! it passes, before any other policy or endpoint parses it, and is cut at the byte that breaks a
//! limit. An endpoint may so have seen the beginning of a body that is never completed, as with a
//! client that breaks off.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   sane:
//!     payload:
//!       json: { depth: 20, string: 16KiB }
//!       xml: off
//!       multipart: { files: 3, file: 2MiB, types: [image/*] }
//!       types: [application/json, multipart/form-data]
//!       sizes: { application/json: 256KiB }
//! ```
//!
//! **What the client sees.** `bad-request` with the limit in `errors`, also for JSON that is none
//! (RFC 8259) or a form that is none; `too-large` for a body over its size; `unsupported-media` for a type that is not meant, for
//! JSON and XML in a coding that does not extend ASCII (`charset=utf-7`), and for a compressed body, which
//! cannot be looked into.
//!
//! **Limits and cost.** One pass over the bytes; memory for one level each of nesting.
//!
//! **Traps.** What is JSON or XML is decided by `Content-Type` alone, since that decides who parses it.
//! An endpoint that parses whatever comes needs `types`. JSON and XML whose `charset` or
//! declaration names another coding than UTF-8, ASCII, ISO-8859-1 and Windows-1252 are refused, or names it in two
//! ways: a declaration of entities could hide in it. A file is of the type that its part says, which is
//! what the client says: nobody looks whether it is one.

mod form;
mod json;
mod watched;
mod xml;

use std::borrow::Cow;
use std::sync::Arc;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, Values};
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, List, Map, Switch, settings};

use self::watched::{Scanner, Tried, Watched, refused};
use crate::content::coding::Coding;
use crate::content::multipart;
use crate::kind::Kind;
use crate::making::Making;
use crate::media;

settings! {
    /// Keeps bodies away that are made to hurt who parses them.
    pub struct Payload {
        /// Limits on JSON, or `off`.
        pub json: Switch<JsonLimits> = Switch::On(JsonLimits::default()),
        /// Limits on XML, or `off`.
        pub xml: Switch<XmlLimits> = Switch::On(XmlLimits::default()),
        /// Limits on forms with files, `multipart/form-data`, or `off`.
        pub multipart: Switch<FormLimits> = Switch::On(FormLimits::default()),
        /// The largest body by type: `application/json`, `image/*` or `*/*`.
        pub sizes: Map<String, ByteSize> = Map::new(),
        /// The types that are taken at all; without them, any.
        pub types: List<String> = List::default(),
        /// What becomes of compressed JSON, XML and forms, which cannot be looked into.
        pub compressed: Compressed = Compressed::Refuse,
        /// Whether what would be refused passes: it is marked in the access log (`dry_run`) and counted
        /// in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }

    /// Limits on JSON.
    pub struct JsonLimits {
        /// How deep objects and lists lie in each other.
        pub depth: u32 = 32,
        /// Keys of one object.
        pub keys: u32 = 1000,
        /// Values of one list.
        pub items: u32 = 10_000,
        /// The longest key, as it is written.
        pub key: ByteSize = ByteSize(256),
        /// The longest text, as it is written.
        pub string: ByteSize = ByteSize::kib(64),
        /// The longest number.
        pub number: ByteSize = ByteSize(64),
    }

    /// Limits on XML. Declarations of types and entities (`<!DOCTYPE`) are never taken.
    pub struct XmlLimits {
        /// How deep elements lie in each other.
        pub depth: u32 = 32,
        /// Elements in all.
        pub elements: u32 = 10_000,
        /// Attributes of one element.
        pub attributes: u32 = 32,
        /// The longest name of an element or attribute.
        pub name: ByteSize = ByteSize(256),
        /// The longest value of an attribute.
        pub value: ByteSize = ByteSize::kib(4),
        /// The longest text between two tags.
        pub text: ByteSize = ByteSize::kib(64),
    }

    /// Limits on forms with files.
    pub struct FormLimits {
        /// Parts that are no files.
        pub fields: u32 = 1000,
        /// Parts that are files.
        pub files: u32 = 20,
        /// The longest name of a part or of a file.
        pub name: ByteSize = ByteSize(256),
        /// The longest part that is no file.
        pub field: ByteSize = ByteSize::kib(64),
        /// The longest file.
        pub file: ByteSize = ByteSize::mib(16),
        /// The types of files that are taken: `image/*`; without them, any.
        pub types: List<String> = List::default(),
    }

    /// What becomes of compressed bodies.
    pub enum Compressed {
        /// They are refused.
        Refuse = "refuse",
        /// They pass unseen.
        Pass = "pass",
    }
}

impl Kind for Payload {
    const NAME: &'static str = "payload";
    const SUMMARY: &'static str = "Limits the structure of JSON, XML and forms, and sizes by type.";
    const STAGE: Stage = Stage::Admit;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let types = self.types.iter().map(|one| ("types", one));
        let sizes = self.sizes.names().map(|name| ("sizes", &name.value));
        let files = self.multipart.on().into_iter().flat_map(|form| form.types.iter());
        let files = files.map(|one| ("multipart.types", one));
        for (key, name) in types.chain(sizes).chain(files) {
            if !media::is_range(name) {
                let what = format!("`{name}` is no type of media");
                let hint = "write one such as `application/json`, `image/*` or `*/*`";
                making.error(making.place, key, what, hint);
                return None;
            }
        }
        Some(Arc::new(Limiting(self.clone(), making.name.into())))
    }
}

/// Its settings and its name.
struct Limiting(Payload, Arc<str>);

impl Limiting {
    /// What watches a body of these fields; nothing where it may pass as it is.
    fn watch(&self, request: &Request) -> Result<Option<Watching>, Fault> {
        let watching = self.by_fields(&request.fields)?;
        let most = watching.as_ref().and_then(|watching| watching.most);
        if most.zip(request.body.length()).is_some_and(|(most, length)| length > most) {
            return Err(Fault::new(Code::TooLarge, "payload: larger than its type may be"));
        }
        Ok(watching)
    }

    /// What was found where it only tries.
    fn only_told(&self, exchange: &mut Exchange, why: &str) {
        exchange.record.would_refuse(&self.1);
        exchange.record.remark(format!("dry run: {why}"));
    }

    fn by_fields(&self, fields: &Fields) -> Result<Option<Watching>, Fault> {
        let content_type = match fields.only(Known::ContentType) {
            Values::None => Cow::Borrowed(""),
            // what is no text may stand behind a type that others read
            Values::One(value) => String::from_utf8_lossy(value),
            Values::Many => {
                return Err(Fault::new(Code::UnsupportedMedia, "payload: several Content-Type"));
            }
        };
        let media = media::essence(&content_type);
        if !self.0.types.is_empty() && !self.0.types.iter().any(|range| media::fits(range, &media))
        {
            let detail = format!("payload: the type `{media}` is not taken");
            return Err(Fault::new(Code::UnsupportedMedia, detail));
        }
        let mut sizes = self.0.sizes.iter().filter(|(range, _)| media::fits(range, &media));
        let most = sizes.next().map(|(_, size)| size.bytes());
        let form = self.0.multipart.on().filter(|_| media == multipart::TYPE);
        let form =
            form.map(|form| form::Scanner::new(&content_type, form, &self.0.json, &self.0.xml));
        let form = form.transpose().map_err(refused)?;
        let scanner = match (self.0.json.on(), self.0.xml.on()) {
            _ if form.is_some() => form.map(Box::new).map(Scanner::Form),
            (Some(limits), _) if media::is_json(&media) => {
                Some(Scanner::Json(json::Scanner::new(limits)))
            }
            (_, Some(limits)) if media::is_xml(&media) => {
                Some(Scanner::Xml(xml::Scanner::new(limits)))
            }
            _ => None,
        };
        if scanner.is_some() && media != multipart::TYPE {
            let coding = Coding::of_type(&content_type);
            coding.map_err(|why| Fault::new(Code::UnsupportedMedia, format!("payload: {why}")))?;
        }
        let plain = fields.get(Known::ContentEncoding).is_none_or(media::is_identity);
        let scanner = match (plain, self.0.compressed) {
            (true, _) => scanner,
            (false, Compressed::Pass) => None,
            (false, Compressed::Refuse) if scanner.is_none() => None,
            (false, Compressed::Refuse) => {
                let detail = "payload: a compressed body cannot be looked into";
                return Err(Fault::new(Code::UnsupportedMedia, detail));
            }
        };
        Ok((scanner.is_some() || most.is_some()).then_some(Watching { scanner, most }))
    }
}

/// How a body is watched.
struct Watching {
    scanner: Option<Scanner>,
    most: Option<u64>,
}

impl Policy for Limiting {
    fn kind(&self) -> &'static str {
        Payload::NAME
    }

    fn stage(&self) -> Stage {
        Payload::STAGE
    }

    fn describe(&self) -> String {
        let json = self.0.json.on().map(|json| format!("JSON at most {} deep", json.depth));
        let xml = self.0.xml.on().map(|xml| format!("XML at most {} deep", xml.depth));
        let form = self.0.multipart.on().map(|form| {
            format!("forms of at most {} fields and {} files", form.fields, form.files)
        });
        let sizes = self.0.sizes.iter().map(|(name, size)| format!("{name} at most {size}"));
        let types: Vec<_> = self.0.types.iter().map(String::as_str).collect();
        let types = (!types.is_empty()).then(|| format!("only {}", types.join(", ")));
        let dry_run = self.0.dry_run.then(|| "only told in the log".to_owned());
        let all = json.into_iter().chain(xml).chain(form).chain(sizes).chain(types).chain(dry_run);
        all.collect::<Vec<_>>().join("; ")
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            if request.body.is_empty() {
                return Ok(next.run(exchange, request).await);
            }
            let watching = match self.watch(&request) {
                Err(fault) if self.0.dry_run => {
                    self.only_told(exchange, fault.detail());
                    None
                }
                watching => watching?,
            };
            let Some(Watching { scanner, most }) = watching else {
                return Ok(next.run(exchange, request).await);
            };
            let tried = self.0.dry_run.then(Tried::default);
            request.body = Watched::around(request.body, scanner, most, tried.clone());
            let response = next.run(exchange, request).await;
            if let Some(why) = tried.and_then(|tried| tried.take()) {
                self.only_told(exchange, &why);
            }
            Ok(response)
        })
    }
}
