//! Windows that stay shut, open by the byte, or overflow.

use transom_testkit::frames::{
    DATA, END_STREAM, GOAWAY, PADDED, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use transom_testkit::{Endpoint, Frames};

use super::{ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, PROTOCOL_ERROR, silent};
use crate::rows::rig::Rig;

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
