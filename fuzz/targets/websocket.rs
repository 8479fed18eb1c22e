//! What a client says over WebSocket: the same however it is cut, never longer than is listened to, and
//! the answers are frames.
//!
//! The first byte is how long the pieces are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_gateway::websocket::{Listening, Said, Wrong, close, pong, text};
use transom_settings::json::json;

const LONGEST: usize = 1000;

fuzz_target!(|raw: &[u8]| {
    let Some((step, bytes)) = raw.split_first() else { return };
    let whole = heard(bytes, bytes.len().max(1));
    assert_eq!(heard(bytes, usize::from(*step).max(1)), whole);
    let mut out = Default::default();
    for said in &whole.0 {
        match said {
            Said::Text(said) => {
                assert!(said.len() <= LONGEST);
                text(json!(said).to_string().as_bytes(), &mut out);
            }
            Said::Ping(payload) => {
                assert!(payload.len() <= 125);
                pong(payload, &mut out);
            }
            Said::Close(code) => close(code.unwrap_or(1000), "", &mut out),
        }
    }
    if let Some(Wrong(code, why)) = whole.1 {
        assert!((1002..=1009).contains(&code) && !why.is_empty());
        close(code, why, &mut out);
    }
    // masks are for clients alone
    let mut rest = &out[..];
    while let [first, second, after @ ..] = rest {
        assert!(first & 0x80 != 0 && second & 0x80 == 0);
        let (length, after) = match second {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            127 => panic!("nothing so long was said"),
            short => (usize::from(*short), after),
        };
        rest = &after[length..];
    }
    assert!(rest.is_empty());
});

/// All that is heard, and why no more is.
fn heard(bytes: &[u8], step: usize) -> (Vec<Said>, Option<Wrong>) {
    let mut listening = Listening::to(LONGEST);
    let mut all = Vec::new();
    for piece in bytes.chunks(step) {
        listening.push(piece);
        loop {
            match listening.hear() {
                Ok(Some(said)) => all.push(said),
                Ok(None) => break,
                Err(wrong) => return (all, Some(wrong)),
            }
        }
    }
    (all, None)
}
