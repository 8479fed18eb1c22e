//! What a client may do how often: counts the frames that go by, both ways, and says when it is
//! enough (RFC 9113 §10.5; rows H2-01 to H2-12).
//!
//! The library below keeps the protocol and has limits of its own, some for the life of a
//! connection, some not at all. This sees only heads of frames, so it costs a few instructions for
//! each and remembers nothing of a stream. It decides; [`super`] says GOAWAY.

use std::time::Instant;

use crate::record::Http2Tally;

mod frames;
mod rates;

pub(in crate::serve) use frames::PREFACE;
use frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Head, Heads, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use rates::{Bucket, Recent};

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
            incoming: Heads::behind(PREFACE),
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
        self.in_block || self.incoming.is_mid_head()
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

#[cfg(test)]
mod tests;
