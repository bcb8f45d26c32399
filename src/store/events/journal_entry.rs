//! The entries of the journal, from which the state can be restored.

use std::sync::Arc;

use super::idempotency::UsedKey;
use super::{OriginId, Source, StoredEvent};
use crate::model::{IdempotencyKey, ScraperId, Timestamp};

/// One change of the state. Applied in order to an empty state, the entries make the same state again.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum JournalEntry {
    /// The first entry: where the numbering continues.
    Start {
        /// The number of the first event kept.
        first: u64,
        /// No event before that one has a later stamp.
        freed_stamp: Timestamp,
    },
    /// An event was accepted.
    Event {
        /// The event.
        record: Arc<StoredEvent>,
        /// The key its producer gave it.
        key: Option<IdempotencyKey>,
    },
    /// A key of an event that need not be kept any more.
    Key {
        /// The key.
        key: IdempotencyKey,
        /// The event that it was used for.
        used: UsedKey,
    },
    /// The position of a scraper, replacing earlier entries about it.
    Cursor {
        /// The scraper.
        scraper: ScraperId,
        /// This event and all later ones are pending.
        next: u64,
        /// The first waiting event of each series that has some before `next`.
        heads: Vec<u64>,
    },
    /// A scraper has scraped more than once, or is declared.
    Regular {
        /// The scraper.
        scraper: ScraperId,
    },
    /// Losses of a scraper before its last cursor, not counted yet.
    Lost {
        /// The scraper.
        scraper: ScraperId,
        /// The number of events; more were pending than are kept.
        events: u64,
    },
    /// A scraper is no longer known.
    Forgotten {
        /// The scraper.
        scraper: ScraperId,
    },
    /// No event before this one will be counted as one that no scraper came for.
    Unclaimed {
        /// Its number.
        from: u64,
    },
    /// From here on, events of this replica have this origin.
    Origin {
        /// The origin.
        own: OriginId,
    },
    /// An event was read that another replica has accepted.
    Shared {
        /// The event, with the number that it has here.
        record: Arc<StoredEvent>,
        /// The key its producer gave it.
        key: Option<IdempotencyKey>,
        /// Its name within the cluster.
        source: Source,
    },
    /// An event of this replica is not to be delivered: another replica had one with the same key first.
    Void {
        /// Its number.
        id: u64,
    },
    /// The state of a scraper of a cluster, replacing earlier entries about it.
    SharedCursor {
        /// The scraper.
        scraper: ScraperId,
        /// Its state, encoded.
        state: Vec<u8>,
    },
}
