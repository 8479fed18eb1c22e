//! The words of Redis and Valkey (RESP 2): commands out, replies in.

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status or a text.
    Text(Vec<u8>),
    Nothing,
    Number(i64),
    Refused(String),
    List(Vec<Reply>),
}

/// The longest text and the longest list that are taken, and how deep lists may lie in each other.
const LONGEST: i64 = 32 << 20;
const MOST: i64 = 1 << 20;
const DEEPEST: usize = 8;

/// Appends one command.
pub fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    line(b'*', words.len(), out);
    for word in words {
        line(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn line(mark: u8, number: usize, out: &mut Vec<u8>) {
    out.push(mark);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The first reply of these bytes and how long it is; nothing where it is not whole yet.
///
/// # Errors
/// When these bytes are no reply.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    one(bytes, 0)
}

fn one(bytes: &[u8], depth: usize) -> Result<Option<(Reply, usize)>, &'static str> {
    if depth > DEEPEST {
        return Err("its lists lie too deep in each other");
    }
    let Some(end) = memchr::memmem::find(bytes, b"\r\n") else {
        return if bytes.len() > MOST as usize { Err("its line is too long") } else { Ok(None) };
    };
    let Some((mark, text)) = bytes[..end].split_first() else { return Err("a line is empty") };
    let begin = end + 2;
    let number = || {
        let text = std::str::from_utf8(text).map_err(|_| "a number is none")?;
        text.parse::<i64>().map_err(|_| "a number is none")
    };
    Ok(Some(match mark {
        b'+' => (Reply::Text(text.to_vec()), begin),
        b'-' => (Reply::Refused(String::from_utf8_lossy(text).into_owned()), begin),
        b':' => (Reply::Number(number()?), begin),
        b'$' => match number()? {
            -1 => (Reply::Nothing, begin),
            length @ 0..=LONGEST => {
                let length = length as usize;
                let Some(whole) = bytes.get(begin..begin + length + 2) else { return Ok(None) };
                let text = whole.strip_suffix(b"\r\n").ok_or("a text does not end")?;
                (Reply::Text(text.to_vec()), begin + length + 2)
            }
            _ => return Err("a text is too long"),
        },
        b'*' => match number()? {
            -1 => (Reply::Nothing, begin),
            count @ 0..=MOST => {
                let (mut items, mut at) = (Vec::new(), begin);
                for _ in 0..count {
                    let Some((item, used)) = one(&bytes[at..], depth + 1)? else {
                        return Ok(None);
                    };
                    items.push(item);
                    at += used;
                }
                (Reply::List(items), at)
            }
            _ => return Err("a list is too long"),
        },
        _ => return Err("it does not speak RESP"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_however_they_are_cut() {
        let mut out = Vec::new();
        command(&[b"SET", b"a", b"1\r\n"], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\n1\r\n\r\n");
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], Reply::Text(b"OK".to_vec())),
            (b":-7\r\n", Reply::Number(-7)),
            (b"-NOSCRIPT no such script\r\n", Reply::Refused("NOSCRIPT no such script".into())),
            (b"$3\r\na\r\n\r\n", Reply::Text(b"a\r\n".to_vec())),
            (b"$-1\r\n", Reply::Nothing),
            (b"*0\r\n", Reply::List(vec![])),
            (
                b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
                Reply::List(vec![Reply::Number(1), Reply::List(vec![Reply::Text(vec![])])]),
            ),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(reply(&bytes[..cut]), Ok(None), "{}", bytes[..cut].escape_ascii());
            }
            let and_more = [bytes, b"+more\r\n"].concat();
            assert_eq!(reply(&and_more), Ok(Some((expected, bytes.len()))));
        }
        let deep = b"*1\r\n".repeat(20);
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"$x\r\n",
            b"$-2\r\n",
            b"*9999999\r\n",
            b"$1\r\nabc",
            b"\r\n",
            &deep,
        ] {
            assert!(reply(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
