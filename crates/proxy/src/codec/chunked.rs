//! The chunked coding (RFC 9112 §7.1), read strictly: CR LF only, hexadecimal digits only, bounded
//! extensions and trailers. Extensions are never forwarded.

use memchr::memchr;

use super::head::{HeadError, HeadLimits, field_lines};
use crate::fields::Fields;

/// Most bytes of one chunk-size line, its extensions included.
const SIZE_LINE: usize = 1024;
/// Most bytes of extensions in one message.
const EXTENSIONS: usize = 16 * 1024;
const SIZE_DIGITS: usize = 16;
const TRAILERS: HeadLimits =
    HeadLimits { start_line: 0, line: 8 << 10, fields: 8 << 10, count: 32 };

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk size is not 1 to 16 hexadecimal digits")]
    BadSize,
    #[error("a chunk line does not end in CR LF")]
    BadLineEnd,
    #[error("a chunk is not followed by CR LF")]
    BadEnd,
    #[error("a chunk extension holds a control character")]
    BadExtension,
    #[error("chunk extensions are too long")]
    LongExtensions,
    #[error("trailers: {0}")]
    Trailers(HeadError),
}

/// Where the reader stands in the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// Reads one chunked body.
#[derive(Debug)]
pub struct ChunkedReader {
    state: State,
    extensions: usize,
    trailers: Fields,
}

/// What stands at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// So many bytes of body.
    Data(usize),
    /// So many bytes of framing to pass over.
    Skip(usize),
    /// Not enough bytes to tell.
    More,
    /// The body has ended.
    End,
}

impl Default for ChunkedReader {
    fn default() -> Self {
        ChunkedReader { state: State::Size, extensions: 0, trailers: Fields::new() }
    }
}

impl ChunkedReader {
    /// Looks at what comes next. After `Data(n)`, say with [`ChunkedReader::took`] how many bytes
    /// were taken; after `Skip(n)`, pass over them and ask again.
    ///
    /// # Errors
    /// [`ChunkError`]; the connection cannot be used any further.
    pub fn front(&mut self, bytes: &[u8]) -> Result<Front, ChunkError> {
        match self.state {
            State::Size => self.size_line(bytes),
            State::Data(left) if bytes.is_empty() && left > 0 => Ok(Front::More),
            State::Data(left) => Ok(Front::Data(bytes.len().min(clamp(left)))),
            State::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok(Front::Skip(2))
                }
                [] | [b'\r'] => Ok(Front::More),
                _ => Err(ChunkError::BadEnd),
            },
            State::Trailers => self.trailer_block(bytes),
            State::Done => Ok(Front::End),
        }
    }

    /// Counts `n` bytes of data as taken.
    pub fn took(&mut self, n: usize) {
        if let State::Data(left) = self.state {
            let left = left - left.min(n as u64);
            self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        }
    }

    /// How many of the bytes that come next are data.
    pub fn announced(&self) -> usize {
        match self.state {
            State::Data(left) => clamp(left),
            _ => 0,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once done.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn size_line(&mut self, bytes: &[u8]) -> Result<Front, ChunkError> {
        let digits =
            bytes.iter().take(SIZE_DIGITS + 1).take_while(|b| b.is_ascii_hexdigit()).count();
        let after = bytes.get(digits);
        if digits > SIZE_DIGITS || (digits == 0 && after.is_some()) {
            return Err(ChunkError::BadSize);
        }
        match after {
            None => return Ok(Front::More),
            Some(b'\r' | b';') => {}
            Some(b'\n') => return Err(ChunkError::BadLineEnd),
            Some(_) => return Err(ChunkError::BadSize),
        }
        let searched = &bytes[..bytes.len().min(SIZE_LINE)];
        let end = memchr(b'\n', searched);
        let extension = &searched[digits..end.unwrap_or(searched.len())];
        refuse_bad_extension(extension, end.is_some())?;
        let Some(end) = end else {
            return if bytes.len() >= SIZE_LINE {
                Err(ChunkError::LongExtensions)
            } else {
                Ok(Front::More)
            };
        };
        self.extensions += extension.len() - 1;
        if self.extensions > EXTENSIONS {
            return Err(ChunkError::LongExtensions);
        }
        let size = bytes[..digits]
            .iter()
            .fold(0u64, |n, b| n << 4 | u64::from((*b as char).to_digit(16).unwrap_or(0)));
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(Front::Skip(end + 1))
    }

    fn trailer_block(&mut self, bytes: &[u8]) -> Result<Front, ChunkError> {
        let end = match bytes {
            [] | [b'\r'] => return Ok(Front::More),
            [b'\r', b'\n', ..] => 0,
            _ => match memchr::memmem::find(bytes, b"\r\n\r\n") {
                Some(end) => end + 2,
                // The CR of an empty line whose LF has not come is none of the fields.
                None if bytes.len() - usize::from(bytes.ends_with(b"\n\r")) > TRAILERS.fields => {
                    return Err(ChunkError::Trailers(HeadError::LongFields));
                }
                None => {
                    let complete = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
                    field_lines(&bytes[..complete], &TRAILERS).map_err(ChunkError::Trailers)?;
                    return Ok(Front::More);
                }
            },
        };
        if end > TRAILERS.fields {
            return Err(ChunkError::Trailers(HeadError::LongFields));
        }
        self.trailers = field_lines(&bytes[..end], &TRAILERS).map_err(ChunkError::Trailers)?;
        self.state = State::Done;
        Ok(Front::Skip(end + 2))
    }
}

/// `extension` is what stands between the digits and the LF; its CR is last if the line is whole.
fn refuse_bad_extension(extension: &[u8], whole: bool) -> Result<(), ChunkError> {
    let text = match extension.split_last() {
        Some((b'\r', text)) => text,
        _ if whole => return Err(ChunkError::BadLineEnd),
        _ => extension,
    };
    if text.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e)) {
        Ok(())
    } else {
        Err(ChunkError::BadExtension)
    }
}

fn clamp(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the whole body, given `step` more bytes at a time; what is left over, or the error.
    fn read(bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool, usize), ChunkError> {
        let (mut reader, mut body) = (ChunkedReader::default(), Vec::new());
        let (mut at, mut known) = (0, step.min(bytes.len()));
        loop {
            match reader.front(&bytes[at..known])? {
                Front::Data(n) => {
                    body.extend_from_slice(&bytes[at..at + n]);
                    reader.took(n);
                    at += n;
                }
                Front::Skip(n) => at += n,
                Front::More if known == bytes.len() => return Ok((body, false, at)),
                Front::More => known = (known + step).min(bytes.len()),
                Front::End => return Ok((body, true, at)),
            }
        }
    }

    fn refused(bytes: &[u8]) {
        for step in 1..=bytes.len() {
            let got = read(bytes, step);
            assert!(got.is_err(), "{} by {step}: {got:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let bytes = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\nGET ";
        for step in 1..=bytes.len() {
            assert_eq!(read(bytes, step), Ok((b"hello world".to_vec(), true, bytes.len() - 4)));
        }
    }

    #[test]
    fn h1_18_bare_lf_is_refused() {
        refused(b"5\nhello\r\n0\r\n\r\n");
        refused(b"a\r\n0123456789\n0\r\n\r\n");
        refused(b"0\n\r\n");
        refused(b"0\r\nA: b\n\r\n");
    }

    #[test]
    fn h1_19_extensions_are_clean() {
        refused(b"5;\nxx\r\nhello\r\n0\r\n\r\n");
        refused(b"2\r\r;a\r\n02\r\n41\r\n0\r\n\r\n");
        refused(b"41;a=b\r\rXXXX\r\n");
        refused(b"5;\x00e\r\nhello\r\n0\r\n\r\n");
        refused(b"5;a=\"\r\nX\r\nhello\r\n0\r\n\r\n");
    }

    #[test]
    fn h1_20_extensions_are_bounded() {
        let line = [b"5;".as_slice(), &[b'a'; 65536], b"\r\nhello\r\n0\r\n\r\n"].concat();
        assert_eq!(read(&line, line.len()), Err(ChunkError::LongExtensions));
        let chunk = [b"1;".as_slice(), &[b'a'; 900], b"\r\nx\r\n"].concat();
        let many = [chunk.repeat(20), b"0\r\n\r\n".to_vec()].concat();
        assert_eq!(read(&many, many.len()), Err(ChunkError::LongExtensions));
    }

    #[test]
    fn h1_21_sizes_are_hexadecimal_digits() {
        for size in ["", "-1", "+1", "0x5", "0_2e", " 5", "5 ", "5\t", "G", "fffffffffffffffff"] {
            refused(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes());
        }
        let zeros = vec![b'0'; 1 << 20];
        assert_eq!(read(&zeros, 4096), Err(ChunkError::BadSize));
    }

    #[test]
    fn h1_22_23_chunks_are_followed_by_exactly_one_line_end() {
        refused(b"5\r\nhelloXX0\r\n\r\n");
        refused(b"5\r\nhello!\r\n0\r\n\r\n");
        refused(b"0\r\nX:POST / HTTP/1.1\r\n \r\n\r\n");
        refused(b"5\r\nhello\r\n\r\n0\r\n\r\n");
    }

    #[test]
    fn h1_24_trailers_are_bounded() {
        let many = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(33), b"\r\n"].concat();
        assert_eq!(read(&many, many.len()), Err(ChunkError::Trailers(HeadError::ManyFields)));
        let long = [b"0\r\na: ".as_slice(), &[b'x'; 9000], b"\r\n\r\n"].concat();
        assert_eq!(read(&long, long.len()), Err(ChunkError::Trailers(HeadError::LongFields)));
    }

    /// Trailers as large as is allowed were refused when their last two bytes came apart.
    #[test]
    fn trailers_that_just_fit_are_taken_however_they_are_cut() {
        let line = [b"A: ".as_slice(), &[b'x'; (4 << 10) - 5], b"\r\n"].concat();
        let bytes = [b"0\r\n", &line.repeat(2)[..], b"\r\n"].concat();
        for step in [bytes.len(), bytes.len() - 1, 1000, 7] {
            assert_eq!(read(&bytes, step), Ok((Vec::new(), true, bytes.len())), "{step}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        proptest::proptest!(|(bytes in "[0-9a-f;\r\n x:]{0,60}", step in 1usize..9)| {
            let _ = read(bytes.as_bytes(), step);
        });
    }
}
