//! A body that is a list of shared slices with a known length.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame, SizeHint};

/// Bytes handed down at once, and between two yields: large enough for few system calls, small enough that sixteen scrapers of tens of
/// megabytes each are served in turn rather than one after another.
const FRAME: usize = 256 * 1024;

/// Bytes in one batch of slices, and between two yields of a connection that writes batches. A system call for each 64 kB costs a quarter
/// more CPU. With a megabyte, sixteen scrapers on one machine take twice as long: what is written is no longer in the CPU's cache when they
/// read it.
pub(super) const BATCH_BYTES: usize = FRAME;

/// Slices in one batch: HTTP passes 64 buffers to a system call, of which the first may be the response's head.
const BATCH_SLICES: usize = 63;

/// Slices that stand in a row, shared by all answers that hold them.
pub type Slices = Arc<Vec<Bytes>>;

/// SliceLists of immutable slices, sent one after another. A reader costs a list of handles to rows, however slow it is, and not to their
/// thousands of slices; a row is let go once it has been written.
#[derive(Debug, Default)]
pub struct SharedBody {
    memory: ResponseMemory,
    /// Separator between slices, mostly empty.
    between: Bytes,
    /// True once a slice was sent, if there is a separator.
    begun: bool,
    /// The rest of joined slices.
    joined: Bytes,
    /// Bytes of separators, and of joined slices, that are still to be sent.
    left_joined: u64,
    since_yield: usize,
}

/// Memory that a response holds, an extension of the response. Without it a response counts with its whole length, and one of unknown
/// length with the frame that is being written. A clone is a handle to the same memory.
#[derive(Debug, Clone, Default)]
pub struct ResponseMemory(Arc<MemoryInner>);

#[derive(Debug, Default)]
struct MemoryInner {
    lists: Mutex<SliceLists>,
    /// Bytes of the frame that was handed down last. HTTP asks for the next one when less than [`MAX_HEAD`](super::MAX_HEAD) of it is unwritten.
    frame: AtomicU64,
}

#[derive(Debug, Default)]
struct SliceLists {
    /// The rows that are still to be sent, the one in work after those in flight.
    ahead: VecDeque<Slices>,
    /// Rows at the front of which all was handed down, but perhaps not written yet: kept, so that they are counted.
    in_flight: usize,
    /// The next slice of the row in work.
    next: usize,
    /// The rest of the slice in work.
    current: Bytes,
    /// Bytes of the rows that are still to be sent.
    left: u64,
    /// The rows that were sent.
    sent: Vec<Weak<Vec<Bytes>>>,
    /// Bytes of a body that is no list of rows.
    unshared: Arc<AtomicU64>,
}

impl ResponseMemory {
    /// A body that shares nothing with others, and keeps as many bytes as the number says at any time.
    #[must_use]
    pub fn changing(bytes: Arc<AtomicU64>) -> Self {
        let rows = SliceLists {
            unshared: bytes,
            ..SliceLists::default()
        };
        Self::of(rows)
    }

    fn of(lists: SliceLists) -> Self {
        Self(Arc::new(MemoryInner {
            lists: Mutex::new(lists),
            frame: AtomicU64::new(0),
        }))
    }

    /// A body that shares nothing with others.
    pub(super) fn opaque(bytes: u64) -> Self {
        Self::changing(Arc::new(bytes.into()))
    }

    /// Calls `row` for each row, with whether it is still to be sent.
    pub(super) fn each(&self, mut row: impl FnMut(&Weak<Vec<Bytes>>, bool)) {
        let rows = self.rows();
        rows.sent.iter().for_each(|sent| row(sent, false));
        rows.ahead.iter().for_each(|ahead| row(&Arc::downgrade(ahead), true));
    }

    /// Bytes that the response keeps and shares with nothing, without the frame in work.
    pub(crate) fn unshared(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rows().unshared)
    }

    /// Notes the length of a frame that is made for this response alone and is handed down now.
    pub(super) fn set_frame(&self, bytes: u64) {
        self.0.frame.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of the frame that was handed down last.
    pub(super) fn frame(&self) -> u64 {
        self.0.frame.load(Ordering::Relaxed)
    }

    /// Bytes of the rows that are still to be sent.
    pub(super) fn left(&self) -> u64 {
        self.rows().left
    }

    /// The next slice, cut off after `most` bytes.
    fn next_slice(&self, most: usize) -> Option<Bytes> {
        let rows = &mut *self.rows();
        rows.release_written();
        rows.next_slice(most)
    }

    /// The next slices, as many as one system call takes: at most [`BATCH_SLICES`] and [`BATCH_BYTES`]. Empty at the end.
    pub(super) fn next_batch(&self) -> Batch {
        let rows = &mut *self.rows();
        rows.release_written();
        let mut batch = Batch::default();
        while !batch.is_full()
            && let Some(slice) = rows.next_slice(BATCH_BYTES - batch.len)
        {
            batch.push(slice);
        }
        batch
    }

    fn rows(&self) -> MutexGuard<'_, SliceLists> {
        self.0.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SliceLists {
    /// Lets go of the rows in flight: HTTP asks for more once it has written what it was given.
    fn release_written(&mut self) {
        let written = self.ahead.drain(..self.in_flight);
        self.sent.extend(written.map(|row| Arc::downgrade(&row)));
        self.in_flight = 0;
    }

    /// The next slice, cut off after `most` bytes; never an empty one.
    fn next_slice(&mut self, most: usize) -> Option<Bytes> {
        while self.current.is_empty() {
            let row = self.ahead.get(self.in_flight)?;
            if let Some(slice) = row.get(self.next) {
                self.next += 1;
                self.current = slice.clone();
            } else {
                self.next = 0;
                self.in_flight += 1;
            }
        }
        let slice = match self.current.len() <= most {
            true => std::mem::take(&mut self.current),
            false => self.current.split_to(most),
        };
        self.left -= slice.len() as u64;
        Some(slice)
    }
}

/// Slices that go out in one system call. Short responses have one, which takes no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Batch {
    first: Bytes,
    more: VecDeque<Bytes>,
    /// The bytes of all of them.
    len: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn is_full(&self) -> bool {
        self.len >= BATCH_BYTES || self.more.len() + 1 >= BATCH_SLICES
    }

    fn push(&mut self, slice: Bytes) {
        self.len += slice.len();
        if self.first.is_empty() {
            self.first = slice;
        } else {
            self.more.push_back(slice);
        }
    }
}

impl From<Bytes> for Batch {
    fn from(first: Bytes) -> Self {
        Self {
            len: first.len(),
            first,
            more: VecDeque::new(),
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let slices = std::iter::once(&self.first).chain(&self.more).filter(|slice| !slice.is_empty());
        let filled = dst.iter_mut().zip(slices).map(|(to, slice)| *to = IoSlice::new(slice));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "cannot advance by {count} of {} bytes", self.len);
        self.len -= count;
        while count >= self.first.len() {
            count -= self.first.len();
            self.first = self.more.pop_front().unwrap_or_default();
            if self.first.is_empty() {
                return;
            }
        }
        self.first.advance(count);
    }
}

impl SharedBody {
    /// The body made of these rows in this order.
    #[must_use]
    pub fn new(rows: Vec<Slices>) -> Self {
        let left = rows.iter().flat_map(|row| row.iter()).map(|slice| slice.len() as u64).sum();
        let rows = SliceLists {
            ahead: rows.into(),
            left,
            ..SliceLists::default()
        };
        Self {
            memory: ResponseMemory::of(rows),
            ..Self::default()
        }
    }

    /// The slices of a row with `between` between each two. Slices are small here: they are copied together as they are sent.
    #[must_use]
    pub fn joined_by(row: Slices, between: Bytes) -> Self {
        let gaps = (row.len() as u64).saturating_sub(1);
        let mut body = Self::new(vec![row]);
        body.left_joined = gaps * between.len() as u64;
        Self { between, ..body }
    }

    /// The body, with a number of bytes that it keeps besides and shares with nothing.
    #[must_use]
    pub fn keeping(self, bytes: u64) -> Self {
        self.memory.rows().unshared = Arc::new(bytes.into());
        self
    }

    /// A response with this body. The memory that it keeps while its client does not read is counted part by part.
    #[must_use]
    pub fn into_response(self) -> Response<axum::body::Body> {
        let memory = self.memory.clone();
        let mut response = Response::new(axum::body::Body::new(self));
        response.extensions_mut().insert(memory);
        response
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> &ResponseMemory {
        &self.memory
    }

    /// Bytes still to be sent.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.memory.left() + self.left_joined
    }

    /// Returns true if everything was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece of at most [`FRAME`] bytes.
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        let frame = if self.between.is_empty() {
            self.memory.next_slice(FRAME)?
        } else {
            self.next_joined()?
        };
        self.since_yield += frame.len();
        Some(frame)
    }

    /// Joined slices of at most [`FRAME`] bytes.
    fn next_joined(&mut self) -> Option<Bytes> {
        if self.joined.is_empty() {
            self.join_slices();
        }
        let frame = self.joined.split_to(self.joined.len().min(FRAME));
        self.left_joined -= frame.len() as u64;
        (!frame.is_empty()).then_some(frame)
    }

    /// Joins slices up to the size of a frame, with separators between them, and before the first one unless it is the first of all.
    fn join_slices(&mut self) {
        let mut joined = BytesMut::new();
        while joined.len() < FRAME
            && let Some(slice) = self.memory.next_slice(usize::MAX)
        {
            if std::mem::replace(&mut self.begun, true) {
                joined.extend_from_slice(&self.between);
            }
            self.left_joined += slice.len() as u64;
            joined.extend_from_slice(&slice);
        }
        self.joined = joined.freeze();
    }
}

impl From<Vec<Bytes>> for SharedBody {
    fn from(parts: Vec<Bytes>) -> Self {
        Self::new(vec![Arc::new(parts)])
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.since_yield >= FRAME {
            self.since_yield = 0;
            if !self.is_empty() {
                // Back to the end of the run queue: others get their turn while the kernel sends what it has.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(self.next_frame().map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

#[cfg(test)]
mod tests;
