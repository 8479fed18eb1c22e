//! HTTP/2 toward clients: RELIABILITY 2.3, over frames that no honest client sends.

use transom_testkit::frames::{END_STREAM, GOAWAY, HEADERS, RST_STREAM};
use transom_testkit::{Endpoint, Frames};

use super::rig::Rig;

mod abuse;
mod blocks;
mod frames;
mod requests;
mod windows;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

impl Rig {
    fn frames(&self) -> Frames {
        Frames::connect(self.address())
    }

    /// The connection is ended with this error.
    #[track_caller]
    fn ended_with(&self, what: &str, code: u32, send: impl FnOnce(&mut Frames)) {
        let mut frames = self.frames();
        send(&mut frames);
        assert_eq!(frames.goaway().code(), code, "{what}");
        frames.ends();
    }

    /// The stream is reset, or the connection ended; the endpoint never hears of it.
    #[track_caller]
    fn malformed(&self, what: &str, lines: &[(&str, &str)]) {
        let mut frames = self.frames();
        frames.headers(1, END_STREAM, lines);
        let kinds = [RST_STREAM, GOAWAY, HEADERS];
        let end = frames.until(what, |frame| kinds.contains(&frame.kind));
        assert!(end.kind != HEADERS && end.code() == PROTOCOL_ERROR, "{what}: {end:?}");
        assert!(self.endpoint.requests().is_empty(), "{what} got through");
    }
}

/// An endpoint that never answers.
fn silent() -> Endpoint {
    Endpoint::early(|request, line| {
        if request.target.starts_with("/victim") {
            line.send(transom_testkit::endpoint::echo(request));
        } else {
            line.stall();
        }
    })
}
