//! A queue for the rendering of pages, away from the threads that serve connections.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Response};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::compression::{MIN_GZIP_BYTES, encoded, encoding};
use crate::exposition::negotiate::ContentEncoding;
use crate::supervise::blocking;

/// The longest pause after a page. One that took longer was delayed by other work of the machine.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Renders pages one at a time. After each it pauses for as long as that took, so that clients that ask in a loop, each time for another
/// page, take half of one core at most. Waiting requests are served in order; they are as many as there are connections.
#[derive(Debug, Default)]
pub struct RenderQueue {
    /// The time before which no page is rendered.
    next: Mutex<Option<Instant>>,
}

impl RenderQueue {
    /// Renders a response, and compresses it if a request with these headers accepts that and it is large.
    pub async fn respond(&self, headers: &HeaderMap, work: impl FnOnce() -> Response<String> + Send + 'static) -> Response<Body> {
        let encoding = encoding(headers);
        self.render(move || encoded(work(), encoding)).await
    }

    /// A response that was rendered without a turn, compressed as by [`RenderQueue::respond`].
    pub async fn compressed(&self, headers: &HeaderMap, response: Response<String>) -> Response<Body> {
        if response.body().len() < MIN_GZIP_BYTES || encoding(headers) == ContentEncoding::Identity {
            return encoded(response, ContentEncoding::Identity);
        }
        self.respond(headers, move || response).await
    }

    /// Renders a page, or a part of one.
    pub async fn render<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let mut next = self.next.lock().await;
        if let Some(until) = *next {
            sleep_until(until).await;
        }
        let began = Instant::now();
        let page = blocking(work).await;
        *next = Some(Instant::now() + began.elapsed().min(MAX_PAUSE));
        page
    }
}

#[cfg(test)]
mod tests;
