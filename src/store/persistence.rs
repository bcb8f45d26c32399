//! The state of apps that persists across a restart, and its restoration.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::combiner::ParsedUpdate;
use super::stored_apps::StoredApps;
use super::{App, Refused};
use crate::model::Timestamp;

/// The name of a family as the catalog compares it.
pub(super) type FamilyKey = Arc<[u8]>;

/// The position of an app in the order of first sight, and what is saved with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedPosition {
    /// The place.
    pub(super) order: u64,
    /// The time of first sight.
    pub(super) first_seen: Timestamp,
    /// Its families that carry the disambiguating label.
    pub(super) labelled: Vec<FamilyKey>,
}

/// The age of an app's last update when it was written down, and the time of day then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    pub(super) then: Duration,
    pub(super) written: Timestamp,
}

impl Age {
    /// Follows a wall clock that was set after this was written.
    pub(super) fn shift(&mut self, millis: i64) {
        self.written = Timestamp::from_millis(self.written.as_millis().saturating_add(millis));
    }

    /// The age at a later time of day. A clock that was set back meanwhile takes nothing off.
    pub(super) fn at(self, now: Timestamp) -> Duration {
        self.then.saturating_add(now.since(self.written))
    }
}

/// Wakes the thread that writes the apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// There is something to write.
    Changed,
    /// The thread is to write what there is and end.
    Stop,
}

/// The apps that have changed since they were last written.
#[derive(Debug, Default)]
pub(super) struct DirtyApps {
    /// By order. Bounded by the apps that are stored and those that were stored at the last write.
    orders: HashSet<u64, foldhash::fast::RandomState>,
    /// Orders from this one on were assigned since then: an app that was added and removed in between needs no record.
    fresh: u64,
    /// Gets one message for the first change after each [`StoredApps::take_changes`].
    writer: Option<Sender<Wake>>,
}

impl DirtyApps {
    /// An app in this place has changed.
    pub(super) fn touch(&mut self, order: u64) {
        if self.orders.is_empty() {
            self.wake();
        }
        self.orders.insert(order);
    }

    fn wake(&self) {
        if let Some(writer) = &self.writer {
            // A thread that has ended writes nothing any more.
            let _ = writer.send(Wake::Changed);
        }
    }

    /// The app in this place is gone.
    pub(super) fn remove(&mut self, order: u64) {
        if order >= self.fresh {
            self.orders.remove(&order);
        } else {
            self.touch(order);
        }
    }
}

impl StoredApps {
    /// Notes changes for the disk from now on.
    pub(super) fn note_changes(&mut self) {
        self.table.dirty = Some(DirtyApps::default());
    }

    /// Wakes the writer at the first change after each [`StoredApps::take_changes`], and at once if there are changes.
    pub(super) fn wake_writer(&mut self, writer: Sender<Wake>) {
        if let Some(dirty) = &mut self.table.dirty {
            dirty.writer = Some(writer);
            if !dirty.orders.is_empty() {
                dirty.wake();
            }
        }
    }

    /// Wakes the writer if the wall clock was set: the ages that were written before are to be read accordingly.
    pub(super) fn note_step(&mut self) {
        if let Some(dirty) = self.table.dirty.as_ref().filter(|_| self.clock.was_set()) {
            dirty.wake();
        }
    }

    /// Takes the orders of the apps that have changed since the last call.
    pub(super) fn take_changes(&mut self) -> HashSet<u64, foldhash::fast::RandomState> {
        let next_order = self.table.next_order();
        self.table.dirty.as_mut().map_or_else(HashSet::default, |dirty| {
            dirty.fresh = next_order;
            std::mem::take(&mut dirty.orders)
        })
    }

    /// The app of an order, the keys of its families that carry a disambiguating label, and its age.
    pub(super) fn to_write(&self, order: u64) -> Option<(Arc<App>, Vec<FamilyKey>, Age)> {
        let app = self.table.by_order(order)?;
        let labelled = self.combiner.labelled(&app.name);
        let (now, written) = self.clock.last_both();
        let then = now.since(app.refreshed);
        Some((Arc::clone(app), labelled, Age { then, written }))
    }

    /// Puts an app back that was stored before the restart, with the age that it has by now.
    ///
    /// # Errors
    /// When it exceeds a limit.
    pub(super) fn restore(&mut self, position: SavedPosition, mut update: ParsedUpdate, age: Duration) -> Result<(), Refused> {
        self.table.reserve(update.app.clone(), position);
        let refreshed = self.clock.last().before(age);
        self.put_within(&mut update, refreshed, usize::MAX).map(drop)
    }
}
