//! [`Inlet`], the writing half of the store: updates, events, limits, expiry.

#[cfg(test)]
mod tests;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::catalog_copy::Dropping;
use super::combiner::{Change, ParsedUpdate};
use super::events::MonotonicTime;
use super::events::{Owner, Submission};
use super::persistence::SavedPosition;
use super::stored_apps::{Applied, MAX_COST_AT_ONCE, StoredApps};
use super::{
    Accepted, App, Dropped, EmitError, Limits, LocalChanges, Mode, PolledEvent, Receipt, Refused, ReplicatedApp, ReplicatedOutcome, Shared,
    SharedEvents, WhenEngineAway,
};
use crate::bus::{Counted, Notification, Publisher};
use crate::exposition::Exposition;
use crate::exposition::catalog::{Catalog, Outcome};
use crate::model::{AppName, Client, Event, EventId, Format, IdempotencyKey, Origin, Timestamp, Topic, Update};

/// The writing half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
}

/// The ways to store an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOptions {
    /// All or nothing: the update is refused if any line of it cannot be used. Otherwise such lines are left out, and the receipt lists them.
    pub whole: bool,
    /// The app expires without further updates: true for a pushed app. A polled app is withdrawn by its source.
    pub expires: bool,
    /// The age of this update at which the app expires; `None`: [`Limits::expire_after`].
    pub expire_after: Option<Duration>,
    /// The update is refused if it contradicts other apps or has series of theirs.
    pub consistent: bool,
    /// A known app keeps the time and the age of its last update: this one notes something about the app, and is none of its source.
    pub keeps_age: bool,
}

impl PutOptions {
    /// A pushed update, of which lines that cannot be used are left out.
    pub const PUSHED: Self = Self {
        whole: false,
        expires: true,
        expire_after: None,
        consistent: false,
        keeps_age: false,
    };
    /// A pushed update, all or nothing.
    pub const WHOLE: Self = Self {
        whole: true,
        ..Self::PUSHED
    };
    /// A polled update, of which lines that cannot be used are left out.
    pub const POLLED: Self = Self {
        expires: false,
        ..Self::PUSHED
    };
}

/// The cause of a change of an app.
#[derive(Clone, Copy)]
enum Cause<'a> {
    /// A source or a client of this process, which the other replicas of a cluster follow.
    Local,
    /// Another replica, as long as the store has nothing later.
    Replicated(&'a dyn Fn() -> bool),
    /// Its age at this time, which each replica measures for itself.
    Expired(Timestamp),
}

/// The reason for not storing what another replica has.
enum NotStored {
    Deferred,
    Refused(Refused),
}

impl From<Refused> for NotStored {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl NotStored {
    /// The outcome for the cluster.
    fn outcome(stored: Result<(), Self>) -> Result<ReplicatedOutcome, Refused> {
        match stored {
            Ok(()) => Ok(ReplicatedOutcome::Applied),
            Err(Self::Deferred) => Ok(ReplicatedOutcome::Deferred),
            Err(Self::Refused(refused)) => Err(refused),
        }
    }
}

/// The start of updates at which the store panics in unit tests, which show what becomes of such pushes.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = b"# HELP panics_store";

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Accepts a one-shot event for every known scraper and for new ones within the window. Once this returns it is on disk,
    /// if the store has a directory. A key that was used for the same event within the last 10 minutes returns that event.
    ///
    /// # Errors
    /// If it cannot be written to disk, its key was used for a different event, or the log is full of other clients' events.
    pub async fn emit(&self, event: Event, key: Option<IdempotencyKey>, from: &Client, now: Timestamp) -> Result<Accepted, EmitError> {
        let submission = Submission {
            event,
            key,
            owner: Owner::Poster(from.network()),
            at: now,
            stamp: None,
            source: None,
        };
        let Some(exchange) = self.shared.exchange.get() else {
            return self.submit(submission).await;
        };
        exchange.admit()?;
        let accepted = self.submit(submission).await?;
        exchange.notify();
        Ok(accepted)
    }

    async fn submit(&self, submission: Submission) -> Result<Accepted, EmitError> {
        match &self.shared.journal {
            Some(journal) => journal.submit(submission).await,
            None => self.shared.events().take(submission),
        }
    }

    /// Accepts the one-shot events of a polled text as [`Inlet::emit`] accepts one: once this returns all of them are on disk, and
    /// after an error none was accepted. An event that has a timestamp keeps it. In the log they count against the share of the endpoint's
    /// app.
    ///
    /// # Errors
    /// If they cannot be written to disk.
    pub async fn emit_polled(&self, app: &AppName, polled: Vec<PolledEvent>, now: Timestamp) -> Result<(), EmitError> {
        let submission = |PolledEvent { event, stamp }| Submission {
            event,
            key: None,
            owner: Owner::Endpoint(app.clone()),
            at: now,
            stamp,
            source: None,
        };
        let submissions: Vec<Submission> = polled.into_iter().map(submission).collect();
        if let Some(exchange) = self.shared.exchange.get() {
            exchange.admit()?;
        }
        let outcome = self.submit_all(submissions).await;
        if let Some(exchange) = self.shared.exchange.get() {
            exchange.notify();
        }
        outcome
    }

    async fn submit_all(&self, submissions: Vec<Submission>) -> Result<(), EmitError> {
        match &self.shared.journal {
            _ if submissions.is_empty() => Ok(()),
            Some(journal) => journal
                .submit_all(submissions)
                .await?
                .into_iter()
                .try_for_each(|outcome| outcome.map(drop)),
            None => {
                let mut events = self.shared.events();
                submissions.into_iter().try_for_each(|submission| events.take(submission).map(drop))
            }
        }
    }

    /// Expires scrapers and events at this time, and returns the losses. Meant to be called each second.
    pub fn sweep(&self, now: Timestamp) -> Vec<Dropped> {
        self.shared.change_events(|events| events.sweep(now))
    }

    /// Replaces all that an app had. Once this returns, every scrape shows the update. What other apps have is no reason to refuse it.
    ///
    /// # Errors
    /// If the update exceeds a limit, or no line of it can be used; with [`PutOptions::whole`] also when any line cannot be used.
    pub fn put(&self, update: Update, options: PutOptions) -> Result<Receipt, Refused> {
        let mut parsed = self.parse(update, options)?;
        let mut apps = self.shared.apps();
        let refreshed = apps.clock.at(parsed.at);
        let receipt = match apps.put(&mut parsed, refreshed)? {
            Applied::Now(receipt) => receipt,
            Applied::TooLarge(change) => {
                drop(apps);
                let receipt;
                (apps, receipt) = self.put_large(&parsed, change, refreshed, |_| Ok::<_, Refused>(()))?;
                receipt
            }
        };
        self.shared.mark_local(&parsed.app, None);
        self.announce(apps, &parsed, &receipt);
        Ok(receipt)
    }

    /// Notifies subscribers of an update that was stored, and ends the change.
    fn announce(&self, apps: MutexGuard<'_, StoredApps>, parsed: &ParsedUpdate, receipt: &Receipt) {
        let notification = self.bus().has_subscribers(Topic::AppUpdate).then(|| updated(parsed));
        if let Some(notification) = notification {
            // Under the lock, so that subscribers get an app's updates in order.
            self.bus().publish(&notification);
        }
        if receipt.same_text {
            self.shared.changed_time(apps, &parsed.app);
        } else {
            self.shared.changed(apps, std::slice::from_ref(&parsed.app));
        }
    }

    /// Records from now on which apps the sources of this process change, for a cluster. `waits` is true if [`Inlet::shared`] waits until
    /// others can get a change.
    #[must_use]
    pub fn record_changes(&self, waits: bool) -> Arc<LocalChanges> {
        Arc::clone(self.shared.local_changes.get_or_init(|| Arc::new(LocalChanges::new(waits))))
    }

    /// Exchanges one-shot events with the other replicas of a cluster from now on. `waits` is true if [`Inlet::event_shared`] waits until
    /// they can get an event. `None` if the store was not opened as that of a replica ([`EventOptions::replica`](super::EventOptions)).
    #[must_use]
    pub fn share_events(&self, when_away: WhenEngineAway, waits: bool) -> Option<SharedEvents> {
        SharedEvents::new(&self.shared, when_away, waits)
    }

    /// Waits until the other replicas of a cluster can get an event. True at once without a cluster, false if its engine is away.
    pub async fn event_shared(&self, id: EventId) -> bool {
        match self.shared.exchange.get() {
            // One that was posted before at another replica is there already.
            Some(exchange) => !self.shared.events().is_own(id.0) || exchange.stored(id).await,
            None => true,
        }
    }

    /// Waits until the other replicas of a cluster can get the current state of an app. True at once without a cluster, false if its engine
    /// is away.
    pub async fn shared(&self, app: &AppName) -> bool {
        match self.shared.local_changes.get() {
            Some(changes) => changes.stored(app).await,
            None => true,
        }
    }

    /// Stores an app as another replica has it, with an update that arrived there `age` ago. [`ReplicatedOutcome::Deferred`] if a source of this
    /// process has changed the app and the cluster has not taken that yet, or `is_news` says that the store has something later: then nothing is
    /// done. `is_news` is called under the store's lock, up to twice.
    ///
    /// # Errors
    /// If it exceeds a limit.
    pub fn put_replicated(
        &self,
        replicated: &ReplicatedApp,
        age: Duration,
        is_news: impl Fn() -> bool,
    ) -> Result<ReplicatedOutcome, Refused> {
        let cause = Cause::Replicated(&is_news);
        NotStored::outcome(match replicated.withdrawn || replicated.updated.is_none() {
            true => self.list_replicated(replicated, cause),
            false => self.store_replicated(replicated, age, cause),
        })
    }

    fn store_replicated(&self, replicated: &ReplicatedApp, age: Duration, cause: Cause<'_>) -> Result<(), NotStored> {
        let app = &replicated.app;
        let update = Update {
            app: app.clone(),
            body: replicated.body.clone(),
            records: replicated.records.clone(),
            read: None,
            syntax: Some(replicated.syntax),
            labels: Arc::clone(&replicated.labels),
            origin: replicated.origin.clone(),
            at: replicated.updated.unwrap_or(replicated.first_seen),
        };
        let options = PutOptions {
            expires: replicated.expires,
            expire_after: replicated.expire_after,
            ..PutOptions::PUSHED
        };
        let mut parsed = self.parse(update, options)?;
        let mut apps = self.shared.apps();
        self.check_due(&mut apps, app, cause)?;
        apps.check(&parsed)?;
        reserve(&mut apps, replicated);
        // The clock of the other machine is not ours, so only the age counts.
        let refreshed = apps.clock.last().before(age);
        let receipt = match apps.put_within(&mut parsed, refreshed, MAX_COST_AT_ONCE)? {
            Applied::Now(receipt) => receipt,
            Applied::TooLarge(change) => {
                drop(apps);
                let receipt;
                (apps, receipt) = self.put_large(&parsed, change, refreshed, |apps| self.check_due(apps, app, cause))?;
                receipt
            }
        };
        if let Some(fault) = &replicated.fault {
            apps.table.amend(app, |app| app.fault = Some(Arc::clone(fault)));
        }
        self.announce(apps, &parsed, &receipt);
        Ok(())
    }

    /// Lists an app that has no data at another replica.
    fn list_replicated(&self, replicated: &ReplicatedApp, cause: Cause<'_>) -> Result<(), NotStored> {
        let app = &replicated.app;
        let mut apps = self.shared.apps();
        self.check_due(&mut apps, app, cause)?;
        reserve(&mut apps, replicated);
        let (_, wall) = apps.clock.last_both();
        apps.register(app.clone(), replicated.origin.clone(), wall)?;
        // The last write of the cluster is one without data, so data here is of an earlier one.
        let has_data = apps.table.get(app.as_str()).is_some_and(|app| app.updated.is_some());
        if replicated.withdrawn || has_data {
            let outcome;
            (apps, outcome) = self.withdraw_locked(apps, app, cause);
            if outcome == ReplicatedOutcome::Deferred {
                return Err(NotStored::Deferred);
            }
        }
        apps.table.amend(app, |app| app.fault.clone_from(&replicated.fault));
        self.shared.changed(apps, std::slice::from_ref(app));
        Ok(())
    }

    /// Forgets an app that another replica has removed. [`ReplicatedOutcome::Deferred`] as for [`Inlet::put_replicated`].
    pub fn remove_replicated(&self, app: &AppName, now: Timestamp, is_news: impl Fn() -> bool) -> ReplicatedOutcome {
        self.remove_app(app, now, Cause::Replicated(&is_news))
    }

    /// True if a change is still to be made: asked under the lock under which it is made, so also again once a copy is merged.
    fn is_due(&self, apps: &mut StoredApps, app: &AppName, cause: Cause<'_>) -> bool {
        match cause {
            Cause::Local => true,
            Cause::Replicated(is_news) => {
                let changes = self.shared.local_changes.get();
                // A local change that the cluster has not taken comes later.
                !changes.is_some_and(|changes| changes.is_pending(app)) && is_news()
            }
            Cause::Expired(now) => apps.is_expired(app, now),
        }
    }

    fn check_due(&self, apps: &mut StoredApps, app: &AppName, cause: Cause<'_>) -> Result<(), NotStored> {
        self.is_due(apps, app, cause).then_some(()).ok_or(NotStored::Deferred)
    }

    /// Stores an update that takes more than a moment: it is merged into a copy of the catalog, which then takes the catalog's place. Other
    /// updates are stored meanwhile, and repeated on the copy; so `is_due` is asked once more.
    fn put_large<E: From<Refused>>(
        &self,
        update: &ParsedUpdate,
        change: Change,
        refreshed: MonotonicTime,
        is_due: impl FnOnce(&mut StoredApps) -> Result<(), E>,
    ) -> Result<(MutexGuard<'_, StoredApps>, Receipt), E> {
        let (mut apps, copy, outcome) = self.shared.merge_on_copy(change);
        // Other updates may have taken the memory since the first check.
        let fits = |apps: &StoredApps| apps.check(update).and_then(|()| update.check_outcome(&outcome));
        if let Err(why) = is_due(&mut apps).and_then(|()| fits(&apps).map_err(E::from)) {
            drop(discard(apps, copy));
            return Err(why);
        }
        Dropping::later(apps.combiner.end_copy(copy));
        let receipt = apps.commit(update, outcome, refreshed);
        Ok((apps, receipt))
    }

    /// Parses the text, without a lock.
    fn parse(&self, update: Update, options: PutOptions) -> Result<ParsedUpdate, Refused> {
        #[cfg(test)]
        assert!(!update.body.starts_with(PANICS), "an update at which tests make the store panic");
        let update = match update.read {
            Some(read) => {
                let read = read.metered(&self.shared.meter);
                Update {
                    body: read.body().clone(),
                    records: read.record_bytes(),
                    read: Some(Box::new(read)),
                    ..update
                }
            }
            None => Update {
                body: self.shared.meter.hold(update.body),
                records: self.shared.meter.hold(update.records),
                ..update
            },
        };
        let before = self.shared.apps().table.get(update.app.as_str()).cloned();
        let before = before.as_ref().and_then(|app| app.text.exposition());
        let parsed = self.shared.parser.parse(update, options, before.map(|text| &**text));
        if let Some(text) = parsed.text.exposition().filter(|text| !text.faults().is_empty())
            && (options.whole || text.series() == 0)
        {
            return Err(invalid(text));
        }
        if options.whole {
            let same_names = parsed.same_names();
            if !same_names.is_empty() {
                return Err(Refused::SameNames(same_names));
            }
        }
        Ok(parsed)
    }

    /// The publishing half of the message bus on which changes of the store are published.
    #[must_use]
    pub fn bus(&self) -> &Publisher {
        self.shared.publisher()
    }

    /// The app as it is now, for a source that replaces a part of what it has.
    #[must_use]
    pub fn current(&self, app: &AppName) -> Option<Arc<App>> {
        self.shared.apps().table.get(app.as_str()).cloned()
    }

    /// Lists apps that came from a source, [`Inlet::EXPIRES_AT_ONCE`] at most, from a position on, which is 0 at first. Returns their names,
    /// and the position for the next call; `None` at the end. Pause before that.
    #[must_use]
    pub fn of_source(&self, source: &str, from: u64) -> (Vec<AppName>, Option<u64>) {
        let of_source = |origin: &Origin| &*origin.source == source;
        self.shared.apps().table.of_origin(of_source, from, Self::EXPIRES_AT_ONCE)
    }

    /// The names of apps with a last update, or an entry in the list, of such an origin, from a position on, which is 0 at first; and the
    /// position for the next call, `None` at the end. One call looks at some of the apps only; pause before the next one.
    #[must_use]
    pub fn of_origin(&self, matches: impl Fn(&Origin) -> bool, from: u64) -> (Vec<AppName>, Option<u64>) {
        self.shared.apps().table.of_origin(matches, from, usize::MAX)
    }

    /// The age at `now` of a polled app's exposed data, whichever replica of a cluster has polled it; `None` without such data.
    #[must_use]
    pub fn age_of_polled(&self, app: &AppName, now: Timestamp) -> Option<Duration> {
        let mut apps = self.shared.apps();
        let now = apps.clock.at(now);
        let app = apps.table.get(app.as_str())?;
        let is_exposed = app.origin.format == Format::Poll && app.updated.is_some() && !app.withdrawn;
        is_exposed.then(|| now.since(app.refreshed))
    }

    /// Lists an app before its first update; a known app does not change.
    ///
    /// # Errors
    /// If there are too many apps.
    pub fn register(&self, app: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        let mut apps = self.shared.apps();
        if apps.table.get(app.as_str()).is_some() {
            return Ok(());
        }
        apps.register(app.clone(), origin, at)?;
        self.shared.mark_local(&app, None);
        Ok(())
    }

    /// Shows a fault of an app's source in `/apps` until the next update. False if the app is unknown.
    pub fn fault(&self, app: &AppName, what: &str) -> bool {
        let mut apps = self.shared.apps();
        let is_known = apps.table.amend(app, |app| app.fault = Some(what.into()));
        if is_known {
            self.shared.mark_local(app, None);
        }
        is_known
    }

    /// Takes an app's data out of the exposition and keeps the app listed. False if it is unknown.
    pub fn withdraw(&self, app: &AppName) -> bool {
        let (apps, outcome) = self.withdraw_locked(self.shared.apps(), app, Cause::Local);
        let is_known = outcome == ReplicatedOutcome::Applied;
        if is_known {
            self.shared.mark_local(app, None);
        }
        self.shared.changed(apps, std::slice::from_ref(app));
        is_known
    }

    fn withdraw_locked<'s>(
        &'s self,
        mut apps: MutexGuard<'s, StoredApps>,
        app: &AppName,
        cause: Cause<'_>,
    ) -> (MutexGuard<'s, StoredApps>, ReplicatedOutcome) {
        match apps.withdraw(app) {
            Applied::Now(is_known) => (apps, ReplicatedOutcome::of(is_known)),
            Applied::TooLarge(change) => {
                drop(apps);
                self.change_large(app, change, cause, |apps, outcome| apps.commit_withdrawal(app, outcome))
            }
        }
    }

    /// Forgets an app, at `now`. False if it is unknown.
    pub fn remove(&self, app: &AppName, now: Timestamp) -> bool {
        self.remove_app(app, now, Cause::Local) == ReplicatedOutcome::Applied
    }

    fn remove_app(&self, app: &AppName, now: Timestamp, cause: Cause<'_>) -> ReplicatedOutcome {
        let mut apps = self.shared.apps();
        if !self.is_due(&mut apps, app, cause) {
            return ReplicatedOutcome::Deferred;
        }
        let (apps, outcome) = match apps.remove(app) {
            Applied::Now(is_known) => (apps, ReplicatedOutcome::of(is_known)),
            Applied::TooLarge(change) => {
                drop(apps);
                self.change_large(app, change, cause, |apps, outcome| apps.commit_removal(app, &outcome))
            }
        };
        let is_removed = outcome == ReplicatedOutcome::Applied;
        if is_removed && matches!(cause, Cause::Local) {
            self.shared.mark_local(app, Some(now));
        }
        if is_removed && self.bus().has_subscribers(Topic::AppExpired) {
            self.bus().publish(&Notification::Forgotten { app: app.clone(), at: now });
        }
        self.shared.changed(apps, std::slice::from_ref(app));
        outcome
    }

    /// Makes a change that takes more than a moment, as [`Inlet::put_large`] does, unless it is no longer due then. `commit` returns false for an
    /// app that is unknown.
    fn change_large(
        &self,
        app: &AppName,
        change: Change,
        cause: Cause<'_>,
        commit: impl FnOnce(&mut StoredApps, Outcome) -> bool,
    ) -> (MutexGuard<'_, StoredApps>, ReplicatedOutcome) {
        let (mut apps, copy, outcome) = self.shared.merge_on_copy(change);
        if !self.is_due(&mut apps, app, cause) {
            return (discard(apps, copy), ReplicatedOutcome::Deferred);
        }
        Dropping::later(apps.combiner.end_copy(copy));
        let is_known = commit(&mut apps, outcome);
        (apps, ReplicatedOutcome::of(is_known))
    }

    /// The most apps that are removed in one call, so that other requests wait for the store for some milliseconds at most, even if ten
    /// thousand apps expire together.
    pub const EXPIRES_AT_ONCE: usize = 64;

    /// Removes pushed apps with a last update too old at `now`, and returns their names. If [`Inlet::EXPIRES_AT_ONCE`] are returned there
    /// may be more; pause before the next call.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        let mut gone = self.shared.apps().expired(now, Self::EXPIRES_AT_ONCE);
        // One lock for each: an app may be large. One that has been updated meanwhile stays.
        gone.retain(|app| self.remove_app(app, now, Cause::Expired(now)) == ReplicatedOutcome::Applied);
        gone
    }

    /// Evicts rendered text that was not read since the last call, because scrapers take the compressed form or are gone, and cached
    /// responses that were not requested in many calls. They are rendered again on demand.
    pub fn evict_idle(&self) {
        let evicted = self.shared.responses().evict_idle();
        let apps = self.shared.apps();
        let unused: Vec<_> = evicted.variants.iter().flat_map(|variant| apps.combiner.evict(*variant)).collect();
        let chunks = apps.combiner.chunks();
        drop(apps);
        // Freeing takes a while: not under the lock.
        chunks.iter().chain(&evicted.chunks).for_each(|chunk| chunk.evict_text());
        drop((unused, evicted));
        self.shared.compressors.clear();
    }

    /// Changes the limits. Stored data stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.apps().set_limits(limits);
    }

    /// Merges all texts by other rules. Switching between raw and merged needs a restart.
    pub fn set_mode(&self, mode: Mode) {
        let Mode::Merge(rules) = mode else { return };
        if !self.shared.parser.merges() {
            return;
        }
        let (mut apps, copy) = self.shared.merge_all(rules);
        Dropping::later(apps.combiner.end_copy(copy));
        apps.table.touch_generation();
        self.shared.changed(apps, &[]);
    }
}

/// Gives up a copy, which is freed where no request waits.
fn discard(mut apps: MutexGuard<'_, StoredApps>, copy: Catalog) -> MutexGuard<'_, StoredApps> {
    apps.combiner.drop_copy();
    Dropping::later(Some(copy));
    apps
}

/// Keeps the disambiguating labels of an app that is new here, as the other replica has them.
fn reserve(apps: &mut StoredApps, replicated: &ReplicatedApp) {
    if apps.table.get(replicated.app.as_str()).is_none() {
        let position = SavedPosition {
            order: apps.table.next_order(),
            first_seen: replicated.first_seen,
            labelled: replicated.labelled().to_vec(),
        };
        apps.table.reserve(replicated.app.clone(), position);
    }
}

/// The notification of an update that is about to be stored.
fn updated(update: &ParsedUpdate) -> Notification {
    let counted = update.text.exposition().map(|read| Counted {
        families: read.families().len(),
        series: read.series(),
    });
    Notification::Updated {
        app: update.app.clone(),
        source: Arc::clone(&update.origin.source),
        bytes: update.text.body().len() as u64,
        counted,
        at: update.at,
    }
}

fn invalid(text: &Exposition) -> Refused {
    Refused::Invalid(text.faults().iter().cloned().collect(), text.faults().total())
}
