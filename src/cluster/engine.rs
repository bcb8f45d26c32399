//! An engine as the replicas need it: records with revisions, one-shot events with the state of their scrapers, and the list of members.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{AppName, ScraperId, Timestamp};
use crate::store::{OriginId, OwnEvent, ReadEvent, UsedIdempotencyKey};

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
    /// The revision of the state that it replaces: the write is skipped where the engine has another one, or none.
    pub(super) replaces: Option<Revision>,
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is stored, with this revision.
    Stored(Revision),
    /// It is skipped: a later state was there, or another one than it replaces.
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

/// The place up to which a replica has read events and changes of scrapers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventPlace {
    /// The id of the data; empty before the first connection.
    pub(super) epoch: String,
    /// The last event.
    pub(super) event: Revision,
    /// The last change of a scraper.
    pub(super) scraper: Revision,
}

/// The start of an exchange of events.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    /// An id for the data of an engine that has none.
    pub(super) candidate: String,
    /// The place that this replica had reached.
    pub(super) known: EventPlace,
    /// The time without new leases if the engine may have lost events.
    pub(super) hold: Duration,
}

/// The start of an exchange of events, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    /// The id of the data.
    pub(super) epoch: String,
    /// The last change of a scraper.
    pub(super) scraper: Revision,
    /// True if it has lost what this replica has seen of it, or may have lost other things: no new leases are granted.
    pub(super) lost: bool,
}

/// A change of the state of a scraper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) scraper: ScraperId,
    /// `None` if the scraper was forgotten.
    pub(super) state: Option<Bytes>,
}

/// The events and the changes of scrapers after a place, each in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ReadEvents {
    pub(super) events: Vec<(Revision, ReadEvent)>,
    pub(super) moves: Vec<(Revision, Move)>,
}

/// The outcome of writing the state of a scraper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is written, with this version; 0 if it was removed.
    Set(u64),
    /// Another replica has written it since: its version and its state, 0 and `None` if there is none.
    Differs(u64, Option<Bytes>),
}

/// The leave to deliver events to a scraper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseGrant {
    /// The version of its state; 0 if there is none.
    pub(super) version: u64,
    /// Its state.
    pub(super) state: Option<Bytes>,
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

    /// Starts an exchange of events. If the engine has lost what a replica has seen of it, or was started again since replicas connected, no new
    /// leases are granted for a while, in which all replicas write what they know. A replica that has seen little of an engine would not notice
    /// by itself that it is back in time.
    fn open_events(&self, opening: Opening) -> impl Future<Output = Result<Opened, EngineError>> + Send;

    /// Notes events that have used idempotency keys, unless others are noted.
    fn claim(&self, used: &[UsedIdempotencyKey]) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Appends events of one origin, in order, if the last one that the engine has of it is `after`; events with a key that another event has
    /// used are appended as such, without their content. While no leases are granted it stops at an event with a key that nothing is known of:
    /// another replica may yet claim it. Returns the last number that the engine then has.
    fn append(&self, origin: OriginId, after: u64, events: Vec<OwnEvent>) -> impl Future<Output = Result<u64, EngineError>> + Send;

    /// The last number of an origin; 0 if there is none.
    fn tail(&self, origin: OriginId) -> impl Future<Output = Result<u64, EngineError>> + Send;

    /// Waits for events and changes of scrapers after a place, for some seconds at most.
    fn read(&self, after: &EventPlace) -> impl Future<Output = Result<ReadEvents, EngineError>> + Send;

    /// The place of the last event; [`Revision::ZERO`] before the first one.
    fn last_event(&self) -> impl Future<Output = Result<Revision, EngineError>> + Send;

    /// All scrapers with the versions of their states, and the states.
    fn scrapers(&self) -> impl Future<Output = Result<Vec<(ScraperId, u64, Bytes)>, EngineError>> + Send;

    /// Writes the state of a scraper, or removes it, if the version is still the expected one, and ends the lease if it is this one.
    fn compare_and_set(
        &self,
        scraper: &ScraperId,
        expected: u64,
        state: Option<Bytes>,
        release: Option<&str>,
    ) -> impl Future<Output = Result<Compared, EngineError>> + Send;

    /// Takes the lease on the events of a scraper, or renews it. `None` if another one is in force, or if no new ones are granted. An error if
    /// the engine's events have another id than `epoch`, because they were lost.
    fn lease(
        &self,
        epoch: &str,
        scraper: &ScraperId,
        token: &str,
        ttl: Duration,
        renews: bool,
    ) -> impl Future<Output = Result<Option<LeaseGrant>, EngineError>> + Send;

    /// Says that a replica is there, and takes or keeps the lease if it is free.
    fn beat(&self, beat: Beat) -> impl Future<Output = Result<BeatReply, EngineError>> + Send;

    /// Says that a replica is gone, and gives back its lease.
    fn leave(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send;
}
