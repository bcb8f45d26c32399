//! The writing half.

use std::sync::Arc;

use super::{Change, Limits, Shared};
use crate::model::{AppName, Origin, PeerSample, Timestamp, Topic, Update};

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
        self.store(update, true)
    }

    /// As [`Inlet::put`], for an application that is asked rather than pushing: it never expires, its source withdraws it.
    ///
    /// # Errors
    /// When the store has no room for it.
    pub fn put_polled(&self, update: Update) -> Result<Receipt, Refused> {
        self.store(update, false)
    }

    fn store(&self, update: Update, expires: bool) -> Result<Receipt, Refused> {
        let change = self.shared.followers.want(Topic::AppUpdate).then(|| Change::Updated {
            app: update.app.clone(),
            source: Arc::clone(&update.origin.source),
            bytes: update.body.len() as u64,
            at: update.at,
        });
        let mut latest = self.shared.latest();
        let receipt = latest.put(update, expires)?;
        if let Some(change) = change {
            self.shared.followers.tell(&change);
        }
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

    /// Forgets an application, at `now`. False if it is unknown.
    pub fn remove(&self, app: &AppName, now: Timestamp) -> bool {
        let mut latest = self.shared.latest();
        let known = latest.remove(app);
        if known {
            self.tell_forgotten(std::slice::from_ref(app), now);
        }
        known
    }

    fn tell_forgotten(&self, apps: &[AppName], at: Timestamp) {
        if self.shared.followers.want(Topic::AppExpired) {
            let changes = apps.iter().map(|app| Change::Forgotten { app: app.clone(), at });
            changes.for_each(|change| self.shared.followers.tell(&change));
        }
    }

    /// Forgets the pushed applications whose last update is too old at `now`, and names them.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        let mut latest = self.shared.latest();
        let gone = latest.expire(now);
        self.tell_forgotten(&gone, now);
        gone
    }

    /// Puts other limits in force. What is stored already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.latest().set_limits(limits);
    }
}
