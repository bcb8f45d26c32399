//! What has to be remembered so that the state can be made again: the words of the journal.

use std::sync::Arc;

use super::StoredEvent;
use super::idempotency::UsedKey;
use crate::model::{IdempotencyKey, ScraperId, Timestamp};

/// One change of the state. Applied in order to an empty state, the entries make the same state again.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum JournalEntry {
    /// What comes before all others: where the numbering goes on.
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
    /// A key whose event need not be kept any more.
    Key {
        /// The key.
        key: IdempotencyKey,
        /// What it was used for.
        used: UsedKey,
    },
    /// What a scraper still has to get, replacing what was said of it before.
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
    /// Before the last word on a scraper it lost events that it has not been told to have lost.
    Lost {
        /// The scraper.
        scraper: ScraperId,
        /// How many, because more were pending than are kept.
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
}
