//! Many messages as one body: a JSON list, a line for each, or events.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use transom_proxy::body::{Body, Source};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, list};

use super::response::{Sent, Shape, Writing, error_line};
use super::rules::Table;
use crate::grpc::frame::Frames;
use crate::grpc::status::Status;

/// In which form many messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `[{…},{…}]`.
    List,
    /// A line for each (application/x-ndjson).
    Lines,
    /// Server-sent events (text/event-stream).
    Events,
}

impl Form {
    /// The one that the client asks for first; a list otherwise.
    pub(super) fn wanted(fields: &Fields) -> Form {
        let mut ranges = fields.all(Known::Accept).flat_map(list);
        let form = ranges.find_map(|range| {
            let media = range.split(|b| *b == b';').next().unwrap_or(range).trim_ascii();
            Some(match &*media.to_ascii_lowercase() {
                b"text/event-stream" => Form::Events,
                b"application/x-ndjson"
                | b"application/ndjson"
                | b"application/jsonl"
                | b"application/x-jsonlines" => Form::Lines,
                b"application/json" => Form::List,
                _ => return None,
            })
        });
        form.unwrap_or(Form::List)
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::List => "application/json",
            Form::Lines => "application/x-ndjson",
            Form::Events => "text/event-stream",
        }
    }

    /// Writes one message.
    fn write(self, first: bool, json: &[u8], out: &mut BytesMut) {
        match self {
            Form::List => out.extend_from_slice(if first { b"[" } else { b"," }),
            Form::Lines => {}
            Form::Events => out.extend_from_slice(b"data: "),
        }
        out.extend_from_slice(json);
        match self {
            Form::List => {}
            Form::Lines => out.extend_from_slice(b"\n"),
            Form::Events => out.extend_from_slice(b"\n\n"),
        }
    }
}

/// The messages of a call as they come.
pub(super) struct Messages {
    body: Body,
    frames: Frames,
    /// Once the end has come.
    trailers: Option<Fields>,
}

/// What comes next of a call.
pub(super) enum Coming {
    Message(Bytes),
    End(Status),
}

impl Messages {
    pub(super) fn new(body: Body, longest: usize) -> Self {
        Messages { body, frames: Frames::new(longest), trailers: None }
    }

    pub(super) async fn next(&mut self) -> Result<Coming, Fault> {
        poll_fn(|cx| self.poll_with_request(cx)).await
    }

    /// The next one, while what the client sends goes on its way beside.
    pub(super) fn poll_with_request(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Coming, Fault>> {
        self.body.poll_beside(cx);
        self.poll_next(cx)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Coming, Fault>> {
        let bad = |what: String| Poll::Ready(Err(Fault::new(Code::BadResponse, what)));
        loop {
            match self.frames.message() {
                Ok(Some(message)) => return Poll::Ready(Ok(Coming::Message(message))),
                Ok(None) => {}
                Err(error) => return bad(error.to_string()),
            }
            let filled = ready!(self.body.poll_fill(cx))?;
            if filled == 0 {
                self.trailers = self.body.trailers();
                let status = self.trailers.as_ref().and_then(Status::of);
                return match status {
                    Some(status) if !self.frames.is_empty() && status.is_ok() => {
                        bad("the last message is cut off".to_owned())
                    }
                    Some(status) => Poll::Ready(Ok(Coming::End(status))),
                    None => bad("the call ended without grpc-status".to_owned()),
                };
            }
            self.body.look(|bytes| self.frames.push(&bytes[..filled]));
            self.body.consume(filled);
        }
    }

    /// The trailers, once the end has come.
    pub(super) fn into_trailers(self) -> Option<Fields> {
        self.trailers
    }
}

/// A body that is made of messages while they come.
pub(super) struct Streamed {
    pub(super) messages: Messages,
    /// What has come already.
    pub(super) first: Option<Coming>,
    pub(super) form: Form,
    pub(super) shape: Shape,
    pub(super) writing: Arc<Writing>,
    pub(super) table: Arc<Table>,
    pub(super) begun: bool,
    pub(super) ended: bool,
    pub(super) ready: BytesMut,
}

impl Streamed {
    fn add(&mut self, coming: Coming) -> Result<(), Fault> {
        let broken = |what: String| Fault::new(Code::IncompleteResponse, what);
        match coming {
            Coming::Message(bytes) => {
                let first = !std::mem::replace(&mut self.begun, true);
                match self.shape.of(bytes, &self.writing).map_err(broken)? {
                    Sent::Json(json) => self.form.write(first, &json, &mut self.ready),
                    Sent::Raw(_, bytes) => {
                        let text = data_encoding::BASE64.encode(&bytes);
                        self.form.write(first, format!("\"{text}\"").as_bytes(), &mut self.ready);
                    }
                }
            }
            Coming::End(status) => {
                self.ended = true;
                match self.form {
                    Form::List if status.is_ok() => {
                        let rest: &[u8] = if self.begun { b"]" } else { b"[]" };
                        self.ready.extend_from_slice(rest);
                    }
                    // half a list must not look whole
                    Form::List => {
                        let code = status.code().name();
                        return Err(broken(format!(
                            "the call ended with {code}: {}",
                            status.message
                        )));
                    }
                    Form::Lines | Form::Events if status.is_ok() => {}
                    Form::Lines | Form::Events => {
                        if self.form == Form::Events {
                            self.ready.extend_from_slice(b"event: error\n");
                        }
                        let line = error_line(&status, &self.table.pool);
                        self.form.write(false, &line, &mut self.ready);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Source for Streamed {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        loop {
            if let Some(first) = self.first.take() {
                self.add(first)?;
            }
            if !self.ready.is_empty() || self.ended {
                return Poll::Ready(Ok(self.ready.len()));
            }
            let coming = ready!(self.messages.poll_next(cx))?;
            self.add(coming)?;
        }
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.messages.body.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.ready);
    }

    fn consume(&mut self, n: usize) {
        drop(self.ready.split_to(n.min(self.ready.len())));
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_stream_is_the_one_that_is_asked_for_first() {
        for (accept, expected) in [
            ("", Form::List),
            ("*/*", Form::List),
            ("text/html, application/x-ndjson;q=0.9, application/json", Form::Lines),
            ("text/event-stream", Form::Events),
            ("Application/JSON, text/event-stream", Form::List),
        ] {
            let mut fields = Fields::new();
            fields.append(Known::Accept, accept.as_bytes());
            assert_eq!(Form::wanted(&fields), expected, "{accept}");
        }
    }
}
