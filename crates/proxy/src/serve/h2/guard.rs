//! What a client may do how often: counts the frames that go by, both ways, and says when it is
//! enough (RFC 9113 §10.5; rows H2-01 to H2-12).
//!
//! The library below keeps the protocol and has limits of its own, some for the life of a
//! connection, some not at all. This sees only heads of frames, so it costs a few instructions for
//! each and remembers nothing of a stream. It decides; [`super`] says GOAWAY.

use std::time::{Duration, Instant};

use crate::record::Http2Tally;

/// Over so long resets are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// CONTINUATION frames of one header block.
const CONTINUATIONS: u32 = 8;
/// DATA frames without data, one after the other.
const EMPTY_FRAMES: u32 = 10;
/// Frames that change nothing (PRIORITY, unknown ones) and WINDOW_UPDATE: so many for nothing, and
/// so many more for each stream, and for WINDOW_UPDATE for each frame of data we have sent.
const IGNORABLE: u64 = 100;
const IGNORABLE_EACH: u64 = 10;
/// Settings in one frame that count as one more frame.
const SETTINGS_IN_A_FRAME: u32 = 32;
/// How many seconds' worth of control frames may come at once.
const BURST: u32 = 10;
/// Frames of data shorter than this because the client's window is: data for a trickle (H2-12).
pub(super) const TINY: usize = 256;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Streams reset in ten seconds, by the client before their response or by us for its faults.
    pub(super) resets: u32,
    /// PING and SETTINGS frames a second, ten times as many at once.
    pub(super) control_frames: u32,
}

/// What was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Abuse {
    #[error("too many streams were reset")]
    Resets,
    #[error("too many PING or SETTINGS frames")]
    ControlFrames,
    #[error("too many frames without data")]
    EmptyFrames,
    #[error("a header block in too many frames")]
    Continuations,
    #[error("too many frames that change nothing")]
    Ignorable,
    #[error("windows are opened in steps that are too small")]
    Windows,
}

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Guard {
    rules: Rules,
    incoming: Heads,
    outgoing: Heads,
    abuse: Option<Abuse>,
    tally: Http2Tally,
    /// The client has taken note of our settings.
    pub(super) acknowledged: bool,
    /// A header block has begun and not ended.
    in_block: bool,
    continuations: u32,
    empty: u32,
    ignorable: u64,
    window_updates: u64,
    data_sent: u64,
    streams: u64,
    control: Bucket,
    resets: Recent,
    opened: Recent,
    tiny: Recent,
}

impl Guard {
    /// Of a connection whose preface is still to come.
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        Guard {
            rules,
            incoming: Heads { skip: PREFACE.len() as u32, ..Heads::default() },
            outgoing: Heads::default(),
            abuse: None,
            tally: Http2Tally::default(),
            acknowledged: false,
            in_block: false,
            continuations: 0,
            empty: 0,
            ignorable: 0,
            window_updates: 0,
            data_sent: 0,
            streams: 0,
            control: Bucket::full(rules.control_frames * BURST, now),
            resets: Recent::new(now),
            opened: Recent::new(now),
            tiny: Recent::new(now),
        }
    }

    /// What was too much, once something was.
    pub(super) fn abuse(&self) -> Option<Abuse> {
        self.abuse
    }

    /// The client is in the middle of a header block, or of the head of a frame.
    pub(super) fn is_mid_head(&self) -> bool {
        self.in_block || self.incoming.have > 0
    }

    /// What has happened since this was last asked.
    pub(super) fn take_tally(&mut self) -> Http2Tally {
        std::mem::take(&mut self.tally)
    }

    /// These bytes came from the client.
    pub(super) fn received(&mut self, bytes: &[u8], now: impl Fn() -> Instant) {
        let mut rest = bytes;
        while let Some(head) = self.incoming.next(&mut rest) {
            self.incoming_frame(&head, &now);
        }
    }

    /// These bytes were written for it.
    pub(super) fn sent(&mut self, bytes: &[u8], now: impl Fn() -> Instant) {
        let mut rest = bytes;
        while let Some(head) = self.outgoing.next(&mut rest) {
            match head.kind {
                DATA => self.data_sent += 1,
                RST_STREAM => {
                    self.tally.resets_by_us += 1;
                    // MadeYouReset (H2-02): resets for what the client did wrong, and REFUSED_STREAM.
                    if matches!(head.code, 1 | 3 | 5 | 6 | 7) {
                        self.count_reset(now());
                    }
                }
                GOAWAY if head.code == 0 => self.tally.goaways += 1,
                GOAWAY => self.tally.goaways_for_errors += 1,
                _ => {}
            }
        }
    }

    /// A stream was reset by the client before it had a response: work for nothing (H2-01).
    pub(super) fn reset_unanswered(&mut self, now: Instant) {
        self.count_reset(now);
        let opened = self.opened.count(now);
        // Before as many are reset as may be: more than one half of them all.
        if opened >= self.rules.resets / 2 && self.resets.count(now) * 2 > opened {
            self.too_much(Abuse::Resets);
        }
    }

    /// So many frames were cut short by the client's window.
    pub(super) fn tiny(&mut self, frames: u32, now: Instant) {
        if frames > 0 && self.tiny.add(frames, now) > self.rules.resets * 10 {
            self.too_much(Abuse::Windows);
        }
    }

    fn count_reset(&mut self, now: Instant) {
        if self.resets.add(1, now) > self.rules.resets {
            self.too_much(Abuse::Resets);
        }
    }

    fn too_much(&mut self, what: Abuse) {
        self.abuse.get_or_insert(what);
    }

    fn incoming_frame(&mut self, head: &Head, now: &impl Fn() -> Instant) {
        match head.kind {
            DATA if head.carries_nothing() && head.flags & END_STREAM == 0 => {
                self.empty += 1;
                if self.empty > EMPTY_FRAMES {
                    self.too_much(Abuse::EmptyFrames);
                }
            }
            DATA => self.empty = 0,
            HEADERS => {
                self.empty = 0;
                self.streams += 1;
                self.opened.add(1, now());
                self.continuations = 0;
                self.in_block = head.flags & END_HEADERS == 0;
            }
            CONTINUATION => {
                self.in_block = head.flags & END_HEADERS == 0;
                self.continuations += 1;
                if self.continuations > CONTINUATIONS || head.length == 0 && self.in_block {
                    self.too_much(Abuse::Continuations);
                }
            }
            RST_STREAM => self.tally.resets_by_client += 1,
            SETTINGS if head.flags & ACK != 0 => self.acknowledged = true,
            SETTINGS => self.control_frame(1 + head.length / 6 / SETTINGS_IN_A_FRAME, now()),
            // An ACK of a PING that nobody sent counts as well as one that was: we send few.
            PING => self.control_frame(1, now()),
            WINDOW_UPDATE => {
                self.window_updates += 1;
                let allowed = IGNORABLE + IGNORABLE_EACH * (self.streams + self.data_sent);
                if self.window_updates > allowed {
                    self.too_much(Abuse::Windows);
                }
            }
            GOAWAY => {}
            _ => {
                self.ignorable += 1;
                if self.ignorable > IGNORABLE + IGNORABLE_EACH * self.streams {
                    self.too_much(Abuse::Ignorable);
                }
            }
        }
    }

    fn control_frame(&mut self, cost: u32, now: Instant) {
        if !self.control.take(cost, self.rules.control_frames, now) {
            self.too_much(Abuse::ControlFrames);
        }
    }
}

/// With which a client begins (RFC 9113 §3.4).
pub(in crate::serve) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// What is looked at of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    flags: u8,
    length: u32,
    /// Of RST_STREAM and GOAWAY: the error; of DATA: the length of the padding.
    code: u32,
}

impl Head {
    /// No data, or padding only (H2-10).
    fn carries_nothing(&self) -> bool {
        self.length == 0 || self.flags & PADDED != 0 && self.length == self.code + 1
    }
}

/// Finds the heads of frames in a stream of bytes, wherever it is cut.
#[derive(Debug, Default)]
struct Heads {
    /// The head, and what is wanted of the payload.
    seen: [u8; 9 + 8],
    have: u8,
    skip: u32,
}

impl Heads {
    /// The next frame in `bytes`, which is moved on behind what was looked at.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        loop {
            let skipped = (self.skip as usize).min(bytes.len());
            *bytes = &bytes[skipped..];
            self.skip -= skipped as u32;
            let have = usize::from(self.have);
            let wanted = if have < 9 { 9 } else { 9 + self.wanted() };
            if have == wanted {
                let head = self.head();
                self.skip = head.length - self.wanted() as u32;
                self.have = 0;
                return Some(head);
            }
            if bytes.is_empty() {
                return None;
            }
            let n = (wanted - have).min(bytes.len());
            self.seen[have..have + n].copy_from_slice(&bytes[..n]);
            self.have += n as u8;
            *bytes = &bytes[n..];
        }
    }

    fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.seen[0], self.seen[1], self.seen[2]])
    }

    /// Bytes of the payload that belong to what is looked at.
    fn wanted(&self) -> usize {
        let wanted = match self.seen[3] {
            DATA if self.seen[4] & PADDED != 0 => 1,
            RST_STREAM => 4,
            GOAWAY => 8,
            _ => 0,
        };
        wanted.min(self.length() as usize)
    }

    fn head(&self) -> Head {
        let payload = &self.seen[9..9 + self.wanted()];
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b));
        let code = match self.seen[3] {
            GOAWAY => number(payload.get(4..).unwrap_or_default()),
            _ => number(payload),
        };
        Head { kind: self.seen[3], flags: self.seen[4], length: self.length(), code }
    }
}

/// Tokens that come back with time.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    most: u32,
    at: Instant,
}

impl Bucket {
    fn full(most: u32, now: Instant) -> Self {
        Bucket { tokens: most, most, at: now }
    }

    /// Takes so many, of which `rate` come back in a second. False when there were not enough.
    fn take(&mut self, cost: u32, rate: u32, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        let back = (elapsed.as_millis() * u128::from(rate) / 1000).min(u128::from(self.most));
        if back > 0 {
            self.tokens = self.tokens.saturating_add(back as u32).min(self.most);
            self.at = now;
        }
        let enough = self.tokens >= cost;
        self.tokens = self.tokens.saturating_sub(cost);
        enough
    }
}

/// How many there were lately: within [`WINDOW`], up to twice that where they are few.
#[derive(Debug)]
struct Recent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Recent {
    fn new(now: Instant) -> Self {
        Recent { since: now, now: 0, before: 0 }
    }

    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.before = if elapsed < WINDOW * 2 { self.now } else { 0 };
            self.now = 0;
            self.since = now;
        }
    }

    fn add(&mut self, n: u32, now: Instant) -> u32 {
        self.turn(now);
        self.now = self.now.saturating_add(n);
        self.count(now)
    }

    /// Those of the window before count for what is left of it.
    fn count(&mut self, now: Instant) -> u32 {
        self.turn(now);
        let elapsed = now.saturating_duration_since(self.since).min(WINDOW);
        let left = (WINDOW - elapsed).as_millis() * u128::from(self.before) / WINDOW.as_millis();
        self.now.saturating_add(left as u32)
    }
}

#[cfg(test)]
mod tests {
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
        for (code, expected) in
            [(1, Some(101)), (3, Some(101)), (5, Some(101)), (0, None), (8, None)]
        {
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
}
