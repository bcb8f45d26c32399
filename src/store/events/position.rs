//! The place of a scraper in the log: a cursor of this process alone, or what a cluster knows of it.

use std::sync::Arc;

use super::cursor::Cursor;
use super::log::Log;
use super::shared_cursor::SharedCursor;
use super::{EventOptions, StoredEvent};
use crate::model::{EventId, Timestamp};

/// The events that a scraper still has to get.
#[derive(Debug, Clone)]
pub(super) enum ScraperPosition {
    /// Without a cluster.
    Local(Cursor),
    /// At a replica of a cluster.
    Shared(SharedCursor),
}

impl ScraperPosition {
    /// A position for which this event and all later ones of the log are pending.
    pub(super) fn at(log: &Log, next: u64, seen: Timestamp) -> Self {
        match log.sources {
            None => Self::Local(Cursor::at(next)),
            Some(_) => Self::Shared(SharedCursor::at(log, next, seen)),
        }
    }

    /// No event before this one is pending.
    pub(super) fn lowest(&self) -> u64 {
        match self {
            Self::Local(cursor) => cursor.lowest(),
            Self::Shared(cursor) => cursor.lowest(),
        }
    }

    /// The number of pending events.
    pub(super) fn pending(&self, log: &Log) -> u64 {
        match self {
            Self::Local(cursor) => cursor.pending(log),
            Self::Shared(cursor) => cursor.pending(log),
        }
    }

    /// The number of pending events that this process counts if they are lost: in a cluster those that it has accepted, so that each counts once.
    pub(super) fn losses(&self, log: &Log) -> u64 {
        match self {
            Self::Local(cursor) => cursor.pending(log),
            Self::Shared(cursor) => cursor.pending_own(log),
        }
    }

    /// Skips the events that the log no longer has, and returns the number of those that were not counted when they were pushed out.
    pub(super) fn skip_lost(&mut self, log: &Log) -> u64 {
        match self {
            Self::Local(cursor) => cursor.skip_lost(log),
            Self::Shared(cursor) => {
                cursor.settle(log);
                0
            }
        }
    }

    /// True if this event is pending.
    pub(super) fn awaits(&self, log: &Log, record: &StoredEvent) -> bool {
        match self {
            Self::Local(cursor) => cursor.awaits(record),
            Self::Shared(cursor) => log.source(record.id.0).is_some_and(|source| !cursor.has(source)),
        }
    }

    /// The events for a scrape, and the position after their delivery.
    pub(super) fn pick(&self, log: &Log, options: &EventOptions) -> (Vec<Arc<StoredEvent>>, Self) {
        match self {
            Self::Local(cursor) => {
                let (events, after) = if options.explicit_timestamps {
                    cursor.pick_all(log, options.max_per_scrape)
                } else {
                    cursor.pick_one_of_each(log, options.max_per_scrape)
                };
                (events, Self::Local(after))
            }
            Self::Shared(cursor) => {
                let (events, after) = cursor.pick(log, options.max_per_scrape);
                (events, Self::Shared(after))
            }
        }
    }

    /// The first pending events, at most `most`.
    pub(super) fn first_pending(&self, log: &Log, most: usize) -> Vec<EventId> {
        match self {
            Self::Local(cursor) => cursor.first_pending(log, most),
            Self::Shared(cursor) => cursor.first_pending(log, most),
        }
    }

    /// Moves on to a position after a delivery.
    pub(super) fn deliver(&mut self, after: Self, log: &Log) {
        match (self, after) {
            // Others may have delivered since.
            (Self::Shared(cursor), Self::Shared(after)) => {
                cursor.join(&after);
                cursor.settle(log);
            }
            (position, after) => *position = after,
        }
    }
}
