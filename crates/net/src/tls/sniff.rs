//! What a TLS client asks for, read without taking part: for connections that pass through as they
//! are and are told apart by name.
//!
//! Only bytes in. A hello may come in any number of records and segments (RFC 8446 §5.1) and is
//! judged only when it is whole, so that nobody gets to another place by cutting it. What looks like
//! TLS and is malformed is an error, never "something else" (TL-04).

use std::borrow::Cow;

/// How long a hello may be. Post-quantum ones have 2 KiB.
pub const LONGEST: usize = 32 * 1024;
/// How many bytes may come before the hello is whole; small records have much around little.
pub const MOST: usize = 64 * 1024;

/// RFC 8446 §5.1: the longest fragment of a record.
const RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// TLS so far, but the hello is not whole.
    Incomplete,
    Hello(Hello),
    /// Not TLS.
    Otherwise,
}

/// What a client asks for in its first message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The name, in lower case and without the dot that may end it (RFC 6066 §3).
    pub name: Option<Box<str>>,
    /// The protocols it offers, the preferred one first (RFC 7301).
    pub alpn: Vec<Box<[u8]>>,
}

/// Why a hello cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SniffError {
    #[error("the client's hello is larger than 32 KiB")]
    TooLarge,
    #[error("malformed TLS record")]
    BadRecord,
    #[error("malformed client hello")]
    BadHello,
    #[error("malformed server name in the client hello")]
    BadName,
}

/// Looks at the first bytes of a connection.
///
/// # Errors
/// [`SniffError`] for what begins like TLS and is not; the connection must be closed.
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, SniffError> {
    match bytes.first() {
        None => return Ok(Sniffed::Incomplete),
        Some(&HANDSHAKE) => {}
        Some(_) => return Ok(Sniffed::Otherwise),
    }
    match message(bytes)? {
        Some(message) => hello(&message).map(Sniffed::Hello),
        None if bytes.len() >= MOST => Err(SniffError::TooLarge),
        None => Ok(Sniffed::Incomplete),
    }
}

/// The body of the first handshake message, put together from its records, once it is whole.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, SniffError> {
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = bytes;
    loop {
        if let Some(message) = whole(&joined)? {
            return Ok(Some(match joined {
                Cow::Borrowed(joined) => Cow::Borrowed(&joined[message]),
                Cow::Owned(joined) => Cow::Owned(joined[message].to_vec()),
            }));
        }
        // RFC 8446 §5.1: type, version, length. Every version so far begins with 3.
        let kind_and_version = rest.iter().zip([HANDSHAKE, 3]).all(|(byte, right)| *byte == right);
        if !kind_and_version {
            return Err(SniffError::BadRecord);
        }
        let Some((head, after)) = rest.split_first_chunk::<5>() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if len == 0 || len > RECORD {
            return Err(SniffError::BadRecord);
        }
        // What is there of the fragment already tells how long the message is.
        let fragment = &after[..len.min(after.len())];
        match &mut joined {
            Cow::Borrowed([]) => joined = Cow::Borrowed(fragment),
            _ => joined.to_mut().extend_from_slice(fragment),
        }
        if fragment.len() < len && whole(&joined)?.is_none() {
            return Ok(None);
        }
        rest = &after[fragment.len()..];
    }
}

/// Where the body of the message lies, if all of it is there.
fn whole(joined: &[u8]) -> Result<Option<std::ops::Range<usize>>, SniffError> {
    if joined.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(SniffError::BadHello);
    }
    let Some(head) = joined.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    if len > LONGEST {
        return Err(SniffError::TooLarge);
    }
    Ok((joined.len() >= 4 + len).then_some(4..4 + len))
}

/// RFC 8446 §4.1.2, whose form is that of every version before it.
fn hello(body: &[u8]) -> Result<Hello, SniffError> {
    let mut body = Reader(body);
    let bad = SniffError::BadHello;
    body.take(2 + 32).ok_or(bad)?;
    let session = body.list8().ok_or(bad)?;
    let ciphers = body.list16().ok_or(bad)?;
    let compression = body.list8().ok_or(bad)?;
    if session.len() > 32 || ciphers.is_empty() || ciphers.len() % 2 != 0 || compression.is_empty()
    {
        return Err(bad);
    }
    let mut hello = Hello::default();
    if body.0.is_empty() {
        // Before TLS 1.3 there need be no extensions.
        return Ok(hello);
    }
    let mut extensions = Reader(body.list16().ok_or(bad)?);
    if !body.0.is_empty() {
        return Err(bad);
    }
    let (mut names, mut protocols) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number16().ok_or(bad)?;
        let value = Reader(extensions.list16().ok_or(bad)?);
        // RFC 8446 §4.2: none twice.
        match kind {
            0 if std::mem::replace(&mut names, true) => return Err(bad),
            16 if std::mem::replace(&mut protocols, true) => return Err(bad),
            0 => hello.name = server_name(value)?,
            16 => hello.alpn = alpn(value).ok_or(bad)?,
            _ => {}
        }
    }
    Ok(hello)
}

/// RFC 6066 §3: at most one name of each kind; a host name is the only kind there is.
fn server_name(mut value: Reader<'_>) -> Result<Option<Box<str>>, SniffError> {
    let bad = SniffError::BadName;
    let mut list = Reader(value.list16().ok_or(bad)?);
    if list.0.is_empty() || !value.0.is_empty() {
        return Err(bad);
    }
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.take(1).ok_or(bad)?;
        let name = list.list16().ok_or(bad)?;
        if kind != [0] {
            continue;
        }
        let printable = name.iter().all(u8::is_ascii_graphic);
        let name = std::str::from_utf8(name).ok().filter(|_| printable).ok_or(bad)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || name.len() > 253 || found.is_some() {
            return Err(bad);
        }
        found = Some(name.to_ascii_lowercase().into());
    }
    Ok(found)
}

fn alpn(mut value: Reader<'_>) -> Option<Vec<Box<[u8]>>> {
    let mut list = Reader(value.list16()?);
    if list.0.is_empty() || !value.0.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.list8().filter(|protocol| !protocol.is_empty())?;
        found.push(protocol.into());
    }
    Some(found)
}

/// Bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number16(&mut self) -> Option<u16> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    fn list8(&mut self) -> Option<&'a [u8]> {
        let len = self.take(1)?[0];
        self.take(len.into())
    }

    fn list16(&mut self) -> Option<&'a [u8]> {
        let len = self.number16()?;
        self.take(len.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list16(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &list16(value)].concat()
    }

    fn name(name: &str) -> Vec<u8> {
        let entry = [&[0][..], &list16(name.as_bytes())].concat();
        extension(0, &list16(&entry))
    }

    fn protocols(all: &[&str]) -> Vec<u8> {
        let list: Vec<u8> =
            all.iter().flat_map(|one| [&[one.len() as u8], one.as_bytes()].concat()).collect();
        extension(16, &list16(&list))
    }

    /// A hello with these extensions, as a handshake message.
    fn written(extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(list16(&extensions.concat()));
        let len = (body.len() as u32).to_be_bytes();
        [&[CLIENT_HELLO], &len[1..], &body].concat()
    }

    /// The message in records of at most `step` bytes.
    fn records(message: &[u8], step: usize) -> Vec<u8> {
        message.chunks(step).flat_map(|one| [&[22, 3, 1][..], &list16(one)].concat()).collect()
    }

    fn hello_of(bytes: &[u8]) -> Result<Sniffed, SniffError> {
        for end in 0..bytes.len() {
            assert_eq!(sniff(&bytes[..end]), Ok(Sniffed::Incomplete), "{end} of {}", bytes.len());
        }
        sniff(bytes)
    }

    #[test]
    fn tl04_a_hello_says_the_same_however_it_is_cut() {
        let message = written(&[
            extension(0x0a0a, b""),
            name("Shop.Example."),
            extension(51, &[1; 1300]),
            protocols(&["h2", "http/1.1"]),
        ]);
        let expect = Hello {
            name: Some("shop.example".into()),
            alpn: vec![(*b"h2").into(), (*b"http/1.1").into()],
        };
        for step in [1, 2, 3, 4, 5, 80, 1024, RECORD] {
            let bytes = records(&message, step);
            assert_eq!(hello_of(&bytes), Ok(Sniffed::Hello(expect.clone())), "cut by {step}");
            // What follows the hello changes nothing.
            let more = [&bytes[..], b"\x17\x03\x03\x00\x01x"].concat();
            assert_eq!(sniff(&more), Ok(Sniffed::Hello(expect.clone())));
        }
    }

    #[test]
    fn what_may_be_missing() {
        for (extensions, expect) in [
            (vec![], Hello::default()),
            (vec![name("a")], Hello { name: Some("a".into()), ..Hello::default() }),
            (vec![protocols(&["x"])], Hello { name: None, alpn: vec![(*b"x").into()] }),
        ] {
            let bytes = records(&written(&extensions), RECORD);
            assert_eq!(hello_of(&bytes), Ok(Sniffed::Hello(expect)));
        }
        // TLS 1.0 without the block of extensions.
        let mut old = written(&[]);
        old.truncate(old.len() - 2);
        old[3] -= 2;
        assert_eq!(hello_of(&records(&old, 9)), Ok(Sniffed::Hello(Hello::default())));
    }

    #[test]
    fn tl04_what_looks_like_tls_and_is_not_is_refused() {
        let two = [&[0][..], &list16(b"a"), &[0], &list16(b"b")].concat();
        let longer = {
            let mut message = written(&[name("a")]);
            message[1] = 1;
            message
        };
        use SniffError::{BadHello, BadName, BadRecord, TooLarge};
        for (what, bytes, error) in [
            ("two names", records(&written(&[extension(0, &list16(&two))]), 99), BadName),
            ("the extension twice", records(&written(&[name("a"), name("a")]), 99), BadHello),
            ("an empty name", records(&written(&[name("")]), 99), BadName),
            ("a control character", records(&written(&[name("a\n")]), 99), BadName),
            ("no list of names", records(&written(&[extension(0, b"")]), 99), BadName),
            ("ALPN without end", records(&written(&[extension(16, &[0, 9, 1])]), 99), BadHello),
            ("an empty protocol", records(&written(&[protocols(&[""])]), 99), BadHello),
            ("another message first", b"\x16\x03\x01\x00\x01\x02".to_vec(), BadHello),
            ("an empty record", b"\x16\x03\x01\x00\x00".to_vec(), BadRecord),
            ("a record too long", b"\x16\x03\x01\x40\x01".to_vec(), BadRecord),
            ("another version", b"\x16\x02\x00\x00\x01".to_vec(), BadRecord),
            (
                "an alert between",
                [records(&written(&[]), 9)[..14].to_vec(), b"\x15".to_vec()].concat(),
                BadRecord,
            ),
            ("more than 32 KiB", records(&longer, 99), TooLarge),
        ] {
            assert_eq!(sniff(&bytes), Err(error), "{what}");
        }
    }

    #[test]
    fn what_is_not_tls_is_told_at_the_first_byte() {
        for bytes in [&b"G"[..], b"SSH-2.0-", b"\x80\x2e\x01", b"\0"] {
            assert_eq!(sniff(bytes), Ok(Sniffed::Otherwise), "{bytes:?}");
        }
        assert_eq!(sniff(b""), Ok(Sniffed::Incomplete));
    }
}
