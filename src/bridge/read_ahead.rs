//! Buffers a response as fast as its link delivers it, independent of its reader.
//!
//! All responses of a link share its flow control window. A response left in the link by a slow reader would take a part of the window
//! from all others, and several would block the link. So responses are buffered here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use crate::http::ResponseMemory;

/// Limit on the bytes buffered for one reader. Beyond it the rest of the response stays in its link and takes a sixteenth of the window.
/// All stalled responses together keep at most [`MAX_STALLED_BYTES`](crate::http::MAX_STALLED_BYTES), so at most eight reach this limit.
const MAX_AHEAD: u64 = 32 << 20;

/// A buffered body. Dropping it cancels the response.
pub(super) struct ReadAhead<E> {
    queue: Arc<Mutex<ReadAheadQueue<E>>>,
    bytes: Arc<AtomicU64>,
    reading: AbortHandle,
    left: Option<u64>,
}

struct ReadAheadQueue<E> {
    frames: VecDeque<Bytes>,
    /// The result of the response once it has ended.
    end: Option<Result<(), E>>,
    reader: Waker,
    source: Waker,
}

impl<E> Default for ReadAheadQueue<E> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            end: None,
            reader: Waker::noop().clone(),
            source: Waker::noop().clone(),
        }
    }
}

/// Returns the response with a body that a task of its own buffers. The buffered bytes count as kept memory if the reader stalls.
pub(super) fn read_ahead<B>(response: Response<B>) -> Response<ReadAhead<B::Error>>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let (head, body) = response.into_parts();
    let (queue, bytes) = (Arc::default(), Arc::default());
    let left = body.size_hint().exact();
    let source = ReadAheadTask {
        body,
        queue: Arc::clone(&queue),
        bytes: Arc::clone(&bytes),
    };
    let body = ReadAhead {
        reading: tokio::spawn(source).abort_handle(),
        queue,
        bytes: Arc::clone(&bytes),
        left,
    };
    let mut response = Response::from_parts(head, body);
    response.extensions_mut().insert(ResponseMemory::changing(bytes));
    response
}

fn lock<E>(queue: &Mutex<ReadAheadQueue<E>>) -> MutexGuard<'_, ReadAheadQueue<E>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task that reads the body into the queue.
struct ReadAheadTask<B: Body> {
    body: B,
    queue: Arc<Mutex<ReadAheadQueue<B::Error>>>,
    bytes: Arc<AtomicU64>,
}

impl<B: Body<Data = Bytes> + Unpin> Future for ReadAheadTask<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = &mut *self;
        loop {
            {
                let mut queue = lock(&me.queue);
                if me.bytes.load(Ordering::Relaxed) >= MAX_AHEAD {
                    queue.source.clone_from(cx.waker());
                    return Poll::Pending;
                }
            }
            // Yields to other tasks if the link delivers without pause.
            let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
            let frame = std::task::ready!(Pin::new(&mut me.body).poll_frame(cx));
            budget.made_progress();
            let mut queue = lock(&me.queue);
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        me.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                        queue.frames.push_back(data);
                    }
                }
                Some(Err(error)) => queue.end = Some(Err(error)),
                None => queue.end = Some(Ok(())),
            }
            queue.reader.wake_by_ref();
            if queue.end.is_some() {
                return Poll::Ready(());
            }
        }
    }
}

impl<E> Body for ReadAhead<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let me = &mut *self;
        let mut queue = lock(&me.queue);
        if let Some(data) = queue.frames.pop_front() {
            let len = data.len() as u64;
            me.left = me.left.map(|left| left.saturating_sub(len));
            me.bytes.fetch_sub(len, Ordering::Relaxed);
            queue.source.wake_by_ref();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match queue.end.take() {
            None => {
                queue.reader.clone_from(cx.waker());
                Poll::Pending
            }
            Some(Ok(())) => {
                queue.end = Some(Ok(()));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                queue.end = Some(Ok(()));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // A response of known length has ended with its last byte: the task may notice the end only later.
        if self.left == Some(0) {
            return true;
        }
        let queue = lock(&self.queue);
        queue.frames.is_empty() && matches!(queue.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<E> Drop for ReadAhead<E> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[cfg(test)]
mod tests;
