//! The writing half.

use std::sync::Arc;

use super::{Limits, Shared};
use crate::model::{AppName, Origin, Timestamp, Update};

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
