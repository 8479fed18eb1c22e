//! # grpc-web
//!
//! **What it does.** Lets browsers call gRPC services: what comes as gRPC-Web, binary
//! (`application/grpc-web`) or as text (`application/grpc-web-text`), goes on as gRPC, and trailers, which
//! browsers do not see, come back at the end of the body. Unary calls and streams of the server; what is not
//! gRPC-Web passes untouched. The pool must speak HTTP/2 (`http: 2`). A `grpc-timeout` counts as with gRPC.
//!
//! Browsers that call another origin ask first: that is the matter of `cors`, with the fields
//! `x-grpc-web`, `x-user-agent` and `grpc-timeout` allowed, and `grpc-status` and `grpc-message` exposed.
//!
//! **When it runs.** Stage `admit`: so that what Transom refuses is told as gRPC, too.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   from-browsers: { grpc-web: {} }
//! ```
//!
//! **What the client sees.** The call as if it were made over HTTP/2; what Transom answers itself is a
//! `grpc-status` in the head. 400 `bad-request` for a text that is no base64, or a `grpc-timeout` that is none.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use data_encoding::BASE64;
use transom_proxy::body::{Body, Source};
use transom_proxy::chain::Next;
use transom_proxy::exchange::{Exchange, Wants};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};
use transom_proxy::headers::grpc;
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::settings;

use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Lets browsers call gRPC services.
    pub struct GrpcWeb {
        /// Whether the form for browsers that read no bytes is taken, too.
        pub text: bool = true,
    }
}

impl Kind for GrpcWeb {
    const NAME: &'static str = "grpc-web";
    const SUMMARY: &'static str = "Lets browsers call gRPC services.";
    const STAGE: Stage = Stage::Admit;

    fn build(&self, _: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        Some(Arc::new(Bridge { text: self.text }))
    }
}

struct Bridge {
    text: bool,
}

/// A content type of gRPC-Web: whether it is text, and what follows its name, such as `+proto`.
#[derive(Debug, PartialEq, Eq)]
struct Media {
    text: bool,
    rest: String,
}

impl Media {
    fn of(fields: &Fields) -> Option<Media> {
        let value = std::str::from_utf8(fields.get(Known::ContentType)?).ok()?;
        let value = value.trim().to_ascii_lowercase();
        let rest = value.strip_prefix("application/grpc-web")?;
        let (text, rest) = match rest.strip_prefix("-text") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.split(';').next().unwrap_or_default().trim_end();
        (rest.is_empty() || rest.starts_with('+')).then(|| Media { text, rest: rest.to_owned() })
    }

    fn content_type(&self) -> String {
        let text = if self.text { "-text" } else { "" };
        format!("application/grpc-web{text}{}", self.rest)
    }
}

impl Policy for Bridge {
    fn kind(&self) -> &'static str {
        GrpcWeb::NAME
    }

    fn stage(&self) -> Stage {
        GrpcWeb::STAGE
    }

    fn describe(&self) -> String {
        if self.text { "binary and text" } else { "binary" }.to_owned()
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let media = Media::of(&request.fields).filter(|media| self.text || !media.text);
            let Some(media) = media else { return Ok(next.run(exchange, request).await) };
            let timeout = grpc::timeout(&request.fields);
            exchange.asked.timeout =
                timeout.map_err(|bad| Fault::new(Code::BadRequest, bad.to_string()))?;
            exchange.asked.wants = Wants::Grpc;
            let own = format!("application/grpc{}", media.rest);
            request.fields.set(Known::ContentType, own.as_bytes());
            request.fields.remove("x-grpc-web");
            request.fields.remove(Known::AcceptEncoding);
            request.fields.remove("grpc-accept-encoding");
            request.takes_trailers = true;
            if media.text {
                request.body = Body::Stream(Box::new(FromText {
                    inner: std::mem::take(&mut request.body),
                    rest: BytesMut::new(),
                    out: BytesMut::new(),
                }));
            }
            let mut response = next.run(exchange, request).await;
            translate(&media, &mut response);
            Ok(response)
        })
    }
}

/// Makes gRPC-Web of a response in gRPC; what is none stays what it is.
fn translate(media: &Media, response: &mut Response) {
    let is_grpc = response.fields.get(Known::ContentType).is_some_and(|value| {
        value.len() >= 16 && value[..16].eq_ignore_ascii_case(b"application/grpc")
    });
    if !is_grpc {
        return;
    }
    response.fields.set(Known::ContentType, media.content_type().as_bytes());
    response.fields.remove(Known::Trailer);
    // without messages, the trailers stand in the head already
    if response.fields.has("grpc-status") && response.body.is_empty() {
        return;
    }
    response.body = Body::Stream(Box::new(ToWeb {
        inner: std::mem::take(&mut response.body),
        text: media.text,
        out: BytesMut::new(),
        ended: false,
    }));
}

/// The flag of the last frame, which holds the trailers.
const TRAILERS: u8 = 0x80;
/// Trailers of one call, in bytes.
const MOST_OF_TRAILERS: usize = 64 * 1024;

/// A body in gRPC as gRPC-Web has it: its trailers are its last frame.
struct ToWeb {
    inner: Body,
    text: bool,
    out: BytesMut,
    ended: bool,
}

impl ToWeb {
    fn add(&mut self, bytes: &[u8]) {
        match self.text {
            false => self.out.extend_from_slice(bytes),
            // each piece is padded by itself, so that none waits for the next
            true => self.out.extend_from_slice(BASE64.encode(bytes).as_bytes()),
        }
    }
}

/// The last frame: the lines of the trailers, names in lower case.
fn frame_of(trailers: Option<Fields>) -> BytesMut {
    let mut lines = Vec::new();
    for field in trailers.iter().flat_map(Fields::iter) {
        if lines.len() + field.name.len() + field.value.len() + 4 > MOST_OF_TRAILERS {
            break;
        }
        lines.extend_from_slice(&field.name.to_ascii_lowercase());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(field.value);
        lines.extend_from_slice(b"\r\n");
    }
    // a call that says nothing of its end has failed, and clients would wait for it to say so
    if trailers.is_none_or(|trailers| !trailers.has("grpc-status")) {
        lines.extend_from_slice(b"grpc-status: 2\r\n");
    }
    let mut frame = BytesMut::with_capacity(lines.len() + 5);
    frame.put_u8(TRAILERS);
    frame.put_u32(lines.len() as u32);
    frame.extend_from_slice(&lines);
    frame
}

impl Source for ToWeb {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.out.is_empty() && !self.ended {
            let filled = ready!(self.inner.poll_fill(cx))?;
            if filled == 0 {
                self.ended = true;
                let frame = frame_of(self.inner.trailers());
                self.add(&frame);
            } else {
                let piece = self.inner.take(filled);
                self.add(&piece);
            }
        }
        Poll::Ready(Ok(self.out.len()))
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.out);
    }

    fn consume(&mut self, n: usize) {
        drop(self.out.split_to(n.min(self.out.len())));
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

/// A body that comes as base64, in pieces that may be padded each.
struct FromText {
    inner: Body,
    /// Up to three characters that are not yet four.
    rest: BytesMut,
    out: BytesMut,
}

impl FromText {
    fn add(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let bad = || Fault::new(Code::BadRequest, "the text of gRPC-Web is not base64");
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() / 4 * 4;
        let mut group = [0; 3];
        for four in self.rest.split_to(whole).chunks_exact(4) {
            let count = BASE64.decode_mut(four, &mut group).map_err(|_| bad())?;
            self.out.extend_from_slice(&group[..count]);
        }
        Ok(())
    }
}

impl Source for FromText {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        while self.out.is_empty() {
            let filled = ready!(self.inner.poll_fill(cx))?;
            if filled == 0 {
                return Poll::Ready(match self.rest.is_empty() {
                    true => Ok(0),
                    false => Err(Fault::new(Code::BadRequest, "the text of gRPC-Web is cut off")),
                });
            }
            let piece = self.inner.take(filled);
            self.add(&piece)?;
        }
        Poll::Ready(Ok(self.out.len()))
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_beside(cx);
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.out);
    }

    fn consume(&mut self, n: usize) {
        drop(self.out.split_to(n.min(self.out.len())));
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_known_with_what_follows_them() {
        let media = |text, rest: &str| Some(Media { text, rest: rest.to_owned() });
        for (value, expected) in [
            ("application/grpc-web", media(false, "")),
            ("Application/gRPC-Web+proto; charset=x", media(false, "+proto")),
            ("application/grpc-web-text+proto", media(true, "+proto")),
            ("application/grpc-website", None),
            ("application/grpc", None),
            ("text/plain", None),
        ] {
            let mut fields = Fields::new();
            fields.append(Known::ContentType, value.as_bytes());
            assert_eq!(Media::of(&fields), expected, "{value}");
        }
    }

    #[test]
    fn g_04_text_comes_in_any_pieces_and_is_padded_anywhere() {
        for (text, expected) in [
            ("AAAAAAMBAgM=", Ok(&[0u8, 0, 0, 0, 3, 1, 2, 3][..])),
            ("AAAAAAM=AQID", Ok(&[0, 0, 0, 0, 3, 1, 2, 3])),
            ("AQ==Ag==", Ok(&[1, 2])),
            ("", Ok(&[])),
            ("A!==", Err(())),
            ("AQ=A", Err(())),
        ] {
            for step in [1, 3, 4, 100] {
                let mut from =
                    FromText { inner: Body::Empty, rest: BytesMut::new(), out: BytesMut::new() };
                let read = text.as_bytes().chunks(step).try_for_each(|piece| from.add(piece));
                let read = read.map(|()| from.out.to_vec()).map_err(|_| ());
                assert_eq!(
                    read.as_deref(),
                    expected.as_ref().map(|bytes| *bytes).map_err(|()| &()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn g_04_trailers_are_the_last_frame() {
        let mut trailers = Fields::new();
        trailers.append("Grpc-Status", b"5");
        trailers.append("x-after", b"a b");
        for (trailers, expected) in [
            (Some(trailers), &b"\x80\0\0\0\x1egrpc-status: 5\r\nx-after: a b\r\n"[..]),
            (None, b"\x80\0\0\0\x10grpc-status: 2\r\n"),
        ] {
            let frame = frame_of(trailers);
            assert_eq!(&frame[..], expected);
        }
    }
}
