//! Moves bytes from socket to socket inside the kernel, through a pipe.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe is asked to hold; the kernel may grant less to an unprivileged process.
const CAPACITY: usize = 1 << 20;
/// Spare pipes kept per worker.
const SPARES: usize = 32;

/// The spare, empty pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes(RefCell<Vec<(OwnedFd, OwnedFd)>>);

impl Pipes {
    /// An empty pipe: a spare one, else a new one.
    pub fn take(self: &Rc<Self>) -> io::Result<Pipe> {
        let ends = match self.0.borrow_mut().pop() {
            Some(ends) => ends,
            None => open()?,
        };
        Ok(Pipe { ends: Some(ends), held: 0, home: self.clone() })
    }
}

fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    // Refused beyond the user's pipe budget: the default of 64 KiB works as well, only slower.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, CAPACITY);
    Ok((read, write))
}

/// A pipe and how many bytes lie in it. Goes back to its pool only when empty.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<(OwnedFd, OwnedFd)>,
    held: usize,
    home: Rc<Pipes>,
}

impl Pipe {
    /// Bytes that were taken from a socket and not yet given to the other.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes at most `most` bytes from `from` into the empty pipe; 0 is the end of the stream.
    ///
    /// The pipe must be empty: "would block" from a full one would be read as a quiet socket, and
    /// its bytes never be announced again.
    pub fn poll_take(
        &mut self,
        from: &TcpStream,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some((_, write)) = &self.ends else { return Poll::Ready(Ok(0)) };
        if self.held > 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            ready!(from.poll_read_ready(cx))?;
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let moved = from.try_io(Interest::READABLE, || {
                Ok(rustix::pipe::splice(from, None, write, None, most, flags)?)
            });
            match moved {
                Ok(n) => {
                    self.held += n;
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Gives bytes held in the pipe to `to`; ready with how many went.
    pub fn poll_give(
        &mut self,
        to: &TcpStream,
        more_follows: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some((read, _)) = &self.ends else { return Poll::Ready(Ok(0)) };
        let mut flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        if more_follows {
            flags |= SpliceFlags::MORE;
        }
        loop {
            ready!(to.poll_write_ready(cx))?;
            let moved = to.try_io(Interest::WRITABLE, || {
                Ok(rustix::pipe::splice(read, None, to, None, self.held, flags)?)
            });
            match moved {
                Ok(n) => {
                    self.held -= n.min(self.held);
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // A pipe with another exchange's bytes in it must never be used again.
        if self.held == 0
            && let Some(ends) = self.ends.take()
        {
            let mut spares = self.home.0.borrow_mut();
            if spares.len() < SPARES {
                spares.push(ends);
            }
        }
    }
}
