//! The stream that says when a page is out of date.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::too_many;
use crate::http::{Client, Login, Sender};

/// Streams at once. Each holds a connection; a page without one fetches itself from time to time.
const MAX_STREAMS: usize = 32;
/// Streams of one address, and of one user or token from all addresses: the pages that a person has open. One client must not hold all of
/// them.
const MAX_PER_VIEWER: usize = 8;
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
    places: Arc<Places>,
    stop: CancellationToken,
}

impl LiveUpdates {
    /// Streams that follow this version until `stop`.
    #[must_use]
    pub fn new(version: Version, stop: CancellationToken) -> Self {
        Self {
            version,
            places: Arc::default(),
            stop,
        }
    }
}

impl fmt::Debug for LiveUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveUpdates").field("places", &self.places).finish_non_exhaustive()
    }
}

/// The holders of the open streams, at most [`MAX_STREAMS`].
#[derive(Debug, Default)]
struct Places(Mutex<Vec<Viewer>>);

/// The client of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Viewer {
    client: Client,
    login: Login,
}

impl Viewer {
    fn of(sender: &Sender) -> Self {
        Self {
            client: sender.client.network(),
            login: sender.login.clone(),
        }
    }
}

impl Places {
    fn table(&self) -> MutexGuard<'_, Vec<Viewer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a stream; `None` if all are taken, or too many by this client.
    fn take(self: &Arc<Self>, sender: &Sender) -> Option<Place> {
        let (viewer, mut table) = (Viewer::of(sender), self.table());
        let by_client = table.iter().filter(|held| held.client == viewer.client).count();
        let by_login = table
            .iter()
            .filter(|held| held.login != Login::None && held.login == viewer.login)
            .count();
        if table.len() >= MAX_STREAMS || by_client >= MAX_PER_VIEWER || by_login >= MAX_PER_VIEWER {
            return None;
        }
        table.push(viewer.clone());
        Some(Place {
            viewer,
            places: Arc::clone(self),
        })
    }
}

/// A taken place, free again when it is dropped.
#[derive(Debug)]
struct Place {
    viewer: Viewer,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        if let Some(at) = table.iter().position(|held| *held == self.viewer) {
            table.swap_remove(at);
        }
    }
}

/// One open stream.
struct Follower {
    live: LiveUpdates,
    interval: Interval,
    seen: u64,
    quiet: u32,
    _place: Place,
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
pub(super) async fn stream(State(live): State<LiveUpdates>, Extension(sender): Extension<Sender>) -> Response<Body> {
    let Some(place) = live.places.take(&sender) else {
        return too_many();
    };
    let mut interval = interval_at(Instant::now() + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower {
        seen: (live.version)(),
        live,
        interval,
        quiet: 0,
        _place: place,
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

#[cfg(test)]
mod tests;
