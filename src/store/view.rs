//! [`View`], the reading half of the store: apps, responses, events of a scrape.

use std::sync::Arc;
use std::time::Duration;

use super::events::{Events, Lease, LeaseId, LeasedEvents, Scrape, Settle, StoredEvent};
use super::response_cache::Scope;
use super::{App, EventsOverview, Limits, MonotonicTime, PendingEvents, PendingExposition, ReplicatedApp, Shared};
use crate::bus::Subscription;
use crate::exposition::catalog::{MAX_CONFLICTS_LISTED, Selection};
use crate::exposition::negotiate::Escaping;
use crate::exposition::openmetrics2::UnstatedTypes;
use crate::exposition::render::OutputFormat;
use crate::model::{AppName, Client, ScraperId, Timestamp, Topics};

/// The reading half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

/// Totals of the stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Apps, including those without data.
    pub apps: usize,
    /// Bytes of exposition text.
    pub bytes: u64,
    /// Series; `None` in raw mode.
    pub series: Option<u64>,
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// All apps in the order of first sight. Of the conflicts of each the first is listed.
    #[must_use]
    pub fn apps(&self) -> Vec<Arc<App>> {
        let (apps, snapshot) = {
            let apps = self.shared.apps();
            (apps.table.iter().cloned().collect::<Vec<_>>(), apps.combiner.snapshot())
        };
        apps.iter().map(|app| snapshot.describe(app, 1)).collect()
    }

    /// One app.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<Arc<App>> {
        let (app, snapshot) = {
            let apps = self.shared.apps();
            (Arc::clone(apps.table.get(name)?), apps.combiner.snapshot())
        };
        Some(snapshot.describe(&app, MAX_CONFLICTS_LISTED))
    }

    /// An app as another replica of a cluster needs it, and the age of its last update.
    #[must_use]
    pub fn replicated(&self, name: &AppName) -> Option<(ReplicatedApp, Duration)> {
        let apps = self.shared.apps();
        let app = apps.table.get(name.as_str())?;
        let age = apps.clock.last().since(app.refreshed);
        Some((ReplicatedApp::new(app, apps.combiner.labelled(name)), age))
    }

    /// The time of an app's last update; `None` if it is unknown or was only registered so far.
    #[must_use]
    pub fn last_update(&self, name: &AppName) -> Option<Timestamp> {
        self.shared.apps().table.get(name.as_str())?.updated
    }

    /// The names of all apps.
    #[must_use]
    pub fn app_names(&self) -> Vec<AppName> {
        self.shared.apps().table.iter().map(|app| app.name.clone()).collect()
    }

    /// The current totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (apps, totals) = {
            let apps = self.shared.apps();
            (apps.table.len(), apps.table.totals())
        };
        Totals {
            apps,
            bytes: totals.bytes,
            series: self.merges().then_some(totals.series),
        }
    }

    /// Bytes of memory for texts, their index, tables and rendered forms, unfinished responses included; see
    /// [`Limits::max_memory`](super::Limits::max_memory).
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.shared.apps().memory()
    }

    /// The bound of [`Self::memory`] in bytes, as in force now.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.limits().max_memory
    }

    /// The bounds of the store, as in force now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.apps().limits.clone()
    }

    /// The number of events kept, and the most that are kept.
    #[must_use]
    pub fn kept_events(&self) -> (usize, usize) {
        let events = self.shared.events();
        (events.kept(), events.most_kept())
    }

    /// A number that changes whenever the data or the time of update of an app does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.apps().table.generation()
    }

    /// The monotonic time at the time of day `now`, to compute the ages of apps.
    #[must_use]
    pub fn moment(&self, now: Timestamp) -> MonotonicTime {
        self.shared.apps().clock.at(now)
    }

    /// The age at which pushed apps expire.
    #[must_use]
    pub fn expire_after(&self) -> Option<Duration> {
        self.shared.apps().limits.expire_after
    }

    /// Delivers notifications of these topics from now on.
    #[must_use]
    pub fn subscribe(&self, topics: Topics) -> Subscription {
        self.shared.bus.subscribe(topics)
    }

    /// True if texts are parsed and merged, so that they can be served in any format.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.shared.parser.merges()
    }

    /// The exposition of these apps, with every update that was acknowledged before this call, as far as it is cached;
    /// [`PendingExposition::finish`] renders the rest.
    #[must_use]
    pub fn exposition(&self, variant: OutputFormat, which: Selection<'_>) -> PendingExposition {
        let shared = || Arc::clone(&self.shared);
        let app = match which {
            Selection::Everything => return PendingExposition::everything(shared(), variant),
            Selection::App(name) => PendingExposition::app(shared(), name, Scope::Merged, variant),
            Selection::Nothing => None,
        };
        app.unwrap_or_else(|| PendingExposition::nothing(shared(), variant))
    }

    /// The types of families that messages do not state, by their names in messages of this escaping. It looks at all families: not for a
    /// thread that serves connections.
    #[must_use]
    pub fn unstated_types(&self, escaping: Escaping) -> UnstatedTypes {
        let snapshot = self.shared.apps().combiner.snapshot();
        snapshot.unstated_types(escaping)
    }

    /// The text of one app as it was pushed or polled, without added labels; `None` if the app is unknown.
    #[must_use]
    pub fn app_exposition(&self, name: &str, variant: OutputFormat) -> Option<PendingExposition> {
        PendingExposition::app(Arc::clone(&self.shared), name, Scope::AsPushed, variant)
    }

    /// The events for a scrape of this scraper from this client, leased until the lease is settled. A first scrape registers the scraper.
    #[must_use]
    pub fn scrape(&self, who: &ScraperId, from: &Client, now: Timestamp) -> Scrape {
        self.leased(self.change_events(|events| events.scrape(who, from, now)))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn change_events<T>(&self, change: impl FnOnce(&mut Events) -> T) -> T {
        self.shared.change_events(change)
    }

    pub(super) fn leased(&self, leased: LeasedEvents) -> Scrape {
        let store = || Arc::clone(&self.shared) as Arc<dyn Settle>;
        Scrape {
            events: leased.events,
            lease: leased.lease.map(|id| Lease::new(id, store())),
            status: leased.status,
        }
    }

    /// The events that a scrape would get now, without a lease and without registering the scraper.
    #[must_use]
    pub fn peek(&self, who: &ScraperId) -> Vec<Arc<StoredEvent>> {
        self.shared.events().peek(who)
    }

    /// The unsettled lease of an earlier scrape of this scraper.
    #[must_use]
    pub fn active_lease(&self, who: &ScraperId) -> Option<LeaseId> {
        self.shared.events().active_lease(who)
    }

    /// True if the samples of events have timestamps.
    #[must_use]
    pub fn explicit_timestamps(&self) -> bool {
        self.shared.events().explicit_timestamps()
    }

    /// The number of events accepted so far, and the number of pending ones for each scraper.
    #[must_use]
    pub fn event_counts(&self) -> (u64, Vec<PendingEvents>) {
        let events = self.shared.events();
        (events.accepted_so_far(), events.pending())
    }

    /// An overview of events and scrapers for the `/events` page.
    #[must_use]
    pub fn events(&self) -> EventsOverview {
        self.shared.events().overview()
    }
}
