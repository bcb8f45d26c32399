//! Delivery tracking at the scraped end: which responses have reached their readers, as reported by the scraping end.
//!
//! The scraping end numbers its scrapes. Once a response has reached its reader, it reports the number in a control message and again in
//! a header of its next request, so that the order in which streams arrive does not matter. Until then the response counts as unacked,
//! and its events stay leased.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use http::{Extensions, HeaderMap, HeaderName, StatusCode, Uri};

use super::collection_error::CollectionError;
use crate::http::{RequestObserver, SendQueue};
use crate::peer::identity::PublicKey;
use crate::peer::link_event::{LinkEvent, LinkEvents, ScrapeId};

/// The header with the number of a scrape.
pub(crate) const SCRAPE: HeaderName = HeaderName::from_static("exporter-proxy-scrape");

/// The header with the numbers of delivered scrapes, separated by commas.
pub(crate) const DELIVERED: HeaderName = HeaderName::from_static("exporter-proxy-delivered");

/// Time after the loss of a connection in which an outcome can be reported, equal to the default lifetime of a scraper that does not
/// scrape.
pub(crate) const REPORT_TIMEOUT: Duration = Duration::from_secs(600);

/// Limit on responses with a pending outcome over all links: far more than a working bridge has, and 100 kB. Beyond it a response counts
/// as unacked.
const MAX_PENDING: usize = 4_096;

/// The responses with a pending outcome of all links. A clone is a handle to the same tracker.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeliveryTracker(Arc<Mutex<Pending>>);

type Pending = HashMap<(PublicKey, ScrapeId), Weak<StreamDelivery>>;

impl DeliveryTracker {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the report of `peer` that this scrape was delivered. Only its own scrapes are affected.
    pub(crate) fn delivered(&self, peer: PublicKey, scrape: ScrapeId) {
        let delivery = self.lock().get(&(peer, scrape)).and_then(Weak::upgrade);
        if let Some(delivery) = delivery {
            delivery.set_delivered();
        }
    }

    fn insert(&self, peer: PublicKey, scrape: ScrapeId, delivery: &Weak<StreamDelivery>) {
        let mut pending = self.lock();
        if pending.len() < MAX_PENDING {
            pending.insert((peer, scrape), delivery.clone());
        }
    }

    fn remove(&self, peer: PublicKey, scrape: ScrapeId) {
        self.lock().remove(&(peer, scrape));
    }
}

/// The delivery state of the scrape on one stream.
#[derive(Debug)]
pub(crate) struct StreamDelivery {
    peer: PublicKey,
    tracker: DeliveryTracker,
    events: Arc<LinkEvents>,
    weak_self: Weak<StreamDelivery>,
    started: Instant,
    scrape: OnceLock<ScrapeId>,
    delivered: AtomicBool,
    waker: AtomicWaker,
}

impl StreamDelivery {
    pub(crate) fn open(peer: PublicKey, tracker: DeliveryTracker, events: Arc<LinkEvents>) -> Arc<Self> {
        Arc::new_cyclic(|weak_self| Self {
            peer,
            tracker,
            events,
            weak_self: weak_self.clone(),
            started: Instant::now(),
            scrape: OnceLock::new(),
            delivered: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// Returns true if the stream has received a request.
    pub(crate) fn has_request(&self) -> bool {
        self.scrape.get().is_some()
    }

    fn set_delivered(&self) {
        self.delivered.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Resolves when the response was delivered.
    pub(crate) fn poll_delivered(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.delivered.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl SendQueue for StreamDelivery {
    /// The reader is behind the peer, so the acknowledgements of the transport do not count: either all bytes are acked by a report, or
    /// none.
    fn unacked(&self) -> io::Result<u64> {
        Ok(u64::from(!self.delivered.load(Ordering::Acquire)))
    }

    /// A stream carries one request.
    fn unread(&self) -> io::Result<u64> {
        Ok(0)
    }
}

impl RequestObserver for StreamDelivery {
    fn on_request(&self, uri: &Uri, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        for scrape in text(DELIVERED).into_iter().flat_map(|list| list.split(',')) {
            if let Ok(scrape) = scrape.trim().parse() {
                self.tracker.delivered(self.peer, scrape);
            }
        }
        let Some(scrape) = text(SCRAPE).and_then(|text| text.parse().ok()) else {
            return;
        };
        if self.scrape.set(scrape).is_ok() {
            self.tracker.insert(self.peer, scrape, &self.weak_self);
            self.events.emit(LinkEvent::ScrapeStarted {
                peer: self.peer,
                scrape,
                path: uri.path().to_owned(),
            });
        }
    }

    fn on_response(&self, status: StatusCode, extensions: &Extensions) {
        let Some(&scrape) = self.scrape.get() else { return };
        let peer = self.peer;
        self.events.emit(if status.is_success() {
            LinkEvent::ScrapeAnswered { peer, scrape }
        } else {
            let why = match extensions.get::<CollectionError>() {
                Some(failed) => failed.to_string(),
                None => format!("responded with {status} after {:?}", self.started.elapsed()),
            };
            LinkEvent::ScrapeFailed { peer, scrape, why }
        });
    }
}

impl Drop for StreamDelivery {
    fn drop(&mut self) {
        if let Some(scrape) = self.scrape.get() {
            self.tracker.remove(self.peer, *scrape);
        }
    }
}

#[cfg(test)]
mod tests;
