//! The body of a response on its way down, reporting its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::connection::SharedConnection;
use super::shared_body::{BATCH_BYTES, Batch, ResponseMemory};

/// The body of a response; it reports to the connection whether it was read completely.
pub(super) struct TrackedBody {
    content: Content,
    shared: Arc<SharedConnection>,
    /// True if nothing more of the body is needed: it has ended, or the request was HEAD.
    complete: bool,
}

enum Content {
    /// Any body. Its frames count for the memory unless that has the whole body already.
    Frames { body: Body, memory: Option<ResponseMemory> },
    /// A list of shared slices, taken in batches past the body that they belong to, which gives them away one by one.
    Batches { slices: ResponseMemory, since_yield: usize },
}

impl TrackedBody {
    /// `memory` is that of the response; if all of the body is slices in there, they are taken from there. A body without one is held whole,
    /// or, if its length is not known, made frame by frame.
    pub(super) fn new(body: Body, memory: Option<ResponseMemory>, shared: Arc<SharedConnection>, to_head: bool) -> Self {
        shared.set_sending(true);
        let length = body.size_hint().exact();
        let whole = length.filter(|_| memory.is_none());
        let memory = memory.unwrap_or_else(|| whole.map_or_else(ResponseMemory::default, ResponseMemory::opaque));
        shared.set_response_memory(memory.clone());
        let content = if length == Some(memory.left()) {
            Content::Batches {
                slices: memory,
                since_yield: 0,
            }
        } else {
            Content::Frames {
                body,
                memory: whole.is_none().then_some(memory),
            }
        };
        Self {
            content,
            shared,
            complete: to_head,
        }
    }
}

impl HttpBody for TrackedBody {
    type Data = Batch;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Batch>, axum::Error>>> {
        let frame = match &mut self.content {
            Content::Frames { body, memory } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let (Some(memory), Some(Ok(frame))) = (memory, &frame) {
                    memory.set_frame(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                frame.map(|frame| frame.map(|frame| frame.map_data(Batch::from)))
            }
            Content::Batches { slices, since_yield } => {
                if *since_yield >= BATCH_BYTES && slices.left() > 0 {
                    *since_yield = 0;
                    // Back to the end of the run queue: others get their turn while the kernel sends what it has.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let batch = slices.next_batch();
                *since_yield += batch.len();
                (!batch.is_empty()).then(|| Ok(Frame::data(batch)))
            }
        };
        self.complete |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Frames { body, .. } => body.is_end_stream(),
            Content::Batches { slices, .. } => slices.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Frames { body, .. } => body.size_hint(),
            Content::Batches { slices, .. } => SizeHint::with_exact(slices.left()),
        }
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        let complete = self.complete || self.is_end_stream();
        self.shared.set_sending(false);
        self.shared.state().answered(complete);
    }
}
