//! The state machine: events come in, scrapes take them out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::absences::Absences;
use super::idempotency::{IdempotencyCache, UsedKey, fingerprint};
use super::log::Log;
use super::monotonic::{MonotonicClock, MonotonicTime};
use super::pending_changes::PendingChanges;
use super::position::ScraperPosition;
use super::{DropReason, EventOptions, LeaseId, MAX_SCRAPERS, Owner, ScraperStatus, Source, StoredEvent};
use crate::model::{Client, Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};
use crate::store::EmitError;

/// The least difference of the timestamps of two events of one series: the resolution of the formats and of Prometheus.
const STAMP_STEP: Duration = Duration::from_millis(1);

/// The most that an event's timestamp may be ahead of its time: much longer than any burst of one series takes, and under the ten minutes
/// beyond which Prometheus refuses a sample. A later last timestamp comes from a clock that was set back since; continuing from it would
/// put every later event into the future.
const MAX_AHEAD: Duration = Duration::from_secs(300);

/// The time for which an event is protected from events of an owner that has more of them: some scrapes at the usual intervals.
const PROTECTED: Duration = Duration::from_secs(60);

/// The ratio of the events of one owner to the free places of the log while there are events of others: at nine of ten places the owner
/// stops growing, so that a client that has posted little finds a place.
const SHARE_OF_FREE: usize = 9;

/// A submitted event.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct Submission {
    pub(in crate::store) event: Event,
    pub(in crate::store) key: Option<IdempotencyKey>,
    pub(in crate::store) owner: Owner,
    pub(in crate::store) at: Timestamp,
    /// The timestamp of the event at the server it was polled from, if it has one.
    pub(in crate::store) stamp: Option<Timestamp>,
    /// Its name within the cluster, if another replica has accepted it. It was admitted there.
    pub(in crate::store) source: Option<Source>,
}

/// The decision about a [`Submission`].
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Admission {
    /// It becomes this event, and pushes out all before `oldest`.
    New { record: Arc<StoredEvent>, oldest: u64 },
    /// It was accepted before, as this event.
    Repeat(EventId),
    /// Its key was used for something else.
    Conflict,
    /// It would push out an event of a client that has posted fewer.
    Crowded,
}

/// An event that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub id: EventId,
    /// The number of known scrapers, each of which gets it.
    pub scrapers: usize,
    /// True if it was accepted before, under the same idempotency key.
    pub repeated: bool,
}

/// The lease of one scraper.
#[derive(Debug)]
pub(super) struct ActiveLease {
    pub(super) id: LeaseId,
    /// The number of leased events.
    pub(super) count: usize,
    /// The cursor once they have arrived.
    after: ScraperPosition,
}

/// A known scraper.
#[derive(Debug)]
pub(super) struct Scraper {
    pub(super) cursor: ScraperPosition,
    pub(super) lease: Option<ActiveLease>,
    pub(super) seen: MonotonicTime,
    /// At a replica of a cluster: the last report of its scrapes to the other replicas, by this replica or another one; `None` before the first
    /// one since the start.
    pub(super) reported: Option<MonotonicTime>,
    /// The time of its last scrape, if there was one.
    pub(super) scraped: Option<Timestamp>,
    /// The client that it scraped from last; unknown before its first scrape after a restart.
    pub(super) from: Option<Client>,
    pub(super) declared: bool,
    /// True if it has scraped more than once, or is declared. Only such a scraper is counted, and has losses.
    pub(super) regular: bool,
    /// The number of events it lost because it was too far behind.
    pub(super) lost: u64,
}

/// The events of one scrape.
#[derive(Debug)]
pub(in crate::store) struct LeasedEvents {
    pub(in crate::store) events: Vec<Arc<StoredEvent>>,
    pub(in crate::store) lease: Option<LeaseId>,
    pub(in crate::store) status: ScraperStatus,
}

/// All that is known of events and scrapers.
#[derive(Debug)]
pub(in crate::store) struct Events {
    pub(super) options: EventOptions,
    pub(super) log: Log,
    /// Bounded by [`MAX_SCRAPERS`], the declared ones not counted.
    pub(super) scrapers: HashMap<ScraperId, Scraper, foldhash::fast::RandomState>,
    /// At a replica of a cluster: the scrapers that it has forgotten.
    pub(super) absences: Absences,
    /// The scraper of each lease. At most one for each scraper.
    pub(super) leases: HashMap<LeaseId, ScraperId>,
    pub(super) next_lease: u64,
    pub(super) keys: IdempotencyCache,
    pub(super) clock: MonotonicClock,
    /// While no scraper is known: the first event that no scraper has got.
    pub(super) unclaimed: u64,
    /// True if the journal has the origin of this replica's events.
    pub(super) has_origin: bool,
    pub(super) changes: PendingChanges,
}

impl Events {
    /// No events, and the declared scrapers.
    pub(in crate::store) fn new(options: EventOptions) -> Self {
        let mut events = Self::empty(options);
        events.register_declared();
        events
    }

    pub(super) fn empty(options: EventOptions) -> Self {
        let log = options.replica.map_or_else(|| Log::new(1), |own| Log::of_replica(1, own));
        let mut changes = PendingChanges::default();
        if log.sources.is_some() {
            changes.keep_unshared();
        }
        Self {
            options,
            log,
            scrapers: HashMap::default(),
            absences: Absences::default(),
            leases: HashMap::new(),
            next_lease: 1,
            keys: IdempotencyCache::default(),
            clock: MonotonicClock::new(),
            unclaimed: 1,
            has_origin: false,
            changes,
        }
    }

    /// Makes the declared scrapers known, those that came back from the journal too.
    pub(super) fn register_declared(&mut self) {
        let now = self.clock.last();
        for who in self.options.scrapers.clone().into_iter().take(MAX_SCRAPERS) {
            if !self.scrapers.contains_key(&who) {
                self.register(&who, now);
            }
            if let Some(scraper) = self.scrapers.get_mut(&who) {
                scraper.declared = true;
            }
            self.promote(&who);
        }
    }

    /// Decides what is to become of submissions, in order, without changing anything: numbers, stamps, repetitions.
    pub(in crate::store) fn admit(&self, submissions: &[Submission]) -> Vec<Admission> {
        let mut next = self.log.end();
        let mut stamps: HashMap<&LabelSet, Timestamp> = HashMap::new();
        let mut keys: HashMap<&IdempotencyKey, UsedKey> = HashMap::new();
        let mut admissions = Vec::with_capacity(submissions.len());
        let mut share = FairShare::new(self);
        let mut read = BTreeSet::new();
        for Submission {
            event,
            key,
            owner,
            at,
            stamp,
            source,
        } in submissions
        {
            // Read twice, because the connection to the engine was lost before the first one was written.
            if let Some(source) = source.filter(|source| self.log.has_read(*source) || !read.insert(*source)) {
                admissions.push(Admission::Repeat(EventId(source.number)));
                continue;
            }
            let fingerprint = fingerprint(event);
            if source.is_none()
                && let Some(used) = key.as_ref().and_then(|key| self.keys.get(key).or_else(|| keys.get(key)))
            {
                let same = used.fingerprint == fingerprint;
                admissions.push(if same { Admission::Repeat(used.id) } else { Admission::Conflict });
                continue;
            }
            let Some(oldest) = share.reserve(owner, self.clock.last()) else {
                admissions.push(Admission::Crowded);
                continue;
            };
            let last = stamps.get(&event.labels).copied();
            let last = last.unwrap_or_else(|| self.log.last_stamp(&event.labels));
            let id = EventId(next);
            let stamp = match (source, stamp) {
                (Some(_), Some(stamp)) => *stamp,
                _ => stamp_after(last, *stamp, *at),
            };
            next += 1;
            if submissions.len() > 1 {
                stamps.insert(&event.labels, stamp);
                keys.extend(key.as_ref().map(|key| (key, UsedKey { id, fingerprint, at: *at })));
            }
            let event = event.clone();
            let record = Arc::new(StoredEvent { id, event, at: *at, stamp });
            admissions.push(Admission::New { record, oldest });
        }
        admissions
    }

    /// Takes a submission at once, where nothing has to be durable.
    pub(in crate::store) fn take(&mut self, submission: Submission) -> Result<Accepted, EmitError> {
        match self.admit(std::slice::from_ref(&submission)).pop() {
            Some(Admission::New { record, oldest }) => {
                let id = record.id;
                self.accept(record, oldest, submission.key, submission.owner, submission.source);
                Ok(self.accepted(id, false))
            }
            Some(Admission::Repeat(id)) => Ok(self.accepted(id, true)),
            Some(Admission::Crowded) => Err(EmitError::Crowded),
            Some(Admission::Conflict) | None => Err(EmitError::KeyReused),
        }
    }

    /// Takes an event that [`Events::admit`] made, in its order.
    pub(in crate::store) fn accept(
        &mut self,
        record: Arc<StoredEvent>,
        oldest: u64,
        key: Option<IdempotencyKey>,
        owner: Owner,
        source: Option<Source>,
    ) {
        let taken = match source {
            None => self.clock.at(record.at),
            // The time of another machine.
            Some(_) => self.taken_before(record.at),
        };
        self.remember(record, key, taken, owner, source);
        self.push_out(oldest);
    }

    /// The time of an event that was accepted earlier, or elsewhere.
    pub(super) fn taken_before(&self, at: Timestamp) -> MonotonicTime {
        let taken = self.clock.moment_of(at);
        self.log.newest().map_or(taken, |newest| newest.max(taken))
    }

    pub(super) fn remember(
        &mut self,
        record: Arc<StoredEvent>,
        key: Option<IdempotencyKey>,
        taken: MonotonicTime,
        owner: Owner,
        source: Option<Source>,
    ) {
        if let Some(key) = key {
            if source.is_some() {
                self.void_repeat(&key, taken);
            }
            let used = UsedKey {
                id: record.id,
                fingerprint: fingerprint(&record.event),
                at: record.at,
            };
            self.log.keep_key(record.id.0, &key);
            self.keys.insert(key, used, taken);
        }
        self.log.push(record, taken, owner, source);
    }

    /// Another replica's event with this key was read from the engine, so that one came first: an event of this replica with the same key, which
    /// the engine has not given back, is not delivered. To give it to the engine would claim the key if the engine has lost its data meanwhile.
    /// `taken` is the time of the other event: a use that was no longer remembered then is another one.
    fn void_repeat(&mut self, key: &IdempotencyKey, taken: MonotonicTime) {
        let Some(id) = self.keys.get_at(key, taken).map(|used| used.id.0) else {
            return;
        };
        let is_own = self.is_own(id);
        if let Some(sources) = &mut self.log.sources
            && is_own
            && id > sources.readable()
            && !sources.is_void(id)
        {
            sources.set_void(id);
            self.changes.voided(id);
        }
    }

    /// The [`Accepted`] result for an event.
    pub(in crate::store) fn accepted(&self, id: EventId, repeated: bool) -> Accepted {
        Accepted {
            id,
            scrapers: self.scrapers.len(),
            repeated,
        }
    }

    /// The events for a scrape from this client, leased until [`Events::settle`]; the first scrape registers the scraper.
    pub(in crate::store) fn scrape(&mut self, who: &ScraperId, from: &Client, wall: Timestamp) -> LeasedEvents {
        match self.arrive(who, from, wall) {
            Ok(status) => self.lease(who, status, None),
            Err(status) => LeasedEvents::none(status),
        }
    }

    /// Notes a scrape, and registers the scraper if this is its first one. The status of one that can get no events is an error.
    pub(super) fn arrive(&mut self, who: &ScraperId, from: &Client, wall: Timestamp) -> Result<ScraperStatus, ScraperStatus> {
        let now = self.clock.at(wall);
        let known = self.scrapers.contains_key(who);
        if known {
            self.promote(who);
        } else {
            if !self.make_room_for_scraper(&from.network()) {
                return Err(ScraperStatus::Untracked);
            }
            self.register(who, now);
        }
        let Some(scraper) = self.scrapers.get_mut(who) else {
            return Err(ScraperStatus::Untracked);
        };
        (scraper.seen, scraper.scraped) = (now, Some(wall));
        scraper.from = Some(from.clone());
        match (&scraper.lease, known) {
            (Some(_), _) => Err(ScraperStatus::InFlight),
            (None, true) => Ok(ScraperStatus::Known),
            (None, false) => Ok(ScraperStatus::New),
        }
    }

    /// Leases the events that are due to a scraper, under this id if it is given.
    pub(super) fn lease(&mut self, who: &ScraperId, status: ScraperStatus, id: Option<LeaseId>) -> LeasedEvents {
        let Some(scraper) = self.scrapers.get_mut(who) else {
            return LeasedEvents::none(status);
        };
        scraper.skip_lost(who, &self.log, &mut self.changes);
        let (events, after) = scraper.cursor.pick(&self.log, &self.options);
        let lease = (!events.is_empty()).then(|| {
            let id = id.unwrap_or_else(|| {
                self.next_lease += 1;
                LeaseId(self.next_lease - 1)
            });
            let count = events.len();
            scraper.lease = Some(ActiveLease { id, count, after });
            self.leases.insert(id, who.clone());
            id
        });
        LeasedEvents { events, lease, status }
    }

    /// The events that a scrape would get, without a lease and without registering the scraper.
    pub(in crate::store) fn peek(&self, who: &ScraperId) -> Vec<Arc<StoredEvent>> {
        let mut cursor = match self.scrapers.get(who) {
            Some(scraper) => scraper.cursor.clone(),
            None => ScraperPosition::at(&self.log, self.window_start(self.clock.last()), Timestamp::default()),
        };
        cursor.skip_lost(&self.log);
        cursor.pick(&self.log, &self.options).0
    }

    pub(in crate::store) fn explicit_timestamps(&self) -> bool {
        self.options.explicit_timestamps
    }

    /// The lease that a scraper holds.
    pub(in crate::store) fn active_lease(&self, who: &ScraperId) -> Option<LeaseId> {
        Some(self.scrapers.get(who)?.lease.as_ref()?.id)
    }

    /// Ends a lease: its events were delivered, or are due again. False if it had ended already.
    pub(in crate::store) fn settle(&mut self, id: LeaseId, acked: bool) -> bool {
        let Some(who) = self.leases.remove(&id) else { return false };
        let Some(scraper) = self.scrapers.get_mut(&who) else { return false };
        let Some(lease) = scraper.lease.take_if(|lease| lease.id == id) else {
            return false;
        };
        scraper.seen = self.clock.last();
        if acked {
            scraper.cursor.deliver(lease.after, &self.log);
            self.changes.changed(&who);
        }
        self.changes.release(&who, id);
        scraper.skip_lost(&who, &self.log, &mut self.changes);
        true
    }

    /// Registers a scraper, with the events of the window for new scrapers.
    fn register(&mut self, who: &ScraperId, now: MonotonicTime) {
        self.drop_unclaimed(now);
        let seen = self.first_seen(who);
        let scraper = Scraper {
            cursor: ScraperPosition::at(&self.log, self.window_start(now), seen),
            lease: None,
            seen: now,
            // With the state that is written now.
            reported: Some(now),
            scraped: None,
            from: None,
            declared: false,
            regular: false,
            lost: 0,
        };
        self.scrapers.insert(who.clone(), scraper);
        self.changes.changed(who);
    }

    /// Notes that a scraper has come again: it counts from now on, with what it has lost so far.
    fn promote(&mut self, who: &ScraperId) {
        if let Some(scraper) = self.scrapers.get_mut(who)
            && !std::mem::replace(&mut scraper.regular, true)
        {
            self.changes.lost(DropReason::Overflow, Some(who), scraper.lost);
            self.changes.changed(who);
        }
    }

    /// Makes sure that one more scraper of this network can be known. A scraper that came once makes room for it, if need be; one
    /// that came again never does.
    fn make_room_for_scraper(&mut self, network: &Client) -> bool {
        let limit = self.options.max_scrapers_per_address;
        if self.scrapers.len() < limit.min(MAX_SCRAPERS) {
            return true;
        }
        let mut of_networks: HashMap<Option<Client>, usize> = HashMap::new();
        for scraper in self.scrapers.values().filter(|scraper| !scraper.declared) {
            *of_networks.entry(scraper.network()).or_default() += 1;
        }
        let network = Some(network.clone());
        if of_networks.get(&network).is_some_and(|&known| known >= limit) {
            return self.evict_new_scraper(|scraper| usize::from(scraper.network() == network));
        }
        if of_networks.values().sum::<usize>() >= MAX_SCRAPERS {
            return self.evict_new_scraper(|scraper| of_networks.get(&scraper.network()).copied().unwrap_or_default());
        }
        true
    }

    /// Forgets one of the scrapers that came once and have the largest share, if that is not 0: one that is not being served, and the
    /// one that was not seen for longest.
    fn evict_new_scraper(&mut self, share: impl Fn(&Scraper) -> usize) -> bool {
        let new = self.scrapers.iter().filter(|(_, scraper)| !scraper.regular);
        let ranked = new.map(|(who, scraper)| {
            let age = std::cmp::Reverse(scraper.seen);
            ((share(scraper), scraper.lease.is_none(), age), who)
        });
        let Some(((1.., ..), who)) = ranked.max_by(|(a, _), (b, _)| a.cmp(b)) else {
            return false;
        };
        let who = who.clone();
        if let Some(scraper) = self.scrapers.remove(&who) {
            if let Some(ActiveLease { id, .. }) = scraper.lease {
                self.leases.remove(&id);
            }
            // It has come once, so nothing is lost to it.
            self.note_unclaimed(Some(scraper.cursor.lowest()));
        }
        self.changes.changed(&who);
        true
    }

    /// True if a scraper that comes regularly still has to get this event.
    fn is_awaited(&self, id: u64, now: MonotonicTime) -> bool {
        let Some(record) = self.log.get(id) else { return false };
        let comes = |scraper: &&Scraper| scraper.regular && scraper.scraped.is_some() && now.since(scraper.seen) < PROTECTED;
        self.scrapers
            .values()
            .filter(comes)
            .any(|scraper| scraper.cursor.awaits(&self.log, record))
    }

    /// The first event within the window for new scrapers.
    pub(super) fn window_start(&self, now: MonotonicTime) -> u64 {
        self.log.first_where(|taken| now.since(taken) < self.options.newcomer_window)
    }
}

/// The timestamp of an event that was accepted at this time, after another one of its series. A timestamp of its own stays, unless it is
/// too far ahead.
fn stamp_after(last: Timestamp, given: Option<Timestamp>, at: Timestamp) -> Timestamp {
    let (limit, next) = (at.plus(MAX_AHEAD), last.plus(STAMP_STEP));
    let own = given.filter(|given| *given <= limit).unwrap_or(at);
    if next > limit { own } else { next.max(own) }
}

/// The log as it will be once the submissions admitted so far are taken.
struct FairShare<'a> {
    events: &'a Events,
    /// The number of the oldest event, and how many there are.
    first: u64,
    len: usize,
    /// The change of each owner's count of events: those added less those pushed out.
    added: HashMap<&'a Owner, isize>,
}

impl<'a> FairShare<'a> {
    fn new(events: &'a Events) -> Self {
        Self {
            events,
            first: events.log.first(),
            len: events.log.len(),
            added: HashMap::new(),
        }
    }

    /// Takes one more event of this owner, if it may, and returns the number of the oldest event then. An owner that has its share of
    /// the log pushes out the oldest event. A poster must not if that one is of an owner with fewer events, and a scraper that comes
    /// regularly still awaits it. Polled events are always taken, since a poll has all of its events taken or none.
    fn reserve(&mut self, owner: &'a Owner, now: MonotonicTime) -> Option<u64> {
        if self.may_grow(self.held_by(owner)) {
            self.len += 1;
        } else {
            // Not in the log yet: an submission of this very batch.
            if let Some((oldest, taken)) = self.events.log.owned(self.first) {
                let is_refusable = matches!(owner, Owner::Poster(_));
                let is_protected = self.held_by(oldest) < self.held_by(owner) && now.since(taken) < PROTECTED;
                if is_refusable && is_protected && self.events.is_awaited(self.first, now) {
                    return None;
                }
                *self.added.entry(oldest).or_default() -= 1;
            }
            self.first += 1;
        }
        *self.added.entry(owner).or_default() += 1;
        Some(self.first)
    }

    /// True if an owner with `held` events may have one more without pushing out another.
    fn may_grow(&self, held: usize) -> bool {
        let free = self.events.options.max_pending.saturating_sub(self.len);
        free > 0 && (held == self.len || held < SHARE_OF_FREE * free)
    }

    fn held_by(&self, owner: &Owner) -> usize {
        let added = self.added.get(owner).copied().unwrap_or_default();
        self.events.log.held_by(owner).saturating_add_signed(added)
    }
}

impl LeasedEvents {
    pub(super) fn none(status: ScraperStatus) -> Self {
        Self {
            events: Vec::new(),
            lease: None,
            status,
        }
    }
}

impl Scraper {
    fn network(&self) -> Option<Client> {
        self.from.as_ref().map(Client::network)
    }

    /// Notes the losses of this scraper because the log is bounded. Not while something is leased: that may yet be acked.
    pub(super) fn skip_lost(&mut self, who: &ScraperId, log: &Log, changes: &mut PendingChanges) {
        if self.lease.is_some() {
            return;
        }
        let lost = self.cursor.skip_lost(log);
        if lost > 0 {
            self.lost += lost;
            if self.regular {
                changes.lost(DropReason::Overflow, Some(who), lost);
            }
            changes.changed(who);
        }
    }
}
