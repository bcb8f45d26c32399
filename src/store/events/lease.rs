//! Events on their way to a scraper.

use std::fmt;
use std::sync::Arc;

use super::StoredEvent;

/// The id of a lease, by which it can be settled without the [`Lease`] itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(super) u64);

impl LeaseId {
    /// Its number, which no other lease of this run has.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The status of a scraper in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScraperStatus {
    /// It was known before.
    Known,
    /// This was its first scrape.
    New,
    /// Another scrape of it with events is in flight, so this one gets none.
    InFlight,
    /// There are [`MAX_SCRAPERS`](super::MAX_SCRAPERS) others, so it gets none.
    Untracked,
}

/// The state in which leases are settled.
pub(in crate::store) trait Settle: Send + Sync {
    /// Settles a lease: acked or unacked. The first outcome counts; returns false for a later one.
    fn settle(&self, lease: LeaseId, acked: bool) -> bool;
}

/// A lease on the events of one scrape. When it is dropped without [`Lease::ack`], the events are due again.
#[must_use = "dropping a lease makes its events due again"]
pub struct Lease {
    id: LeaseId,
    store: Arc<dyn Settle>,
}

impl Lease {
    pub(in crate::store) fn new(id: LeaseId, store: Arc<dyn Settle>) -> Self {
        Self { id, store }
    }

    /// Its id.
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
    /// The lease to settle; `None` if there are no events.
    pub lease: Option<Lease>,
    /// The status of the scraper.
    pub status: ScraperStatus,
}
