//! Sends one message: a head, then a body in the framing of the connection.
//!
//! The same for requests to endpoints and responses to clients. Small bodies leave in one system
//! call with their head; large ones go from the other socket's buffer without a copy, or, where
//! both sides are plain sockets, without leaving the kernel.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use transom_net::Stream;
use transom_net::splice::Pipe;

use crate::body::{Body, Kernel};
use crate::codec::trailers;
use crate::fault::{Code, Fault};

/// From how many remaining bytes of a file on the kernel sends them by itself: below, the system
/// call costs more than the copy.
const FILE_FROM: u64 = 32 * 1024;
/// The same for bytes from another socket, which go through a pipe. 1 MiB cost 490 microseconds that
/// way and 447 read and written in pieces of 64 KiB; 100 MiB cost less than a relay that copies
/// (docs/benchmarks.md, S4a and S4b). Where between the two the turn lies was not measured.
const SOCKET_FROM: u64 = 8 * 1024 * 1024;
/// Data up to this size is copied behind the head, so that both leave in one plain write.
const COPY_UP_TO: usize = 4 * 1024;
/// Room for a head.
const USUAL_HEAD: usize = 768;
/// Most bytes waiting to be written before the source is asked for more.
const WAITING: usize = 64 * 1024;
/// Most bytes moved in one system call.
const AT_ONCE: u64 = 1 << 20;

/// How the receiver finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is no body.
    None,
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Which side a writer stopped at, and why.
#[derive(Debug)]
pub enum Stop {
    /// The body cannot be completed.
    Source(Fault),
    /// The receiver cannot be written to.
    Receiver(io::Error),
}

/// Writes one message.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    sent: usize,
    ending: Ending,
    /// The body has ended and its end stands in `out`.
    ended: bool,
    pipe: Option<Pipe>,
    trailers: bool,
    /// Bytes of body written or waiting to be.
    body_bytes: u64,
    /// The receiver took nothing the last time it was tried.
    blocked: bool,
    handed: bool,
}

impl Writer {
    /// Sends `head`, then a body that ends so. Trailers are passed on only where `trailers`.
    pub fn new(head: Vec<u8>, ending: Ending, trailers: bool) -> Self {
        let ended = matches!(ending, Ending::None | Ending::Length(0));
        Writer {
            out: head,
            sent: 0,
            ending,
            ended,
            pipe: None,
            trailers,
            body_bytes: 0,
            blocked: false,
            handed: false,
        }
    }

    /// An empty head with room for what it usually holds, and for a body that is copied behind it.
    pub fn head_for(ending: Ending) -> Vec<u8> {
        let copied = match ending {
            Ending::Length(n) if n <= COPY_UP_TO as u64 => n as usize,
            _ => 0,
        };
        Vec::with_capacity(USUAL_HEAD + copied)
    }

    /// Bytes of body passed on.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Whether anything has been handed to the receiver.
    pub fn has_sent(&self) -> bool {
        self.handed
    }

    /// The last wait was for the receiver, not for the body.
    pub fn waits_for_receiver(&self) -> bool {
        self.blocked
    }

    /// Goes on until everything is sent.
    ///
    /// # Errors
    /// [`Stop`]. The message then stays incomplete, and its connection cannot be used again.
    pub fn poll(
        &mut self,
        body: &mut Body,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        self.blocked = false;
        loop {
            if self.ended {
                ready!(self.poll_send_waiting(to, cx))?;
                let flushed = to.poll_flush(cx).map_err(Stop::Receiver);
                self.blocked = flushed.is_pending();
                return flushed;
            }
            if self.out.len() - self.sent >= WAITING {
                ready!(self.poll_send_waiting(to, cx))?;
            }
            if self.pipe.is_some() || self.kernel_could(body, to) {
                ready!(self.poll_send_waiting(to, cx))?;
                ready!(self.poll_kernel(body, to, cx))?;
                continue;
            }
            match body.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.end(body)?,
                Poll::Ready(Ok(n)) => ready!(self.poll_pass_on(n, body, to, cx))?,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Stop::Source(fault))),
                Poll::Pending => {
                    // What is there goes out while the rest is waited for.
                    ready!(self.poll_send_waiting(to, cx))?;
                    ready!(to.poll_flush(cx).map_err(Stop::Receiver))?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Passes the `n` announced bytes on.
    fn poll_pass_on(
        &mut self,
        n: usize,
        body: &mut Body,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        if let Ending::Length(left) = self.ending
            && n as u64 > left
        {
            let fault = Fault::new(Code::Internal, "a body is longer than its announced length");
            return Poll::Ready(Err(Stop::Source(fault)));
        }
        if self.ending == Ending::Chunked {
            let out = &mut self.out;
            body.look(|bytes| {
                write_hex(bytes.len(), out);
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            });
            self.took(n, body);
            return Poll::Ready(Ok(()));
        }
        if n <= COPY_UP_TO && self.sent < self.out.len() {
            let out = &mut self.out;
            body.look(|bytes| out.extend_from_slice(bytes));
            self.took(n, body);
            return Poll::Ready(Ok(()));
        }
        let waiting = &self.out[self.sent..];
        let written = body
            .look(|bytes| {
                if waiting.is_empty() {
                    to.poll_write(&[IoSlice::new(bytes)], cx)
                } else {
                    to.poll_write(&[IoSlice::new(waiting), IoSlice::new(bytes)], cx)
                }
            })
            .unwrap_or(Poll::Ready(Ok(0)));
        self.blocked = written.is_pending();
        let written = ready!(written).map_err(Stop::Receiver)?;
        let of_waiting = written.min(waiting.len());
        self.advance(of_waiting);
        self.took(written - of_waiting, body);
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, n: usize, body: &mut Body) {
        body.consume(n);
        self.count(n as u64);
    }

    fn count(&mut self, n: u64) {
        self.body_bytes += n;
        if let Ending::Length(left) = &mut self.ending {
            *left -= n.min(*left);
            self.ended = *left == 0;
        }
    }

    /// The body has ended.
    fn end(&mut self, body: &mut Body) -> Result<(), Stop> {
        match self.ending {
            Ending::Length(left) if left > 0 => {
                let fault =
                    Fault::new(Code::Internal, "a body is shorter than its announced length");
                return Err(Stop::Source(fault));
            }
            Ending::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                if self.trailers
                    && let Some(trailers) = body.trailers()
                {
                    trailers::passed(trailers).write(&mut self.out);
                }
                self.out.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        self.ended = true;
        Ok(())
    }

    fn poll_send_waiting(
        &mut self,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        while self.sent < self.out.len() {
            let written = to.poll_write(&[IoSlice::new(&self.out[self.sent..])], cx);
            self.blocked = written.is_pending();
            let n = ready!(written).map_err(Stop::Receiver)?;
            self.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
        self.handed |= n > 0;
        if self.sent == self.out.len() {
            // Given back rather than kept: the exchange may wait long for its response, and
            // hundreds of them together would fill the processor's cache with sent heads.
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    fn kernel_could(&self, body: &mut Body, to: &mut Stream) -> bool {
        let Ending::Length(left) = self.ending else { return false };
        if left < FILE_FROM {
            return false;
        }
        let from = match body {
            Body::Stream(source) => match source.kernel() {
                Some(Kernel::File(..)) => FILE_FROM,
                Some(Kernel::Socket(_)) => SOCKET_FROM,
                None => return false,
            },
            _ => return false,
        };
        left >= from && to.plain_socket().is_some()
    }

    /// Moves some bytes inside the kernel.
    fn poll_kernel(
        &mut self,
        body: &mut Body,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        let (Ending::Length(left), Body::Stream(source), Some(socket)) =
            (self.ending, body, to.plain_socket())
        else {
            let fault = Fault::new(Code::Internal, "the kernel was asked to move what it cannot");
            return Poll::Ready(Err(Stop::Source(fault)));
        };
        let held = self.pipe.as_ref().map_or(0, Pipe::held);
        if held > 0
            && let Some(pipe) = &mut self.pipe
        {
            let given = pipe.poll_give(socket, held as u64 != left, cx);
            self.blocked = given.is_pending();
            let n = ready!(given).map_err(Stop::Receiver)?;
            self.count(n as u64);
            self.put_pipe_back();
            return Poll::Ready(Ok(()));
        }
        let most = left.min(AT_ONCE) as usize;
        match source.kernel() {
            Some(Kernel::File(file, offset)) => {
                let given = poll_sendfile(file, offset, most, socket, cx);
                self.blocked = given.is_pending();
                let n = ready!(given).map_err(Stop::Receiver)?;
                source.kernel_moved(n).map_err(Stop::Source)?;
                self.count(n as u64);
            }
            Some(Kernel::Socket(from)) => {
                let pipe = match &mut self.pipe {
                    Some(pipe) => pipe,
                    none => none.insert(to.worker().pipes().take().map_err(Stop::Receiver)?),
                };
                match pipe.poll_take(from, most, cx) {
                    Poll::Ready(Ok(n)) => source.kernel_moved(n).map_err(Stop::Source)?,
                    Poll::Ready(Err(e)) => {
                        let detail = format!("reading the body: {e}");
                        let fault = Fault::new(Code::IncompleteResponse, detail);
                        return Poll::Ready(Err(Stop::Source(fault)));
                    }
                    Poll::Pending => {
                        let fault = ready!(source.poll_stalled(cx));
                        return Poll::Ready(Err(Stop::Source(fault)));
                    }
                }
            }
            None => self.put_pipe_back(),
        }
        Poll::Ready(Ok(()))
    }

    /// An empty pipe that is not needed any more is for others.
    fn put_pipe_back(&mut self) {
        let few = matches!(self.ending, Ending::Length(left) if left < FILE_FROM);
        if few && self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0) {
            self.pipe = None;
        }
    }
}

fn poll_sendfile(
    file: &std::fs::File,
    offset: u64,
    most: usize,
    socket: &tokio::net::TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let mut at = offset;
        let moved = socket.try_io(Interest::WRITABLE, || {
            Ok(rustix::fs::sendfile(socket, file, Some(&mut at), most)?)
        });
        match moved {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

/// The size line of a chunk.
fn write_hex(n: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for shift in (0..digits).rev() {
        out.push(b"0123456789abcdef"[n >> (shift * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for n in [0, 1, 9, 15, 16, 255, 4096, 65536, 1 << 30] {
            let mut out = Vec::new();
            write_hex(n, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{n:x}\r\n"));
        }
    }
}
