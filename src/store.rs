//! What is remembered: the latest of each application, and one-shot events for every scraper.
//!
//! [`open`] gives the two halves. [`Inlet`] only writes and [`View`] only reads, so that a source can never come to
//! depend on what other sources sent, and an outlet can never change what it shows.
//!
//! Promises. A scrape sees every update whose `put` returned before the scrape began. Nothing that is refused touches
//! what was stored before. No lock is held while text is parsed, copied, compressed or sent, and none across an await.
//! The clock is always an argument.

mod app;
mod app_table;
mod aside;
mod bus;
mod durable;
mod events;
mod housekeeping;
mod inlet;
mod limits;
mod parallel;
mod peers;
mod persistence;
mod polled_events;
mod rendered;
mod response_cache;
#[cfg(test)]
mod response_cache_tests;
#[cfg(test)]
mod tests;
mod view;

pub use app::{App, Status, Text};
pub use bus::{Counted, Missed, Notification, Sequenced, Subscription, SubscriptionTopics};
pub use durable::{OpenError, Persistence, PersistenceHandle, Unreadable, inspect_log, open_in};
pub use events::{
    Accepted, DropReason, Dropped, EventOptions, EventsOverview, Lease, LeaseId, MAX_SCRAPERS, MonotonicTime, PendingEvents, Scrape,
    ScraperOverview, ScraperStatus, StoredEvent,
};
pub use housekeeping::Housekeeping;
pub use inlet::{EmitError, Inlet, Receipt, Refused};
pub use limits::{Limits, Mode};
pub use polled_events::{EventFamilies, PolledEvent, PolledEvents, take_events};
pub use rendered::{PendingExposition, RenderedExposition};
pub use view::{Totals, View};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use app_table::AppTable;
use bus::Subscribers;
use events::{Events, Settle};
use peers::Peers;
use response_cache::ResponseCache;

use crate::exposition::MemoryMeter;
use crate::exposition::catalog::Rules;
use crate::exposition::gzip::CompressorPool;
use crate::model::AppName;

/// Makes an empty store and gives its writing and its reading half.
#[must_use]
pub fn open(limits: Limits, mode: Mode) -> (Inlet, View) {
    open_with(limits, mode, EventOptions::default())
}

/// As [`open`], with events kept in this key.
#[must_use]
pub fn open_with(limits: Limits, mode: Mode, events: EventOptions) -> (Inlet, View) {
    let table = AppTable::new(limits, mode);
    let rules = table.rules();
    let shared = Arc::new(Shared {
        reads: rules.is_some(),
        rules: Mutex::new(rules),
        meter: table.meter().clone(),
        table: Mutex::new(table),
        aside: Mutex::default(),
        rendering: Mutex::default(),
        compressors: CompressorPool::default(),
        responses: Mutex::default(),
        subscribers: Arc::default(),
        peers: Peers::default(),
        events: Arc::new(Mutex::new(Events::new(events))),
        journal: None,
    });
    (Inlet::new(Arc::clone(&shared)), View::new(shared))
}

/// What both halves hold.
#[derive(Debug)]
struct Shared {
    /// Whether texts are read and merged.
    reads: bool,
    /// The rules of the merge in force, for what is prepared without a lock; `None` where texts are not merged.
    rules: Mutex<Option<Arc<Rules>>>,
    /// Counts texts, and their rendered and compressed forms.
    meter: MemoryMeter,
    /// Held for at most some milliseconds, never for work on bodies.
    table: Mutex<AppTable>,
    /// Held while a large change is merged into a copy of the catalog, one at a time.
    aside: Mutex<()>,
    /// Held while something is rendered: whoever comes first renders, the others wait for it.
    rendering: Mutex<()>,
    /// Compressors of gzip responses.
    compressors: CompressorPool,
    /// Held for moments only.
    responses: Mutex<ResponseCache>,
    /// Who follows what happens. StatusCallback under the lock of `latest`, so that they hear of an application's updates in their order.
    subscribers: Arc<Subscribers>,
    /// What polled IPFS nodes said of their peers.
    peers: Peers,
    /// Held while an event is appended, or the events of a scrape are picked.
    events: Arc<Mutex<Events>>,
    /// The way to the disk, for a store that has a directory.
    journal: Option<durable::JournalHandle>,
}

impl Shared {
    /// The state. A panic elsewhere while the lock was held cannot have left it half changed: every change is a few
    /// assignments after all checks, so a poisoned lock is taken all the same.
    fn table(&self) -> MutexGuard<'_, AppTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken by whoever renders, so that the others wait and find it done; pushes never wait for it.
    fn rendering(&self) -> MutexGuard<'_, ()> {
        self.rendering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn responses(&self) -> MutexGuard<'_, ResponseCache> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules of the merge in force.
    fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_rules(&self, rules: &Arc<Rules>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(rules));
    }

    /// Ends a change of these applications, with the answers that were made before it.
    fn changed(&self, table: MutexGuard<'_, AppTable>, apps: &[AppName]) {
        let outdated = self.responses().outdated(apps);
        drop(table);
        // Freeing thousands of handles takes a while: not under the lock.
        drop(outdated);
    }

    /// Ends an update of an app with the text that it had.
    fn changed_time(&self, table: MutexGuard<'_, AppTable>, app: &AppName) {
        let outdated = self.responses().outdated_by_time(app);
        drop(table);
        drop(outdated);
    }

    /// The events, under the same promise.
    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the disk follow, if something about scrapers has changed.
    fn tell_journal(&self, changed: bool) {
        if let Some(journal) = self.journal.as_ref().filter(|_| changed) {
            journal.changed();
        }
    }
}

impl Settle for Shared {
    fn settle(&self, lease: LeaseId, acked: bool) -> bool {
        let (settled, changed) = {
            let mut events = self.events();
            (events.settle(lease, acked), events.has_changes())
        };
        self.tell_journal(changed);
        settled
    }
}
