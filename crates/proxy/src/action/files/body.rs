//! The body of a response that lies in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll};

use bytes::Bytes;
use transom_net::buffer::Buffer;
use transom_net::{Size, Worker};

use super::range::Span;
use crate::body::{Body, Kernel, Source};
use crate::fault::{Code, Fault};

/// Up to this many bytes are read at once and leave with the head.
const AT_ONCE: u64 = 16 * 1024;

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// Of the file.
    Span(Span),
}

/// A body of these bytes of a file.
///
/// # Errors
/// When the file has become shorter, or the disk fails.
pub(super) fn of_span(file: File, span: Span, worker: &Worker) -> Result<Body, Fault> {
    if span.length() > AT_ONCE {
        return Ok(of_pieces(file, VecDeque::from([Piece::Span(span)]), worker));
    }
    let length = span.length() as usize;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = span.first + bytes.len() as u64;
        let read = rustix::io::pread(&file, rustix::buffer::spare_capacity(&mut bytes), at);
        match read {
            Ok(0) => return Err(shrunk()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(unreadable(e.into())),
        }
    }
    // The allocator may have given more room than asked for, and the file may have grown.
    bytes.truncate(length);
    Ok(Body::of(bytes))
}

/// A body of several pieces of one file and what stands between them.
pub(super) fn of_pieces(file: File, pieces: VecDeque<Piece>, worker: &Worker) -> Body {
    let left = pieces.iter().map(Piece::length).sum();
    Body::Stream(Box::new(FileBody { file, pieces, left, buffer: None, worker: worker.clone() }))
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Span(span) => span.length(),
        }
    }
}

/// Pieces of a file, read as they are sent: by the kernel where it can, else through a buffer
/// borrowed from the worker.
struct FileBody {
    file: File,
    /// What is neither sent nor in the buffer; none of them is empty.
    pieces: VecDeque<Piece>,
    /// Bytes still to come, those in the buffer included.
    left: u64,
    buffer: Option<Buffer>,
    worker: Worker,
}

impl FileBody {
    /// The first `n` bytes of the first piece are dealt with.
    fn advance(&mut self, n: u64) {
        match self.pieces.front_mut() {
            Some(piece) if n >= piece.length() => drop(self.pieces.pop_front()),
            Some(Piece::Bytes(bytes)) => drop(bytes.split_to(n as usize)),
            Some(Piece::Span(span)) => span.first += n,
            None => {}
        }
    }
}

impl Source for FileBody {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if let Some(buffer) = &self.buffer {
            return Poll::Ready(Ok(buffer.filled().len()));
        }
        let span = match self.pieces.front() {
            None => return Poll::Ready(Ok(0)),
            Some(Piece::Bytes(bytes)) => return Poll::Ready(Ok(bytes.len())),
            Some(Piece::Span(span)) => *span,
        };
        let mut buffer = self.worker.buffers().take(Size::Large);
        let room = buffer.room();
        let most = span.length().min(room.len() as u64) as usize;
        let read = loop {
            match self.file.read_at(&mut room[..most], span.first) {
                Ok(0) => return Poll::Ready(Err(shrunk())),
                Ok(n) => break n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(unreadable(e))),
            }
        };
        buffer.advance(read);
        self.buffer = Some(buffer);
        self.advance(read as u64);
        Poll::Ready(Ok(read))
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        match (&self.buffer, self.pieces.front()) {
            (Some(buffer), _) => see(buffer.filled()),
            (None, Some(Piece::Bytes(bytes))) => see(bytes),
            _ => see(&[]),
        }
    }

    fn consume(&mut self, n: usize) {
        self.left = self.left.saturating_sub(n as u64);
        match &mut self.buffer {
            Some(buffer) => {
                buffer.consume(n);
                if buffer.is_empty() {
                    self.buffer = None;
                }
            }
            None => self.advance(n as u64),
        }
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }

    /// Only what goes up to the end of the body: the kernel is not told where a piece ends.
    fn kernel(&mut self) -> Option<Kernel<'_>> {
        match (&self.buffer, self.pieces.front()) {
            (None, Some(Piece::Span(span))) if self.pieces.len() == 1 => {
                Some(Kernel::File(&self.file, span.first))
            }
            _ => None,
        }
    }

    fn kernel_moved(&mut self, n: usize) -> Result<(), Fault> {
        if n == 0 {
            return Err(shrunk());
        }
        self.left = self.left.saturating_sub(n as u64);
        self.advance(n as u64);
        Ok(())
    }
}

/// Its length was promised in the head: the client must see that the rest is missing.
fn shrunk() -> Fault {
    Fault::new(Code::IncompleteResponse, "the file became shorter while it was sent")
}

fn unreadable(e: std::io::Error) -> Fault {
    Fault::new(Code::Internal, format!("reading a file: {e}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::task::Waker;

    use super::*;

    fn file(length: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    fn span(first: u64, last: u64) -> Span {
        Span { first, last }
    }

    fn read(body: &mut Body, step: usize) -> Result<Vec<u8>, Code> {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        loop {
            let Poll::Ready(filled) = body.poll_fill(cx) else { panic!("files never wait") };
            let n = filled.map_err(|fault| fault.code())?.min(step);
            if n == 0 {
                assert_eq!(body.length(), Some(0));
                return Ok(out);
            }
            body.look(|bytes| out.extend_from_slice(&bytes[..n]));
            body.consume(n);
        }
    }

    #[test]
    fn spans_of_all_lengths_are_read_exactly() {
        let worker = Worker::new(0);
        let (file, bytes) = file(300_000);
        for (first, last) in
            [(0, 0), (5, 16_388), (5, 16_389), (0, 65_535), (1, 65_537), (0, 299_999)]
        {
            let mut body = of_span(file.try_clone().unwrap(), span(first, last), &worker).unwrap();
            assert_eq!(body.length(), Some(last - first + 1));
            assert_eq!(matches!(body, Body::Bytes(_)), last - first < AT_ONCE);
            assert_eq!(read(&mut body, 50_000).unwrap(), bytes[first as usize..=last as usize]);
        }
    }

    #[test]
    fn pieces_follow_each_other_and_only_the_last_is_for_the_kernel() {
        let worker = Worker::new(0);
        let (file, bytes) = file(200_000);
        let pieces = || {
            VecDeque::from([
                Piece::Bytes(Bytes::from_static(b"<one>")),
                Piece::Span(span(10, 150_000)),
                Piece::Bytes(Bytes::from_static(b"<two>")),
                Piece::Span(span(0, 3)),
            ])
        };
        let expected = [b"<one>", &bytes[10..=150_000], b"<two>", &bytes[..4]].concat();
        for step in [1000, 65_536] {
            let mut body = of_pieces(file.try_clone().unwrap(), pieces(), &worker);
            assert_eq!(body.length(), Some(expected.len() as u64));
            assert_eq!(read(&mut body, step).unwrap(), expected);
        }
        let Body::Stream(mut source) = of_pieces(file, pieces(), &worker) else { panic!() };
        assert!(source.kernel().is_none());
        source.consume(5);
        assert!(source.kernel().is_none(), "another piece follows");
    }

    #[test]
    fn the_kernel_and_the_buffer_take_turns() {
        let worker = Worker::new(0);
        let (file, bytes) = file(200_000);
        let Body::Stream(mut source) = of_span(file, span(0, 199_999), &worker).unwrap() else {
            panic!()
        };
        source.kernel_moved(1000).unwrap();
        assert!(matches!(source.kernel(), Some(Kernel::File(_, 1000))));
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(n)) = source.poll_fill(cx) else { panic!() };
        assert!(source.kernel().is_none(), "bytes lie in the buffer");
        let mut seen = Vec::new();
        source.look(&mut |b| seen.extend_from_slice(b));
        assert_eq!(seen, bytes[1000..1000 + n]);
        source.consume(n);
        assert!(matches!(source.kernel(), Some(Kernel::File(_, at)) if at == 1000 + n as u64));
        assert_eq!(source.length(), Some(199_000 - n as u64));
    }

    #[test]
    fn a_file_that_shrinks_never_ends_cleanly() {
        let worker = Worker::new(0);
        let (file, _) = file(100_000);
        let mut body = of_span(file.try_clone().unwrap(), span(0, 99_999), &worker).unwrap();
        file.set_len(70_000).unwrap();
        assert_eq!(read(&mut body, 1 << 20).unwrap_err(), Code::IncompleteResponse);
        let Body::Stream(mut source) =
            of_span(file.try_clone().unwrap(), span(0, 99_999), &worker).unwrap()
        else {
            panic!()
        };
        assert_eq!(source.kernel_moved(0).unwrap_err().code(), Code::IncompleteResponse);
        assert_eq!(
            of_span(file, span(69_999, 70_010), &worker).unwrap_err().code(),
            Code::IncompleteResponse
        );
    }
}
