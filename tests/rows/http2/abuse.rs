//! What is counted: frames and resets of which no honest client sends so many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_testkit::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use transom_testkit::{Endpoint, until};

use super::{ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED, silent};
use crate::rows::rig::Rig;

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
