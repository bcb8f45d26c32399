//! The state as a list of entries, and made again from one.

use std::sync::Arc;

use super::cursor::Cursor;
use super::log::Log;
use super::position::ScraperPosition;
use super::shared_codec::decode_scraper;
use super::shared_cursor::SharedCursor;
use super::sources::Sources;
use super::state::{Events, Scraper};
use super::{DropReason, EventOptions, JournalEntry, MonotonicTime, Owner};
use crate::model::Timestamp;

/// The reason for not reading the journal of a replica without a cluster: this file alone does not say what its scrapers have received.
const OF_A_CLUSTER: &str = "events of a cluster, of which this proxy is no replica any more; set cluster.url, or move the file away";

impl Scraper {
    /// A scraper that was known before the restart, or at another replica. It could not come meanwhile, so its timeout begins again.
    pub(super) fn restored(cursor: ScraperPosition, seen: MonotonicTime, regular: bool) -> Self {
        Self {
            cursor,
            lease: None,
            seen,
            reported: None,
            scraped: None,
            from: None,
            declared: false,
            regular,
            lost: 0,
        }
    }
}

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
                let own = self.log.sources.as_ref().map(Sources::own);
                self.log = own.map_or_else(|| Log::new(first), |own| Log::of_replica(first, own));
                (self.log.freed_stamp, self.unclaimed) = (freed_stamp, first);
            }
            JournalEntry::Event { record, key } => {
                if record.id.0 != self.log.end() {
                    return Err("an event out of order");
                }
                let taken = self.taken_before(record.at);
                self.remember(record, key, taken, Owner::Restored, None);
            }
            JournalEntry::Key { key, used } => {
                self.log.keep_key(used.id.0, &key);
                self.keys.insert(key, used, self.clock.moment_of(used.at));
            }
            JournalEntry::Cursor { scraper, next, heads } => {
                let cursor = Cursor::restore(&self.log, next, &heads).ok_or("a cursor that points outside the events")?;
                let cursor = match self.log.sources {
                    None => ScraperPosition::Local(cursor),
                    Some(_) => ScraperPosition::Shared(SharedCursor::of_local(&self.log, &cursor, self.clock.last_both().1)),
                };
                self.scrapers.insert(scraper, Scraper::restored(cursor, now, false));
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
            JournalEntry::Origin { own } => {
                if let Some(sources) = &mut self.log.sources {
                    match std::mem::replace(&mut self.has_origin, true) {
                        true => sources.set_own(own),
                        false => sources.rename(own),
                    }
                }
            }
            JournalEntry::Shared { record, key, source } => {
                if record.id.0 != self.log.end() {
                    return Err("an event out of order");
                }
                if self.log.sources.is_none() {
                    return Err(OF_A_CLUSTER);
                }
                let taken = self.taken_before(record.at);
                self.remember(record, key, taken, Owner::Replica(source.origin), Some(source));
            }
            JournalEntry::Void { id } => {
                if let Some(sources) = &mut self.log.sources {
                    sources.set_void(id);
                }
            }
            JournalEntry::SharedCursor { scraper, state } => {
                if self.log.sources.is_none() {
                    return Err(OF_A_CLUSTER);
                }
                let record = decode_scraper(&state).ok_or("the state of a scraper that makes no sense")?;
                self.scrapers.insert(
                    scraper,
                    Scraper::restored(ScraperPosition::Shared(record.cursor), now, record.regular),
                );
            }
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
        if self.log.sources.is_some() && !self.has_origin {
            self.changes.origin_changed();
        }
        self.restore_readable();
        // Another replica may have delivered more meanwhile, or less.
        self.mark_all_unshared();
        let over = self.log.len().saturating_sub(self.options.max_pending) as u64;
        self.push_out(self.log.first() + over);
        self.register_declared();
    }

    /// Own events that scrapers have received were given back by the engine: their idempotency keys are theirs, also if the engine has lost them.
    fn restore_readable(&mut self) {
        let Some(sources) = &mut self.log.sources else { return };
        let own = sources.own();
        let received = self.scrapers.values().filter_map(|scraper| match &scraper.cursor {
            ScraperPosition::Shared(cursor) => Some(cursor.through(own)),
            ScraperPosition::Local(_) => None,
        });
        sources.set_readable(received.max().unwrap_or_default());
    }

    /// The entries that restore this state. Leases are not among them: leased events are due again after a restart.
    pub(in crate::store) fn entries(&self) -> Vec<JournalEntry> {
        let mut entries = vec![JournalEntry::Start {
            first: self.log.first(),
            freed_stamp: self.log.freed_stamp,
        }];
        let sources = self.log.sources.as_ref();
        entries.extend(sources.map(|sources| JournalEntry::Origin { own: sources.own() }));
        let keys = self.keys.iter();
        entries.extend(keys.map(|(key, &used)| JournalEntry::Key { key: key.clone(), used }));
        let events = self.log.range(self.log.first()..self.log.end());
        entries.extend(events.map(|record| {
            let (id, record) = (record.id.0, Arc::clone(record));
            let own = sources.map(Sources::own);
            match self.log.source(id).filter(|source| Some(source.origin) != own) {
                Some(source) => JournalEntry::Shared { record, key: None, source },
                None => JournalEntry::Event { record, key: None },
            }
        }));
        let voids = sources.into_iter().flat_map(Sources::voids);
        entries.extend(voids.map(|id| JournalEntry::Void { id }));
        entries.extend(self.scrapers.keys().flat_map(|who| self.entries_for(who)));
        entries.push(JournalEntry::Unclaimed { from: self.unclaimed });
        entries
    }
}
