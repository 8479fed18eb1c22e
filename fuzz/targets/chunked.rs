//! The chunked coding: the same body however the bytes are cut, the one that a slow and obvious
//! reading gives, and what is encoded comes back.
//!
//! The first byte says how the encoded body is cut into chunks; the rest is both the coded message
//! and, the other way round, the body that is encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_proxy::codec::framing::Framing;
use transom_proxy::codec::{Decoder, Piece};

fuzz_target!(|bytes: &[u8]| {
    let Some((&seed, bytes)) = bytes.split_first() else { return };
    let whole = read(bytes, &[bytes.len()], usize::MAX);
    let mut steps: Vec<Vec<usize>> = vec![vec![1], vec![2], vec![3, 1], vec![7, 64]];
    steps.push(vec![usize::from(seed) + 1, 1, usize::from(seed % 13) + 1]);
    for step in steps {
        assert_eq!(read(bytes, &step, usize::MAX), whole, "cut by {step:?}");
    }
    assert_eq!(read(bytes, &[5], 3), whole, "taken in parts");
    let theirs = reference(bytes);
    match whole.end {
        End::Done => {
            let (body, consumed, _) = theirs.expect("the reference refuses it");
            assert_eq!((&whole.body, whole.consumed), (&body, consumed));
        }
        // Trailers are fields: the reference does not judge them.
        _ => assert!(theirs.is_none_or(|(.., trailers)| trailers), "refused without a reason"),
    }
    encoded_it_comes_back(bytes, seed);
});

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Broken,
    Done,
    Incomplete,
}

#[derive(Debug, PartialEq)]
struct Read {
    body: Vec<u8>,
    consumed: usize,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    end: End,
}

/// Reads what arrives in `steps`, taking at most `most` bytes of data at once.
fn read(bytes: &[u8], steps: &[usize], most: usize) -> Read {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut read = Read { body: Vec::new(), consumed: 0, trailers: Vec::new(), end: End::Done };
    let mut steps = steps.iter().cycle();
    let mut arrived = 0;
    loop {
        let at = read.consumed;
        match decoder.front(&bytes[at..arrived]) {
            Ok(Piece::Data(n)) => {
                assert!(n > 0 && n <= arrived - at && decoder.announced().is_some_and(|a| a >= n));
                let n = n.min(most);
                read.body.extend_from_slice(&bytes[at..at + n]);
                decoder.took(n);
                read.consumed += n;
            }
            Ok(Piece::Skip(n)) => {
                assert!(n > 0 && n <= arrived - at);
                read.consumed += n;
            }
            Ok(Piece::More) if arrived == bytes.len() => {
                assert!(!decoder.is_done() && !decoder.close());
                // How much of an unfinished line was passed over is no part of the result.
                read.end = End::Incomplete;
                return read;
            }
            Ok(Piece::More) => {
                arrived = arrived.saturating_add(*steps.next().unwrap()).min(bytes.len());
            }
            Ok(Piece::End) => {
                assert!(decoder.is_done() && decoder.close());
                let lines = decoder.trailers().into_iter().flat_map(|fields| fields.iter());
                read.trailers = lines.map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
                return read;
            }
            Err(_) => {
                read.end = End::Broken;
                return read;
            }
        }
    }
}

/// RFC 9112 §7.1 line by line, with the limits on lines and extensions: body, end, and whether
/// there were trailers, which are any lines.
fn reference(bytes: &[u8]) -> Option<(Vec<u8>, usize, bool)> {
    let (mut body, mut at, mut extensions) = (Vec::new(), 0, 0);
    loop {
        let line = line(bytes, at)?;
        at += line.len() + 2;
        let digits = line.split(|b| *b == b';').next()?;
        let extension = &line[digits.len()..];
        extensions += extension.len();
        let clean = extension.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
        if !(1..=16).contains(&digits.len()) || !clean || line.len() > 1022 || extensions > 16384 {
            return None;
        }
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let data = bytes[at..].get(..usize::try_from(size).ok()?)?;
        body.extend_from_slice(data);
        at += data.len();
        bytes[at..].starts_with(b"\r\n").then_some(())?;
        at += 2;
    }
    let mut trailers = false;
    loop {
        let line = line(bytes, at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some((body, at, trailers));
        }
        trailers = true;
    }
}

fn line(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let end = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
    Some(&bytes[at..at + end])
}

fn encoded_it_comes_back(body: &[u8], seed: u8) {
    let mut coded = Vec::new();
    for chunk in body.chunks(usize::from(seed % 37) + 1) {
        coded.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\nA: b\r\n\r\n");
    let length = coded.len();
    coded.extend_from_slice(b"GET / HTTP/1.1\r\n");
    for steps in [[usize::MAX, 1], [1, 9], [usize::from(seed) + 1, 2]] {
        let read = read(&coded, &steps, usize::MAX);
        assert_eq!((read.end, read.consumed, &read.body[..]), (End::Done, length, body));
        assert_eq!(read.trailers, [(b"A".to_vec(), b"b".to_vec())]);
    }
}
