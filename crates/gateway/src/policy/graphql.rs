//! # graphql
//!
//! **What it does.** Reads the documents that clients of GraphQL send, and refuses what is too much before the
//! endpoint works on it: too deep, too many fields (each counted as often as the lists around it have items),
//! too many aliases, too many operations in one request. Introspection can be switched off. With
//! `persisted` only documents of a list are let through, sent in full or by their SHA-256 (Apollo's
//! `extensions.persistedQuery`), in whose place the document is put: the endpoint need not know of it.
//! Mutations over GET are always refused.
//!
//! What it has found out can be asked in expressions of policies behind it: `graphql.operations` is what stands at the
//! root, such as `["mutation.pay"]`, by the names of the fields, whatever clients call their operations;
//! `graphql.complexity` is the sum. So operations have limits of their own, and costs.
//!
//! Fragments are followed; a document that nests them to grow without end is counted, not unfolded.
//!
//! **When it runs.** Stage `limit`: after it is known who asks.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   careful: { graphql: { depth: 10, complexity: 500, introspection: false } }
//!   payments:
//!     rate-limit: { rate: 5/min, by: consumer, when: '"mutation.pay" in graphql.operations' }
//!   work:
//!     rate-limit: { rate: 10000/h, by: consumer, cost: graphql.complexity }
//! ```
//!
//! **What the client sees.** 400 with `{"errors": [{"message": …, "extensions": {"code": …}}]}`, the code being
//! `GRAPHQL_PARSE_FAILED`, `TOO_COMPLEX`, `INTROSPECTION_DISABLED`, `OPERATION_NOT_ALLOWED`,
//! `PERSISTED_QUERY_NOT_FOUND` or `BAD_REQUEST`; 405 `method-not-allowed` for other methods than GET and POST, 413
//! `too-large`.
//!
//! At 3 a.m.: the endpoint may count lists that no argument limits; `default-size` is what they count here.
//! Multipart uploads are refused: they hide the document. So is what servers read in different ways: a `POST` whose
//! URL has `query`, `operationName`, `variables` or `extensions`, a `GET` with a bare `;` in its query, and `variables`
//! that are a text. A size less than nothing counts as no limit. Selections stand at most 200 deep inside of each
//! other, whatever `depth` says.

mod query;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use transom_proxy::answer::with_body;
use transom_proxy::body::{Body, joined};
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Known, Values};
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::json::{self, Value as Json, json};
use transom_settings::{ByteSize, Spanned, settings};

use self::query::{Kind as Operation, Refused};
use crate::content::strict;
use crate::expression::GraphQlAsked;
use crate::kind::Kind;
use crate::making::Making;
use crate::pairs;

pub use self::query::{Most, weigh};

settings! {
    /// Refuses GraphQL that asks for too much.
    pub struct GraphQl {
        /// Fields inside of each other.
        pub depth: u32 = 15,
        /// Fields, each counted as often as the lists around it have items.
        pub complexity: u32 = 1000,
        /// Fields that are called otherwise.
        pub aliases: u32 = 30,
        /// Words and signs of a document.
        pub tokens: u32 = 10_000,
        /// Operations in one request.
        pub batch: u32 = 1,
        /// Arguments that say how many items a list has.
        pub sizes: Vec<String> = vec!["first".to_owned(), "last".to_owned(), "limit".to_owned()],
        /// What a list counts whose size is not said.
        pub default_size: u32 = 1,
        /// Whether clients may ask for the schema.
        pub introspection: bool = true,
        /// A file of the only documents that may be sent: JSON, either a list of them or a map from
        /// their SHA-256 in hexadecimal.
        pub persisted: Option<Spanned<PathBuf>> = None,
        /// The longest body of a request.
        pub max_body: ByteSize = ByteSize::kib(256),
        /// Whether what would be refused passes as it is: it is marked in the access log (`dry_run`) and
        /// counted in `transom_dry_run_total`. Documents of `persisted` are put in all the same.
        pub dry_run: bool = false,
    }
}

impl Kind for GraphQl {
    const NAME: &'static str = "graphql";
    const SUMMARY: &'static str = "Refuses GraphQL that asks for too much.";
    const STAGE: Stage = Stage::Limit;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.persisted.iter().collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let persisted = match &self.persisted {
            None => None,
            Some(file) => match documents(&making.file(file)?) {
                Ok(documents) => Some(documents),
                Err(what) => {
                    let hint = "write a list of documents, or a map from their SHA-256";
                    making.error(file.span, "persisted", what, hint);
                    return None;
                }
            },
        };
        Some(Arc::new(Gate {
            most: Most {
                depth: self.depth,
                complexity: self.complexity.into(),
                aliases: self.aliases.into(),
                tokens: self.tokens as usize,
                sizes: self.sizes.clone(),
                default_size: self.default_size.into(),
            },
            batch: self.batch as usize,
            introspection: self.introspection,
            persisted,
            longest: self.max_body.len(),
            dry_run: self.dry_run.then(|| making.name.into()),
        }))
    }
}

/// The documents of a file by their digests.
fn documents(bytes: &[u8]) -> Result<HashMap<String, String>, String> {
    let told = json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let mut documents = HashMap::new();
    match told {
        Json::Array(all) => {
            for document in all {
                let Json::String(document) = document else {
                    return Err("a document is not a text".to_owned());
                };
                documents.insert(hash(&document), document);
            }
        }
        Json::Object(all) => {
            for (named, document) in all {
                let Json::String(document) = document else {
                    return Err(format!("`{named}` is not a text"));
                };
                if hash(&document) != named.to_ascii_lowercase() {
                    return Err(format!("`{named}` is not the SHA-256 of its document"));
                }
                documents.insert(hash(&document), document);
            }
        }
        _ => return Err("it is neither a list nor a map".to_owned()),
    }
    Ok(documents)
}

fn hash(document: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, document.as_bytes()).as_ref())
}

struct Gate {
    most: Most,
    batch: usize,
    introspection: bool,
    /// The only documents that may be sent, by their digests.
    persisted: Option<HashMap<String, String>>,
    longest: usize,
    /// Its own name, where it only tries.
    dry_run: Option<Arc<str>>,
}

/// What says what is asked, in a query or a body (GraphQL over HTTP).
const ASKED: [&[u8]; 4] = [b"query", b"operationName", b"variables", b"extensions"];

/// Why a request is not passed on, for its client.
#[derive(Debug)]
struct No {
    code: &'static str,
    what: String,
}

impl No {
    fn bad(what: impl Into<String>) -> Self {
        No { code: "BAD_REQUEST", what: what.into() }
    }
}

impl Policy for Gate {
    fn kind(&self) -> &'static str {
        GraphQl::NAME
    }

    fn stage(&self) -> Stage {
        GraphQl::STAGE
    }

    fn describe(&self) -> String {
        let Most { depth, complexity, aliases, .. } = &self.most;
        let listed = match &self.persisted {
            Some(documents) => format!(", {} documents", documents.len()),
            None => String::new(),
        };
        let dry_run = if self.dry_run.is_some() { ", only told in the log" } else { "" };
        format!("depth {depth}, complexity {complexity}, {aliases} aliases{listed}{dry_run}")
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let mut found = GraphQlAsked::default();
            let looked = self.look(&mut request, &mut found).await;
            exchange.extensions.insert(found);
            match (looked, &self.dry_run) {
                (Ok(Ok(())), _) => Ok(next.run(exchange, request).await),
                (Err(fault), None) => Err(fault),
                (no, Some(name)) => {
                    let why = no.map_or_else(
                        |fault| fault.detail().to_owned(),
                        |no| no.err().map_or_else(String::new, |no| no.what),
                    );
                    exchange.record.would_refuse(name);
                    exchange.record.remark(format!("dry run: graphql: {why}"));
                    Ok(next.run(exchange, request).await)
                }
                (Ok(Err(no)), None) => {
                    let detail = format!("{}: {}", no.code, no.what);
                    exchange.record.fail(Fault::new(Code::BadRequest, detail));
                    Ok(told(&no))
                }
            }
        })
    }
}

fn told(no: &No) -> Response {
    let error = json!({ "message": no.what, "extensions": { "code": no.code } });
    let body = json!({ "errors": [error] }).to_string();
    let mut response = with_body(400, "application/json", body.into());
    response.fields.append(Known::CacheControl, b"no-store");
    response
}

impl Gate {
    /// Whether a request may go on, with the documents put in that it names.
    async fn look(
        &self,
        request: &mut Request,
        found: &mut GraphQlAsked,
    ) -> Result<Result<(), No>, Fault> {
        match request.method {
            Method::Get | Method::Head => Ok(self.look_at_query(request, found)),
            Method::Post => {
                let body = joined::whole(&mut request.body, self.longest).await?;
                let too_large = || Fault::new(Code::TooLarge, "it is longer than `max-body`");
                let body = body.ok_or_else(too_large)?;
                let (body, outcome) = match self.look_at_body(request, &body, found) {
                    Ok(read) => (read.map_or(body, Into::into), Ok(())),
                    Err(no) => (body, Err(no)),
                };
                request.body = Body::of(body);
                Ok(outcome)
            }
            Method::Options => Ok(Ok(())),
            _ => {
                let fault =
                    Fault::new(Code::MethodNotAllowed, "GraphQL is asked with GET and POST");
                Err(fault.allow("GET, POST"))
            }
        }
    }

    fn look_at_query(&self, request: &mut Request, found: &mut GraphQlAsked) -> Result<(), No> {
        let query = request.query.clone().unwrap_or_default();
        if query.contains(';') {
            return Err(No::bad("a `;` in the query, which servers read in two ways"));
        }
        let mut asked = json::Map::new();
        for (name, value) in pairs::of_query(&query) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let value = String::from_utf8_lossy(&value).into_owned();
            let value = match &*name {
                "query" | "operationName" => Json::String(value),
                "variables" | "extensions" if !value.is_empty() => {
                    // it goes on as it is: a name that stands twice is read in two ways
                    strict::parse(value.as_bytes())
                        .map_err(|error| No::bad(format!("`{name}` is not JSON: {error}")))?
                }
                _ => continue,
            };
            if asked.insert(name.clone(), value).is_some() {
                return Err(No::bad(format!("`{name}` is given twice")));
            }
        }
        let mut asked = Json::Object(asked);
        if asked == json!({}) {
            return Err(No::bad("there is no `query`"));
        }
        if self.check(&mut asked, true, found)? {
            let document = asked["query"].as_str().unwrap_or_default();
            let kept = pairs::without(&query, |name| name == b"query");
            let kept = kept.unwrap_or_else(|| query.to_string());
            let joint = if kept.is_empty() { "" } else { "&" };
            let mut written = format!("{kept}{joint}query=");
            for byte in document.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => written.push(char::from(byte)),
                    byte => written.push_str(&format!("%{byte:02X}")),
                }
            }
            request.query = Some(written.into());
        }
        Ok(())
    }

    /// The body as it was read; nothing where it is the document itself.
    fn look_at_body(
        &self,
        request: &Request,
        body: &[u8],
        found: &mut GraphQlAsked,
    ) -> Result<Option<String>, No> {
        let is_plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !request.fields.all(Known::ContentEncoding).all(is_plain) {
            return Err(No::bad("it is compressed, which is not understood here"));
        }
        // what stands in the query as well goes first for some servers
        if let Some(query) = &request.query
            && pairs::of_query(query).any(|(name, _)| ASKED.iter().any(|one| *name == **one))
        {
            return Err(No::bad("the query and the body both say what is asked"));
        }
        let media = match request.fields.only(Known::ContentType) {
            Values::None => &[][..],
            Values::One(media) => media,
            Values::Many => return Err(No::bad("it has several types")),
        };
        let media = media.split(|b| *b == b';').next().unwrap_or(media).trim_ascii();
        let media = String::from_utf8_lossy(media).to_ascii_lowercase();
        if media == "application/graphql" {
            let document = String::from_utf8_lossy(body).into_owned();
            self.check(&mut json!({ "query": document }), false, found)?;
            return Ok(None);
        }
        if media != "application/json" && media != "application/graphql+json" {
            return Err(No::bad("its type is not application/json"));
        }
        let mut asked: Json = json::from_slice(body)
            .map_err(|error| No::bad(format!("the body is not JSON: {error}")))?;
        match &mut asked {
            Json::Array(all) if all.len() > self.batch => {
                let what = format!("{} operations at once are more than {}", all.len(), self.batch);
                return Err(No { code: "TOO_COMPLEX", what });
            }
            Json::Array(all) if all.is_empty() => return Err(No::bad("it asks for nothing")),
            Json::Array(all) => {
                for one in all {
                    self.check(one, false, found)?;
                }
            }
            one => drop(self.check(one, false, found)?),
        }
        // as it was read: a key that stands twice is read differently by others
        Ok(Some(asked.to_string()))
    }

    /// Whether one operation may pass; says whether its document was put in.
    fn check(&self, asked: &mut Json, by_get: bool, found: &mut GraphQlAsked) -> Result<bool, No> {
        let Some(fields) = asked.as_object_mut() else {
            return Err(No::bad("it is not an object with `query`"));
        };
        // some servers undo what was written as a text, and others see nothing there
        for (name, fits) in [
            ("operationName", Json::is_string as fn(&Json) -> bool),
            ("variables", Json::is_object),
            ("extensions", Json::is_object),
        ] {
            if fields.get(name).is_some_and(|value| !value.is_null() && !fits(value)) {
                return Err(No::bad(format!("`{name}` is of another type than it may be")));
            }
        }
        let given = fields.get("query").and_then(Json::as_str).filter(|text| !text.is_empty());
        let named = fields
            .get("extensions")
            .and_then(|extensions| extensions.get("persistedQuery")?.get("sha256Hash")?.as_str());
        let named = named.map(str::to_ascii_lowercase);
        let (document, put_in) = match (&self.persisted, given, named) {
            (None, Some(given), _) => (given.to_owned(), false),
            // the endpoint knows what it means, but nobody here does
            (None, None, Some(_)) => {
                let what = "PersistedQueryNotFound".to_owned();
                return Err(No { code: "PERSISTED_QUERY_NOT_FOUND", what });
            }
            (_, None, None) => return Err(No::bad("there is no `query`")),
            (Some(known), Some(given), _) => match known.get(&hash(given)) {
                Some(known) => (known.clone(), false),
                None => {
                    let what = "this document is not one of those that may be sent".to_owned();
                    return Err(No { code: "OPERATION_NOT_ALLOWED", what });
                }
            },
            (Some(known), None, Some(named)) => match known.get(&named) {
                Some(known) => (known.clone(), true),
                None => {
                    let what = "PersistedQueryNotFound".to_owned();
                    return Err(No { code: "PERSISTED_QUERY_NOT_FOUND", what });
                }
            },
        };
        let operation = fields.get("operationName").and_then(Json::as_str);
        let operation = operation.filter(|name| !name.is_empty());
        let nothing = Json::Null;
        let variables = fields.get("variables").unwrap_or(&nothing);
        let weight = weigh(&document, operation, variables, &self.most).map_err(|refused| {
            let code = match &refused {
                Refused::Nested
                | Refused::Depth(..)
                | Refused::Complexity(..)
                | Refused::Aliases(..) => "TOO_COMPLEX",
                _ => "GRAPHQL_PARSE_FAILED",
            };
            No { code, what: refused.to_string() }
        })?;
        found.complexity = found.complexity.saturating_add(weight.complexity);
        for root in &weight.roots {
            let operation = format!("{}.{root}", weight.kind.as_str());
            if !found.operations.contains(&operation) {
                found.operations.push(operation);
            }
        }
        if weight.introspects && !self.introspection {
            let what = "the schema is not told here".to_owned();
            return Err(No { code: "INTROSPECTION_DISABLED", what });
        }
        if by_get && weight.kind != Operation::Query {
            return Err(No::bad("only queries are asked with GET"));
        }
        if put_in {
            fields.insert("query".to_owned(), document.into());
        }
        Ok(put_in)
    }
}
