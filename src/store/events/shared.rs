//! The events of a replica of a cluster: what it gives to the engine, and what it takes from there.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::position::ScraperPosition;
use super::shared_codec::{ScraperRecord, decode_scraper, encode_event, encode_scraper};
use super::shared_cursor::SharedCursor;
use super::sources::Sources;
use super::state::{Events, LeasedEvents, Scraper};
use super::{LeaseId, MAX_SCRAPERS, OriginId, ScraperStatus, Source};
use crate::model::{Client, IdempotencyKey, ScraperId, Timestamp};

/// The parts of the timeout of scrapers after which a scrape without events is reported to the other replicas, which then know that the scraper
/// still comes; and by which they wait longer for that report.
const REPORTED_IN: u32 = 8;
const WAITED_IN: u32 = 4;

/// The least growth of the reported time of a scrape, by which other replicas recognize that the scraper has come.
const SEEN_STEP: Duration = Duration::from_millis(1);

/// A scraper of which the engine lacks the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct Dirty {
    /// The lease that is no longer needed.
    pub(in crate::store) release: Option<LeaseId>,
}

/// A scrape at a replica, before the engine is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Visit {
    pub(in crate::store) status: ScraperStatus,
    /// The lease to ask the engine for; `None` if no event is due, or none can be given.
    pub(in crate::store) lease: Option<LeaseId>,
}

/// An event for the engine.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct OwnEvent {
    pub(in crate::store) number: u64,
    pub(in crate::store) key: Option<IdempotencyKey>,
    /// `None` if it is not to be delivered.
    pub(in crate::store) bytes: Option<Vec<u8>>,
    /// True if the engine has had it before.
    pub(in crate::store) confirmed: bool,
}

impl Events {
    /// The time without a scrape after which a scraper is forgotten. In a cluster other replicas report scrapes only now and then.
    pub(super) fn forgotten_after(&self) -> Duration {
        let timeout = self.options.scraper_timeout;
        match self.log.sources {
            None => timeout,
            Some(_) => timeout + timeout / WAITED_IN,
        }
    }

    /// The origin of the events that this replica accepts; `None` without a cluster.
    pub(in crate::store) fn origin(&self) -> Option<OriginId> {
        self.log.sources.as_ref().map(Sources::own)
    }

    /// Accepts events under another origin from now on, because the engine has later ones of the current one: the directory is an older copy.
    pub(in crate::store) fn renew_origin(&mut self, own: OriginId) {
        if let Some(sources) = &mut self.log.sources {
            sources.set_own(own);
            self.changes.origin_changed();
        }
    }

    /// The number that the next event of this replica gets.
    pub(in crate::store) fn next_number(&self) -> u64 {
        self.log.end()
    }

    /// Events of this replica after a number, in order, at most `most` and about `bytes` long.
    pub(in crate::store) fn own_after(&self, after: u64, most: usize, bytes: usize) -> Vec<OwnEvent> {
        let Some(sources) = &self.log.sources else { return Vec::new() };
        let (mut own, mut length) = (Vec::new(), 0);
        for record in self.log.range(after.saturating_add(1)..self.log.end()) {
            let id = record.id.0;
            if self.log.source(id).is_none_or(|source| source.origin != sources.own()) {
                continue;
            }
            let is_void = sources.is_void(id);
            let key = sources.key(id).filter(|_| !is_void).cloned();
            let bytes_of_it = (!is_void).then(|| encode_event(record, key.as_ref()));
            length += bytes_of_it.as_ref().map_or(0, Vec::len);
            own.push(OwnEvent {
                number: id,
                key,
                bytes: bytes_of_it,
                confirmed: id <= sources.readable(),
            });
            if own.len() >= most || length >= bytes {
                break;
            }
        }
        own
    }

    /// The number of events of this replica after a number.
    pub(in crate::store) fn own_count(&self, after: u64) -> usize {
        let own = self.origin();
        let ids = self.log.first().max(after.saturating_add(1))..self.log.end();
        ids.filter(|id| self.log.source(*id).map(|source| source.origin) == own).count()
    }

    /// The events that have used idempotency keys, as far as the engine had them. Those that are no longer kept have the number 0 of this replica.
    pub(in crate::store) fn claims(&self) -> Vec<(IdempotencyKey, Source)> {
        let Some(sources) = &self.log.sources else { return Vec::new() };
        let forgotten = Source {
            origin: sources.own(),
            number: 0,
        };
        let used = self.keys.iter().filter_map(|(key, used)| {
            let source = match self.log.source(used.id.0) {
                Some(source) if sources.is_readable(source) && !sources.is_void(used.id.0) => source,
                Some(_) => return None,
                None => forgotten,
            };
            Some((key.clone(), source))
        });
        used.collect()
    }

    /// The engine has given back an event of this replica, or that another replica had one with the same key first.
    pub(in crate::store) fn read_back(&mut self, number: u64, is_void: bool) {
        let known = self.log.get(number).is_some();
        let Some(sources) = &mut self.log.sources else { return };
        if is_void && known && !sources.is_void(number) {
            sources.set_void(number);
            self.changes.voided(number);
        }
        sources.set_readable(number);
    }

    /// True if an event of another replica is to be taken: it was not read before, and a scraper may still get it.
    pub(in crate::store) fn wants(&self, source: Source, at: Timestamp) -> bool {
        let is_recent = self.age_of(at) < self.options.newcomer_window;
        let is_pending = self.scrapers.values().any(|scraper| match &scraper.cursor {
            ScraperPosition::Shared(cursor) => !cursor.has(source),
            ScraperPosition::Local(_) => false,
        });
        !self.log.has_read(source) && (is_recent || is_pending)
    }

    /// The age of an event with this time of day, by the wall clocks of this machine and of the one that accepted it.
    fn age_of(&self, at: Timestamp) -> Duration {
        self.clock.last().since(self.clock.moment_of(at))
    }

    /// Notes an event of another replica that is not taken. All earlier ones of it must have been taken before.
    pub(in crate::store) fn skip(&mut self, source: Source) {
        if let Some(sources) = &mut self.log.sources {
            sources.read(source);
        }
    }

    /// Notes a scrape. While the engine is away no scraper is registered, since another replica may know it.
    pub(in crate::store) fn visit(&mut self, who: &ScraperId, from: &Client, wall: Timestamp, away: bool) -> Visit {
        let nothing = |status| Visit { status, lease: None };
        if away && !self.scrapers.contains_key(who) {
            return nothing(ScraperStatus::InFlight);
        }
        let status = match self.arrive(who, from, wall) {
            Ok(status) => status,
            Err(status) => return nothing(status),
        };
        let (now, report_after) = (self.clock.last(), self.options.scraper_timeout / REPORTED_IN);
        let Some(Scraper {
            cursor: ScraperPosition::Shared(cursor),
            reported,
            ..
        }) = self.scrapers.get_mut(who)
        else {
            return nothing(status);
        };
        if reported.is_none_or(|reported| now.since(reported) >= report_after) {
            *reported = Some(now);
            // It grows also where the last report came from a clock that is ahead.
            cursor.seen = wall.max(cursor.seen.plus(SEEN_STEP));
            self.changes.changed(who);
        }
        if away || !cursor.is_due(&self.log) {
            return nothing(status);
        }
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        Visit { status, lease: Some(id) }
    }

    /// Leases the events that are due to a scraper, once the engine has granted this lease, with the state that it has of the scraper.
    pub(in crate::store) fn granted(&mut self, who: &ScraperId, visit: Visit, state: Option<&[u8]>) -> LeasedEvents {
        match state {
            Some(state) => drop(self.merge(who, state)),
            None => self.written(who),
        }
        let is_leased = self.scrapers.get(who).is_some_and(|scraper| scraper.lease.is_some());
        let leased = match is_leased {
            true => LeasedEvents::none(ScraperStatus::InFlight),
            false => self.lease(who, visit.status, visit.lease),
        };
        if let Some(id) = visit.lease.filter(|id| leased.lease != Some(*id)) {
            self.changes.release(who, id);
        }
        leased
    }

    /// The scrapers that are known.
    pub(in crate::store) fn known(&self) -> Vec<ScraperId> {
        self.scrapers.keys().cloned().collect()
    }

    /// True if a lease is not settled.
    pub(in crate::store) fn is_active(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// True if this replica has accepted an event that it still has.
    pub(in crate::store) fn is_own(&self, id: u64) -> bool {
        self.log.source(id).is_some_and(|source| Some(source.origin) == self.origin())
    }

    /// The leases that this replica holds.
    pub(in crate::store) fn active_leases(&self) -> Vec<(ScraperId, LeaseId)> {
        self.leases.iter().map(|(id, who)| (who.clone(), *id)).collect()
    }

    /// Adds what the engine knows of a scraper. Returns true if that lacks something that is known here, `None` if it cannot be read, or if
    /// there are too many scrapers.
    pub(in crate::store) fn merge(&mut self, who: &ScraperId, state: &[u8]) -> Option<bool> {
        let mut record = decode_scraper(state)?;
        let now = self.clock.last();
        if !self.scrapers.contains_key(who) && self.absences.lasts(who, record.cursor.seen) {
            // The engine still has it, or has it again.
            self.changes.changed(who);
            return Some(true);
        }
        let limit = MAX_SCRAPERS + self.options.scrapers.len();
        let known = self.scrapers.len();
        let Some(scraper) = self.scrapers.get_mut(who) else {
            if known >= limit {
                return None;
            }
            record.cursor.fresh = false;
            record.cursor.settle(&self.log);
            // It may have come just now: the time of its last scrape is by the clock of another machine, and says nothing here.
            let scraper = Scraper::restored(ScraperPosition::Shared(record.cursor), now, record.regular);
            self.scrapers.insert(who.clone(), scraper);
            self.absences.end(who);
            self.changes.changed_elsewhere(who);
            return Some(false);
        };
        let ScraperPosition::Shared(cursor) = &mut scraper.cursor else {
            return None;
        };
        if record.cursor.seen > cursor.seen {
            // It has just come to another replica, whatever that one's clock says.
            (scraper.seen, scraper.reported) = (now, Some(now));
        }
        let mut is_further = scraper.regular && !record.regular;
        if std::mem::replace(&mut cursor.fresh, false) {
            // What a new scraper would get is no longer of interest.
            let seen = cursor.seen.max(record.cursor.seen);
            is_further |= seen != record.cursor.seen;
            *cursor = SharedCursor {
                seen,
                fresh: false,
                ..record.cursor
            };
        } else {
            is_further |= cursor.join(&record.cursor);
        }
        cursor.prune(&self.log);
        cursor.settle(&self.log);
        scraper.regular |= record.regular;
        self.changes.changed_elsewhere(who);
        Some(is_further)
    }

    /// The engine has the state of a scraper that is here.
    pub(in crate::store) fn written(&mut self, who: &ScraperId) {
        if let Some(Scraper {
            cursor: ScraperPosition::Shared(cursor),
            ..
        }) = self.scrapers.get_mut(who)
        {
            cursor.fresh = false;
        }
    }

    /// The state of a scraper for the engine; `None` if it is not known here.
    pub(in crate::store) fn state_of(&self, who: &ScraperId) -> Option<Vec<u8>> {
        let scraper = self.scrapers.get(who)?;
        let ScraperPosition::Shared(cursor) = &scraper.cursor else {
            return None;
        };
        let cursor = SharedCursor {
            fresh: false,
            ..cursor.clone()
        };
        Some(encode_scraper(&ScraperRecord {
            cursor,
            regular: scraper.regular,
        }))
    }

    /// True if the engine's state of a scraper is of the absence for which it was forgotten here, so that it came to no replica since, or cannot
    /// be read.
    pub(in crate::store) fn is_forgotten(&self, who: &ScraperId, state: &[u8]) -> bool {
        decode_scraper(state).is_none_or(|record| self.absences.lasts(who, record.cursor.seen))
    }

    /// The reported time of the first scrape of a scraper that is not known: later than its last one before an absence, whatever clock that was
    /// of.
    pub(super) fn first_seen(&mut self, who: &ScraperId) -> Timestamp {
        let (_, wall) = self.clock.last_both();
        self.absences.end(who).map_or(wall, |last| wall.max(last.plus(SEEN_STEP)))
    }

    /// Takes scrapers of which the engine lacks the state, at most `most`. If a state cannot be written, the scraper is to be noted again.
    pub(in crate::store) fn take_unshared(&mut self, most: usize) -> Vec<(ScraperId, Dirty)> {
        self.changes.take_unshared(most)
    }

    /// The number of scrapers of which the engine lacks the state.
    pub(in crate::store) fn unshared(&self) -> usize {
        self.changes.unshared()
    }

    /// Notes that the engine lacks what is known of a scraper, or is to end a lease.
    pub(in crate::store) fn mark_unshared(&mut self, who: &ScraperId, dirty: Dirty) {
        match dirty.release {
            Some(lease) => self.changes.release(who, lease),
            None => self.changes.changed(who),
        }
    }

    /// Notes that the engine may lack what is known of all scrapers.
    pub(super) fn mark_all_unshared(&mut self) {
        self.scrapers.keys().for_each(|who| self.changes.changed(who));
    }

    /// The first event at or after the oldest one and before `until` that the engine has not given back to this replica, which accepted it.
    pub(super) fn first_unread_own(&self, until: u64) -> u64 {
        let Some(sources) = &self.log.sources else { return until };
        let from = self.log.first().max(sources.readable() + 1);
        let is_own = |id: &u64| self.log.source(*id).is_some_and(|source| source.origin == sources.own());
        (from..until).find(is_own).unwrap_or(until)
    }
}
