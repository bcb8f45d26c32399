//! Events on their way to a scraper.

use std::fmt;
use std::sync::Arc;

use super::StoredEvent;

/// Names a lease, for whoever must settle it without holding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(super) u64);

/// How a scraper stands with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScraperStatus {
    /// It had been known.
    Known,
    /// This was its first scrape.
    New,
    /// Another scrape of it is on its way with events, so this one gets none.
    InFlight,
    /// There are [`MAX_SCRAPERS`](super::MAX_SCRAPERS) others, so it gets none.
    Untracked,
}

/// Where a lease is settled.
pub(in crate::store) trait Settle: Send + Sync {
    /// Ends a lease one way or the other; the first word counts, and false says that this was not it.
    fn settle(&self, lease: LeaseId, acked: bool) -> bool;
}

/// The hold that one scrape has on the events lent to it. Dropped unconfirmed, it gives them back.
#[must_use = "dropping a lease makes its events due again"]
pub struct Lease {
    id: LeaseId,
    store: Arc<dyn Settle>,
}

impl Lease {
    pub(in crate::store) fn new(id: LeaseId, store: Arc<dyn Settle>) -> Self {
        Self { id, store }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// The scraper has got the events.
    pub fn ack(self) {
        // The drop that follows comes too late to change anything.
        self.store.settle(self.id, true);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.settle(self.id, false);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.id.0).finish()
    }
}

/// The events that go with one scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The events, oldest first. Without explicit timestamps no two have the same labels.
    pub events: Vec<Arc<StoredEvent>>,
    /// What settles them; `None` where there are none.
    pub lease: Option<Lease>,
    /// How the scraper stands with the store.
    pub status: ScraperStatus,
    /// Whether the samples bear [`StoredEvent::stamp`].
    pub explicit_timestamps: bool,
}

impl Scrape {
    /// The scraper has got the events.
    pub fn ack(self) {
        if let Some(lease) = self.lease {
            lease.ack();
        }
    }
}
