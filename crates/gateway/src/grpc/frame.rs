//! Messages of gRPC in a body: a flag, a length, the message.

use bytes::{BufMut, Bytes, BytesMut};

/// The bytes before a message.
pub const HEAD: usize = 5;

/// Why bytes are no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message is compressed, though no compression was offered")]
    Compressed,
    #[error("a message begins with a flag that is neither 0 nor 1")]
    Flag,
    #[error("a message of {0} bytes is longer than may be")]
    TooLong(u32),
}

/// One message, ready to be sent.
pub fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + message.len());
    write(message, &mut out);
    out.freeze()
}

/// Writes one message.
pub fn write(message: &[u8], out: &mut BytesMut) {
    out.put_u8(0);
    // a message of ours is never longer than what may be read of one
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(message);
}

/// Puts messages together as their bytes come.
#[derive(Debug)]
pub struct Frames {
    held: BytesMut,
    longest: usize,
}

impl Frames {
    /// Of messages of at most `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Frames { held: BytesMut::new(), longest }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next message that is whole.
    ///
    /// # Errors
    /// When what comes cannot be a message; nothing can be read any more then.
    pub fn message(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(&[flag, a, b, c, d]) = self.held.first_chunk::<HEAD>() else { return Ok(None) };
        match flag {
            0 => {}
            1 => return Err(FrameError::Compressed),
            _ => return Err(FrameError::Flag),
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if length as usize > self.longest {
            return Err(FrameError::TooLong(length));
        }
        if self.held.len() < HEAD + length as usize {
            return Ok(None);
        }
        let mut whole = self.held.split_to(HEAD + length as usize);
        Ok(Some(whole.split_off(HEAD).freeze()))
    }

    /// Whether nothing of a message is left over.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_03_messages_are_put_together_and_what_is_none_is_refused() {
        let long = [&[0, 0, 0, 0, 9][..], &[1; 9]].concat();
        for (bytes, expected) in [
            (&b"\0\0\0\0\x02hi\0\0\0\0\0"[..], Ok((2, true))),
            (b"\0\0\0\0\x02h", Ok((0, false))),
            (b"\0\0\0", Ok((0, false))),
            (b"", Ok((0, true))),
            (b"\x01\0\0\0\x02hi", Err(FrameError::Compressed)),
            (b"\x80\0\0\0\x02hi", Err(FrameError::Flag)),
            (b"\0\xff\xff\xff\xff", Err(FrameError::TooLong(u32::MAX))),
            (&long, Err(FrameError::TooLong(9))),
        ] {
            for step in [1, 3, 100] {
                let mut frames = Frames::new(8);
                let mut found = 0;
                let mut read = || {
                    for piece in bytes.chunks(step) {
                        frames.push(piece);
                        while frames.message()?.is_some() {
                            found += 1;
                        }
                    }
                    Ok(())
                };
                let outcome = read();
                assert_eq!(outcome.map(|()| (found, frames.is_empty())), expected, "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut frames = Frames::new(100_000);
        frames.push(&framed(b"abc"));
        frames.push(&framed(&[7; 70_000]));
        assert_eq!(frames.message().unwrap().unwrap(), &b"abc"[..]);
        assert_eq!(frames.message().unwrap().unwrap().len(), 70_000);
        assert_eq!(frames.message(), Ok(None));
    }
}
