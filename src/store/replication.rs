//! Apps and events as the replicas of a cluster exchange them: the changes that this process has still to share, and an app with its state as
//! bytes.

mod changes;
mod codec;
mod shared_events;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::App;
use super::persistence::FamilyKey;
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp};

pub use changes::{LocalChange, LocalChanges, Settlement};
pub(super) use shared_events::Exchange;
pub use shared_events::{LeaseRequest, OwnEvent, ReadEvent, SharedEvents, UnsharedScraper, UsedIdempotencyKey, WhenEngineAway};

/// An app with all that another replica needs to serve it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicatedApp {
    /// Its name.
    pub app: AppName,
    /// The origin of its last update.
    pub origin: Origin,
    /// The time of first sight.
    pub first_seen: Timestamp,
    /// The time of its last update; `None` if it was only registered so far.
    pub updated: Option<Timestamp>,
    /// True if it expires without further updates.
    pub expires: bool,
    /// The age of its last update at which it expires, if its sender has set one.
    pub expire_after: Option<Duration>,
    /// True if its data was removed from the exposition because its source does not answer.
    pub withdrawn: bool,
    /// The fault of its source, if there is one.
    pub fault: Option<Arc<str>>,
    /// Labels that every series gets unless it has them.
    pub labels: Arc<[LabelPair]>,
    /// The format of the text.
    pub syntax: Syntax,
    /// Its text as it was pushed or polled.
    pub body: Bytes,
    /// Native histograms beside the text; empty without any.
    pub records: Bytes,
    /// Its families that carry the disambiguating label.
    labelled: Vec<FamilyKey>,
}

/// The outcome of a change that another replica has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicatedOutcome {
    /// It is made here as well.
    Applied,
    /// There was nothing to change: the app is unknown.
    Unneeded,
    /// It was not made: the app has a change here that may be later.
    Deferred,
}

impl ReplicatedOutcome {
    /// The outcome of a change of an app that need not be known.
    pub(super) const fn of(is_known: bool) -> Self {
        if is_known { Self::Applied } else { Self::Unneeded }
    }
}

impl ReplicatedApp {
    pub(super) fn new(app: &App, labelled: Vec<FamilyKey>) -> Self {
        Self {
            app: app.name.clone(),
            origin: app.origin.clone(),
            first_seen: app.first_seen,
            updated: app.updated,
            expires: app.expires,
            expire_after: app.expire_after,
            withdrawn: app.withdrawn,
            fault: app.fault.clone(),
            labels: Arc::clone(&app.labels),
            syntax: app.text.syntax(),
            body: app.text.body().clone(),
            records: app.text.exposition().map_or_else(Bytes::new, |text| text.record_bytes()),
            labelled,
        }
    }

    pub(super) fn labelled(&self) -> &[FamilyKey] {
        &self.labelled
    }

    /// The age of its update at which it expires, where `limit` holds for apps without an age of their own; `None`: never.
    #[must_use]
    pub fn expiry(&self, limit: Option<Duration>) -> Option<Duration> {
        self.expire_after.or(limit).filter(|_| self.expires)
    }

    /// The app as bytes; [`ReplicatedApp::decode`] reads them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`ReplicatedApp::encode`] of this version or a later one has written; `None` for other bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes)
    }
}
