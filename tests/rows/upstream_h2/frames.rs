//! Endpoints that send frames no library would send.

use std::sync::{Arc, Mutex};

use transom_testkit::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE,
    RST_STREAM, SETTINGS, block, frame,
};
use transom_testkit::{Endpoint, Line, until};

use super::{get, over, rig_holds};

fn head(flags: u8, lines: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, &block(lines))
}

/// Reads up to the first request on the connection.
fn until_asked(line: &mut Line) -> Option<()> {
    line.read(PREFACE.len())?;
    line.send(frame(SETTINGS, 0, 0, b""));
    loop {
        let head = line.read(9)?;
        let length = head[..3].iter().fold(0, |n, b| n << 8 | usize::from(*b));
        let payload = line.read(length)?;
        if head[3] == PING {
            line.send(frame(PING, ACK, 0, &payload));
        }
        if head[3] == HEADERS {
            return Some(());
        }
    }
}

/// Answers the first request of each connection with these bytes, and then waits for its end.
fn answering(bytes: Vec<u8>) -> Endpoint {
    Endpoint::raw(move |line| {
        if until_asked(line).is_some() {
            line.pour(&bytes);
            line.stall();
        }
    })
}

/// What comes of such an answer to one that cannot be sent twice: the status, and whether the
/// response is whole.
#[track_caller]
fn told(bytes: Vec<u8>) -> (u16, bool, String) {
    let endpoint = answering(bytes);
    let mut transom =
        over(&[endpoint.address], "", "timeouts: { response: 2s, response-idle: 2s },");
    let response = get(&transom, "/");
    let line = transom.lines_when(1).remove(0);
    let fault = line["fault"].as_str().unwrap_or_default().to_owned();
    if !fault.is_empty() {
        assert_eq!(line["blame"], "upstream", "{line}");
    }
    rig_holds(&mut transom);
    (response.status, response.whole, fault)
}

#[test]
fn h2_30_malformed_heads_of_responses_are_refused() {
    let status = (":status", "200");
    for lines in [
        &[("x", "y")][..],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "abc")],
        &[status, status],
        &[("x", "y"), status],
        &[status, (":unknown", "x")],
        &[status, ("X-Upper", "y")],
        &[status, ("", "y")],
        &[status, ("a b", "y")],
        &[status, ("x", "a\r\nb: c")],
        &[status, ("x", "a\0b")],
        &[status, ("x", " y")],
        &[status, ("connection", "close")],
        &[status, ("transfer-encoding", "chunked")],
        &[status, ("content-length", "x")],
        &[status, ("content-length", "1"), ("content-length", "2")],
        &[(":status", "101")],
    ] {
        let (status, whole, fault) = told(head(END_STREAM, lines));
        assert_eq!((status, whole), (502, true), "{lines:?} {fault}");
    }
}

#[test]
fn h2_30_large_heads_of_responses_are_refused() {
    let long = "v".repeat(1 << 20);
    let large = block(&[(":status", "200"), ("x", &long)]);
    let mut bytes = frame(HEADERS, 0, 1, &large[..16_384]);
    for part in large[16_384..].chunks(16_384) {
        bytes.extend(frame(CONTINUATION, 0, 1, part));
    }
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b""));
    assert_eq!(told(bytes).0, 502);
    let many: Vec<(&str, &str)> =
        std::iter::once((":status", "200")).chain(std::iter::repeat_n(("x", "y"), 200)).collect();
    let (status, _, fault) = told(head(END_STREAM, &many));
    assert_eq!((status, &*fault), (502, "large-response-fields"));
}

#[test]
fn h2_30_an_interim_response_that_ends_the_stream_is_refused() {
    assert_eq!(told(head(END_STREAM, &[(":status", "103")])).0, 502);
}

#[test]
fn rs_09_interim_responses_are_bounded() {
    let hint = head(0, &[(":status", "103"), ("link", "</a>")]);
    let last = head(END_STREAM, &[(":status", "204")]);
    assert_eq!(told([hint.repeat(32), last.clone()].concat()).0, 204);
    assert_eq!(told([hint.repeat(33), last].concat()).0, 502);
}

#[test]
fn h2_19_a_body_that_is_not_as_long_as_was_said_is_cut_off() {
    let said = |n: &str, flags| head(flags, &[(":status", "200"), ("content-length", n)]);
    let data = |flags, bytes| frame(DATA, flags, 1, bytes);
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x", "y")]));
    assert_eq!(told([said("5", 0), data(END_STREAM, b"hello")].concat()), (200, true, "".into()));
    for (what, bytes) in [
        ("short", [said("5", 0), data(END_STREAM, b"hel")].concat()),
        (
            "short, in an empty frame",
            [said("5", 0), data(0, b"hel"), data(END_STREAM, b"")].concat(),
        ),
        ("short, in trailers", [said("5", 0), data(0, b"hel"), trailers].concat()),
        ("long", [said("3", 0), data(0, b"hel"), data(END_STREAM, b"lo")].concat()),
        ("long at once", [said("3", 0), data(END_STREAM, b"hello")].concat()),
        ("none", said("5", END_STREAM)),
    ] {
        let (status, whole, _) = told(bytes);
        // Before the head was sent on there is an answer of our own, and then the connection is cut.
        // What is too long may be whole for a client that was told its length.
        let is_cut = !whole || status == 502 || what == "long";
        assert!(is_cut, "{what}: {status} {whole}");
    }
}

#[test]
fn responses_without_a_body_have_none_whatever_follows() {
    for status in ["204", "304"] {
        let bytes = [
            head(0, &[(":status", status), ("content-length", "5")]),
            frame(DATA, END_STREAM, 1, b"hello"),
        ]
        .concat();
        let (got, whole, _) = told(bytes);
        assert!(whole && (got.to_string() == status || got == 502), "{got}");
    }
}

#[test]
fn g_01_a_reset_becomes_the_status_that_stands_for_it() {
    for (code, status) in [(0, "13"), (8, "1"), (11, "8"), (12, "7"), (2, "13")] {
        let endpoint = answering(frame(RST_STREAM, 0, 1, &u32::to_be_bytes(code)));
        let mut transom = over(&[endpoint.address], "", "");
        let call = super::post("Content-Type: application/grpc\r\nContent-Length: 1\r\n", "x");
        let response = transom_testkit::client::ask(transom.web(), call);
        assert_eq!((response.status, response.field("grpc-status")), (200, Some(status)), "{code}");
        rig_holds(&mut transom);
    }
}

#[test]
fn h2_17_frames_out_of_place_end_the_connection_and_nothing_else() {
    for (what, bytes) in [
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b"")),
        ("DATA on an idle stream", frame(DATA, 0, 7, b"x")),
        ("HEADERS on an idle stream", frame(HEADERS, END_HEADERS, 9, &[0x88])),
        ("a frame that is too large", frame(DATA, 0, 1, &[0; 20_000])),
        ("a broken header block", frame(HEADERS, END_HEADERS, 1, &[0xff; 9])),
        ("GOAWAY with an error", frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2])),
    ] {
        let (status, whole, _) = told(bytes);
        assert!(matches!(status, 502 | 504) && whole, "{what}: {status}");
    }
}

#[test]
fn an_endpoint_that_was_late_is_asked_whether_it_is_there() {
    let endpoint = answering(Vec::new());
    let pool = "http2: { ping-timeout: 100ms }";
    let mut transom = over(&[endpoint.address], pool, "timeouts: { response: 200ms },");
    assert_eq!(get(&transom, "/").status, 504);
    endpoint.until("the connection is given up", |log| log.ended == 1);
    rig_holds(&mut transom);
}

#[test]
fn an_endpoint_that_does_not_speak_http_2_is_told_apart() {
    let mut endpoint = Endpoint::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let mut transom = over(&[endpoint.address], "", "");
    assert_eq!(get(&transom, "/").status, 502);
    rig_holds(&mut transom);
    endpoint = Endpoint::raw(|line| line.end());
    let mut transom = over(&[endpoint.address], "", "");
    assert_eq!(get(&transom, "/").status, 502);
    rig_holds(&mut transom);
}

#[test]
fn h2_28_endpoints_are_told_when_it_ends() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let its = heard.clone();
    let endpoint = Endpoint::raw(move |line| {
        if until_asked(line).is_none() {
            return;
        }
        line.send(head(END_STREAM, &[(":status", "204")]));
        while let Some(head) = line.read(9) {
            let length = head[..3].iter().fold(0, |n, b| n << 8 | usize::from(*b));
            if line.read(length).is_none() {
                break;
            }
            its.lock().unwrap().push(head[3]);
        }
    });
    let mut transom = over(&[endpoint.address], "", "");
    assert_eq!(get(&transom, "/").status, 204);
    assert!(!heard.lock().unwrap().contains(&GOAWAY));
    transom.admin("POST", "/stop");
    assert_eq!(transom.ended().code(), Some(0));
    until("it is told", || heard.lock().unwrap().contains(&GOAWAY));
}
