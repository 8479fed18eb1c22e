//! # validate
//!
//! **What it does.** Lets a request pass only if it is one that an OpenAPI document (3.0 or 3.1) describes:
//! path, method, parameters of path, query, header and cookies, type and content of the body. Or holds the
//! JSON of bodies against a JSON Schema. Responses are looked at by choice, all or some of them.
//!
//! **When it runs.** Stage `shape`: it sees the request as it is when its turn comes, so after the
//! policies of that stage that stand before it.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   as-described:
//!     validate:
//!       openapi: orders.yaml
//!       base: /api
//!       responses: { mode: report, share: 10% }
//! ```
//!
//! **What the client sees.** `invalid` (422), or by choice `bad-request`, with every place that does
//! not fit in `errors`: a `pointer` into the body or a `parameter`. `not-found` and
//! `method-not-allowed` for what is not described, `unsupported-media` for a type of body that is not,
//! `too-large` for a body over `max-body`. A response that does not fit is a `bad-response` where
//! `mode: refuse` says so; with `report` it passes, and the access log has a remark.
//!
//! **Limits and cost.** Schemas are compiled when the configuration is read; nothing is ever fetched.
//! Bodies of JSON and forms, with files too (`multipart/form-data`), are read whole, up to `max-body`. Patterns are linear in the text.
//!
//! A version of an API that has a document need not name it again: `validate: {}` takes that, with the paths
//! below that of the version.
//!
//! Of a form with files each part is a property of the schema: those of type `application/json`, and those without a
//! type where an object is described, are read as JSON, the others as texts. A file is a text of as many letters as
//! it has bytes (`minLength`, `maxLength`). `encoding` says which types parts may have. What could be read in two ways
//! (RFC 7578), such as a part with two names, does not fit; nor does JSON in which a name stands twice, a parameter
//! in a cookie that does, or a body with several types.
//!
//! **Traps.** What is not described is refused: `unknown: pass` lets it through. XML is checked by its
//! type only, parameters of `deepObject`, `matrix` and `label` only for being there.
//! Values that were sent are never in an answer. `dry-run` refuses nothing and remarks in the
//! access log what it would have refused.

mod request;
mod response;

use std::path::PathBuf;
use std::sync::Arc;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::Fields;
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Percent, Spanned, settings};

use crate::kind::Kind;
use crate::making::Making;
use crate::openapi::{Document, Operation, Schema, read};

settings! {
    /// Lets pass what is described.
    pub struct Validate {
        /// An OpenAPI document of version 3.0 or 3.1, in YAML or JSON.
        pub openapi: Option<Spanned<PathBuf>> = None,
        /// A JSON Schema for the bodies of requests, where there is no such document.
        pub schema: Option<Spanned<PathBuf>> = None,
        /// What stands before the paths of the document; without it, the path of its first server.
        pub base: Option<String> = None,
        /// What becomes of requests that the document does not describe.
        pub unknown: Unknown = Unknown::Refuse,
        /// The status of an answer to what does not fit.
        pub status: Refusal = Refusal::Unprocessable,
        /// The largest body that is looked into.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// Whether responses are looked at, too.
        pub responses: Option<Responses> = None,
        /// Whether requests that do not fit pass nevertheless, with a remark in the access log.
        pub dry_run: bool = false,
    }

    /// What becomes of what is not described.
    pub enum Unknown {
        /// It is refused.
        Refuse = "refuse",
        /// It passes.
        Pass = "pass",
    }

    /// A status for what does not fit.
    pub enum Refusal {
        /// Bad Request.
        Bad = "400",
        /// Unprocessable Content.
        Unprocessable = "422",
    }

    /// How responses are looked at.
    pub struct Responses {
        /// What becomes of one that does not fit.
        pub mode: ResponseMode = ResponseMode::Report,
        /// The part of the responses that is looked at.
        pub share: Percent = Percent::of(100),
    }

    /// What becomes of a response that does not fit.
    pub enum ResponseMode {
        /// It passes, and the access log has a remark.
        Report = "report",
        /// The client is told `bad-response` instead.
        Refuse = "refuse",
    }
}

impl Kind for Validate {
    const NAME: &'static str = "validate";
    const SUMMARY: &'static str = "Lets pass what an OpenAPI document or a JSON Schema describes.";
    const STAGE: Stage = Stage::Shape;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.openapi.iter().chain(&self.schema).collect()
    }

    fn described(&mut self, document: &Spanned<PathBuf>, base: &str) {
        if self.openapi.is_none() && self.schema.is_none() {
            self.openapi = Some(document.clone());
            self.base.get_or_insert_with(|| base.to_owned());
        }
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let rule = match (&self.openapi, &self.schema) {
            (Some(file), None) => {
                let bytes = making.file(file)?;
                match Document::read(&bytes) {
                    Ok(document) => {
                        let own = document.base.clone();
                        let base = self.base.clone().unwrap_or(own);
                        Rule::Document { document, base: base.trim_end_matches('/').to_owned() }
                    }
                    Err(why) => return wrong(making, file, "openapi", &why),
                }
            }
            (None, Some(file)) => {
                let bytes = making.file(file)?;
                match read::schema(&bytes) {
                    Ok(schema) => Rule::Schema(schema),
                    Err(why) => return wrong(making, file, "schema", &why),
                }
            }
            _ => {
                let what = "exactly one of `openapi` and `schema` is given";
                making.error(making.place, "", what, "name the file of one of them");
                return None;
            }
        };
        if let (Rule::Schema(_), Some(_)) = (&rule, &self.responses) {
            let what = "a schema describes requests only";
            making.error(
                making.place,
                "responses",
                what,
                "write an OpenAPI document for responses",
            );
            return None;
        }
        Some(Arc::new(Validating { name: making.name.into(), settings: self.clone(), rule }))
    }
}

fn wrong<T>(making: &mut Making<'_>, file: &Spanned<PathBuf>, key: &str, why: &str) -> Option<T> {
    let what = format!("`{}` cannot be used: {why}", file.display());
    making.error(file.span, key, what, "correct the document");
    None
}

struct Validating {
    name: Arc<str>,
    settings: Validate,
    rule: Rule,
}

enum Rule {
    Document { document: Document, base: String },
    Schema(Schema),
}

impl Validating {
    /// What of a request does not fit, or the operation that it asks for.
    async fn check<'v>(&'v self, request: &mut Request) -> Result<Option<&'v Operation>, Fault> {
        match &self.rule {
            Rule::Schema(schema) => {
                request::body_by_schema(&self.settings, schema, request).await.map(|()| None)
            }
            Rule::Document { document, base } => {
                request::by_document(&self.settings, document, base, request).await
            }
        }
    }
}

impl Policy for Validating {
    fn kind(&self) -> &'static str {
        Validate::NAME
    }

    fn stage(&self) -> Stage {
        Validate::STAGE
    }

    fn describe(&self) -> String {
        let dry = if self.settings.dry_run { "dry run: " } else { "" };
        match &self.rule {
            Rule::Schema(_) => format!("{dry}bodies fit the schema"),
            Rule::Document { document, base } => {
                let (title, version) = (&document.title, &document.version);
                let count = document.operations.len();
                let base = if base.is_empty() { "/" } else { base };
                format!("{dry}is one of {count} operations of `{title}` {version} below {base}")
            }
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let operation = match self.check(&mut request).await {
                Ok(operation) => operation,
                Err(fault) if self.settings.dry_run => {
                    exchange.record.would_refuse(&self.name);
                    exchange.record.remark(format!("dry run: {}", fault.detail()));
                    None
                }
                Err(fault) => return Err(fault),
            };
            let looked = self.settings.responses.as_ref().filter(|responses| {
                let share = responses.share.ratio();
                share >= 1.0 || exchange.local.random() < share
            });
            let Some((operation, responses)) = operation.zip(looked) else {
                return Ok(next.run(exchange, request).await);
            };
            ask_for_plain(&mut request.fields);
            let mut response = next.run(exchange, request).await;
            if exchange.record.fault.is_some() {
                return Ok(response);
            }
            let most = self.settings.max_body.len();
            let found = response::check(operation, &mut response, &exchange.asked.method, most);
            if let Some(why) = found.await? {
                match responses.mode {
                    ResponseMode::Report => exchange.record.remark(format!("validate: {why}")),
                    ResponseMode::Refuse => return Err(response::refused(why)),
                }
            }
            Ok::<Response, Fault>(response)
        })
    }
}

/// Responses that are read must not be compressed.
fn ask_for_plain(fields: &mut Fields) {
    fields.remove(transom_proxy::fields::Known::AcceptEncoding);
}
