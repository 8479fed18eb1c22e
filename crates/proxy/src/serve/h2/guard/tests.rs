use std::time::Duration;

use super::frames::PADDED;
use super::*;

const RULES: Rules = Rules { resets: 100, control_frames: 10 };

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn guard(at: Instant) -> Guard {
    let mut guard = Guard::new(RULES, at);
    guard.received(PREFACE, || at);
    guard
}

/// After how many of these frames it is enough, one second for every `rate` of them.
#[track_caller]
fn check(frames: &[Vec<u8>], rate: u32, expected: Option<(u32, Abuse)>) {
    let start = Instant::now();
    let mut guard = guard(start);
    for n in 1..=5000 {
        let now = start + Duration::from_secs(1) * n / rate;
        for frame in frames {
            guard.received(frame, || now);
        }
        if let Some(abuse) = guard.abuse() {
            return assert_eq!(Some((n, abuse)), expected);
        }
    }
    assert_eq!(None, expected);
}

#[test]
fn h2_08_h2_09_control_frames_have_a_rate_and_a_burst() {
    let ping = [frame(PING, 0, 0, &[0; 8])];
    check(&ping, 1_000_000, Some((101, Abuse::ControlFrames)));
    check(&ping, 10, None);
    check(&ping, 20, Some((201, Abuse::ControlFrames)));
    let settings = [frame(SETTINGS, 0, 0, &[])];
    check(&settings, 1_000_000, Some((101, Abuse::ControlFrames)));
    let many = [frame(SETTINGS, 0, 0, &[0; 2000 * 6])];
    check(&many, 1_000_000, Some((2, Abuse::ControlFrames)));
    check(&[frame(PING, ACK, 0, &[0; 8])], 10_000, Some((101, Abuse::ControlFrames)));
}

#[test]
fn h2_03_a_header_block_has_eight_continuations_and_none_is_empty() {
    let start = Instant::now();
    for (length, allowed) in [(10, 8), (0, 0)] {
        let mut guard = guard(start);
        guard.received(&frame(HEADERS, 0, 1, b"x"), || start);
        assert!(guard.is_mid_head());
        for n in 1.. {
            guard.received(&frame(CONTINUATION, 0, 1, &vec![0; length]), || start);
            if guard.abuse().is_some() {
                assert_eq!((n, guard.abuse()), (allowed + 1, Some(Abuse::Continuations)));
                break;
            }
        }
    }
    let block = [frame(HEADERS, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"")];
    check(&block, 100, None);
}

#[test]
fn h2_10_frames_without_data_are_few() {
    let empty = frame(DATA, 0, 1, b"");
    let padded = frame(DATA, PADDED, 1, &[3, 0, 0, 0]);
    check(std::slice::from_ref(&empty), 10, Some((11, Abuse::EmptyFrames)));
    check(std::slice::from_ref(&padded), 10, Some((11, Abuse::EmptyFrames)));
    check(&[empty.clone(), frame(DATA, 0, 1, b"x")], 10, None);
    check(&[padded, frame(DATA, PADDED, 1, &[2, b'x', 0, 0])], 10, None);
    check(&[frame(DATA, END_STREAM, 1, b""), frame(HEADERS, END_HEADERS, 3, b"")], 10, None);
}

#[test]
fn h2_11_h2_18_what_changes_nothing_is_counted() {
    check(&[frame(2, 0, 1, &[0; 5])], 10, Some((101, Abuse::Ignorable)));
    check(&[frame(0xfa, 0, 0, b"grease")], 10, Some((101, Abuse::Ignorable)));
    let with_stream = [frame(HEADERS, END_HEADERS, 1, b""), frame(2, 0, 1, &[0; 5])];
    check(&with_stream, 10, None);
}

#[test]
fn h2_12_window_updates_are_for_data() {
    let update = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    check(std::slice::from_ref(&update), 10, Some((101, Abuse::Windows)));
    let start = Instant::now();
    let mut guard = guard(start);
    for _ in 0..1000 {
        guard.sent(&frame(DATA, 0, 1, &[0; 100]), || start);
        (0..10).for_each(|_| guard.received(&update, || start));
    }
    assert_eq!(guard.abuse(), None);
    guard.tiny(1000, start);
    assert_eq!(guard.abuse(), None);
    guard.tiny(1, start);
    assert_eq!(guard.abuse(), Some(Abuse::Windows));
}

#[test]
fn h2_01_streams_reset_unanswered_are_counted_over_ten_seconds() {
    let start = Instant::now();
    let after = |n, every: Duration, opened: u32| {
        let mut guard = guard(start);
        for n in 1..=n {
            let now = start + every * n;
            for _ in 0..opened {
                guard.received(&frame(HEADERS, END_HEADERS, 1, b""), || now);
            }
            guard.reset_unanswered(now);
            if guard.abuse().is_some() {
                return Some(n);
            }
        }
        None
    };
    assert_eq!(after(200, Duration::ZERO, 3), Some(101));
    assert_eq!(after(1000, Duration::from_millis(200), 3), None);
    // Nearly all of the streams.
    assert_eq!(after(200, Duration::ZERO, 1), Some(50));
}

#[test]
fn h2_02_resets_that_the_client_made_us_send_are_counted() {
    let start = Instant::now();
    for (code, expected) in [(1, Some(101)), (3, Some(101)), (5, Some(101)), (0, None), (8, None)] {
        let mut guard = guard(start);
        let reset = frame(RST_STREAM, 0, 1, &u32::to_be_bytes(code));
        let at = (1..=300).find(|_| {
            guard.sent(&reset, || start);
            guard.abuse().is_some()
        });
        assert_eq!(at, expected, "{code}");
        assert!(guard.take_tally().resets_by_us > 100);
    }
}

#[test]
fn frames_are_found_wherever_the_bytes_are_cut() {
    let bytes = [
        &PREFACE[..],
        &frame(SETTINGS, 0, 0, &[0; 12]),
        &frame(SETTINGS, ACK, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, b"block"),
        &frame(DATA, PADDED, 1, &[3, 0, 0, 0]),
        &frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        &frame(RST_STREAM, 0, 1, &[0, 0]),
        &frame(DATA, PADDED, 1, &[]),
        &frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'x']),
        &frame(PING, 0, 0, &[0; 8]),
    ]
    .concat();
    let start = Instant::now();
    for cut in 1..bytes.len() {
        let mut guard = Guard::new(RULES, start);
        bytes.chunks(cut).for_each(|piece| guard.received(piece, || start));
        assert!(guard.acknowledged && !guard.is_mid_head(), "{cut}");
        assert_eq!((guard.empty, guard.streams, guard.control.tokens), (2, 1, 98), "{cut}");
        assert_eq!(guard.take_tally().resets_by_client, 2, "{cut}");
        let mut guard = Guard::new(RULES, start);
        bytes[24..].chunks(cut).for_each(|piece| guard.sent(piece, || start));
        let tally = guard.take_tally();
        assert_eq!((tally.resets_by_us, tally.goaways_for_errors), (2, 1), "{cut}");
    }
}
