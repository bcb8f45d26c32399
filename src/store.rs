//! The store: the latest update of each app, and one-shot events for every scraper.
//!
//! [`open`] creates the two halves. [`Inlet`] only writes and [`View`] only reads, so that a source cannot depend on the data of
//! other sources, and an outlet cannot change what it serves.
//!
//! Invariants: a scrape sees every update that was stored (`put` returned) before the scrape began. A refused update changes nothing. No
//! lock is held while text is parsed, copied, compressed or sent, and none across an await. The time is always an argument.

mod app;
mod app_table;
mod catalog_copy;
mod combiner;
mod durable;
mod events;
mod housekeeping;
mod inlet;
mod limits;
mod parallel;
mod persistence;
mod polled_events;
mod raw;
mod receipt;
mod rendered;
mod replication;
mod response_cache;
mod stored_apps;
#[cfg(test)]
mod tests;
mod update_rate;
mod view;

pub use app::{App, Status, Text};
pub use durable::{OpenError, Persistence, PersistenceHandle, Unreadable, inspect_log, open_in};
pub use events::{
    Accepted, DropReason, Dropped, EventOptions, EventsOverview, Lease, LeaseId, MAX_SCRAPERS, MonotonicTime, OriginId, PendingEvents,
    Scrape, ScraperOverview, ScraperStatus, StoredEvent, inspect_shared,
};
pub use housekeeping::Housekeeping;
pub use inlet::{Inlet, PutOptions};
pub use limits::{Limits, Mode};
pub use polled_events::{EventFamilies, PolledEvent, PolledEvents, take_events};
pub use receipt::{EmitError, Receipt, Refused};
pub use rendered::{PendingExposition, RenderedExposition};
pub use replication::{
    LeaseRequest, LocalChange, LocalChanges, OwnEvent, ReadEvent, ReplicatedApp, ReplicatedOutcome, Settlement, SharedEvents,
    UnsharedScraper, UsedIdempotencyKey, WhenEngineAway,
};
pub use update_rate::{MINUTES, UpdateRate};
pub use view::{Totals, View};

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use combiner::UpdateParser;
use events::{Events, Settle};
use response_cache::ResponseCache;
use stored_apps::StoredApps;

use crate::bus::{Bus, Publisher};
use crate::exposition::MemoryMeter;
use crate::exposition::gzip::CompressorPool;
use crate::model::{AppName, Timestamp};

/// Creates an empty store and returns its writing and its reading half.
#[must_use]
pub fn open(limits: Limits, mode: Mode, events: EventOptions) -> (Inlet, View) {
    let apps = StoredApps::new(limits, mode);
    let events = Arc::new(Mutex::new(Events::new(events)));
    let shared = Arc::new(Shared::new(apps, events, None));
    (Inlet::new(Arc::clone(&shared)), View::new(shared))
}

/// The state of both halves.
#[derive(Debug)]
struct Shared {
    /// Parses updates before the lock of `apps` is taken.
    parser: UpdateParser,
    /// Counts texts, and their rendered and compressed forms.
    meter: MemoryMeter,
    /// Held for at most some milliseconds, never for work on bodies.
    apps: Mutex<StoredApps>,
    /// Held while a large change is merged into a copy of the catalog, one at a time.
    copying: Mutex<()>,
    /// Held while a response is rendered: the first caller renders, the others wait for the result.
    rendering: Mutex<()>,
    /// Compressors of gzip responses.
    compressors: CompressorPool,
    /// Held for microseconds only.
    responses: Mutex<ResponseCache>,
    /// Changes are published under the lock of `apps`, so that subscribers get an app's updates in order.
    bus: Bus,
    /// Held while an event is appended, or the events of a scrape are picked.
    events: Arc<Mutex<Events>>,
    /// Passes events to the thread that writes the journal; `None` without a directory.
    journal: Option<durable::JournalHandle>,
    /// The changes that a cluster has still to take; empty without a cluster. Marked under the lock of `apps`, so that a change from another
    /// replica never replaces one that is not shared yet.
    local_changes: OnceLock<Arc<LocalChanges>>,
    /// The way of events to the engine of a cluster; empty without a cluster.
    exchange: OnceLock<Arc<replication::Exchange>>,
}

impl Shared {
    fn new(apps: StoredApps, events: Arc<Mutex<Events>>, journal: Option<durable::JournalHandle>) -> Self {
        Self {
            parser: apps.combiner.parser(),
            meter: apps.combiner.meter().clone(),
            apps: Mutex::new(apps),
            copying: Mutex::default(),
            rendering: Mutex::default(),
            compressors: CompressorPool::default(),
            responses: Mutex::default(),
            bus: Bus::default(),
            events,
            journal,
            local_changes: OnceLock::new(),
            exchange: OnceLock::new(),
        }
    }

    /// Notes a change of an app by a source of this process. Called with the lock of `apps`.
    fn mark_local(&self, app: &AppName, removed: Option<Timestamp>) {
        if let Some(changes) = self.local_changes.get() {
            changes.mark(app, removed);
        }
    }

    /// Locks the apps. A panic elsewhere while the lock was held cannot have left them half changed: every change is a few assignments after
    /// all checks, so a poisoned lock is taken all the same.
    fn apps(&self) -> MutexGuard<'_, StoredApps> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked by the thread that renders, so that other threads wait for its result; pushes never wait for it.
    fn rendering(&self) -> MutexGuard<'_, ()> {
        self.rendering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn responses(&self) -> MutexGuard<'_, ResponseCache> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publisher(&self) -> &Publisher {
        self.bus.publisher()
    }

    /// Ends a change of these apps: invalidates the cached responses about them, and unlocks the apps.
    fn changed(&self, apps: MutexGuard<'_, StoredApps>, names: &[AppName]) {
        let outdated = self.responses().outdated(names);
        drop(apps);
        // Freeing thousands of handles takes a while: not under the lock.
        drop(outdated);
    }

    /// Ends an update of an app with an unchanged text.
    fn changed_time(&self, apps: MutexGuard<'_, StoredApps>, name: &AppName) {
        let outdated = self.responses().outdated_by_time(name);
        drop(apps);
        drop(outdated);
    }

    /// Locks the events, whether the lock is poisoned or not, as [`Shared::apps`] does.
    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the events, and has what has changed about scrapers written to the journal and to the engine.
    fn change_events<T>(&self, change: impl FnOnce(&mut Events) -> T) -> T {
        let (outcome, changed, unshared) = {
            let mut events = self.events();
            (change(&mut events), events.has_changes(), events.unshared() > 0)
        };
        self.notify_journal(changed);
        if let Some(exchange) = self.exchange.get().filter(|_| unshared) {
            exchange.notify();
        }
        outcome
    }

    /// Has changes of scrapers written to the journal, if there are any.
    fn notify_journal(&self, changed: bool) {
        if let Some(journal) = self.journal.as_ref().filter(|_| changed) {
            journal.changed();
        }
    }
}

impl Settle for Shared {
    fn settle(&self, lease: LeaseId, acked: bool) -> bool {
        self.change_events(|events| events.settle(lease, acked))
    }
}
