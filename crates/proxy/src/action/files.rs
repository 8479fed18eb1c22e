//! Serves files below one directory.
//!
//! A path goes through [`place`] (one decoding, plain names only), is opened below the
//! [`root`] (no way out), gets its type from [`media`] and perhaps a compressed neighbour by
//! [`coding`], is compared with the client's copy in [`condition`], cut by [`range`], and sent as a
//! [`body`]. Directories have an index, or a [`listing`] where that is on.
//!
//! Files are opened and read on the worker's own thread, as nginx does without `aio`: what is
//! asked for often lies in memory, and handing it to another thread would cost more than reading
//! it. A disk that is slow and cold, or a network file system, holds up the other connections of
//! the worker meanwhile. Nothing is kept between requests except the root.
//!
//! Not here: compressing (a policy does it), own pages for 404 (the route's), scripts of any kind.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use smallvec::SmallVec;

use self::body::Piece;
use self::condition::{Validators, Verdict};
use self::listing::{Listing, below};
use self::place::{Place, decoded, is_itself, joined};
use self::range::{Selection, Span};
use self::root::{Opened, Root};
use super::Action;
use crate::answer;
use crate::body::Body;
use crate::exchange::{Exchange, Wants};
use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known, Values};
use crate::message::{Method, Request, Response};
use crate::policy::Answering;

mod body;
pub mod coding;
mod condition;
mod listing;
mod media;
mod place;
pub mod range;
mod root;
#[cfg(test)]
mod tests;

pub use coding::Coding;
pub use place::{Try, TryError};

/// What is served, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSettings {
    /// The directory. It must exist; a link that names it may be swapped later and is followed
    /// within a second.
    pub root: PathBuf,
    /// File names that stand for their directory, the first that exists. Default: `index.html`.
    pub index: Vec<String>,
    /// What to try for a path, in order. Default, and where it is empty: the path itself.
    pub try_: Vec<Try>,
    /// Directories without index show what lies in them. Default: no.
    pub listing: bool,
    /// Codings to look for beside each file, best first. A neighbour older than its file is not
    /// sent. Default: none.
    pub precompressed: Vec<Coding>,
    /// The `Cache-Control` of files. Default: none.
    pub cache_control: Option<String>,
    /// A prefix of the path, ending at a segment, that is no directory below the root. Default:
    /// none.
    pub strip: Option<String>,
}

impl FilesSettings {
    /// The defaults for this root.
    pub fn of(root: impl Into<PathBuf>) -> Self {
        FilesSettings {
            root: root.into(),
            index: vec!["index.html".into()],
            try_: Vec::new(),
            listing: false,
            precompressed: Vec::new(),
            cache_control: None,
            strip: None,
        }
    }
}

/// Answers GET and HEAD with files.
pub struct Files {
    root: Root,
    settings: FilesSettings,
}

impl Files {
    /// Opens the root.
    ///
    /// # Errors
    /// When the root is no directory or may not be read.
    pub fn new(mut settings: FilesSettings) -> io::Result<Self> {
        if settings.try_.is_empty() {
            settings.try_.push(Try::itself());
        }
        Ok(Files { root: Root::open(&settings.root)?, settings })
    }

    fn answer(&self, exchange: &Exchange, request: &Request) -> Result<Response, Fault> {
        if !matches!(request.method, Method::Get | Method::Head) {
            let fault = Fault::new(Code::MethodNotAllowed, "files are only read");
            return Err(fault.allow("GET, HEAD"));
        }
        let path = self.below_prefix(&request.path).and_then(decoded).ok_or_else(nothing)?;
        self.root.refresh(exchange.started);
        let asking = Asking { exchange, request, now: SystemTime::now() };
        for target in &self.settings.try_ {
            let texts = match target {
                Try::File(texts) => texts,
                Try::Status(404) => break,
                Try::Status(403) => return Err(Fault::new(Code::Forbidden, "as `try` says")),
                Try::Status(status) => return Ok(Response::new(*status)),
            };
            let Some(place) = Place::of(&joined(texts, &path)) else { continue };
            let found = match self.root.find(&place.relative)? {
                Some(Opened::File(file, about)) if !place.slash => {
                    Some(self.file(&asking, &place.relative, file, &about)?)
                }
                Some(Opened::Directory(fd)) => {
                    let bare = is_itself(texts) && !path.ends_with(b"/");
                    self.directory(&asking, &place.relative, fd, bare)?
                }
                _ => None,
            };
            if let Some(response) = found {
                return Ok(response);
            }
        }
        Err(nothing())
    }

    /// The path behind the prefix, which ends at the border of a segment (P-07).
    fn below_prefix<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Some(prefix) = &self.settings.strip else { return Some(path) };
        match path.strip_prefix(prefix.trim_end_matches('/'))? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// A directory's index or listing. `bare` where the client asked for the directory without a
    /// `/` at the end: it is sent to the path with one, so that relative links hold.
    fn directory(
        &self,
        asking: &Asking<'_>,
        relative: &[u8],
        directory: std::os::fd::OwnedFd,
        bare: bool,
    ) -> Result<Option<Response>, Fault> {
        // A rewritten path is not what the client would come back with.
        let asked = &asking.exchange.asked;
        let elsewhere = || (bare && !asked.path.ends_with('/')).then(|| with_slash(asked));
        for name in &self.settings.index {
            let index = below(relative, name.as_bytes());
            if let Some(Opened::File(file, about)) = self.root.find(&index)? {
                return match elsewhere() {
                    Some(response) => response.map(Some),
                    None => self.file(asking, &index, file, &about).map(Some),
                };
            }
        }
        if !self.settings.listing {
            return Ok(None);
        }
        if let Some(response) = elsewhere() {
            return response.map(Some);
        }
        let listing = Listing::read(&self.root, directory, relative)?;
        Ok(Some(asking.listing(&listing, relative.is_empty())))
    }

    fn file(
        &self,
        asking: &Asking<'_>,
        relative: &[u8],
        file: File,
        about: &Metadata,
    ) -> Result<Response, Fault> {
        let accepted = asking.request.fields.all(Known::AcceptEncoding);
        for coding in coding::preferred(accepted, &self.settings.precompressed) {
            let neighbour = [relative, coding.suffix().as_bytes()].concat();
            // one that may not be read is none: the file itself may be
            if let Ok(Some(Opened::File(file, own))) = self.root.find(&neighbour)
                && own.mtime() >= about.mtime()
            {
                return self.version(asking, relative, file, &own, Some(coding));
            }
        }
        self.version(asking, relative, file, about, None)
    }

    /// The response with one version of the file at `relative`.
    fn version(
        &self,
        asking: &Asking<'_>,
        relative: &[u8],
        file: File,
        about: &Metadata,
        coding: Option<Coding>,
    ) -> Result<Response, Fault> {
        let now = asking.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let tag = tag_of(about, coding);
        let current = Validators { tag: &tag, modified: modified(about.mtime(), now) };
        let mut fields = Fields::with_room_for(0, 0);
        fields.append(Known::ETag, current.tag);
        if let Some(rule) = &self.settings.cache_control {
            fields.append(Known::CacheControl, rule.as_bytes());
        }
        if !self.settings.precompressed.is_empty() {
            // RFC 9110 §12.5.5: also where the plain file was chosen.
            fields.append(Known::Vary, b"Accept-Encoding");
        }
        match condition::evaluate(&asking.request.fields, current) {
            Verdict::Send => {}
            // RFC 9110 §15.4.5: nothing that describes the content, which the client has.
            Verdict::NotModified => return Ok(Response { status: 304, fields, body: Body::Empty }),
            Verdict::Failed => return Ok(Response { status: 412, fields, body: Body::Empty }),
        }
        if let Some(modified) = current.modified {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
            fields.append(Known::LastModified, date.as_bytes());
        }
        fields.append(Known::AcceptRanges, b"bytes");
        fields.append("X-Content-Type-Options", b"nosniff");
        if let Some(coding) = coding {
            fields.append(Known::ContentEncoding, coding.as_str().as_bytes());
        }
        let media = media::type_of(relative);
        let length = about.len();
        match asking.selection(current, length, now) {
            // RFC 9110 §8.4: the coding would be said of the parts and what stands around them
            Selection::Spans(spans) if spans.len() == 1 || coding.is_none() => {
                asking.parts(file, length, &spans, media, fields)
            }
            Selection::Unsatisfiable => {
                fields.retain(|field| field.known != Some(Known::ContentEncoding));
                fields.append(Known::ContentRange, format!("bytes */{length}").as_bytes());
                Ok(Response { status: 416, fields, body: Body::Empty })
            }
            Selection::Whole | Selection::Spans(_) => {
                fields.append(Known::ContentType, media.as_bytes());
                let mut response = Response { status: 200, fields, body: Body::Empty };
                if asking.is_head() {
                    announce(&mut response, length);
                } else if length > 0 {
                    let whole = Span { first: 0, last: length - 1 };
                    response.body = body::of_span(file, whole, &asking.exchange.local.worker)?;
                }
                Ok(response)
            }
        }
    }
}

impl Action for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn describe(&self) -> String {
        format!("files below {}", self.root.path().display())
    }

    fn run<'a>(&'a self, exchange: &'a mut Exchange, request: Box<Request>) -> Answering<'a> {
        Box::pin(std::future::ready(self.answer(exchange, &request)))
    }
}

/// One request for a file.
struct Asking<'a> {
    exchange: &'a Exchange,
    request: &'a Request,
    now: SystemTime,
}

impl Asking<'_> {
    fn is_head(&self) -> bool {
        self.request.method == Method::Head
    }

    /// What of the file is asked for. RFC 9110 §14.2: only a GET has ranges.
    fn selection(&self, current: Validators<'_>, length: u64, now: u64) -> Selection {
        match self.request.fields.only(Known::Range) {
            Values::One(value)
                if !self.is_head()
                    && condition::range_counts(&self.request.fields, current, now) =>
            {
                range::select(value, length)
            }
            _ => Selection::Whole,
        }
    }

    /// RFC 9110 §15.3.7: one part as it is, several as `multipart/byteranges`.
    fn parts(
        &self,
        file: File,
        length: u64,
        spans: &[Span],
        media: &str,
        mut fields: Fields,
    ) -> Result<Response, Fault> {
        let worker = &self.exchange.local.worker;
        let range = |span: &Span| format!("bytes {}-{}/{length}", span.first, span.last);
        if let [span] = spans {
            fields.append(Known::ContentType, media.as_bytes());
            fields.append(Known::ContentRange, range(span).as_bytes());
            return Ok(Response { status: 206, fields, body: body::of_span(file, *span, worker)? });
        }
        // No file holds what was never told to anyone before.
        let boundary = self.exchange.local.request_id();
        let mut pieces = VecDeque::with_capacity(2 * spans.len() + 1);
        for (i, span) in spans.iter().enumerate() {
            let line = if i == 0 { "" } else { "\r\n" };
            let range = range(span);
            let head = format!(
                "{line}--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {range}\r\n\r\n"
            );
            pieces.push_back(Piece::Bytes(Bytes::from(head)));
            pieces.push_back(Piece::Span(*span));
        }
        pieces.push_back(Piece::Bytes(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        let media = format!("multipart/byteranges; boundary={boundary}");
        fields.append(Known::ContentType, media.as_bytes());
        Ok(Response { status: 206, fields, body: body::of_pieces(file, pieces, worker) })
    }

    fn listing(&self, listing: &Listing, is_root: bool) -> Response {
        let asked = &self.exchange.asked;
        let (media, text) = match asked.wants {
            Wants::Json => ("application/json", listing.json()),
            _ => {
                let path = decoded(&asked.path).unwrap_or_else(|| asked.path.as_bytes().to_vec());
                ("text/html; charset=utf-8", listing.html(&path, is_root))
            }
        };
        let mut response = answer::with_body(200, media, Bytes::from(text));
        let fields = &mut response.fields;
        fields.append(Known::Vary, b"Accept");
        fields.append(Known::CacheControl, b"no-cache");
        fields.append("X-Content-Type-Options", b"nosniff");
        fields.append("Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'");
        if self.is_head() {
            let length = response.body.length().unwrap_or(0);
            response.body = Body::Empty;
            announce(&mut response, length);
        }
        response
    }
}

/// The length a GET would have, in a response to HEAD.
fn announce(response: &mut Response, length: u64) {
    response.fields.append(Known::ContentLength, itoa::Buffer::new().format(length).as_bytes());
}

/// A redirect to the asked path with a `/` at its end; 308 keeps method and query.
fn with_slash(asked: &crate::exchange::Asked) -> Result<Response, Fault> {
    let mut location = format!("{}/", asked.path);
    if let Some(query) = &asked.query {
        location.push('?');
        location.push_str(query);
    }
    super::redirect::response(308, location.as_bytes())
}

fn nothing() -> Fault {
    Fault::new(Code::NotFound, "no file is served under this path")
}

/// The time of the last change in seconds since 1970. None in the future, which RFC 9110 §8.8.2.1
/// forbids to say, and none for 0 and 1, which reproducible builds write into every version of a
/// file.
fn modified(mtime: i64, now: u64) -> Option<u64> {
    u64::try_from(mtime).ok().filter(|seconds| (2..=now).contains(seconds))
}

/// A strong tag: two versions of a file differ in the time of change, in size, or, where one
/// replaced the other, in their inode; two codings differ by name.
fn tag_of(about: &Metadata, coding: Option<Coding>) -> SmallVec<[u8; 64]> {
    let mut tag = SmallVec::new();
    tag.push(b'"');
    // No version lies before 1970 or after 2554; such times wrap, but differ all the same.
    let nanoseconds = about.mtime().wrapping_mul(1_000_000_000).wrapping_add(about.mtime_nsec());
    for (i, number) in [nanoseconds as u64, about.len(), about.ino()].into_iter().enumerate() {
        if i > 0 {
            tag.push(b'-');
        }
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for shift in (0..digits).rev() {
            tag.push(b"0123456789abcdef"[(number >> (shift * 4) & 0xf) as usize]);
        }
    }
    if let Some(coding) = coding {
        tag.push(b'-');
        tag.extend_from_slice(coding.as_str().as_bytes());
    }
    tag.push(b'"');
    tag
}
