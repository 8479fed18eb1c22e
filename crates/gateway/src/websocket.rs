//! Messages of WebSocket as a server reads and writes them (RFC 6455 §5). No extension is offered, so
//! none is used.

use bytes::{Buf, BufMut, BytesMut};

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    /// To be answered by a pong with the same bytes.
    Ping(Vec<u8>),
    /// With the code that it gives, where it gives one (§5.5.1).
    Close(Option<u16>),
}

/// Why a client cannot be listened to any more: the code of the closing frame (§7.4.1), and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub u16, pub &'static str);

/// Puts messages together as their bytes come.
#[derive(Debug)]
pub struct Listening {
    held: BytesMut,
    /// The parts so far of a message in several frames.
    begun: Option<Vec<u8>>,
    longest: usize,
}

const BROKEN: u16 = 1002;

impl Listening {
    /// To messages of at most so many bytes.
    pub fn to(longest: usize) -> Self {
        Listening { held: BytesMut::new(), begun: None, longest }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// What is whole; nothing where more has to come.
    ///
    /// # Errors
    /// When what comes is no message, or none that is taken.
    pub fn hear(&mut self) -> Result<Option<Said>, Wrong> {
        while let Some((last, kind, payload)) = self.frame()? {
            match kind {
                0 | 1 => {
                    if (kind == 0) != self.begun.is_some() {
                        return Err(Wrong(BROKEN, "a frame that does not go on with a message"));
                    }
                    let begun = self.begun.get_or_insert_default();
                    begun.extend_from_slice(&payload);
                    if !last {
                        continue;
                    }
                    let whole = self.begun.take().unwrap_or_default();
                    let text = String::from_utf8(whole);
                    let text = text.map_err(|_| Wrong(1007, "a text that is no UTF-8"))?;
                    return Ok(Some(Said::Text(text)));
                }
                2 => return Err(Wrong(1003, "only texts are taken")),
                8 => return closing(&payload).map(|code| Some(Said::Close(code))),
                9 => return Ok(Some(Said::Ping(payload))),
                10 => {}
                _ => return Err(Wrong(BROKEN, "a frame of no known kind")),
            }
        }
        Ok(None)
    }

    /// The next whole frame: whether it is the last of its message, its kind and what is in it.
    fn frame(&mut self) -> Result<Option<(bool, u8, Vec<u8>)>, Wrong> {
        let Some(&[first, second]) = self.held.first_chunk::<2>() else { return Ok(None) };
        let (last, kind) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(Wrong(BROKEN, "a frame of an extension that was not agreed on"));
        }
        // §5.1: a client that does not mask is not one that a browser runs
        if second & 0x80 == 0 {
            return Err(Wrong(BROKEN, "a frame that is not masked"));
        }
        let (head, length) = match second & 0x7f {
            126 => match self.held.first_chunk::<4>() {
                Some(&[_, _, a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
                None => return Ok(None),
            },
            127 => match self.held.first_chunk::<10>() {
                Some(&[_, _, ref rest @ ..]) => (10, u64::from_be_bytes(*rest)),
                None => return Ok(None),
            },
            short => (2, u64::from(short)),
        };
        if kind >= 8 && (!last || length > 125) {
            return Err(Wrong(BROKEN, "a control frame that is long or in parts"));
        }
        // §5.2: a length has one form
        if matches!(second & 0x7f, 126 if length < 126) || second & 0x7f == 127 && length >> 16 == 0
        {
            return Err(Wrong(BROKEN, "a length that is written too long"));
        }
        let before = self.begun.as_ref().map_or(0, Vec::len);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.longest.saturating_sub(before) && kind < 8 {
            return Err(Wrong(1009, "a message that is too long"));
        }
        if self.held.len() < head + 4 + length {
            return Ok(None);
        }
        self.held.advance(head);
        let mask = self.held.split_to(4);
        let mut payload = self.held.split_to(length).to_vec();
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Some((last, kind, payload)))
    }
}

/// What a client says of the end (§5.5.1, §7.4).
fn closing(payload: &[u8]) -> Result<Option<u16>, Wrong> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Wrong(BROKEN, "half a code for the end")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Wrong(BROKEN, "a code for the end that nobody may send"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Wrong(1007, "a reason that is no UTF-8")),
    }
}

/// Writes a message of text.
pub fn text(text: &[u8], out: &mut BytesMut) {
    frame(1, text, out);
}

/// Answers a ping.
pub fn pong(payload: &[u8], out: &mut BytesMut) {
    frame(10, payload, out);
}

/// Writes the closing frame; of the reason what has room in it (§5.5).
pub fn close(code: u16, reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    frame(8, &[&code.to_be_bytes(), &reason.as_bytes()[..end]].concat(), out);
}

fn frame(kind: u8, payload: &[u8], out: &mut BytesMut) {
    out.put_u8(0x80 | kind);
    match payload.len() {
        length @ ..126 => out.put_u8(length as u8),
        length @ ..65_536 => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        length => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as clients write it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        frame(first & 0x0f, payload, &mut out);
        out[0] = first;
        out[1] |= 0x80;
        let head = out.len() - payload.len();
        let mask = [1, 2, 3, 4];
        let body = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [&out[..head], &mask, &body.collect::<Vec<_>>()].concat()
    }

    fn heard(bytes: &[u8], step: usize) -> Result<Vec<Said>, Wrong> {
        let mut listening = Listening::to(70_000);
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            listening.push(part);
            while let Some(said) = listening.hear()? {
                all.push(said);
            }
        }
        Ok(all)
    }

    #[test]
    fn messages_are_put_together_however_they_come() {
        let long = "x".repeat(66_000);
        let bytes = [
            masked(0x81, b"a"),
            masked(0x01, "ü".as_bytes().split_at(1).0),
            masked(0x89, b"ping"),
            masked(0x8a, b""),
            masked(0x80, "ü".as_bytes().split_at(1).1),
            masked(0x81, &[b'y'; 200]),
            masked(0x81, long.as_bytes()),
            masked(0x81, b""),
            masked(0x88, &[3, 0xe8]),
        ]
        .concat();
        let text = |text: &str| Said::Text(text.to_owned());
        let expected = vec![
            text("a"),
            Said::Ping(b"ping".to_vec()),
            text("ü"),
            text(&"y".repeat(200)),
            text(&long),
            text(""),
            Said::Close(Some(1000)),
        ];
        // RFC 6455 §5.7
        let published = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(heard(published, 1), Ok(vec![text("Hello")]));
        for step in [1, 7, 1000, usize::MAX] {
            assert_eq!(heard(&bytes, step).as_ref(), Ok(&expected), "{step}");
        }
    }

    #[test]
    fn what_is_no_message_ends_it() {
        for (bytes, code) in [
            (&b"\x81\x01a"[..], 1002),
            (&masked(0xc1, b"a"), 1002),
            (&masked(0x83, b"a"), 1002),
            (&masked(0x80, b"a"), 1002),
            (&[masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
            (&masked(0x09, b"a"), 1002),
            (&masked(0x89, &[0; 126]), 1002),
            (&masked(0x82, b"a"), 1003),
            (&masked(0x81, b"\xff"), 1007),
            // lengths in more bytes than they need
            (b"\x81\xfe\x00\x05\x00\x00\x00\x00hello", 1002),
            (b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", 1002),
            (&masked(0x88, &[3]), 1002),
            (&masked(0x88, &999u16.to_be_bytes()), 1002),
            (&masked(0x88, &1005u16.to_be_bytes()), 1002),
            (&masked(0x88, &1006u16.to_be_bytes()), 1002),
            (&masked(0x88, &5000u16.to_be_bytes()), 1002),
            (&masked(0x88, b"\x03\xe8\xff"), 1007),
            (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
            (&[masked(0x01, &[b'a'; 40_000]), masked(0x80, &[b'a'; 40_000])].concat(), 1009),
        ] {
            assert_eq!(heard(bytes, 5).map_err(|wrong| wrong.0), Err(code), "{bytes:.20?}");
        }
    }

    #[test]
    fn an_end_has_a_code_or_none() {
        for (payload, expected) in
            [(&b""[..], None), (b"\x0f\xa0bye", Some(4000)), (b"\x03\xe9", Some(1001))]
        {
            let said = heard(&masked(0x88, payload), 3);
            assert_eq!(said, Ok(vec![Said::Close(expected)]), "{payload:?}");
        }
    }

    #[test]
    fn a_reason_has_room_in_its_frame() {
        let mut out = BytesMut::new();
        close(4005, &"ü".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 0x0f, 0xa5]);
        assert_eq!(std::str::from_utf8(&out[4..]), Ok(&*"ü".repeat(61)));
    }
}
