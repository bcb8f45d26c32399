//! Changes of the state that were not reported yet: losses for the metrics, entries for the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::{DropReason, Dropped};
use crate::model::ScraperId;

/// Changes that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct PendingChanges {
    /// By reason and by who had the loss. The sweep takes them each second; within it each scraper has at most one of each reason.
    losses: BTreeMap<(DropReason, Option<ScraperId>), u64>,
    /// Differences from the journal; `None` without a journal.
    changes: Option<Changes>,
}

/// Changes that the journal does not have yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Bounded by the scrapers known and those forgotten between two writes.
    pub(super) scrapers: BTreeSet<ScraperId>,
    /// True if the events that no scraper came for have changed.
    pub(super) unclaimed: bool,
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

    /// Notes that the position of a scraper has changed, or that it was removed.
    pub(super) fn changed(&mut self, who: &ScraperId) {
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

    /// True if [`PendingChanges::take_changes`] would return any.
    pub(super) fn has_changes(&self) -> bool {
        let changes = self.changes.as_ref();
        changes.is_some_and(|changes| changes.unclaimed || !changes.scrapers.is_empty())
    }
}
