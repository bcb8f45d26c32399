//! An engine as the replicas need it: records with revisions, and the list of members.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{AppName, Timestamp};

/// The place of a write in the order of all writes. Revisions of one engine grow with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Revision {
    /// The engine's time of the write in milliseconds.
    pub(super) millis: u64,
    /// The number among the writes of that millisecond.
    pub(super) sequence: u64,
}

impl Revision {
    /// Before all writes.
    pub(super) const ZERO: Self = Self { millis: 0, sequence: 0 };

    /// Reads the form of [`fmt::Display`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (millis, sequence) = text.split_once('-')?;
        Some(Self {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// The state of an app that is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) app: AppName,
    /// The packed record; `None` removes the app.
    pub(super) record: Option<Bytes>,
    /// The time of its update, by the clock of the replica that took it.
    pub(super) at: Timestamp,
    /// The age of its update.
    pub(super) age: Duration,
    /// The time after which the engine forgets it; `None`: never.
    pub(super) ttl: Option<Duration>,
    /// True if the write is skipped where the engine has a state with the same or a later time of update.
    pub(super) delayed: bool,
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is stored, with this revision.
    Stored(Revision),
    /// A later state was there.
    Superseded,
}

/// The changes after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Watched {
    /// The apps that were written, in order; none if nothing happened for a while.
    Changes(Vec<(AppName, Revision)>),
    /// The engine no longer has the history since then: it was trimmed, or the engine lost data.
    Lost,
}

/// The state of an app as the engine has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) app: AppName,
    pub(super) revision: Revision,
    /// The time of its update, by the clock of the replica that took it.
    pub(super) at: Timestamp,
    /// The age of its update when it was written.
    pub(super) age: Duration,
    /// The packed record; `None` for an app that was removed.
    pub(super) record: Option<Bytes>,
}

/// The heartbeat of a replica.
#[derive(Debug, Clone)]
pub(super) struct Beat {
    /// The replica's own id.
    pub(super) id: String,
    /// Its description, which the others show.
    pub(super) about: String,
    /// The time after which it counts as gone without another heartbeat.
    pub(super) ttl: Duration,
    /// An id for the data of an engine that has none.
    pub(super) epoch: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BeatReply {
    /// The id of the engine's data. Another one: the data was lost meanwhile.
    pub(super) epoch: String,
    /// The id of the replica with the lease on work that one replica does for all.
    pub(super) lease_owner: String,
    /// The engine's time in milliseconds.
    pub(super) millis: u64,
    /// The ids of all replicas that are there, and what is shown of them.
    pub(super) members: Vec<(String, String)>,
}

/// The reason for the loss of an engine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct EngineError(pub(super) String);

/// An engine. Writes of one app are ordered, and a write is visible to all replicas once it has its revision.
pub(super) trait Engine: Send + Sync + 'static {
    /// Writes the state of an app.
    fn put(&self, write: Write) -> impl Future<Output = Result<Written, EngineError>> + Send;

    /// Waits for changes after a revision, for some seconds at most.
    fn watch(&self, after: Revision) -> impl Future<Output = Result<Watched, EngineError>> + Send;

    /// The last revision; [`Revision::ZERO`] before the first write.
    fn last(&self) -> impl Future<Output = Result<Revision, EngineError>> + Send;

    /// True if the history from a revision on is still there.
    fn has(&self, revision: Revision) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The names of all apps; those that are written meanwhile may be missing, and a name may come twice. The cursor is 0 at first, and 0 at
    /// the end.
    fn list(&self, cursor: u64) -> impl Future<Output = Result<(u64, Vec<AppName>), EngineError>> + Send;

    /// The state of apps; nothing for those that are unknown.
    fn get(&self, apps: Vec<AppName>) -> impl Future<Output = Result<Vec<Stored>, EngineError>> + Send;

    /// Says that a replica is there, and takes or keeps the lease if it is free.
    fn beat(&self, beat: Beat) -> impl Future<Output = Result<BeatReply, EngineError>> + Send;

    /// Says that a replica is gone, and gives back its lease.
    fn leave(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send;
}
