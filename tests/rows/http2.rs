//! HTTP/2 toward clients: RELIABILITY 2.3, over frames that no honest client sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_testkit::certificate::Authority;
use transom_testkit::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, get,
    text,
};
use transom_testkit::{Endpoint, Frames, Transom, until};

use super::rig::{Rig, TRANSOM};

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

#[test]
fn h2_01_rapid_reset_ends_the_connection_and_the_work() {
    let rig = Rig::over(silent());
    let mut frames = rig.frames();
    for n in 0..2000u32 {
        frames.get(2 * n + 1, "/slow").reset(2 * n + 1);
    }
    let goaway = frames.goaway();
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    assert!(goaway.last_stream() < 400, "{goaway:?}");
    frames.ends();
    until("the endpoint's connections have ended", || rig.endpoint.open() == 0);
}

#[test]
fn h2_01_slow_resets_of_unanswered_streams_are_counted_too() {
    let rig = Rig::over(silent());
    let mut frames = rig.frames();
    for n in 0..49u32 {
        frames.get(2 * n + 1, "/slow");
        rig.endpoint.until("it has the request", |log| log.requests.len() > n as usize);
        frames.reset(2 * n + 1);
    }
    assert!(frames.is_alive());
    // Half as many as may be reset in ten seconds, when they are all that came.
    frames.get(99, "/slow").reset(99);
    assert_eq!(frames.goaway().code(), ENHANCE_YOUR_CALM);
}

#[test]
fn h2_02_we_are_not_made_to_reset_without_end() {
    let rig = Rig::over(silent());
    for (what, provoke) in [
        ("WINDOW_UPDATE 0", frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
        ("window overflow", frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffffu32.to_be_bytes())),
        ("HEADERS after END_STREAM", frame(HEADERS, 5, 1, &block(&get("/")))),
        ("DATA after END_STREAM", frame(DATA, 0, 1, b"x")),
        ("self-dependency", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])),
    ] {
        let mut frames = rig.frames();
        for n in 0..1000u32 {
            let id = 2 * n + 1;
            let mut provoke = provoke.clone();
            provoke[5..9].copy_from_slice(&id.to_be_bytes());
            if provoke[3] == PRIORITY {
                provoke[9..13].copy_from_slice(&id.to_be_bytes());
            }
            frames.get(id, "/slow").send(&provoke);
        }
        let code = frames.goaway().code();
        assert!(
            [ENHANCE_YOUR_CALM, STREAM_CLOSED, PROTOCOL_ERROR].contains(&code),
            "{what}: {code}"
        );
        frames.ends();
    }
}

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
    rig_malformed(&rig, "a name of no length", &lines);
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
fn h2_08_h2_09_settings_and_pings_have_a_rate() {
    let rig = Rig::echo();
    rig.ended_with("settings", ENHANCE_YOUR_CALM, |frames| {
        (0..10_000).for_each(|_| {
            frames.frame(SETTINGS, 0, 0, b"");
        });
    });
    rig.ended_with("many in one", ENHANCE_YOUR_CALM, |frames| {
        (0..4).for_each(|_| {
            frames.frame(SETTINGS, 0, 0, &[0; 2000 * 6]);
        });
    });
    rig.ended_with("pings", ENHANCE_YOUR_CALM, |frames| {
        (0..10_000).for_each(|_| {
            frames.frame(PING, 0, 0, &[0; 8]);
        });
    });
    rig.ended_with("a ping of seven bytes", PROTOCOL_ERROR, |frames| {
        frames.frame(PING, 0, 0, &[0; 7]);
    });
}

#[test]
fn h2_08_settings_that_are_never_acknowledged_end_the_connection() {
    let rig = Rig::echo();
    let mut frames = rig.frames();
    let start = Instant::now();
    let goaway = loop {
        match frames.read() {
            Ok(frame) if frame.kind == GOAWAY => break frame,
            Ok(_) => {}
            // The test's patience is as long as the program's.
            Err(_) if start.elapsed() < Duration::from_secs(15) => {}
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(goaway.code(), 4);
}

#[test]
fn h2_10_frames_without_data_are_few() {
    let rig = Rig::echo();
    let empty = frame(DATA, 0, 1, b"");
    let padded = frame(DATA, PADDED, 1, &[3, 0, 0, 0]);
    for frame in [empty, padded] {
        rig.ended_with("empty", ENHANCE_YOUR_CALM, |frames| {
            frames.post(1, &[]);
            (0..1000).for_each(|_| {
                frames.send(&frame);
            });
        });
    }
}

#[test]
fn h2_11_h2_18_what_changes_nothing_is_ignored_but_counted() {
    let rig = Rig::echo();
    let mut frames = rig.frames();
    frames.frame(0xfa, 0xff, 0x8000_0000, b"grease");
    frames.frame(SETTINGS, 0, 0, &[0xfa, 0xfa, 1, 2, 3, 4]);
    frames.frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 16]).frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 16]);
    frames.get(1, "/").answer_of(1);
    for (kind, payload) in [(PRIORITY, &[0, 0, 0, 7, 1][..]), (0x10, b"u=1"), (0xfa, b"")] {
        rig.ended_with("flood", ENHANCE_YOUR_CALM, |frames| {
            let stream = if kind == PRIORITY { 9 } else { 0 };
            (0..5000).for_each(|_| {
                frames.frame(kind, 0, stream, payload);
            });
        });
    }
}

#[test]
fn h2_12_windows_opened_by_the_byte_are_not_served_for_ever() {
    let rig = Rig::over(Endpoint::answering(large(1 << 20)));
    let mut frames = Frames::raw(rig.address());
    frames.send(PREFACE).frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
    frames.get(1, "/");
    frames.until("one byte", |frame| frame.kind == DATA && frame.payload.len() == 1);
    for _ in 0..20_000 {
        frames.open_window(1, 1);
    }
    assert_eq!(frames.goaway().code(), ENHANCE_YOUR_CALM);
}

fn large(size: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; size]].concat()
}

#[test]
fn h2_13_a_window_that_stays_shut_holds_neither_memory_nor_streams() {
    let rig = Rig::waiting("send-idle: 300ms", Endpoint::answering(large(1 << 20)));
    let mut frames = Frames::raw(rig.address());
    frames.send(PREFACE).frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let before = rig.transom.memory();
    (0..60).for_each(|n| {
        frames.get(2 * n + 1, "/");
    });
    for n in 0..60 {
        let end = frames.until("the end", |frame| frame.kind == RST_STREAM || frame.kind == GOAWAY);
        assert_eq!((end.kind, end.code()), (RST_STREAM, 8), "{n}");
    }
    let grown = rig.transom.memory().saturating_sub(before);
    // 60 responses, each in one buffer from its endpoint.
    assert!(grown < 24 << 10, "{grown} KiB for 60 MiB that nobody took");
    frames.frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    frames.get(201, "/").answer_of(201);
}

#[test]
fn h2_14_windows_have_an_end() {
    let rig = Rig::over(silent());
    rig.ended_with("the connection's", FLOW_CONTROL_ERROR, |frames| {
        frames.open_window(0, 0x7fff_ffff);
    });
    // RFC 9113 §6.5.2 wants FLOW_CONTROL_ERROR; the library knows only one error of settings.
    rig.ended_with("by settings", PROTOCOL_ERROR, |frames| {
        frames.frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]);
    });
    rig.ended_with("nothing for the connection", PROTOCOL_ERROR, |frames| {
        frames.open_window(0, 0);
    });
    let mut frames = rig.frames();
    frames.get(1, "/").open_window(1, 0x7fff_ffff);
    assert_eq!(frames.reset_of(1), FLOW_CONTROL_ERROR);
    frames.get(3, "/").open_window(3, 0);
    let end = frames.until("an end", |frame| [RST_STREAM, GOAWAY].contains(&frame.kind));
    assert_eq!(end.code(), PROTOCOL_ERROR);
}

#[test]
fn h2_15_the_connection_s_window_is_not_lost_with_streams() {
    let rig = Rig::with("http2: { resets: 100000 }", "", Endpoint::echo());
    let mut frames = rig.frames();
    let kib = vec![b'x'; 16 << 10];
    let padded = [&[255][..], &kib[..1000], &[0; 255]].concat();
    for n in 0..90u32 {
        let id = 2 * n + 1;
        frames.post(id, &[]).frame(DATA, 0, id, &kib).frame(DATA, PADDED, id, &padded);
        if n % 2 == 0 {
            frames.frame(DATA, END_STREAM, id, b"end");
            frames.answer_of(id);
        } else {
            frames.reset(id).frame(DATA, PADDED, id, &padded);
        }
    }
    // More than the window of a connection, were all of that lost.
    let id = 301;
    frames.post(id, &[]);
    let begun = 90 * (kib.len() + padded.len()) + 45 * (padded.len() + 3);
    let mut sent = 0;
    while sent < 2 << 20 {
        let opened = |stream| frames.opened.get(&stream).map_or(0, |by| *by as usize);
        let of_stream = (64 << 10) + opened(id) - sent;
        let of_connection = ((64 << 10) - 1 + opened(0)).saturating_sub(begun + sent);
        if of_stream.min(of_connection) >= kib.len() {
            frames.frame(DATA, 0, id, &kib);
            sent += kib.len();
        } else {
            frames.until("a window", |frame| frame.kind == WINDOW_UPDATE);
        }
    }
    frames.frame(DATA, END_STREAM, id, b"").answer_of(id);
}

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

#[test]
fn h2_20_h2_21_what_http_1_would_read_otherwise_is_refused() {
    let rig = Rig::echo();
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "x"),
        ("keep-alive", "5"),
        ("upgrade", "h2c"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("foo", "b\r\nTransfer-Encoding: chunked"),
        ("foo", "a\nb"),
        ("foo", "a\0b"),
        ("foo", " a"),
        ("foo", "a "),
        ("foo", "\ta"),
        ("a:b", "c"),
        ("a\r\nb", "c"),
        ("a b", "c"),
        ("Foo", "bar"),
        ("", "bar"),
    ] {
        let mut lines = get("/");
        lines.push((name, value));
        rig_malformed(&rig, &format!("{name:?}: {value:?}"), &lines);
    }
}

/// The stream is reset, or the connection ended; the endpoint never hears of it.
#[track_caller]
fn rig_malformed(rig: &Rig, what: &str, lines: &[(&str, &str)]) {
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, lines);
    let kinds = [RST_STREAM, GOAWAY, HEADERS];
    let end = frames.until(what, |frame| kinds.contains(&frame.kind));
    assert!(end.kind != HEADERS && end.code() == PROTOCOL_ERROR, "{what}: {end:?}");
    assert!(rig.endpoint.requests().is_empty(), "{what} got through");
}

#[test]
fn h2_22_pseudo_fields_stand_once_first_and_whole() {
    let rig = Rig::echo();
    let whole = get("/");
    let without =
        |name: &str| -> Vec<_> { whole.iter().copied().filter(|line| line.0 != name).collect() };
    let with = |line: (&'static str, &'static str)| [&whole[..], &[line]].concat();
    let mut late = without(":path");
    late.extend([("x", "y"), (":path", "/")]);
    for (what, lines) in [
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("two paths", with((":path", "/b"))),
        ("two methods", with((":method", "GET"))),
        ("two authorities", with((":authority", "b"))),
        ("late", late),
        ("unknown", with((":x", "y"))),
        ("of a response", with((":status", "200"))),
        (":protocol of a GET", with((":protocol", "websocket"))),
    ] {
        rig_malformed(&rig, what, &lines);
    }
    // The library passes over those in trailers: they go no further.
    let mut frames = rig.frames();
    frames.post(1, &[("te", "trailers")]).frame(DATA, 0, 1, b"x");
    frames.headers(1, END_STREAM, &[(":path", "/other")]).answer_of(1);
    assert_eq!((&*rig.endpoint.request().target, rig.endpoint.request().trailers.len()), ("/", 0));
}

#[test]
fn h2_23_targets_methods_and_schemes_are_what_they_are_called() {
    let rig = Rig::echo();
    for (name, value) in [
        (":path", ""),
        (":path", "x"),
        (":path", "http://e/"),
        (":path", "/a b"),
        (":path", "/a\r\nX: y"),
        (":path", "/a\tb"),
        (":method", "GET / HTTP/1.1\r\nX"),
        (":method", ""),
        (":scheme", "http://e/?"),
        (":scheme", "ftp"),
    ] {
        let lines: Vec<_> = get("/")
            .into_iter()
            .map(|line| if line.0 == name { (name, value) } else { line })
            .collect();
        rig_malformed(&rig, &format!("{name} {value:?}"), &lines);
    }
    // Not malformed, but not served.
    for (name, value) in
        [(":path", "*"), (":path", "/%zz"), (":method", "get"), (":method", "TRACE")]
    {
        let lines: Vec<_> = get("/")
            .into_iter()
            .map(|line| if line.0 == name { (name, value) } else { line })
            .collect();
        let mut frames = rig.frames();
        frames.headers(1, END_STREAM, &lines).answer_of(1);
        assert!(rig.endpoint.requests().is_empty(), "{name} {value:?} got through");
    }
}

#[test]
fn h2_24_one_host_and_the_same_in_both_places() {
    let rig = Rig::echo();
    for (authority, host) in [
        (Some("a"), Some("b")),
        (Some("a"), Some("a:80")),
        (None, None),
        (Some("u@a"), None),
        (Some("a,b"), None),
        (Some("a:0"), None),
        (Some(""), None),
    ] {
        let mut lines = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
        lines.extend(authority.map(|authority| (":authority", authority)));
        lines.extend(host.map(|host| ("host", host)));
        let mut frames = rig.frames();
        frames.headers(1, END_STREAM, &lines);
        frames.until("a refusal", |frame| [HEADERS, RST_STREAM].contains(&frame.kind));
        assert!(rig.endpoint.requests().is_empty(), "{authority:?} {host:?} got through");
    }
    let mut lines = get("/");
    lines.push(("host", "A"));
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, &lines).answer_of(1);
    assert_eq!(rig.endpoint.request().field("host"), Some("a"));
}

#[test]
fn h2_25_cookie_crumbs_are_one_line_for_http_1() {
    let rig = Rig::echo();
    let mut lines = get("/");
    lines.extend([("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3")]);
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, &lines).answer_of(1);
    assert_eq!(rig.endpoint.request().field("cookie"), Some("a=1; b=2; c=3"));
}

#[test]
fn h2_26_nothing_is_sent_on_before_a_tunnel_stands() {
    let rig = Rig::over(Endpoint::new(|request, line| {
        line.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!(request.method, "GET");
    }));
    let mut frames = rig.frames();
    let mut lines = get("/chat");
    lines[0].1 = "CONNECT";
    lines.extend([(":protocol", "websocket"), ("sec-websocket-version", "13")]);
    lines.sort_by_key(|line| !line.0.starts_with(':'));
    frames.headers(1, 0, &lines).frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\n\r\n");
    frames.answer_of(1);
    let request = rig.endpoint.request();
    assert_eq!((request.target.as_str(), request.body.len()), ("/chat", 0));
    // A plain CONNECT is not served.
    let mut frames = rig.frames();
    frames.headers(1, 0, &[(":method", "CONNECT"), (":authority", "b:443")]);
    frames.until("a refusal", |frame| [HEADERS, RST_STREAM].contains(&frame.kind));
    assert_eq!(rig.endpoint.requests().len(), 1);
}

#[test]
fn h2_27_nothing_is_done_for_a_stream_that_was_reset() {
    let rig = Rig::echo();
    let mut frames = rig.frames();
    let mut bytes = Vec::new();
    for n in 0..10u32 {
        let id = 2 * n + 1;
        let mut lines = get("/");
        lines[0].1 = "POST";
        bytes.extend(frame(HEADERS, END_HEADERS, id, &block(&lines)));
        bytes.extend(frame(DATA, END_STREAM, id, b"body"));
        bytes.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
    }
    frames.send(&bytes);
    assert!(frames.is_alive());
    assert!(rig.endpoint.requests().is_empty());
}

#[test]
fn h2_28_a_stream_opened_while_we_say_goodbye_is_served() {
    let is_late = Arc::new(AtomicBool::new(false));
    let endpoint = Endpoint::new(move |request, line| {
        // The first is answered when the late one is there.
        is_late.fetch_or(request.target == "/late", Ordering::SeqCst);
        while !is_late.load(Ordering::SeqCst) {
            line.wait(Duration::from_millis(2));
        }
        line.send(transom_testkit::endpoint::echo(request));
    });
    let rig = Rig::over(endpoint);
    let mut frames = rig.frames();
    frames.get(1, "/slow");
    until("the endpoint has it", || !rig.endpoint.requests().is_empty());
    rig.transom.signal(rustix::process::Signal::TERM);
    let first = frames.goaway();
    assert_eq!((first.code(), first.last_stream()), (0, 0x7fff_ffff));
    // Sent before the client could know of it.
    frames.get(3, "/late");
    let mut last = None;
    let mut answered = Vec::new();
    while let Ok(frame) = frames.read() {
        match frame.kind {
            GOAWAY => last = Some((frame.code(), frame.last_stream())),
            HEADERS => answered.push(frame.stream),
            PING if frame.flags & ACK == 0 => {
                frames.frame(PING, ACK, 0, &frame.payload);
            }
            _ => {}
        }
    }
    assert_eq!(last, Some((0, 3)));
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
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

#[test]
fn h2_33_a_connection_serves_the_names_that_its_listener_serves() {
    let authority = Authority::new();
    let own = authority.issue(&["a.example", "b.example"]);
    let config = "listeners:\n  web:\n    address: '@WEB'\n    \
           tls: { certificate: '@folder/c.pem', key: '@folder/k.pem' }\n    \
           routes: [{ match: { host: [a.example, b.example] }, respond: 204 }]\n";
    let transom = Transom::run_with(TRANSOM, config, |folder| {
        std::fs::write(folder.join("c.pem"), &own.certificate).unwrap();
        std::fs::write(folder.join("k.pem"), &own.key).unwrap();
    });
    let mut config = (*authority.client()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (mut frames, agreed) = Frames::tls(transom.web(), "a.example", config.into());
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    frames.send(PREFACE).frame(SETTINGS, 0, 0, b"");
    for (id, host) in [(1, "a.example"), (3, "b.example"), (5, "c.example")] {
        let lines =
            [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")];
        frames.headers(id, END_STREAM, &lines).answer_of(id);
    }
    let statuses: Vec<_> = transom.lines_when(3).iter().map(|l| l["status"].clone()).collect();
    assert_eq!(statuses, [204, 204, 421]);
}
