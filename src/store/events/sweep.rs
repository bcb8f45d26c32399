//! Expiry: removes scrapers that do not come back, counts losses, and frees events that no scraper needs.

use std::borrow::Cow;

use super::JournalEntry;
use super::monotonic::MonotonicTime;
use super::position::ScraperPosition;
use super::shared_codec::{ScraperRecord, encode_scraper};
use super::state::{Events, Scraper};
use crate::model::{ScraperId, Timestamp};

/// The number of newest events kept for the `/events` page after all scrapers have got them.
const RECENT: u64 = 100;

/// The reason for which a scraper does not get an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The scraper was forgotten while the event was pending for it.
    Expired,
    /// More events were pending than are kept.
    Overflow,
    /// No scraper was known when the event came, and none came in time.
    NoScraper,
}

impl DropReason {
    /// The stable word for the `reason` label of `exporter_proxy_events_dropped_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::NoScraper => "no_scraper",
        }
    }
}

/// Events that were lost to a scraper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The reason.
    pub reason: DropReason,
    /// The scraper; `None` if none was known.
    pub scraper: Option<ScraperId>,
    /// The number of events.
    pub events: u64,
}

impl Events {
    /// Expires all that is due at this time, and returns every loss since the last sweep. Meant to be called each second.
    pub(in crate::store) fn sweep(&mut self, wall: Timestamp) -> Vec<Dropped> {
        let now = self.clock.tick(wall);
        self.forget_unseen(now);
        for (who, scraper) in &mut self.scrapers {
            scraper.skip_lost(who, &self.log, &mut self.changes);
        }
        self.drop_unclaimed(now);
        self.free_delivered(now);
        self.keys.expire(now);
        self.absences.expire(now, self.forgotten_after());
        self.changes.take_losses()
    }

    fn forget_unseen(&mut self, now: MonotonicTime) {
        let timeout = self.forgotten_after();
        let gone = self
            .scrapers
            .extract_if(|_, scraper| !scraper.declared && scraper.lease.is_none() && now.since(scraper.seen) >= timeout);
        let gone: Vec<_> = gone.collect();
        let mut unclaimed = None;
        for (who, mut scraper) in gone {
            unclaimed = unclaimed.max(Some(self.count_losses(&who, &mut scraper)));
            if let ScraperPosition::Shared(cursor) = &scraper.cursor {
                self.absences.begin(&who, cursor.seen, now);
            }
            self.changes.changed(&who);
        }
        self.note_unclaimed(unclaimed);
    }

    /// The engine has forgotten a scraper, because it did not come for too long at any replica. Each replica counts the losses of events that it
    /// has accepted.
    pub(in crate::store) fn forget_elsewhere(&mut self, who: &ScraperId) {
        let is_forgotten = |scraper: &Scraper| scraper.lease.is_none() && !scraper.declared;
        if !self.scrapers.get(who).is_some_and(is_forgotten) {
            return;
        }
        if let Some(mut scraper) = self.scrapers.remove(who) {
            let unclaimed = self.count_losses(who, &mut scraper);
            self.changes.changed_elsewhere(who);
            self.note_unclaimed(Some(unclaimed));
        }
    }

    /// Counts what a scraper loses that is no longer known, and returns the first event that is unclaimed if it was the last scraper.
    fn count_losses(&mut self, who: &ScraperId, scraper: &mut Scraper) -> u64 {
        scraper.skip_lost(who, &self.log, &mut self.changes);
        if !scraper.regular {
            // A scraper that came once (a person with a browser) has no losses. Later events that no other scraper has got are unclaimed.
            return scraper.cursor.lowest();
        }
        let pending = scraper.cursor.losses(&self.log);
        self.changes.lost(DropReason::Expired, Some(who), pending);
        self.log.end()
    }

    /// Notes the first event that is unclaimed once scrapers were removed, if none is left.
    pub(super) fn note_unclaimed(&mut self, from: Option<u64>) {
        if let Some(from) = from.filter(|_| self.scrapers.is_empty()) {
            self.set_unclaimed(from);
        }
    }

    /// While no scraper is known: drops the events that have become too old for a new one.
    pub(super) fn drop_unclaimed(&mut self, now: MonotonicTime) {
        self.drop_unclaimed_until(self.log.first(), DropReason::Overflow);
        self.drop_unclaimed_until(self.window_start(now), DropReason::NoScraper);
    }

    /// While no scraper is known: drops the events before this one. At a replica of a cluster those count that it has accepted, so that each counts
    /// once.
    fn drop_unclaimed_until(&mut self, until: u64, reason: DropReason) {
        if until <= self.unclaimed || !self.scrapers.is_empty() {
            return;
        }
        let lost = self.log.countable(self.unclaimed..until);
        self.changes.lost(reason, None, lost);
        self.set_unclaimed(until);
    }

    fn set_unclaimed(&mut self, from: u64) {
        self.unclaimed = from;
        self.changes.unclaimed_changed();
    }

    /// Frees the events that every scraper has got and that a new scraper would not get.
    fn free_delivered(&mut self, now: MonotonicTime) {
        let lowest = self.scrapers.values().map(|scraper| scraper.cursor.lowest()).min();
        let recent = self.log.end().saturating_sub(RECENT);
        let until = self.window_start(now).min(recent).min(lowest.unwrap_or(u64::MAX));
        let until = self.first_unread_own(until);
        self.log.free(until);
    }

    /// Forgets the events before this one, although scrapers may not have got them.
    pub(super) fn push_out(&mut self, until: u64) {
        if until <= self.log.first() {
            return;
        }
        // Afterwards it is no longer known which replica has accepted them.
        self.drop_unclaimed_until(until, DropReason::Overflow);
        for (who, scraper) in &mut self.scrapers {
            let ScraperPosition::Shared(cursor) = &mut scraper.cursor else {
                continue;
            };
            let (lost, own) = cursor.skip_until(&self.log, until);
            scraper.lost += own;
            if scraper.regular {
                self.changes.lost(DropReason::Overflow, Some(who), own);
            }
            if lost > 0 {
                self.changes.changed(who);
            }
        }
        self.log.free(until);
    }

    /// Takes the entries that bring the journal up to date; each change is returned once.
    pub(in crate::store) fn take_changes(&mut self) -> Vec<JournalEntry> {
        let changes = self.changes.take_changes();
        for who in changes.scrapers.iter().filter(|who| !self.scrapers.contains_key(*who)) {
            self.changes.removal_taken(who);
        }
        let mut entries: Vec<_> = changes.scrapers.iter().flat_map(|who| self.entries_for(who)).collect();
        if changes.unclaimed {
            entries.push(JournalEntry::Unclaimed { from: self.unclaimed });
        }
        entries.extend(changes.voids.into_iter().map(|id| JournalEntry::Void { id }));
        if let Some(sources) = self.log.sources.as_ref().filter(|_| changes.origin) {
            // Events that are accepted now are written after it.
            entries.insert(0, JournalEntry::Origin { own: sources.own() });
        }
        entries
    }

    /// True if [`Events::take_changes`] would return any entry.
    pub(in crate::store) fn has_changes(&self) -> bool {
        self.changes.has_changes()
    }

    /// Notes that the entries of all calls of [`Events::take_changes`] so far are on the disk.
    pub(in crate::store) fn changes_synced(&mut self) {
        self.changes.synced();
    }

    /// Repeats all entries about scrapers in the next call of [`Events::take_changes`]: those since the last [`Events::changes_synced`] may not have
    /// been written. Returns true if that is not enough, because too many scrapers were removed since: only [`Events::entries`] are the state then.
    #[must_use]
    pub(in crate::store) fn repeat_all_changes(&mut self) -> bool {
        self.scrapers.keys().for_each(|who| self.changes.changed(who));
        self.changes.unclaimed_changed();
        if let Some(sources) = &self.log.sources {
            self.changes.origin_changed();
            sources.voids().for_each(|id| self.changes.voided(id));
        }
        self.changes.repeat_removals()
    }

    /// The entries about one scraper.
    ///
    /// Losses that were not counted yet, because of a lease or because there was no sweep since, are left out of the cursor: a rewritten
    /// journal does not have those events. They are written as an entry of their own, and are counted if the program ends before it counts
    /// them.
    pub(super) fn entries_for(&self, who: &ScraperId) -> Vec<JournalEntry> {
        let scraper = who.clone();
        let Some(known) = self.scrapers.get(who) else {
            return vec![JournalEntry::Forgotten { scraper }];
        };
        let cursor = match &known.cursor {
            ScraperPosition::Local(cursor) => cursor,
            ScraperPosition::Shared(cursor) => {
                let (cursor, regular) = (cursor.clone(), known.regular);
                let state = encode_scraper(&ScraperRecord { cursor, regular });
                return vec![JournalEntry::SharedCursor { scraper, state }];
            }
        };
        let mut cursor = Cow::Borrowed(cursor);
        let is_behind = cursor.lowest() < self.log.first();
        let events = if is_behind { cursor.to_mut().skip_lost(&self.log) } else { 0 };
        let mut words = vec![JournalEntry::Cursor {
            scraper: scraper.clone(),
            next: cursor.next(),
            heads: cursor.heads(),
        }];
        if known.regular {
            words.push(JournalEntry::Regular { scraper: scraper.clone() });
        }
        if events > 0 {
            words.push(JournalEntry::Lost { scraper, events });
        }
        words
    }
}
