//! A body that is a list of shared slices with a known length.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame, SizeHint};

/// Bytes handed down at once, and between two yields: large enough for few system calls, small enough that sixteen scrapers of tens of
/// megabytes each are served in turn rather than one after another.
const FRAME: usize = 256 * 1024;

/// Slices that stand in a row, shared by all answers that hold them.
pub type Slices = Arc<Vec<Bytes>>;

/// SliceLists of immutable slices, sent one after another. A reader costs a list of handles to rows, however slow it is, and not to their
/// thousands of slices; a row is let go once it has been handed down.
#[derive(Debug, Default)]
pub struct SharedBody {
    memory: ResponseMemory,
    /// Separator between slices, mostly empty.
    between: Bytes,
    /// True once a slice was sent, if there is a separator.
    begun: bool,
    current: Bytes,
    left: u64,
    since_yield: usize,
}

/// Memory that a response holds, an extension of the response. Without it a response counts with its whole length. A clone is a handle
/// to the same memory.
#[derive(Debug, Clone, Default)]
pub struct ResponseMemory(Arc<Mutex<SliceLists>>);

#[derive(Debug, Default)]
struct SliceLists {
    /// The rows that are still to be sent, the one in work first.
    ahead: VecDeque<Slices>,
    /// The next slice of the first one.
    next: usize,
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
        Self(Arc::new(Mutex::new(rows)))
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

    pub(super) fn unshared(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rows().unshared)
    }

    fn next_slice(&self) -> Option<Bytes> {
        let rows = &mut *self.rows();
        loop {
            let first = rows.ahead.front()?;
            if let Some(slice) = first.get(rows.next) {
                rows.next += 1;
                return Some(slice.clone());
            }
            rows.sent.push(Arc::downgrade(first));
            rows.next = 0;
            rows.ahead.pop_front();
        }
    }

    fn rows(&self) -> MutexGuard<'_, SliceLists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedBody {
    /// The body made of these rows in this order.
    #[must_use]
    pub fn new(rows: Vec<Slices>) -> Self {
        let left = rows.iter().flat_map(|row| row.iter()).map(|slice| slice.len() as u64).sum();
        let rows = SliceLists {
            ahead: rows.into(),
            ..SliceLists::default()
        };
        Self {
            memory: ResponseMemory(Arc::new(Mutex::new(rows))),
            left,
            ..Self::default()
        }
    }

    /// The slices of a row with `between` between each two. Slices are small here: they are copied together as they are sent.
    #[must_use]
    pub fn joined_by(row: Slices, between: Bytes) -> Self {
        let gaps = (row.len() as u64).saturating_sub(1);
        let mut body = Self::new(vec![row]);
        body.left += gaps * between.len() as u64;
        Self { between, ..body }
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
        self.left
    }

    /// Returns true if everything was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next piece of at most [`FRAME`] bytes.
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        if !self.between.is_empty() && self.current.is_empty() {
            self.current = self.join_slices();
        }
        while self.current.is_empty() {
            self.current = self.memory.next_slice()?;
        }
        let frame = self.current.split_to(self.current.len().min(FRAME));
        self.left -= frame.len() as u64;
        self.since_yield += frame.len();
        Some(frame)
    }
}

impl SharedBody {
    /// Joins slices up to the size of a frame, with separators between them, and before the first one unless it is the first of all.
    fn join_slices(&mut self) -> Bytes {
        let mut joined = BytesMut::new();
        while joined.len() < FRAME
            && let Some(slice) = self.memory.next_slice()
        {
            if std::mem::replace(&mut self.begun, true) {
                joined.extend_from_slice(&self.between);
            }
            joined.extend_from_slice(&slice);
        }
        joined.freeze()
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
            if self.left > 0 {
                // Back to the end of the run queue: others get their turn while the kernel sends what it has.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(self.next_frame().map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests;
