//! The body of a response on its way down, reporting its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::connection::SharedConnection;

/// The body of a response; it reports to the connection whether it was read completely.
pub(super) struct TrackedBody {
    body: Body,
    shared: Arc<SharedConnection>,
    /// True if nothing more of the body is needed: it has ended, or the request was HEAD.
    complete: bool,
}

impl TrackedBody {
    pub(super) fn new(body: Body, shared: Arc<SharedConnection>, to_head: bool) -> Self {
        Self {
            body,
            shared,
            complete: to_head,
        }
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.complete |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        let complete = self.complete || self.body.is_end_stream();
        self.shared.state().answered(complete);
    }
}
