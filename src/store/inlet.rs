//! The writing half.

use std::sync::{Arc, MutexGuard};

use super::app_table::{AppTable, MAX_COST_AT_ONCE, ParsedUpdate};
use super::aside::Dropping;
use super::events::{Owner, Submission};
use super::{Accepted, Dropped, Limits, Mode, Notification, PolledEvent, Shared};
use crate::exposition::catalog::{Catalog, Conflict, Conflicts};
use crate::exposition::{Exposition, Fault};
use crate::model::{AppName, Client, Event, IdempotencyKey, Origin, PeerSample, Timestamp, Topic, Update};

/// The writing half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
}

/// What became of an update that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the application had been known before.
    pub replaced: bool,
    /// The bytes of exposition text now stored for it.
    pub bytes: u64,
    /// The number of its families; `None` where texts are not read.
    pub families: Option<u64>,
    /// The number of its series; `None` where texts are not read.
    pub series: Option<u64>,
    /// Remarks about its text, such as exemplars that are left out or timestamps that are too old.
    pub remarks: Vec<String>,
    /// The contradictions between it and other apps. They cost no sample.
    pub conflicts: Arc<Conflicts>,
    /// What is wrong with the update although it was taken: lines that are left out, contradictions to other applications.
    pub complaint: Option<Arc<str>>,
    /// Whether the complaint is another one than before.
    pub(super) is_new: bool,
    /// Whether the text is the one that was stored before.
    pub(super) same_text: bool,
}

impl Receipt {
    /// The complaint, if it is another one than before and so worth a line in the log.
    #[must_use]
    pub fn news(&self) -> Option<&str> {
        self.complaint.as_deref().filter(|_| self.is_new)
    }
}

/// Why an update was not taken. What was stored before is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The application is new and there is no place for one more.
    #[error("there are {max_apps} applications already (store.max_apps)")]
    TooManyApps {
        /// The limit in force.
        max_apps: usize,
    },
    /// The text is longer than the one that it replaces and there is no memory for it.
    #[error("the store is full: {used} of {max_memory} bytes of memory are in use (store.max_memory)")]
    Full {
        /// The memory in use, this text included.
        used: u64,
        /// The limit in force.
        max_memory: u64,
    },
    /// No line of the text can be used, or one cannot and all were asked for.
    #[error("{}", Invalid(.0, *.1))]
    Invalid(Vec<Fault>, u64),
    /// The app has more series than one app may have.
    #[error("{series} series are more than the {max_series} that one app may have (store.max_series_per_app)")]
    TooManySeries {
        /// The series of the text.
        series: u32,
        /// The limit in force.
        max_series: u32,
    },
    /// Families of the text have the same name once escaped, and all of it was asked for.
    #[error("{}", Listed(.0))]
    SameNames(Vec<Conflict>),
}

/// Why an event was not taken. No scraper will get it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It could not be put where it survives.
    #[error("the event cannot be made durable: {0}")]
    NotDurable(Arc<str>),
    /// Its idempotency key was used for another event, not long ago.
    #[error("the idempotency key was used for an event with other labels or another value within the last 10 minutes")]
    KeyReused,
    /// As many events are pending as are kept, most of them of this client, and others' would be lost for it.
    #[error("as many events are pending as are kept (events.max_pending), and this client has posted more of them than others have")]
    Crowded,
}

impl Refused {
    /// The stable word for the `reason` label of `exporter_proxy_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooManyApps { .. } => "too_many_apps",
            Self::Full { .. } => "store_full",
            Self::Invalid(..) => "invalid",
            Self::TooManySeries { .. } => "too_many_series",
            Self::SameNames(_) => "invalid",
        }
    }
}

/// Faults as text: in one line where there is one, else a line each.
struct Invalid<'a>(&'a [Fault], u64);

impl std::fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if n > 0 { "\n" } else { "" })?;
        }
        match self.1 - self.0.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Conflicts as text, a line each.
struct Listed<'a>(&'a [Conflict]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, conflict) in self.0.iter().enumerate() {
            write!(f, "{}{conflict}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// The start of updates at which the store panics in unit tests, which show what becomes of such pushes.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = b"# HELP panics_store";

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes a one-shot event, for every scraper there is and for those that come soon. Once this returns it is durable,
    /// where the store has a directory. A key that was used for the same event within the last 10 minutes names that event.
    ///
    /// # Errors
    /// When it cannot be made durable, its key was used for something else, or there is no place for it beside others' events.
    pub async fn emit(&self, event: Event, key: Option<IdempotencyKey>, from: &Client, now: Timestamp) -> Result<Accepted, EmitError> {
        let submission = Submission {
            event,
            key,
            owner: Owner::Poster(from.network()),
            at: now,
            stamp: None,
        };
        match &self.shared.journal {
            Some(journal) => journal.submit(submission).await,
            None => self.shared.events().take(submission),
        }
    }

    /// Takes the one-shot events of a polled text as [`Inlet::emit`] takes one: once this returns all of them are durable, and
    /// after an error none was taken. An event that bears a time keeps it. In the log they take the share of the endpoint's app.
    ///
    /// # Errors
    /// When they cannot be made durable.
    pub async fn emit_polled(&self, app: &AppName, polled: Vec<PolledEvent>, now: Timestamp) -> Result<(), EmitError> {
        let submission = |PolledEvent { event, stamp }| Submission {
            event,
            key: None,
            owner: Owner::Endpoint(app.clone()),
            at: now,
            stamp,
        };
        let submissions: Vec<Submission> = polled.into_iter().map(submission).collect();
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

    /// Does what is due for events and scrapers at this time, and tells of the losses. Meant to be called each second.
    pub fn sweep(&self, now: Timestamp) -> Vec<Dropped> {
        let (losses, changed) = {
            let mut events = self.shared.events();
            (events.sweep(now), events.has_changes())
        };
        self.shared.tell_journal(changed);
        losses
    }

    /// Replaces all that a pushing application had with what it says now. Once this returns, every scrape shows it. Lines
    /// that cannot be used are left out, and the receipt tells of them.
    ///
    /// # Errors
    /// When the store has no room for it, or no line of it can be used.
    pub fn put(&self, update: Update) -> Result<Receipt, Refused> {
        self.take(self.prepare(update, true)?)
    }

    /// As [`Inlet::put`], all or nothing as far as the text itself goes: with one line that cannot be used nothing is stored. What other apps
    /// have is no reason to refuse a text.
    ///
    /// # Errors
    /// As for [`Inlet::put`], and for any fault.
    pub fn put_whole(&self, update: Update) -> Result<Receipt, Refused> {
        let prepared = self.prepare(update, true)?;
        if let Some(faulty) = prepared.text.exposition().filter(|text| !text.faults().is_empty()) {
            return Err(invalid(faulty));
        }
        let same_names = prepared.change.as_ref().map_or_else(Vec::new, |change| change.same_names());
        if !same_names.is_empty() {
            return Err(Refused::SameNames(same_names));
        }
        self.take(prepared)
    }

    /// As [`Inlet::put`], for an application that is asked rather than pushing: it never expires, its source withdraws it.
    ///
    /// # Errors
    /// As for [`Inlet::put`].
    pub fn put_polled(&self, update: Update) -> Result<Receipt, Refused> {
        self.take(self.prepare(update, false)?)
    }

    /// Stores what was prepared and notifies subscribers.
    fn take(&self, prepared: ParsedUpdate) -> Result<Receipt, Refused> {
        let change = self
            .shared
            .subscribers
            .has_subscribers(Topic::AppUpdate)
            .then(|| Notification::updated(&prepared));
        let app = prepared.app.clone();
        let mut table = self.shared.table();
        let receipt = if table.cost(&prepared) > MAX_COST_AT_ONCE {
            drop(table);
            let receipt;
            (table, receipt) = self.take_large(prepared)?;
            receipt
        } else {
            table.put(prepared)?
        };
        if let Some(change) = change {
            self.shared.subscribers.publish(&change);
        }
        if receipt.same_text {
            self.shared.changed_time(table, &app);
        } else {
            self.shared.changed(table, &[app]);
        }
        Ok(receipt)
    }

    /// Stores an update that takes more than a moment: it is merged into a copy of the catalog, which then takes the catalog's place. Other
    /// updates are stored meanwhile, and repeated on the copy.
    fn take_large(&self, mut prepared: ParsedUpdate) -> Result<(MutexGuard<'_, AppTable>, Receipt), Refused> {
        self.shared.table().check(&prepared)?;
        let app = prepared.app.clone();
        let Some(change) = prepared.change.take() else {
            let mut table = self.shared.table();
            let receipt = table.put(prepared)?;
            return Ok((table, receipt));
        };
        let work = |copy: &mut Catalog, labels| {
            copy.restore_labels(&app, labels);
            copy.update(change)
        };
        let (mut table, copy, outcome) = self.shared.merge_aside(&app, work);
        // The room may have gone since the first check.
        if let Err(refused) = table.check(&prepared) {
            table.drop_copy();
            drop(table);
            drop(copy);
            return Err(refused);
        }
        let before = table.end_copy(copy);
        let place = table.place(&prepared.app, prepared.at);
        let refreshed = table.clock.at(prepared.at);
        let receipt = table.commit(prepared, place, outcome, refreshed);
        Dropping::later(before);
        Ok((table, receipt))
    }

    /// Tells those who follow of something that leaves no trace in the store. It never waits: who does not keep pace misses it.
    pub fn publish(&self, change: &Notification) {
        if self.shared.subscribers.has_subscribers(change.topic()) {
            self.shared.subscribers.publish(change);
        }
    }

    /// Whether anybody follows a topic, so that a change must be put into words at all.
    #[must_use]
    pub fn has_subscribers(&self, topic: Topic) -> bool {
        self.shared.subscribers.has_subscribers(topic)
    }

    /// Waits until those who follow have room for more: for those who tell of what they themselves read from somewhere and can let wait.
    pub async fn wait_for_capacity(&self) {
        self.shared.subscribers.wait_for_capacity().await;
    }

    /// Replaces what an IPFS node said of its peers, or forgets it.
    pub fn put_peers(&self, node: &AppName, sample: Option<PeerSample>) {
        self.shared.peers.put(node, sample);
    }

    /// Reads the text, before any lock is taken.
    fn prepare(&self, update: Update, expires: bool) -> Result<ParsedUpdate, Refused> {
        #[cfg(test)]
        assert!(!update.body.starts_with(PANICS), "an update at which tests make the store panic");
        let update = Update {
            body: self.shared.meter.hold(update.body),
            ..update
        };
        let mut prepared = ParsedUpdate::read(update, expires, self.shared.reads);
        match prepared.text.exposition() {
            Some(read) if read.series() == 0 && !read.faults().is_empty() => Err(invalid(read)),
            _ => {
                if let Some(rules) = self.shared.rules() {
                    prepared.prepare_change(&rules);
                }
                Ok(prepared)
            }
        }
    }

    /// Lists an application before its first update; one that is known stays as it is.
    ///
    /// # Errors
    /// When there are too many applications.
    pub fn register(&self, app: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        self.shared.table().register(app, origin, at)
    }

    /// Shows in `/apps` what is wrong with an application's source until the next update. False if it is unknown.
    pub fn fault(&self, app: &AppName, what: &str) -> bool {
        self.shared.table().amend(app, |app| app.fault = Some(what.into()))
    }

    /// Takes an application's data out of the exposition and keeps it listed. False if it is unknown.
    pub fn withdraw(&self, app: &AppName) -> bool {
        let mut table = self.shared.table();
        if table.cost_of_removal(app.as_str()) > MAX_COST_AT_ONCE {
            drop(table);
            let copy;
            (table, copy, _) = self.shared.merge_aside(app, |copy, _| copy.clear(app));
            Dropping::later(table.end_copy(copy));
        }
        let known = table.withdraw(app);
        self.shared.changed(table, std::slice::from_ref(app));
        known
    }

    /// Forgets an application, at `now`. False if it is unknown.
    pub fn remove(&self, app: &AppName, now: Timestamp) -> bool {
        let mut table = self.shared.table();
        let known = if table.cost_of_removal(app.as_str()) > MAX_COST_AT_ONCE {
            drop(table);
            let copy;
            (table, copy, _) = self.shared.merge_aside(app, |copy, _| copy.remove(app.as_str()));
            Dropping::later(table.end_copy(copy));
            table.remove(app)
        } else {
            table.remove(app)
        };
        if known {
            self.tell_forgotten(std::slice::from_ref(app), now);
        }
        self.shared.changed(table, std::slice::from_ref(app));
        known
    }

    fn tell_forgotten(&self, apps: &[AppName], at: Timestamp) {
        if self.shared.subscribers.has_subscribers(Topic::AppExpired) {
            let changes = apps.iter().map(|app| Notification::Forgotten { app: app.clone(), at });
            changes.for_each(|change| self.shared.subscribers.publish(&change));
        }
    }

    /// How many applications are forgotten at once: nobody waits for the store longer than some milliseconds, even if all of ten thousand
    /// have ended together.
    pub const EXPIRES_AT_ONCE: usize = 64;

    /// Forgets pushed applications whose last update is too old at `now`, and names them. Where there are [`Inlet::EXPIRES_AT_ONCE`] there
    /// may be more, and others should have their turn before this is called again.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        let mut gone = self.shared.table().expired(now, Self::EXPIRES_AT_ONCE);
        // One lock for each: an app may be large. One that has been updated meanwhile stays.
        gone.retain(|app| self.shared.table().is_expired(app, now) && self.remove(app, now));
        gone
    }

    /// Lets go of rendered text that nobody has taken since the last call, because scrapers take the compressed form, or none any more.
    /// What nobody has asked for in many calls is forgotten altogether. Where somebody wants it, it is rendered again.
    pub fn evict_idle(&self) {
        let evicted = self.shared.responses().evict_idle();
        let table = self.shared.table();
        let unused: Vec<_> = evicted.variants.iter().flat_map(|variant| table.forget(*variant)).collect();
        let chunks = table.chunks();
        drop(table);
        // Freeing takes a while: not under the lock.
        chunks.iter().chain(&evicted.chunks).for_each(|chunk| chunk.evict_text());
        drop((unused, evicted));
        self.shared.compressors.clear();
    }

    /// Puts other limits in force. What is stored already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.table().set_limits(limits);
    }

    /// Merges everything by other rules. Between raw and merged only a restart changes.
    pub fn set_mode(&self, mode: Mode) {
        let (Mode::Merge(rules), Some(_)) = (mode, self.shared.rules()) else {
            return;
        };
        let (mut table, copy, ()) = self.shared.merge_all(rules);
        Dropping::later(table.end_copy(copy));
        table.changed_all();
        self.shared.changed(table, &[]);
    }
}

fn invalid(text: &Exposition) -> Refused {
    Refused::Invalid(text.faults().iter().cloned().collect(), text.faults().total())
}
