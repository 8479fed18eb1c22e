//! Header blocks: without end, bombs, and what cannot be decompressed.

use transom_testkit::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, block,
    get, text,
};
use transom_testkit::{Endpoint, Frames};

use super::{ENHANCE_YOUR_CALM, PROTOCOL_ERROR};
use crate::rows::rig::Rig;

#[test]
fn h2_03_a_header_block_without_end_is_cut_off() {
    let rig = Rig::echo();
    rig.ended_with("many", ENHANCE_YOUR_CALM, |frames| {
        frames.frame(HEADERS, END_STREAM, 1, &block(&get("/")));
        for _ in 0..10_000 {
            frames.frame(CONTINUATION, 0, 1, &block(&[("x", "y")]));
        }
    });
    rig.ended_with("empty", ENHANCE_YOUR_CALM, |frames| {
        frames.frame(HEADERS, END_STREAM, 1, &block(&get("/")));
        for _ in 0..100 {
            frames.frame(CONTINUATION, 0, 1, b"");
        }
    });
    let mut frames = rig.frames();
    frames.frame(HEADERS, END_STREAM, 1, &block(&get("/")));
    frames.frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
    frames.answer_of(1);
}

/// A block that puts one field into the table and then asks for it so many times.
fn bomb(value: usize, times: usize, name: &str) -> Vec<u8> {
    let mut out = block(&get("/"));
    out.push(0x40);
    text(name.as_bytes(), &mut out);
    text(&vec![b'a'; value], &mut out);
    out.extend(std::iter::repeat_n(0xbe, times));
    out
}

#[test]
fn h2_04_h2_05_what_a_header_block_unfolds_to_is_limited() {
    let rig = Rig::echo();
    for (what, bomb) in [
        ("a tiny field", bomb(0, 15_000, "x")),
        ("crumbs", bomb(1, 15_000, "cookie")),
        ("a large value", bomb(3900, 400, "x")),
        ("a few too many", bomb(0, 101, "x")),
        ("a few crumbs too many", bomb(1, 101, "cookie")),
    ] {
        let mut frames = rig.frames();
        frames.frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb);
        let end =
            frames.until("an answer", |frame| [HEADERS, RST_STREAM, GOAWAY].contains(&frame.kind));
        // 431, or the end of the connection where it is far too much.
        let calm = end.kind != GOAWAY || end.code() == ENHANCE_YOUR_CALM;
        assert!(calm, "{what}: {end:?}");
    }
    assert!(rig.endpoint.requests().is_empty());
    // The table is still the same on both sides.
    let mut frames = rig.frames();
    frames.frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(0, 101, "x-mine"));
    frames.answer_of(1);
    frames.frame(HEADERS, END_STREAM | END_HEADERS, 3, &[block(&get("/")), vec![0xbe]].concat());
    frames.answer_of(3);
    assert_eq!(rig.endpoint.request().field("x-mine"), Some(""));
}

#[test]
fn h2_06_what_cannot_be_decompressed_ends_the_connection() {
    let rig = Rig::echo();
    for (what, bytes) in [
        ("index 0", vec![0x80]),
        ("an index beyond the table", vec![0xff, 0x80, 0x01]),
        ("an integer without end", vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("a length beyond the block", vec![0x00, 0x7f, 0x20, b'a']),
        ("Huffman padding of a whole byte", vec![0x00, 0x82, 0xff, 0xff, 0x00]),
        ("a table over the limit", vec![0x3f, 0xe2, 0xff, 0x03]),
        ("a table in the middle", [&block(&get("/"))[..], &[0x20]].concat()),
    ] {
        let mut frames = rig.frames();
        frames.frame(HEADERS, END_STREAM | END_HEADERS, 1, &bytes);
        let code = frames.goaway().code();
        assert!([9, PROTOCOL_ERROR].contains(&code), "{what}: {code}");
    }
}

#[test]
fn h2_07_fields_of_no_length_are_counted_like_others() {
    let rig = Rig::echo();
    let mut lines = get("/");
    lines.push(("", ""));
    rig.malformed("a name of no length", &lines);
    // A value may be empty; but a thousand fields are too many, however little they hold.
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, &[&get("/")[..], &[("x", ""); 50]].concat()).answer_of(1);
    assert_eq!(rig.endpoint.requests().len(), 1);
    for n in 1..20 {
        let id = 2 * n + 1;
        frames.headers(id, END_STREAM, &[&get("/")[..], &[("x", ""); 1000]].concat());
        frames.until("it is refused", |frame| frame.stream == id);
    }
    assert_eq!(rig.endpoint.requests().len(), 1, "none of them went further");
}

#[test]
fn h2_32_a_head_longer_than_the_client_likes_is_its_own_to_judge() {
    let long = "x".repeat(2000);
    let rig = Rig::over(Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 0\r\n\r\n"
    )));
    let mut frames = Frames::raw(rig.address());
    // SETTINGS_MAX_HEADER_LIST_SIZE is advice (RFC 9113 §10.5.1).
    frames.send(PREFACE).frame(SETTINGS, 0, 0, &[0, 6, 0, 0, 0, 100]);
    frames.get(1, "/").answer_of(1);
    frames.get(3, "/").answer_of(3);
}
