//! The state as a list of entries, and made again from one.

use std::sync::Arc;

use super::cursor::Cursor;
use super::log::Log;
use super::state::{Events, Scraper};
use super::{DropReason, EventOptions, JournalEntry, Owner};
use crate::model::Timestamp;

impl Events {
    /// An empty state that [`Events::apply`] fills, at the time when the program starts.
    pub(in crate::store) fn restoring(options: EventOptions, now: Timestamp) -> Self {
        let mut events = Self::empty(options);
        events.clock.at(now);
        events
    }

    /// Applies an entry of the journal. Nothing is dropped meanwhile, whatever the number of events.
    ///
    /// # Errors
    /// When the entry does not fit those before it, which means that it is not what was written.
    pub(in crate::store) fn apply(&mut self, entry: JournalEntry) -> Result<(), &'static str> {
        let now = self.clock.last();
        match entry {
            JournalEntry::Start { first, freed_stamp } => {
                if self.log.end() != 1 || first == 0 {
                    return Err("numbering that starts twice");
                }
                self.log = Log::new(first);
                (self.log.freed_stamp, self.unclaimed) = (freed_stamp, first);
            }
            JournalEntry::Event { record, key } => {
                if record.id.0 != self.log.end() {
                    return Err("an event out of order");
                }
                let taken = now.of(record.at);
                let taken = self.log.newest().map_or(taken, |newest| newest.max(taken));
                self.remember(record, key, taken, Owner::Restored);
            }
            JournalEntry::Key { key, used } => self.keys.insert(key, used, now.of(used.at)),
            JournalEntry::Cursor { scraper, next, heads } => {
                let cursor = Cursor::restore(&self.log, next, &heads).ok_or("a cursor that points outside the events")?;
                // A scraper could not come while the program was down, so its timeout begins again.
                let known = Scraper {
                    cursor,
                    lease: None,
                    seen: now,
                    scraped: None,
                    from: None,
                    declared: false,
                    regular: false,
                    lost: 0,
                };
                self.scrapers.insert(scraper, known);
            }
            JournalEntry::Lost { scraper, events } => {
                if events >= self.log.end() {
                    return Err("more losses than there were events");
                }
                let scraper = self.scrapers.get_mut(&scraper).ok_or("losses of a scraper that is not known")?;
                scraper.lost = scraper.lost.saturating_add(events);
            }
            JournalEntry::Regular { scraper } => {
                let scraper = self.scrapers.get_mut(&scraper).ok_or("scrapes of a scraper that is not known")?;
                scraper.regular = true;
            }
            JournalEntry::Forgotten { scraper } => {
                self.scrapers.remove(&scraper);
                self.unclaimed = self.log.end();
            }
            JournalEntry::Unclaimed { from } => self.unclaimed = from.min(self.log.end()),
        }
        Ok(())
    }

    /// Ends the restoration: the bounds hold again, the declared scrapers are known, and changes are noted for the journal.
    pub(in crate::store) fn restored(&mut self) {
        self.changes.keep_changes();
        for (who, scraper) in self.scrapers.iter().filter(|(_, scraper)| scraper.lost > 0) {
            if scraper.regular {
                self.changes.lost(DropReason::Overflow, Some(who), scraper.lost);
            }
            self.changes.changed(who);
        }
        let over = self.log.len().saturating_sub(self.options.max_pending) as u64;
        self.log.free(self.log.first() + over);
        self.register_declared();
    }

    /// The entries that restore this state. Leases are not among them: leased events are due again after a restart.
    pub(in crate::store) fn entries(&self) -> Vec<JournalEntry> {
        let mut entries = vec![JournalEntry::Start {
            first: self.log.first(),
            freed_stamp: self.log.freed_stamp,
        }];
        let keys = self.keys.iter();
        entries.extend(keys.map(|(key, &used)| JournalEntry::Key { key: key.clone(), used }));
        let events = self.log.range(self.log.first()..self.log.end());
        entries.extend(events.map(|record| JournalEntry::Event {
            record: Arc::clone(record),
            key: None,
        }));
        entries.extend(self.scrapers.keys().flat_map(|who| self.entries_for(who)));
        entries.push(JournalEntry::Unclaimed { from: self.unclaimed });
        entries
    }
}
