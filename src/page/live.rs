//! The stream that says when a page is out of date.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::too_many;

/// Streams at once. Each holds a connection; a page without one fetches itself from time to time.
const MAX_STREAMS: usize = 32;
/// The shortest time between two updates of a page. A person cannot read faster, and each page that is open has it rendered.
const INTERVAL: Duration = Duration::from_secs(2);
/// The number of intervals after which a page is updated even if nothing changed: it shows ages.
const QUIET: u32 = 5;

/// Returns a number that differs when a page does.
pub type Version = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The streams of updates to pages. Cloning clones a handle.
#[derive(Clone)]
pub struct LiveUpdates {
    version: Version,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

impl LiveUpdates {
    /// Streams that follow this version until `stop`.
    #[must_use]
    pub fn new(version: Version, stop: CancellationToken) -> Self {
        Self {
            version,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop,
        }
    }
}

impl fmt::Debug for LiveUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveUpdates")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// One open stream.
struct Follower {
    live: LiveUpdates,
    interval: Interval,
    seen: u64,
    quiet: u32,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next message; `None` at the end of the program.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                () = self.live.stop.cancelled() => return None,
                _ = self.interval.tick() => {}
            }
            let version = (self.live.version)();
            self.quiet += 1;
            if version != self.seen || self.quiet >= QUIET {
                (self.seen, self.quiet) = (version, 0);
                return Some(format!("data: {version}\n\n").into());
            }
        }
    }
}

/// `GET /ui/live`: a message of server-sent events for each update.
///
/// Source of the format: the HTML standard, section "Server-sent events".
pub(super) async fn stream(State(live): State<LiveUpdates>) -> Response<Body> {
    let Ok(permit) = Arc::clone(&live.streams).try_acquire_owned() else {
        return too_many();
    };
    let mut interval = interval_at(Instant::now() + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower {
        seen: (live.version)(),
        live,
        interval,
        quiet: 0,
        _permit: permit,
    };
    let messages = stream::unfold(follower, |mut follower| async move {
        let message = follower.next().await?;
        Some((Ok::<_, Infallible>(message), follower))
    });
    // The first bytes at once: a client must know that it is connected.
    let opened = stream::once(async { Ok(Bytes::from_static(b"retry: 5000\n\n")) });
    let mut answer = Response::new(Body::from_stream(futures_util::StreamExt::chain(opened, messages)));
    let head = answer.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
