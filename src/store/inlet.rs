//! The writing half.

use std::sync::Arc;

use super::events::Offer;
use super::{Accepted, Dropped, Limits, Shared};
use crate::model::{AppName, Event, IdempotencyKey, Origin, Timestamp, Update};

/// The writing half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
}

/// What became of an update that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the application had been known before.
    pub replaced: bool,
    /// The bytes of exposition text now stored for it.
    pub bytes: u64,
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
        }
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
        let offer = Offer { event, key, at: now };
        match &self.shared.journal {
            Some(door) => door.offer(offer).await,
            None => self.shared.events().take(offer),
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

    /// Replaces all that a pushing application had with what it says now. Once this returns, every scrape shows it.
    ///
    /// # Errors
    /// When the store has no room for it.
    pub fn put(&self, update: Update) -> Result<Receipt, Refused> {
        self.shared.latest().put(update, true)
    }

    /// As [`Inlet::put`], for an application that is asked rather than pushing: it never expires, its source withdraws it.
    ///
    /// # Errors
    /// When the store has no room for it.
    pub fn put_polled(&self, update: Update) -> Result<Receipt, Refused> {
        self.shared.latest().put(update, false)
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
        self.shared.latest().withdraw(app)
    }

    /// Forgets an application. False if it is unknown.
    pub fn remove(&self, app: &AppName) -> bool {
        self.shared.latest().remove(app)
    }

    /// Forgets the pushed applications whose last update is too old at `now`, and names them.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        self.shared.latest().expire(now)
    }

    /// Puts other limits in force. What is stored already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.latest().set_limits(limits);
    }
}
