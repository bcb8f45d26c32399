//! The state machine: events come in, scrapes take them out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::cursor::Cursor;
use super::keys::{Keys, Used, fingerprint};
use super::log::Log;
use super::notes::Notes;
use super::steady::{Moment, Steady};
use super::{DropReason, EventOptions, LeaseId, MAX_SCRAPERS, Recorded, Standing};
use crate::model::{Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};
use crate::store::EmitError;

/// How far apart the stamps of two events of one series are at least: the resolution of the formats and of Prometheus.
const STAMP_STEP: Duration = Duration::from_millis(1);

/// How far ahead of its time an event's stamp may be: much longer than any burst of one series takes, and under the ten
/// minutes beyond which Prometheus refuses a sample. A last stamp further ahead is of a clock that has been set back since,
/// and to go on from there would make every later event bear a time to come.
const MAX_AHEAD: Duration = Duration::from_secs(300);

/// An event at the door.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct Offer {
    pub(in crate::store) event: Event,
    pub(in crate::store) key: Option<IdempotencyKey>,
    pub(in crate::store) at: Timestamp,
    /// The time that the event bears at the server it was polled from, if it bears one.
    pub(in crate::store) stamp: Option<Timestamp>,
}

/// What is to become of an [`Offer`].
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Verdict {
    /// It becomes this event.
    New(Arc<Recorded>),
    /// It was accepted before, as this event.
    Repeat(EventId),
    /// Its key was used for something else.
    Conflict,
}

/// An event that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub id: EventId,
    /// How many scrapers are known, each of which gets it.
    pub scrapers: usize,
    /// Whether it had been taken already, under the same idempotency key.
    pub repeated: bool,
}

/// What is lent to the scrape of one scraper.
#[derive(Debug)]
pub(super) struct Loan {
    id: LeaseId,
    /// How many events went along.
    pub(super) count: usize,
    /// The cursor once they have arrived.
    after: Cursor,
}

/// A scraper that is told of events.
#[derive(Debug)]
pub(super) struct Scraper {
    pub(super) cursor: Cursor,
    pub(super) loan: Option<Loan>,
    pub(super) seen: Moment,
    /// When it scraped last, if it did.
    pub(super) scraped: Option<Timestamp>,
    pub(super) declared: bool,
    /// How many events it lost because it was too far behind.
    pub(super) lost: u64,
}

/// The events of one scrape.
#[derive(Debug)]
pub(in crate::store) struct Lent {
    pub(in crate::store) events: Vec<Arc<Recorded>>,
    pub(in crate::store) lease: Option<LeaseId>,
    pub(in crate::store) standing: Standing,
}

/// All that is known of events and scrapers.
#[derive(Debug)]
pub(in crate::store) struct Events {
    pub(super) options: EventOptions,
    pub(super) log: Log,
    /// Bounded by [`MAX_SCRAPERS`], the declared ones not counted.
    pub(super) scrapers: HashMap<ScraperId, Scraper, foldhash::fast::RandomState>,
    /// Who holds each lease. At most one for each scraper.
    leases: HashMap<LeaseId, ScraperId>,
    next_lease: u64,
    pub(super) keys: Keys,
    pub(super) clock: Steady,
    /// While no scraper is known: no event from this one on has been anybody's.
    pub(super) unclaimed: u64,
    pub(super) notes: Notes,
}

impl Events {
    /// No events, and the declared scrapers.
    pub(in crate::store) fn new(options: EventOptions) -> Self {
        let mut events = Self::empty(options);
        events.admit_declared();
        events
    }

    pub(super) fn empty(options: EventOptions) -> Self {
        Self {
            options,
            log: Log::new(1),
            scrapers: HashMap::default(),
            leases: HashMap::new(),
            next_lease: 1,
            keys: Keys::default(),
            clock: Steady::new(),
            unclaimed: 1,
            notes: Notes::default(),
        }
    }

    /// Makes the declared scrapers known, those that came back from the journal too.
    pub(super) fn admit_declared(&mut self) {
        let now = self.clock.last();
        for who in self.options.scrapers.clone().into_iter().take(MAX_SCRAPERS) {
            if !self.scrapers.contains_key(&who) {
                self.admit(&who, now);
            }
            if let Some(scraper) = self.scrapers.get_mut(&who) {
                scraper.declared = true;
            }
        }
    }

    /// Decides what is to become of offers, in order, without changing anything: numbers, stamps, repetitions.
    pub(in crate::store) fn judge(&self, offers: &[Offer]) -> Vec<Verdict> {
        let mut next = self.log.end();
        let mut stamps: HashMap<&LabelSet, Timestamp> = HashMap::new();
        let mut keys: HashMap<&IdempotencyKey, Used> = HashMap::new();
        let mut verdicts = Vec::with_capacity(offers.len());
        for Offer { event, key, at, stamp } in offers {
            let fingerprint = fingerprint(event);
            if let Some(used) = key.as_ref().and_then(|key| self.keys.get(key).or_else(|| keys.get(key))) {
                let same = used.fingerprint == fingerprint;
                verdicts.push(if same { Verdict::Repeat(used.id) } else { Verdict::Conflict });
                continue;
            }
            let last = stamps.get(&event.labels).copied();
            let last = last.unwrap_or_else(|| self.log.last_stamp(&event.labels));
            let (id, stamp) = (EventId(next), stamp_after(last, *stamp, *at));
            next += 1;
            if offers.len() > 1 {
                stamps.insert(&event.labels, stamp);
                keys.extend(key.as_ref().map(|key| (key, Used { id, fingerprint, at: *at })));
            }
            let event = event.clone();
            verdicts.push(Verdict::New(Arc::new(Recorded { id, event, at: *at, stamp })));
        }
        verdicts
    }

    /// Takes an offer at once, where nothing has to be durable.
    pub(in crate::store) fn take(&mut self, offer: Offer) -> Result<Accepted, EmitError> {
        match self.judge(std::slice::from_ref(&offer)).pop() {
            Some(Verdict::New(record)) => {
                let id = record.id;
                self.accept(record, offer.key);
                Ok(self.accepted(id, false))
            }
            Some(Verdict::Repeat(id)) => Ok(self.accepted(id, true)),
            Some(Verdict::Conflict) | None => Err(EmitError::KeyReused),
        }
    }

    /// Takes an event that [`Events::judge`] made, in its order.
    pub(in crate::store) fn accept(&mut self, record: Arc<Recorded>, key: Option<IdempotencyKey>) {
        let now = self.clock.at(record.at);
        self.remember(record, key, now);
        let over = self.log.len().saturating_sub(self.options.max_pending) as u64;
        self.log.free(self.log.first() + over);
    }

    pub(super) fn remember(&mut self, record: Arc<Recorded>, key: Option<IdempotencyKey>, taken: Moment) {
        if let Some(key) = key {
            let used = Used {
                id: record.id,
                fingerprint: fingerprint(&record.event),
                at: record.at,
            };
            self.keys.insert(key, used, taken);
        }
        self.log.push(record, taken);
    }

    /// What [`Accepted`] says of an event.
    pub(in crate::store) fn accepted(&self, id: EventId, repeated: bool) -> Accepted {
        Accepted {
            id,
            scrapers: self.scrapers.len(),
            repeated,
        }
    }

    /// The events for a scrape, lent until [`Events::settle`]; the first one makes a scraper known.
    pub(in crate::store) fn scrape(&mut self, who: &ScraperId, wall: Timestamp) -> Lent {
        let now = self.clock.at(wall);
        let nothing = |standing| Lent {
            events: Vec::new(),
            lease: None,
            standing,
        };
        let known = self.scrapers.contains_key(who);
        if !known {
            let others = self.scrapers.values().filter(|scraper| !scraper.declared).count();
            if others >= MAX_SCRAPERS {
                return nothing(Standing::Untracked);
            }
            self.admit(who, now);
        }
        let Some(scraper) = self.scrapers.get_mut(who) else {
            return nothing(Standing::Untracked);
        };
        (scraper.seen, scraper.scraped) = (now, Some(wall));
        if scraper.loan.is_some() {
            return nothing(Standing::Busy);
        }
        scraper.skip_lost(who, &self.log, &mut self.notes);
        let (events, after) = pick(&scraper.cursor, &self.log, self.options.explicit_timestamps);
        let lease = (!events.is_empty()).then(|| {
            let id = LeaseId(self.next_lease);
            self.next_lease += 1;
            let count = events.len();
            scraper.loan = Some(Loan { id, count, after });
            self.leases.insert(id, who.clone());
            id
        });
        let standing = if known { Standing::Known } else { Standing::Newcomer };
        Lent { events, lease, standing }
    }

    /// What a scrape would get, taking nothing and making nobody known.
    pub(in crate::store) fn peek(&self, who: &ScraperId) -> Vec<Arc<Recorded>> {
        let mut cursor = match self.scrapers.get(who) {
            Some(scraper) => scraper.cursor.clone(),
            None => Cursor::at(self.window_start(self.clock.last())),
        };
        cursor.skip_lost(&self.log);
        pick(&cursor, &self.log, self.options.explicit_timestamps).0
    }

    pub(in crate::store) fn explicit_timestamps(&self) -> bool {
        self.options.explicit_timestamps
    }

    /// The lease that a scraper holds.
    pub(in crate::store) fn outstanding(&self, who: &ScraperId) -> Option<LeaseId> {
        Some(self.scrapers.get(who)?.loan.as_ref()?.id)
    }

    /// Ends a lease: its events were delivered, or are due again. False if it had ended already.
    pub(in crate::store) fn settle(&mut self, lease: LeaseId, delivered: bool) -> bool {
        let Some(who) = self.leases.remove(&lease) else { return false };
        let Some(scraper) = self.scrapers.get_mut(&who) else { return false };
        let Some(loan) = scraper.loan.take() else { return false };
        scraper.seen = self.clock.last();
        if delivered {
            scraper.cursor = loan.after;
            self.notes.changed(&who);
        }
        scraper.skip_lost(&who, &self.log, &mut self.notes);
        true
    }

    /// Makes a scraper known, with the events of the newcomers' window before it.
    fn admit(&mut self, who: &ScraperId, now: Moment) {
        self.drop_unclaimed(now);
        let scraper = Scraper {
            cursor: Cursor::at(self.window_start(now)),
            loan: None,
            seen: now,
            scraped: None,
            declared: false,
            lost: 0,
        };
        self.scrapers.insert(who.clone(), scraper);
        self.notes.changed(who);
    }

    /// The first event young enough for a newcomer.
    pub(super) fn window_start(&self, now: Moment) -> u64 {
        self.log.first_where(|taken| now.since(taken) < self.options.newcomer_window)
    }
}

/// The stamp of an event that was taken at this time, after another one of its series. A stamp that it bears already stays,
/// unless it is too far ahead.
fn stamp_after(last: Timestamp, given: Option<Timestamp>, at: Timestamp) -> Timestamp {
    let (limit, next) = (at.plus(MAX_AHEAD), last.plus(STAMP_STEP));
    let own = given.filter(|given| *given <= limit).unwrap_or(at);
    if next > limit { own } else { next.max(own) }
}

fn pick(cursor: &Cursor, log: &Log, explicit_timestamps: bool) -> (Vec<Arc<Recorded>>, Cursor) {
    if explicit_timestamps {
        cursor.pick_all(log)
    } else {
        cursor.pick_one_of_each(log)
    }
}

impl Scraper {
    /// Notes what this scraper lost because the log is bounded. Not while something is lent: that may yet be confirmed.
    pub(super) fn skip_lost(&mut self, who: &ScraperId, log: &Log, notes: &mut Notes) {
        if self.loan.is_some() {
            return;
        }
        let lost = self.cursor.skip_lost(log);
        if lost > 0 {
            self.lost += lost;
            notes.lost(DropReason::Overflow, Some(who), lost);
            notes.changed(who);
        }
    }
}
