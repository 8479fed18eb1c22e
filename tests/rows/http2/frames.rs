//! Frames that are broken, out of order, or not as many as announced.

use transom_testkit::Frames;
use transom_testkit::frames::{
    CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, PADDED, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WITH_PRIORITY, block, frame, get,
};

use super::{FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, silent};
use crate::rows::rig::Rig;

#[test]
fn h2_16_streams_are_opened_once_and_in_order() {
    let rig = Rig::over(silent());
    rig.ended_with("even", PROTOCOL_ERROR, |frames| {
        frames.get(2, "/");
    });
    rig.ended_with("zero", PROTOCOL_ERROR, |frames| {
        frames.get(0, "/");
    });
    rig.ended_with("DATA on an idle one", PROTOCOL_ERROR, |frames| {
        frames.frame(DATA, 0, 5, b"x");
    });
    let mut frames = rig.frames();
    frames.get(5, "/").get(3, "/");
    let code = frames.goaway().code();
    assert!([PROTOCOL_ERROR, STREAM_CLOSED].contains(&code), "{code}");
    // The last one there is.
    let rig = Rig::echo();
    let mut frames = rig.frames();
    frames.get(0x7fff_ffff, "/").answer_of(0x7fff_ffff);
}

#[test]
fn h2_17_broken_frames_end_the_connection() {
    let rig = Rig::echo();
    let long = vec![0; (16 << 10) + 1];
    for (what, bytes, code) in [
        ("too long", frame(DATA, 0, 1, &long), FRAME_SIZE_ERROR),
        ("padding", frame(DATA, PADDED, 1, &[5, 0, 0]), PROTOCOL_ERROR),
        ("padding of HEADERS", frame(HEADERS, 4 | PADDED, 3, &[9, 0]), PROTOCOL_ERROR),
        ("short priority", frame(HEADERS, 4 | WITH_PRIORITY, 3, &[0, 0]), PROTOCOL_ERROR),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), PROTOCOL_ERROR),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL_ERROR),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL_ERROR),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82]), PROTOCOL_ERROR),
        ("CONTINUATION alone", frame(CONTINUATION, 4, 1, b""), PROTOCOL_ERROR),
        (
            "HEADERS in a block",
            [frame(HEADERS, 0, 3, &block(&get("/"))), frame(HEADERS, 4, 5, b"")].concat(),
            PROTOCOL_ERROR,
        ),
    ] {
        let mut frames = rig.frames();
        frames.post(1, &[]).send(&bytes);
        let found = frames.goaway().code();
        assert!(found == code || found == PROTOCOL_ERROR, "{what}: {found}");
        frames.ends();
    }
    let mut frames = Frames::raw(rig.address());
    frames.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    frames.ends();
}

#[test]
fn h2_19_a_body_that_is_not_as_long_as_announced_is_never_whole() {
    for (what, length, body, last_on) in [
        ("shorter", "5", &b"abc"[..], "data"),
        ("longer", "5", b"abcdefghi", "data"),
        ("nothing, on HEADERS", "5", b"", "headers"),
        ("nothing, on an empty DATA", "5", b"", "empty"),
        ("shorter, on trailers", "5", b"abc", "trailers"),
        ("more than none", "0", b"a", "data"),
    ] {
        let rig = Rig::echo();
        let mut frames = rig.frames();
        match last_on {
            "headers" => {
                let mut lines = get("/");
                lines[0].1 = "POST";
                lines.push(("content-length", length));
                frames.headers(1, END_STREAM, &lines);
            }
            last => {
                frames.post(1, &[("content-length", length)]);
                let end = if last == "data" { END_STREAM } else { 0 };
                if !body.is_empty() {
                    frames.frame(DATA, end, 1, body);
                }
                match last {
                    "empty" => {
                        frames.frame(DATA, END_STREAM, 1, b"");
                    }
                    "trailers" => {
                        frames.headers(1, END_STREAM, &[("x-end", "1")]);
                    }
                    _ => {}
                }
            }
        }
        let end = frames.until("an end", |frame| [RST_STREAM, HEADERS].contains(&frame.kind));
        assert_eq!(end.kind, RST_STREAM, "{what}");
        assert!(frames.is_alive(), "{what}");
        assert!(rig.endpoint.requests().iter().all(|request| !request.whole), "{what}");
    }
}
