//! `grpc.health.v1.Health/Check`: passes when the answer is SERVING.
//!
//! One call on a connection of its own, so this speaks just enough HTTP/2 by itself: frames (RFC 9113
//! §4.1), fields as plain literals (RFC 7541 §6.2.2), and nothing of what a response's fields say. The
//! answer is in its message, and a call that fails has none.

use transom_net::Stream;

use super::probe::{more, send};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrpcProbe {
    /// The service that is asked about; empty is the server as a whole.
    pub service: String,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames that are read for one answer, at most.
const MOST_FRAMES: usize = 100;
/// The largest frame that a peer may send unasked (RFC 9113 §4.2).
const MOST_FRAME: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

impl GrpcProbe {
    pub(super) async fn ask(
        &self,
        stream: &mut Stream,
        authority: &str,
        is_tls: bool,
    ) -> Result<(), String> {
        send(stream, &self.request(authority, is_tls)).await?;
        let mut message = Vec::new();
        for _ in 0..MOST_FRAMES {
            let frame = frame(stream).await?;
            match (frame.kind, frame.stream) {
                (SETTINGS, 0) if frame.flags & ACK == 0 => {
                    send(stream, &framed(SETTINGS, ACK, 0, &[])).await?;
                }
                (PING, 0) if frame.flags & ACK == 0 => {
                    send(stream, &framed(PING, ACK, 0, &frame.payload)).await?;
                }
                (GOAWAY, 0) => return Err("it ended the connection by GOAWAY".to_owned()),
                (RST_STREAM, 1) => return Err("it ended the call by RST_STREAM".to_owned()),
                (DATA, 1) => {
                    message.extend_from_slice(frame.data().ok_or("a frame that is not valid")?);
                    if let Some(status) = serving_status(&message) {
                        return judged(status);
                    }
                }
                _ => {}
            }
            if frame.stream == 1 && matches!(frame.kind, DATA | HEADERS) && frame.ends() {
                return Err("the call failed: it may not have the health service".to_owned());
            }
        }
        Err("no answer within a hundred frames".to_owned())
    }

    fn request(&self, authority: &str, is_tls: bool) -> Vec<u8> {
        let mut fields = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", if is_tls { "https" } else { "http" }),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "Transom (health)"),
        ] {
            fields.push(0);
            put_text(&mut fields, name);
            put_text(&mut fields, value);
        }
        // HealthCheckRequest: the service is field 1, a string.
        let mut message = Vec::new();
        if !self.service.is_empty() {
            message.push(0x0a);
            put_varint(&mut message, self.service.len());
            message.extend_from_slice(self.service.as_bytes());
        }
        let mut body = vec![0];
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(&message);
        let mut out = PREFACE.to_vec();
        out.extend(framed(SETTINGS, 0, 0, &[]));
        out.extend(framed(HEADERS, END_HEADERS, 1, &fields));
        out.extend(framed(DATA, END_STREAM, 1, &body));
        out
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// The payload of DATA without its padding.
    fn data(&self) -> Option<&[u8]> {
        if self.flags & PADDED == 0 {
            return Some(&self.payload);
        }
        let (padding, data) = self.payload.split_first()?;
        data.get(..data.len().checked_sub(usize::from(*padding))?)
    }
}

/// The next frame.
async fn frame(stream: &mut Stream) -> Result<Frame, String> {
    let header = loop {
        if let Some(header) = stream.filled().first_chunk::<9>() {
            break *header;
        }
        more(stream).await?;
    };
    let [a, b, c, kind, flags, id @ ..] = header;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    // Text, most likely of HTTP/1, has a length far beyond it.
    if length > MOST_FRAME {
        return Err("it does not speak HTTP/2".to_owned());
    }
    while stream.filled().len() < 9 + length {
        more(stream).await?;
    }
    let payload = stream.filled()[9..9 + length].to_vec();
    stream.consume(9 + length);
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(id) & 0x7fff_ffff, payload })
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A string literal without Huffman coding (RFC 7541 §5.2).
fn put_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..127 => out.push(short as u8),
        long => {
            out.push(127);
            put_varint(out, long - 127);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits at a time, the lowest first: the same in HPACK and in protocol buffers.
fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The status in a HealthCheckResponse, once it is whole: field 1, zero where it is left out.
fn serving_status(message: &[u8]) -> Option<u64> {
    let (prefix, rest) = message.split_first_chunk::<5>()?;
    let [0, length @ ..] = *prefix else { return Some(u64::MAX) };
    let response = rest.get(..u32::from_be_bytes(length) as usize)?;
    match response {
        [] => Some(0),
        [0x08, status, ..] => Some(u64::from(*status)),
        _ => Some(u64::MAX),
    }
}

fn judged(status: u64) -> Result<(), String> {
    let said = match status {
        1 => return Ok(()),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "something that is no status",
    };
    Err(format!("it says {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says() {
        for (message, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0], None),
            (&[], None),
            // compressed, which was not offered
            (&[1, 0, 0, 0, 2, 8, 1], Some(u64::MAX)),
            (&[0, 0, 0, 0, 2, 9, 1], Some(u64::MAX)),
        ] {
            assert_eq!(serving_status(message), status, "{message:?}");
        }
        assert!(judged(1).is_ok());
        assert_eq!(judged(2), Err("it says NOT_SERVING".to_owned()));
    }

    #[test]
    fn lengths_are_written_seven_bits_at_a_time() {
        let mut out = Vec::new();
        put_varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
        let mut out = Vec::new();
        put_text(&mut out, &"x".repeat(130));
        assert_eq!(out[..3], [127, 3, b'x']);
    }

    #[test]
    fn padding_is_no_data() {
        let frame = |flags, payload: &[u8]| Frame {
            kind: DATA,
            flags,
            stream: 1,
            payload: payload.to_vec(),
        };
        assert_eq!(frame(0, &[2, 1]).data(), Some(&[2, 1][..]));
        assert_eq!(frame(PADDED, &[2, 9, 0, 0]).data(), Some(&[9][..]));
        assert_eq!(frame(PADDED, &[4, 9, 0, 0]).data(), None);
        assert_eq!(frame(PADDED, &[]).data(), None);
    }
}
