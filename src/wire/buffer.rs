//! Buffer for the received bytes of one connection that are not consumed yet.

use bytes::BufMut;
use bytes::buf::Limit;

/// Size of a connection's first reads: most senders send little, and thousands of them may be active at once.
pub const SMALLEST_READ: usize = 8 * 1024;

/// Size that reads grow to while a sender fills them, and the memory limit of a connection between messages: with larger reads the cost
/// of a system call per byte hardly decreases.
pub const LARGEST_READ: usize = 64 * 1024;

/// Unread contiguous bytes, and their position in the stream.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Number of consumed bytes at the start of `bytes`.
    head: usize,
    offset: u64,
    /// Size of the next read, unless the message has a known size.
    read: usize,
    /// Stream position at which the last read would have been full.
    aim: u64,
}

impl Buffer {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            head: 0,
            offset: 0,
            read: SMALLEST_READ,
            aim: u64::MAX,
        }
    }

    /// The unread bytes.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Number of unread bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Stream position of [`Self::unread`].
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of bytes received from the stream.
    fn end(&self) -> u64 {
        self.offset + self.len() as u64
    }

    /// Removes `n` bytes from the front.
    pub(super) fn consume(&mut self, n: usize) {
        self.head += n;
        self.offset += n as u64;
        if self.head == self.bytes.len() {
            self.head = 0;
            self.bytes.clear();
            if self.bytes.capacity() > LARGEST_READ {
                self.bytes = Vec::new();
            }
        }
    }

    /// Drops all bytes and frees the memory.
    pub(super) fn discard(&mut self) {
        self.offset += self.len() as u64;
        self.bytes = Vec::new();
        self.head = 0;
    }

    /// Gives the memory back unless it holds something.
    pub(super) fn release(&mut self) {
        if self.len() == 0 {
            self.bytes = Vec::new();
            self.head = 0;
        }
    }

    /// Room for `wanted` more bytes, or for a read's worth if that is more; never for more than `allow`, and for less where a message with room
    /// for a large read would have to be moved.
    pub(super) fn spare(&mut self, wanted: usize, allow: usize) -> Limit<&mut Vec<u8>> {
        if self.aim == self.end() {
            self.read = (self.read * 2).min(LARGEST_READ);
        }
        let wanted = wanted.max(self.read.saturating_sub(self.len())).max(1);
        let n = wanted.min(allow.max(1));
        // Growing can move the whole message, and a sender may send byte by byte: a buffer with room for a read does not grow.
        let free = self.bytes.capacity() - self.bytes.len();
        let n = if free < LARGEST_READ { n } else { n.min(free) };
        self.make_room(n);
        self.aim = self.end() + n as u64;
        (&mut self.bytes).limit(n)
    }

    /// Sees to `n` free bytes behind the unread ones: by moving these to the front, by growing to exactly what is needed,
    /// or by moving to something smaller when a large message is over.
    fn make_room(&mut self, n: usize) {
        let needed = self.len() + n;
        let capacity = self.bytes.capacity();
        let oversized = capacity > LARGEST_READ && capacity / 2 > needed;
        if oversized {
            let mut smaller = Vec::with_capacity(needed);
            smaller.extend_from_slice(self.unread());
            self.bytes = smaller;
            self.head = 0;
        } else if capacity - self.bytes.len() < n {
            self.bytes.drain(..self.head);
            self.head = 0;
            self.bytes.reserve_exact(n);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests;
