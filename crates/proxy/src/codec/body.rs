//! Takes a body apart by its framing, over the bytes of a stream's buffer.

use transom_net::Size;

use super::chunked::{ChunkError, ChunkedReader, Front};
use super::framing::Framing;
use crate::fields::Fields;

/// Reads one body.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(Box<ChunkedReader>),
    /// Until the stream ends.
    UntilClose {
        ended: bool,
    },
}

/// What stands at the front of the bytes.
pub type Piece = Front;

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(n) => Decoder::Length(n),
            Framing::Chunked => Decoder::Chunked(Box::default()),
            Framing::UntilClose => Decoder::UntilClose { ended: false },
        }
    }

    /// What comes next; see [`ChunkedReader::front`].
    ///
    /// # Errors
    /// When the chunked coding is broken.
    pub fn front(&mut self, bytes: &[u8]) -> Result<Piece, ChunkError> {
        match self {
            Decoder::Length(0) => Ok(Piece::End),
            Decoder::UntilClose { ended: true } => Ok(Piece::End),
            Decoder::Chunked(reader) => reader.front(bytes),
            _ if bytes.is_empty() => Ok(Piece::More),
            Decoder::Length(left) => {
                Ok(Piece::Data(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))))
            }
            Decoder::UntilClose { .. } => Ok(Piece::Data(bytes.len())),
        }
    }

    /// Counts `n` bytes of data as taken.
    pub fn took(&mut self, n: usize) {
        match self {
            Decoder::Length(left) => *left -= (n as u64).min(*left),
            Decoder::Chunked(reader) => reader.took(n),
            Decoder::UntilClose { .. } => {}
        }
    }

    /// The stream has ended: true if the body may end there.
    pub fn close(&mut self) -> bool {
        match self {
            Decoder::UntilClose { ended } => {
                *ended = true;
                true
            }
            _ => self.is_done(),
        }
    }

    pub fn is_done(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(reader) => reader.is_done(),
            Decoder::UntilClose { ended } => *ended,
        }
    }

    /// How many of the following bytes are certainly data, where that has been announced.
    pub fn announced(&self) -> Option<usize> {
        match self {
            Decoder::Length(left) => Some(usize::try_from(*left).unwrap_or(usize::MAX)),
            Decoder::Chunked(reader) => Some(reader.announced()),
            Decoder::UntilClose { .. } => None,
        }
    }

    /// Bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Decoder::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// How much to read at once.
    pub fn size(&self) -> Size {
        match self.remaining() {
            Some(n) if n > Size::Large.bytes() as u64 => Size::Bulk,
            _ => Size::Large,
        }
    }

    /// The trailers that came after the last chunk.
    pub fn trailers(&self) -> Option<&Fields> {
        match self {
            Decoder::Chunked(reader) if reader.is_done() && !reader.trailers().is_empty() => {
                Some(reader.trailers())
            }
            _ => None,
        }
    }
}
