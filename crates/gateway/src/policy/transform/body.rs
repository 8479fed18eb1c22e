//! Changes of a body: read whole, changed, written again, with the fields that speak of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault, Place, Violation};
use transom_proxy::fields::{Fields, Known};
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::patience::within;
use transom_settings::json::{Value as Json, json};
use transom_settings::{HeaderValue, Spanned, settings};

use crate::content::edit::JsonEdits;
use crate::content::jq::{JqError, JqProgram};
use crate::content::template::BodyTemplate;
use crate::content::{Form, facts};
use crate::making::Making;
use crate::media;

settings! {
    /// Changes of a body, in this order.
    pub struct BodyShape {
        /// The form it is read in; without it, what `Content-Type` says, and other bodies pass.
        pub from: Option<Form> = None,
        /// Declared changes.
        pub edit: JsonEdits = JsonEdits::default(),
        /// A program in jq's language; the first value that it gives is the body. It sees `$request` and
        /// `$identity`.
        pub jq: Option<Spanned<String>> = None,
        /// The same, in a file.
        pub jq_file: Option<Spanned<PathBuf>> = None,
        /// A template in Jinja's language, whose text is the body. It sees `body`, `request`, `identity` and of
        /// a response `status`.
        pub template: Option<Spanned<String>> = None,
        /// The same, in a file.
        pub template_file: Option<Spanned<PathBuf>> = None,
        /// The form it is written in; without it, the one it was read in.
        pub to: Option<Form> = None,
        /// The `Content-Type` it then has; without it, that of the form.
        pub content_type: Option<HeaderValue> = None,
    }
}

impl BodyShape {
    pub(super) fn files(&self) -> impl Iterator<Item = &Spanned<PathBuf>> {
        self.jq_file.iter().chain(&self.template_file)
    }
}

/// Programs of one policy that run at once. One that outlives its time still counts.
const AT_ONCE: usize = 64;

/// What is done to bodies of one direction.
pub(super) struct Shaping {
    written: BodyShape,
    program: Option<Arc<JqProgram>>,
    template: Option<BodyTemplate>,
    most: usize,
    patience: Duration,
    running: Arc<AtomicUsize>,
}

/// One program that runs: it counts until it has ended, however it does.
struct Running(Arc<AtomicUsize>);

impl Running {
    /// Nothing where too many run already.
    fn one_more(count: &Arc<AtomicUsize>) -> Option<Self> {
        let running = Running(count.clone());
        (count.fetch_add(1, Ordering::Relaxed) < AT_ONCE).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a program or template has against a body.
enum Failed {
    /// The body is not what it should be.
    Body(String),
    /// It takes too long, or too many do.
    Time(&'static str),
}

impl Shaping {
    pub(super) fn new(
        written: &BodyShape,
        most: usize,
        patience: Duration,
        key: &str,
        making: &mut Making<'_>,
    ) -> Option<Self> {
        let program = source(&written.jq, &written.jq_file, key, "jq", making)?;
        let program = match program {
            None => None,
            Some((source, place, key)) => match JqProgram::new(&source) {
                Ok(program) => Some(Arc::new(program)),
                Err(why) => {
                    let what = format!("the program cannot be used: {why}");
                    making.error(place, &key, what, "correct the program");
                    return None;
                }
            },
        };
        let template = source(&written.template, &written.template_file, key, "template", making)?;
        let template = match template {
            None => None,
            Some((source, place, key)) => {
                let form = written.to.or(written.from).unwrap_or(Form::Json);
                match BodyTemplate::new(source, form) {
                    Ok(template) => Some(template),
                    Err(why) => {
                        let what = format!("the template cannot be used: {why}");
                        making.error(place, &key, what, "correct the template");
                        return None;
                    }
                }
            }
        };
        for (from, to) in written.edit.r#move.iter() {
            if !from.is_single() || !to.is_single() {
                let what = "`move` is from one place to one place";
                let hint = "`rename` changes a key in each value of a list";
                making.error(from.span, &format!("{key}.edit.move"), what, hint);
                return None;
            }
        }
        let running = Arc::default();
        Some(Shaping { written: written.clone(), program, template, most, patience, running })
    }

    pub(super) async fn request(
        &self,
        exchange: &Exchange,
        request: &mut Request,
    ) -> Result<(), Fault> {
        let made_of_nothing = request.body.is_empty();
        if made_of_nothing && self.template.is_none() {
            return Ok(());
        }
        let Some(form) = self.form(&request.fields).or(made_of_nothing.then_some(Form::Json))
        else {
            return Ok(());
        };
        if !is_plain(&request.fields) {
            let why = "transform: a compressed body cannot be changed";
            return Err(Fault::new(Code::UnsupportedMedia, why));
        }
        let Some(bytes) = request.body.whole(self.most).await? else {
            return Err(Fault::new(Code::TooLarge, "transform: the body is over `max-body`"));
        };
        let value = match bytes.is_empty() {
            true => Json::Null,
            false => form
                .read(content_type(&request.fields), &bytes)
                .map_err(|why| not_fitting(why.to_string()))?,
        };
        let made = self.run(exchange, value, form, None).await.map_err(|failed| match failed {
            Failed::Body(why) => not_fitting(why),
            Failed::Time(why) => Fault::new(Code::Overloaded, format!("transform: {why}")),
        })?;
        self.describe(&mut request.fields, form);
        request.body = Body::of(made);
        Ok(())
    }

    pub(super) async fn response(
        &self,
        exchange: &Exchange,
        to: &Method,
        response: &mut Response,
    ) -> Result<(), Fault> {
        let Some(form) = self.form(&response.fields) else { return Ok(()) };
        let bad = |why: String| Fault::new(Code::BadResponse, format!("transform: {why}"));
        if Response::is_bodyless(response.status, to) {
            // it speaks of a body that would have been changed
            self.describe(&mut response.fields, form);
            response.fields.remove(Known::ContentLength);
            return Ok(());
        }
        if !is_plain(&response.fields) {
            return Err(bad("the response is compressed though it was not asked to be".to_owned()));
        }
        let Some(bytes) = response.body.whole(self.most).await? else {
            return Err(bad("the response is over `max-body`".to_owned()));
        };
        let value = match bytes.is_empty() {
            true => Json::Null,
            false => form
                .read(content_type(&response.fields), &bytes)
                .map_err(|why| bad(why.to_string()))?,
        };
        let made = self.run(exchange, value, form, Some(response.status)).await;
        let made = made.map_err(|failed| match failed {
            Failed::Body(why) => bad(why),
            Failed::Time(why) => Fault::new(Code::Overloaded, format!("transform: {why}")),
        })?;
        self.describe(&mut response.fields, form);
        response.fields.remove(Known::ContentLength);
        response.body = Body::of(made);
        Ok(())
    }

    /// In which form a body with these fields is read.
    fn form(&self, fields: &Fields) -> Option<Form> {
        self.written.from.or_else(|| Form::of(&media::essence(content_type(fields))))
    }

    async fn run(
        &self,
        exchange: &Exchange,
        mut value: Json,
        form: Form,
        status: Option<u16>,
    ) -> Result<Bytes, Failed> {
        self.written.edit.apply(exchange, &mut value);
        if self.program.is_none() && self.template.is_none() {
            return self.written(&value, form);
        }
        let mut facts = facts::of(exchange);
        if let Some(program) = &self.program {
            value = self.program(exchange, program.clone(), value, facts.clone()).await?;
        }
        let Some(template) = &self.template else { return self.written(&value, form) };
        facts["body"] = value;
        facts["status"] = json!(status);
        let text = template.render(facts, self.most);
        text.map(Bytes::from).map_err(|error| Failed::Body(format!("the template: {error}")))
    }

    /// Runs a program beside the worker, which goes on meanwhile.
    async fn program(
        &self,
        exchange: &Exchange,
        program: Arc<JqProgram>,
        value: Json,
        facts: Json,
    ) -> Result<Json, Failed> {
        let running = Running::one_more(&self.running)
            .ok_or(Failed::Time("too many programs run already"))?;
        let patience = self.patience;
        let work = tokio::task::spawn_blocking(move || {
            let _running = running;
            program.run(value, &facts, patience)
        });
        match within(&exchange.local.worker, self.patience, work).await {
            None | Some(Ok(Err(JqError::Late))) => {
                Err(Failed::Time("the program took longer than `timeout`"))
            }
            Some(Ok(Ok(value))) => Ok(value),
            Some(Ok(Err(error))) => Err(Failed::Body(format!("the program: {error}"))),
            Some(Err(_)) => Err(Failed::Body("the program broke".to_owned())),
        }
    }

    fn written(&self, value: &Json, form: Form) -> Result<Bytes, Failed> {
        let written = self.written.to.unwrap_or(form).write(value, self.most);
        match written {
            Ok(bytes) if bytes.len() > self.most => {
                Err(Failed::Body("what came of it is over `max-body`".to_owned()))
            }
            Ok(bytes) => Ok(bytes.into()),
            Err(why) => Err(Failed::Body(why.to_string())),
        }
    }

    /// Makes the fields right that speak of the body.
    fn describe(&self, fields: &mut Fields, form: Form) {
        let changes_form =
            self.written.to.is_some_and(|to| to != form) || !fields.has(Known::ContentType);
        match &self.written.content_type {
            Some(own) => fields.set(Known::ContentType, own.as_bytes()),
            None if changes_form => {
                let form = self.written.to.unwrap_or(form);
                fields.set(Known::ContentType, form.content_type().as_bytes());
            }
            None => {}
        }
        // RFC 9110 §8.8.1, RFC 9530: they were of another body
        for name in
            ["ETag", "Content-MD5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges"]
        {
            fields.remove(name);
        }
    }
}

/// The text of a program or a template, where it stands and its key.
fn source(
    inline: &Option<Spanned<String>>,
    file: &Option<Spanned<PathBuf>>,
    key: &str,
    name: &str,
    making: &mut Making<'_>,
) -> Option<Option<(String, transom_settings::Span, String)>> {
    match (inline, file) {
        (None, None) => Some(None),
        (Some(text), None) => Some(Some((text.value.clone(), text.span, format!("{key}.{name}")))),
        (None, Some(file)) => {
            let key = format!("{key}.{name}-file");
            // one that could not be read is found already
            let text = making.file(file)?;
            match String::from_utf8(text.to_vec()) {
                Ok(text) => Some(Some((text, file.span, key))),
                Err(_) => {
                    making.error(file.span, &key, "the file is no text", "write it in UTF-8");
                    None
                }
            }
        }
        (Some(_), Some(file)) => {
            let what = format!("`{name}` and `{name}-file` are given both");
            making.error(file.span, &format!("{key}.{name}-file"), what, "keep one of them");
            None
        }
    }
}

/// Endpoints are asked for bodies that can be read, and whole.
pub(super) fn ask_for_plain(fields: &mut Fields) {
    for name in [Known::AcceptEncoding, Known::Range, Known::IfRange] {
        fields.remove(name);
    }
}

/// What the fields say of the body; nothing where that is no text.
fn content_type(fields: &Fields) -> &str {
    let content_type = fields.get(Known::ContentType).unwrap_or_default();
    std::str::from_utf8(content_type).unwrap_or_default()
}

fn is_plain(fields: &Fields) -> bool {
    fields.all(Known::ContentEncoding).all(media::is_identity)
}

fn not_fitting(why: String) -> Fault {
    let told = Violation { place: Place::Pointer(String::new()), detail: why.clone() };
    Fault::new(Code::BadRequest, format!("transform: {why}")).violations(vec![told])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_22_a_program_that_breaks_gives_its_place_back() {
        let count = Arc::default();
        for _ in 0..2 * AT_ONCE {
            let running = Running::one_more(&count);
            assert!(running.is_some());
            let broken = std::thread::spawn(move || {
                let _running = running;
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(broken.join().is_err());
        }
        let held: Vec<_> = (0..AT_ONCE).map(|_| Running::one_more(&count)).collect();
        assert!(held.iter().all(Option::is_some) && Running::one_more(&count).is_none());
        drop(held);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
