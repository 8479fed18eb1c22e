//! Byte buffers borrowed from a pool of the worker.
//!
//! A connection holds a buffer only while bytes lie in it, so 20,000 idle connections hold none,
//! and the few in use are the ones that are warm in the processor's cache. Three sizes: `Small` for
//! the first read of a head, `Large` for bodies and heads that did not fit, `Bulk` for bodies that
//! are known to be long.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Which size to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Large,
    /// Few of these are given out; who asks for one more gets a `Large` one.
    Bulk,
}

/// Most bulk buffers in use on one worker. A body on its way to a receiver that keeps up leaves its
/// buffer empty after each turn, so it is slow receivers that they are kept from.
const MOST_BULK: usize = 16;

impl Size {
    /// Capacity in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Size::Small => 8 * 1024,
            // A head of 64 KiB, and what its limits do not count: line ends and a status line.
            Size::Large => 66 * 1024,
            // A body of 1 MiB costs a fifth less than in pieces of 66 KiB; twice as much saves no
            // more (docs/benchmarks.md, S4a).
            Size::Bulk => 512 * 1024,
        }
    }

    /// How many spare buffers of this size a worker keeps; more are given back to the allocator.
    const fn spares(self) -> usize {
        match self {
            Size::Small => 256,
            Size::Large => 64,
            Size::Bulk => MOST_BULK,
        }
    }
}

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub struct Buffers {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    bulk: RefCell<Vec<Box<[u8]>>>,
    bulk_in_use: Cell<usize>,
}

impl Buffers {
    /// An empty buffer: the one given back last, else a new one.
    pub fn take(self: &Rc<Self>, size: Size) -> Buffer {
        let size = match size {
            Size::Bulk if self.bulk_in_use.get() == MOST_BULK => Size::Large,
            size => size,
        };
        if size == Size::Bulk {
            self.bulk_in_use.set(self.bulk_in_use.get() + 1);
        }
        let spare = self.shelf(size).borrow_mut().pop();
        let bytes = spare.unwrap_or_else(|| vec![0; size.bytes()].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, size, home: self.clone() }
    }

    fn shelf(&self, size: Size) -> &RefCell<Vec<Box<[u8]>>> {
        match size {
            Size::Small => &self.small,
            Size::Large => &self.large,
            Size::Bulk => &self.bulk,
        }
    }

    fn give_back(&self, size: Size, bytes: Box<[u8]>) {
        if size == Size::Bulk {
            self.bulk_in_use.set(self.bulk_in_use.get() - 1);
        }
        let mut shelf = self.shelf(size).borrow_mut();
        if shelf.len() < size.spares() {
            shelf.push(bytes);
        }
    }
}

/// A window of filled bytes in a block of fixed size; returns to its pool when dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    size: Size,
    home: Rc<Buffers>,
}

impl Buffer {
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind the filled bytes, after moving them to the front where that makes more.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 && (self.is_empty() || self.end == self.bytes.len()) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Counts `n` bytes written into `room` as filled.
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Forgets the first `n` filled bytes.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    pub fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len()
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// The same bytes in a large buffer.
    pub fn enlarge(&mut self) {
        if self.size != Size::Small {
            return;
        }
        let mut larger = self.home.take(Size::Large);
        let filled = self.filled().len();
        larger.bytes[..filled].copy_from_slice(self.filled());
        larger.end = filled;
        *self = larger;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.give_back(self.size, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(buffers: &Rc<Buffers>, bytes: &[u8]) -> Buffer {
        let mut buffer = buffers.take(Size::Small);
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.advance(bytes.len());
        buffer
    }

    #[test]
    fn consumed_bytes_make_room_again() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = filled_with(&buffers, &[7; Size::Small.bytes()]);
        assert!(buffer.is_full());
        buffer.consume(100);
        assert_eq!(buffer.room().len(), 100);
        assert_eq!(buffer.filled().len(), Size::Small.bytes() - 100);
    }

    #[test]
    fn enlarging_keeps_the_bytes_and_gives_the_small_block_back() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = filled_with(&buffers, b"GET / HTTP/1.1");
        buffer.consume(4);
        buffer.enlarge();
        assert_eq!(buffer.filled(), b"/ HTTP/1.1");
        assert_eq!(buffer.size(), Size::Large);
        assert_eq!(buffers.small.borrow().len(), 1);
    }

    #[test]
    fn bulk_buffers_are_few() {
        let buffers = Rc::new(Buffers::default());
        let mut taken: Vec<_> = (0..MOST_BULK).map(|_| buffers.take(Size::Bulk)).collect();
        assert!(taken.iter().all(|buffer| buffer.size() == Size::Bulk));
        assert_eq!(buffers.take(Size::Bulk).size(), Size::Large);
        taken.pop();
        assert_eq!(buffers.take(Size::Bulk).size(), Size::Bulk);
    }

    #[test]
    fn the_buffer_given_back_last_is_taken_first() {
        let buffers = Rc::new(Buffers::default());
        let first = buffers.take(Size::Large);
        let address = first.bytes.as_ptr();
        drop(first);
        assert_eq!(buffers.take(Size::Large).bytes.as_ptr(), address);
    }
}
