//! Changes of the state that were not reported yet: losses for the metrics, entries for the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dirty, DropReason, Dropped, LeaseId, MAX_SCRAPERS};
use crate::model::ScraperId;

/// The removals of scrapers that are repeated after a failure of the disk. The journal can name about as many scrapers as there may be, and is
/// synced each second; while the disk fails, clients can go on inventing names. Beyond it the journal is rewritten.
pub(in crate::store) const MAX_REMOVALS: usize = 2 * MAX_SCRAPERS;

/// Changes that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct PendingChanges {
    /// By reason and by who had the loss. The sweep takes them each second; within it each scraper has at most one of each reason.
    losses: BTreeMap<(DropReason, Option<ScraperId>), u64>,
    /// Differences from the journal; `None` without a journal.
    changes: Option<Changes>,
    /// Scrapers of which the removal was handed out for the journal, until that is known to be on the disk. Bounded by [`MAX_REMOVALS`].
    unsynced_removals: BTreeSet<ScraperId>,
    /// True if there were more of them.
    lost_removals: bool,
    /// The scrapers of which the engine of a cluster lacks the state; `None` without a cluster. Bounded by the scrapers known
    /// and those forgotten while the engine is away.
    unshared: Option<BTreeMap<ScraperId, Dirty>>,
}

/// Changes that the journal does not have yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Bounded by the scrapers known and those forgotten between two writes.
    pub(super) scrapers: BTreeSet<ScraperId>,
    /// True if the events that no scraper came for have changed.
    pub(super) unclaimed: bool,
    /// Events that are not to be delivered.
    pub(super) voids: Vec<u64>,
    /// True if the origin of new events has changed.
    pub(super) origin: bool,
}

impl PendingChanges {
    /// From now on changes are noted.
    pub(super) fn keep_changes(&mut self) {
        self.changes = Some(Changes::default());
    }

    /// This many events were lost.
    pub(super) fn lost(&mut self, reason: DropReason, scraper: Option<&ScraperId>, events: u64) {
        if events > 0 {
            *self.losses.entry((reason, scraper.cloned())).or_default() += events;
        }
    }

    /// Takes the losses.
    pub(super) fn take_losses(&mut self) -> Vec<Dropped> {
        let losses = std::mem::take(&mut self.losses).into_iter();
        losses
            .map(|((reason, scraper), events)| Dropped { reason, scraper, events })
            .collect()
    }

    /// From now on changes for the engine are noted.
    pub(super) fn keep_unshared(&mut self) {
        self.unshared = Some(BTreeMap::new());
    }

    /// Notes that the position of a scraper has changed, or that it was removed.
    pub(super) fn changed(&mut self, who: &ScraperId) {
        if let Some(unshared) = &mut self.unshared {
            unshared.entry(who.clone()).or_default();
        }
        self.changed_elsewhere(who);
    }

    /// Notes that a lease of the engine on the events of a scraper is no longer needed.
    pub(super) fn release(&mut self, who: &ScraperId, lease: LeaseId) {
        if let Some(unshared) = &mut self.unshared {
            unshared.entry(who.clone()).or_default().release = Some(lease);
        }
    }

    /// Takes scrapers of which the engine lacks the state, at most `most`.
    pub(super) fn take_unshared(&mut self, most: usize) -> Vec<(ScraperId, Dirty)> {
        let unshared = self.unshared.iter_mut();
        let taken = unshared.flat_map(|unshared| std::iter::from_fn(|| unshared.pop_first()).take(most).collect::<Vec<_>>());
        taken.collect()
    }

    /// The number of scrapers of which the engine lacks the state.
    pub(super) fn unshared(&self) -> usize {
        self.unshared.as_ref().map_or(0, BTreeMap::len)
    }

    /// Notes that an event is not to be delivered.
    pub(super) fn voided(&mut self, id: u64) {
        if let Some(changes) = &mut self.changes {
            changes.voids.push(id);
        }
    }

    /// Notes that new events have another origin.
    pub(super) fn origin_changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            changes.origin = true;
        }
    }

    /// Notes a change of a scraper that came from the engine.
    pub(super) fn changed_elsewhere(&mut self, who: &ScraperId) {
        if let Some(changes) = &mut self.changes {
            changes.scrapers.insert(who.clone());
        }
    }

    /// Notes that the first unclaimed event has changed.
    pub(super) fn unclaimed_changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            changes.unclaimed = true;
        }
    }

    /// Takes the changes.
    pub(super) fn take_changes(&mut self) -> Changes {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes that the removal of a scraper is handed out for the journal.
    pub(super) fn removal_taken(&mut self, who: &ScraperId) {
        if self.unsynced_removals.len() < MAX_REMOVALS {
            self.unsynced_removals.insert(who.clone());
        } else {
            self.lost_removals |= !self.unsynced_removals.contains(who);
        }
    }

    /// Notes that all changes taken so far are on the disk.
    pub(super) fn synced(&mut self) {
        self.unsynced_removals.clear();
        self.lost_removals = false;
    }

    /// Repeats the removals that may not be on the disk. Returns true if some of them are no longer known.
    pub(super) fn repeat_removals(&mut self) -> bool {
        if let Some(changes) = &mut self.changes {
            changes.scrapers.extend(self.unsynced_removals.iter().cloned());
        }
        self.lost_removals
    }

    /// True if [`PendingChanges::take_changes`] would return any.
    pub(super) fn has_changes(&self) -> bool {
        let changes = self.changes.as_ref();
        changes.is_some_and(|changes| changes.unclaimed || changes.origin || !changes.voids.is_empty() || !changes.scrapers.is_empty())
    }
}
