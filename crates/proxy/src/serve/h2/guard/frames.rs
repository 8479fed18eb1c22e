//! The heads of frames (RFC 9113 §4.1), found in a stream of bytes without looking at the rest.

/// With which a client begins (RFC 9113 §3.4).
pub(in crate::serve) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;

/// What is looked at of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) length: u32,
    /// Of RST_STREAM and GOAWAY: the error; of DATA: the length of the padding.
    pub(super) code: u32,
}

impl Head {
    /// No data, or padding only (H2-10).
    pub(super) fn carries_nothing(&self) -> bool {
        self.length == 0 || self.flags & PADDED != 0 && self.length == self.code + 1
    }
}

/// Finds the heads of frames in a stream of bytes, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The head, and what is wanted of the payload.
    seen: [u8; 9 + 8],
    have: u8,
    skip: u32,
}

impl Heads {
    /// Of what follows behind `preface`.
    pub(super) fn behind(preface: &[u8]) -> Self {
        Heads { skip: preface.len() as u32, ..Heads::default() }
    }

    /// A part of a head was seen.
    pub(super) fn is_mid_head(&self) -> bool {
        self.have > 0
    }

    /// The next frame in `bytes`, which is moved on behind what was looked at.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
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
