//! The writing half.

use std::sync::Arc;

use super::events::Offer;
use super::latest::{Latest, Prepared};
use super::{Accepted, Change, Dropped, Limits, Mode, PolledEvent, Shared};
use crate::exposition::catalog::Clash;
use crate::exposition::{Exposition, Fault};
use crate::model::{AppName, Event, IdempotencyKey, Origin, PeerSample, Timestamp, Topic, Update};

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
    /// What is wrong with the update although it was taken: lines that are left out, contradictions to other applications.
    pub complaint: Option<Arc<str>>,
    /// Whether the complaint is another one than before.
    pub(super) is_new: bool,
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
    /// The text is longer than what it replaces and there is no room for it.
    #[error("the store is full: no more than {max_bytes} bytes of exposition text are kept (store.max_bytes)")]
    Full {
        /// The limit in force.
        max_bytes: u64,
    },
    /// No line of the text can be used, or one cannot and all were asked for.
    #[error("{}", Invalid(.0, *.1))]
    Invalid(Vec<Fault>, u64),
    /// The text contradicts what other applications have, and all of it was asked for.
    #[error("{}", Clashing(.0))]
    Clashing(Vec<Clash>),
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
}

impl Refused {
    /// The stable word for the `reason` label of `exporter_proxy_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooManyApps { .. } => "too_many_apps",
            Self::Full { .. } => "store_full",
            Self::Invalid(..) => "invalid",
            Self::Clashing(_) => "clash",
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

/// Clashes as text, a line each.
struct Clashing<'a>(&'a [Clash]);

impl std::fmt::Display for Clashing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, clash) in self.0.iter().enumerate() {
            write!(f, "{}{clash}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes a one-shot event, for every scraper there is and for those that come soon. Once this returns it is durable,
    /// where the store has a folder. A key that was used for the same event within the last 10 minutes names that event.
    ///
    /// # Errors
    /// When it cannot be made durable, or its key was used for something else.
    pub async fn emit(&self, event: Event, key: Option<IdempotencyKey>, now: Timestamp) -> Result<Accepted, EmitError> {
        let offer = Offer {
            event,
            key,
            at: now,
            stamp: None,
        };
        match &self.shared.journal {
            Some(door) => door.offer(offer).await,
            None => self.shared.events().take(offer),
        }
    }

    /// Takes the one-shot events of a polled text as [`Inlet::emit`] takes one: once this returns all of them are durable, and
    /// after an error none was taken. An event that bears a time keeps it.
    ///
    /// # Errors
    /// When they cannot be made durable.
    pub async fn emit_polled(&self, polled: Vec<PolledEvent>, now: Timestamp) -> Result<(), EmitError> {
        let offer = |PolledEvent { event, stamp }| Offer {
            event,
            key: None,
            at: now,
            stamp,
        };
        let offers: Vec<Offer> = polled.into_iter().map(offer).collect();
        match &self.shared.journal {
            _ if offers.is_empty() => Ok(()),
            Some(door) => door.offer_all(offers).await?.into_iter().try_for_each(|outcome| outcome.map(drop)),
            None => {
                let mut events = self.shared.events();
                offers.into_iter().try_for_each(|offer| events.take(offer).map(drop))
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
        self.take(self.prepare(update, true)?, |_, _| Ok(()))
    }

    /// As [`Inlet::put`], all or nothing: one line that cannot be used, or one family that contradicts another application's,
    /// and nothing is stored.
    ///
    /// # Errors
    /// As for [`Inlet::put`], and for any fault.
    pub fn put_whole(&self, update: Update) -> Result<Receipt, Refused> {
        let prepared = self.prepare(update, true)?;
        let exposition = prepared.text.exposition().cloned();
        if let Some(faulty) = exposition.as_ref().filter(|text| !text.faults().is_empty()) {
            return Err(invalid(faulty));
        }
        self.take(prepared, |latest, app| {
            exposition.as_ref().map_or(Ok(()), |exposition| latest.check(app, exposition))
        })
    }

    /// As [`Inlet::put`], for an application that is asked rather than pushing: it never expires, its source withdraws it.
    ///
    /// # Errors
    /// As for [`Inlet::put`].
    pub fn put_polled(&self, update: Update) -> Result<Receipt, Refused> {
        self.take(self.prepare(update, false)?, |_, _| Ok(()))
    }

    /// Stores what was prepared if `check`, under the same lock, has nothing against it, and tells those who follow.
    fn take(&self, prepared: Prepared, check: impl FnOnce(&mut Latest, &AppName) -> Result<(), Refused>) -> Result<Receipt, Refused> {
        let change = self.shared.followers.want(Topic::AppUpdate).then(|| Change::updated(&prepared));
        let app = prepared.app.clone();
        let mut latest = self.shared.latest();
        check(&mut latest, &app)?;
        let receipt = latest.put(prepared)?;
        if let Some(change) = change {
            self.shared.followers.tell(&change);
        }
        self.shared.changed(latest, &[app]);
        Ok(receipt)
    }

    /// Tells those who follow of something that leaves no trace in the store. It never waits: who does not keep pace misses it.
    pub fn tell(&self, change: &Change) {
        if self.shared.followers.want(change.topic()) {
            self.shared.followers.tell(change);
        }
    }

    /// Whether anybody follows a topic, so that a change must be put into words at all.
    #[must_use]
    pub fn is_followed(&self, topic: Topic) -> bool {
        self.shared.followers.want(topic)
    }

    /// Waits until those who follow have room for more: for those who tell of what they themselves read from somewhere and can let wait.
    pub async fn room(&self) {
        self.shared.followers.room().await;
    }

    /// Replaces what an IPFS node said of its peers, or forgets it.
    pub fn put_peers(&self, node: &AppName, sample: Option<PeerSample>) {
        self.shared.peers.put(node, sample);
    }

    /// Reads the text, before any lock is taken.
    fn prepare(&self, update: Update, expires: bool) -> Result<Prepared, Refused> {
        let prepared = Prepared::read(update, expires, self.shared.reads);
        match prepared.text.exposition() {
            Some(read) if read.series() == 0 && !read.faults().is_empty() => Err(invalid(read)),
            _ => Ok(prepared),
        }
    }

    /// Lists an application before its first update; one that is known stays as it is.
    ///
    /// # Errors
    /// When there are too many applications.
    pub fn announce(&self, app: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        self.shared.latest().announce(app, origin, at)
    }

    /// Shows in `/apps` what is wrong with an application's source until the next update. False if it is unknown.
    pub fn fault(&self, app: &AppName, what: &str) -> bool {
        self.shared.latest().amend(app, |app| app.fault = Some(what.into()))
    }

    /// Takes an application's data out of the exposition and keeps it listed. False if it is unknown.
    pub fn withdraw(&self, app: &AppName) -> bool {
        let mut latest = self.shared.latest();
        let known = latest.withdraw(app);
        self.shared.changed(latest, std::slice::from_ref(app));
        known
    }

    /// Forgets an application, at `now`. False if it is unknown.
    pub fn remove(&self, app: &AppName, now: Timestamp) -> bool {
        let mut latest = self.shared.latest();
        let known = latest.remove(app);
        if known {
            self.tell_forgotten(std::slice::from_ref(app), now);
        }
        self.shared.changed(latest, std::slice::from_ref(app));
        known
    }

    fn tell_forgotten(&self, apps: &[AppName], at: Timestamp) {
        if self.shared.followers.want(Topic::AppExpired) {
            let changes = apps.iter().map(|app| Change::Forgotten { app: app.clone(), at });
            changes.for_each(|change| self.shared.followers.tell(&change));
        }
    }

    /// How many applications are forgotten at once: nobody waits for the store longer than some milliseconds, even if all of ten thousand
    /// have ended together.
    pub const EXPIRES_AT_ONCE: usize = 64;

    /// Forgets pushed applications whose last update is too old at `now`, and names them. Where there are [`Inlet::EXPIRES_AT_ONCE`] there
    /// may be more, and others should have their turn before this is called again.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        let mut latest = self.shared.latest();
        let gone = latest.expire(now, Self::EXPIRES_AT_ONCE);
        self.tell_forgotten(&gone, now);
        if !gone.is_empty() {
            self.shared.changed(latest, &gone);
        }
        gone
    }

    /// Lets go of rendered text that nobody has taken since the last call, because scrapers take the compressed form, or none any more.
    /// What nobody has asked for in many calls is forgotten altogether. Where somebody wants it, it is rendered again.
    pub fn rest(&self) {
        let rested = self.shared.answers().rest();
        let mut latest = self.shared.latest();
        let unused: Vec<_> = rested.variants.iter().flat_map(|variant| latest.forget(*variant)).collect();
        let chunks = latest.chunks();
        drop(latest);
        // Freeing takes a while: not under the lock.
        chunks.iter().chain(&rested.chunks).for_each(|chunk| chunk.rest());
        drop((unused, rested));
    }

    /// Puts other limits in force. What is stored already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.latest().set_limits(limits);
    }

    /// Puts everything together anew by other rules. Between raw and merged only a restart changes.
    pub fn set_mode(&self, mode: Mode) {
        let mut latest = self.shared.latest();
        latest.set_mode(mode);
        self.shared.changed(latest, &[]);
    }
}

fn invalid(text: &Exposition) -> Refused {
    Refused::Invalid(text.faults().iter().cloned().collect(), text.faults().total())
}
