//! One-shot events of a replica over one connection to the engine: its own are appended, those of others are read, and the state of each
//! scraper is exchanged. See [`SharedEvents`] for the local half.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;

use super::engine::{Compared, Engine, EngineError, EventPlace, Move, Opening};
use super::session::Replica;
use crate::model::ScraperId;
use crate::store::{LeaseId, LeaseRequest, OriginId, SharedEvents, UnsharedScraper};

/// Events that are appended at once, and states of scrapers that are written at once.
const BATCH: usize = 64;
/// Bytes of events that are appended at once, about: the engine takes them in a few milliseconds, in which others wait.
const BATCH_BYTES: usize = 512 << 10;
/// The time after which another replica may deliver events to a scraper because the one that has its lease is gone. Leases are renewed; one
/// that a partitioned replica holds lasts at least so long, and what it delivers just then comes again from another one only after that.
const LEASE_TTL: Duration = Duration::from_secs(30);
/// The interval of renewing leases.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The time without new leases after the engine was started or has lost data: all replicas connect and write what they know of scrapers within
/// it. One that is gone as well has this time to start.
const HOLD: Duration = Duration::from_secs(10);
/// Idempotency keys that are noted at once after a loss.
const KEYS_AT_ONCE: usize = 1_000;
/// The pause before another attempt to append an event with a key that another replica may yet claim.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// The pause before another attempt to write events of others to the disk.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// Attempts to write the state of a scraper that other replicas change at the same time. Each failure means that one of them succeeded.
const ATTEMPTS: usize = 100;

/// The exchange of events, which outlives the connections.
pub(super) struct EventSession {
    pub(super) events: SharedEvents,
    /// An origin for a directory that is an older copy.
    pub(super) origin_candidate: OriginId,
    place: Mutex<EventPlace>,
    /// The version of each scraper's state in the engine, as far as it is known. Bounded by the scrapers.
    versions: Mutex<HashMap<ScraperId, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventSession {
    pub(super) fn new(events: SharedEvents, origin_candidate: OriginId) -> Self {
        Self {
            events,
            origin_candidate,
            place: Mutex::default(),
            versions: Mutex::default(),
        }
    }

    /// The events that the engine does not have yet, and the scrapers of which it lacks the state.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.events.own_count(self.events.reached()), self.events.unshared())
    }

    fn version(&self, scraper: &ScraperId) -> u64 {
        lock(&self.versions).get(scraper).copied().unwrap_or_default()
    }

    fn set_version(&self, scraper: &ScraperId, version: u64) {
        let mut versions = lock(&self.versions);
        if version == 0 {
            versions.remove(scraper);
        } else {
            versions.insert(scraper.clone(), version);
        }
    }
}

impl Replica {
    /// Brings the events and the scrapers of this replica and of the engine together. The engine may be new, or have lost data.
    pub(super) async fn join_events(&self, engine: &impl Engine) -> Result<(), EngineError> {
        let Some(session) = &self.events else { return Ok(()) };
        let opening = Opening {
            candidate: self.next_epoch(),
            known: lock(&session.place).clone(),
            hold: HOLD,
        };
        let opened = engine.open_events(opening).await?;
        let epoch = opened.epoch;
        // Changes from here on are read; what was before is in the state of each scraper.
        self.load_scrapers(engine, session).await?;
        self.renew(engine, session, &epoch).await?;
        self.write_scrapers(engine, session).await?;
        let tail = engine.tail(session.events.origin()).await?;
        session.events.check_tail(tail, session.origin_candidate);
        let tail = engine.tail(session.events.origin()).await?;
        session.events.set_reached(tail);
        if opened.lost {
            for part in session.events.used_keys().chunks(KEYS_AT_ONCE) {
                engine.claim(part).await?;
            }
        }
        self.append(engine, session).await?;
        *lock(&session.place) = EventPlace {
            epoch,
            scraper: opened.scraper,
            ..EventPlace::default()
        };
        let last = engine.last_event().await?;
        while lock(&session.place).event < last {
            self.read_once(engine, session).await?;
        }
        // Events that the engine no longer has were given back before.
        session.events.confirm(session.events.reached());
        session.events.set_away(false);
        Ok(())
    }

    async fn load_scrapers(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        lock(&session.versions).clear();
        let mut in_engine = HashSet::new();
        for (scraper, version, state) in engine.scrapers().await? {
            session.set_version(&scraper, version);
            // A state that cannot be read is replaced by what is known here.
            if session.events.merge(&scraper, &state) == Some(false) {
                in_engine.insert(scraper);
            }
        }
        for scraper in session.events.scrapers().into_iter().filter(|scraper| !in_engine.contains(scraper)) {
            session.events.give_back(&UnsharedScraper { scraper, release: None });
        }
        Ok(())
    }

    /// Exchanges events until the connection fails.
    pub(super) async fn share_events(&self, engine: &impl Engine) -> Result<(), EngineError> {
        let Some(session) = &self.events else {
            return std::future::pending().await;
        };
        tokio::select! {
            outcome = self.write_events(engine, session) => outcome,
            outcome = self.read_events(engine, session) => outcome,
            outcome = self.grant_leases(engine, session) => outcome,
            outcome = self.renew_leases(engine, session) => outcome,
        }
    }

    async fn write_events(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        loop {
            let is_stopped = self.append(engine, session).await?;
            self.write_scrapers(engine, session).await?;
            tokio::select! {
                () = session.events.arrived() => {}
                () = tokio::time::sleep(CLAIM_PAUSE), if is_stopped => {}
            }
        }
    }

    /// Appends the events of this replica that the engine does not have, in their order: each once, as the engine knows the last one. Returns
    /// true if some are left, because another replica may yet claim their keys.
    async fn append(&self, engine: &impl Engine, session: &EventSession) -> Result<bool, EngineError> {
        loop {
            let after = session.events.reached();
            let own = session.events.own_after(after, BATCH, BATCH_BYTES);
            if own.is_empty() {
                return Ok(false);
            }
            let numbers: Vec<_> = own.iter().map(|event| event.number).collect();
            let tail = engine.append(session.events.origin(), after, own).await?;
            session.events.set_reached(tail);
            let appended = numbers.iter().filter(|number| **number <= tail).count() as u64;
            self.telemetry.cluster_events_total.with(["appended"]).add(appended);
            if tail == after {
                return Ok(true);
            }
        }
    }

    /// Writes the state of scrapers that have changed here.
    async fn write_scrapers(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        loop {
            let mut unwritten = Unwritten::take(&session.events);
            if unwritten.left.is_empty() {
                return Ok(());
            }
            let writes = unwritten.left.iter().map(|scraper| self.write_scraper(engine, session, scraper));
            let outcomes = join_all(writes).await;
            let mut outcomes = outcomes.into_iter();
            let mut failure = None;
            unwritten.left.retain(|_| match outcomes.next() {
                Some(Err(why)) => {
                    failure = Some(why);
                    true
                }
                _ => false,
            });
            drop(unwritten);
            if let Some(why) = failure {
                return Err(why);
            }
        }
    }

    async fn write_scraper(&self, engine: &impl Engine, session: &EventSession, unshared: &UnsharedScraper) -> Result<(), EngineError> {
        let scraper = &unshared.scraper;
        let release = unshared.release.map(|lease| self.token(lease));
        for _ in 0..ATTEMPTS {
            let state = session.events.state_of(scraper);
            let is_removal = state.is_none();
            let expected = session.version(scraper);
            match engine.compare_and_set(scraper, expected, state, release.as_deref()).await? {
                Compared::Set(version) => {
                    session.set_version(scraper, version);
                    if !is_removal {
                        session.events.written(scraper);
                    }
                    return Ok(());
                }
                Compared::Differs(version, current) => {
                    session.set_version(scraper, version);
                    let Some(current) = current else { continue };
                    // A scraper that came to another replica meanwhile comes back here.
                    if !is_removal || !session.events.is_forgotten(scraper, &current) {
                        let _ = session.events.merge(scraper, &current);
                    }
                }
            }
        }
        Err(EngineError(format!(
            "the state of scraper {scraper} changes faster than it can be written"
        )))
    }

    async fn read_events(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        loop {
            self.read_once(engine, session).await?;
        }
    }

    async fn read_once(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        let place = lock(&session.place).clone();
        let read = engine.read(&place).await?;
        let (last_event, last_move) = (read.events.last().map(|(at, _)| *at), read.moves.last().map(|(at, _)| *at));
        let events: Vec<_> = read.events.into_iter().map(|(_, event)| event).collect();
        if !events.is_empty() {
            let count = events.len() as u64;
            let unreadable = self.take_events(session, events).await;
            self.telemetry.cluster_events_total.with(["read"]).add(count - unreadable);
            self.telemetry.cluster_events_total.with(["unreadable"]).add(unreadable);
        }
        for (_, Move { scraper, state }) in read.moves {
            match state {
                // What cannot be read is replaced when this replica writes the state.
                Some(state) => drop(session.events.merge(&scraper, &state)),
                None => {
                    session.set_version(&scraper, 0);
                    session.events.forget(&scraper);
                }
            }
        }
        let mut place = lock(&session.place);
        place.event = last_event.unwrap_or(place.event);
        place.scraper = last_move.unwrap_or(place.scraper);
        Ok(())
    }

    /// Takes events of others; waits for a disk that does not take them.
    async fn take_events(&self, session: &EventSession, read: Vec<crate::store::ReadEvent>) -> u64 {
        loop {
            match session.events.take(read.clone()).await {
                Ok(unreadable) => return unreadable,
                Err(why) => {
                    if let Some(suppressed) = self.telemetry.admit_line("cluster events") {
                        tracing::warn!(suppressed, "cannot store events of other replicas: {why}");
                    }
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        }
    }

    /// Asks for the leases of scrapes as they come.
    async fn grant_leases(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        // Bounded by the scrapes that wait in the store.
        let mut asked = FuturesUnordered::new();
        loop {
            tokio::select! {
                request = session.events.scrape() => asked.push(self.grant(engine, session, request)),
                Some(outcome) = asked.next() => outcome?,
            }
        }
    }

    async fn grant(&self, engine: &impl Engine, session: &EventSession, request: LeaseRequest) -> Result<(), EngineError> {
        if request.is_over() {
            return Ok(());
        }
        let (scraper, lease) = (request.scraper.clone(), request.lease);
        let epoch = lock(&session.place).epoch.clone();
        match engine.lease(&epoch, &scraper, &self.token(lease), LEASE_TTL, false).await? {
            None => request.refuse(),
            Some(granted) => {
                session.set_version(&scraper, granted.version);
                request.grant(granted.state);
            }
        }
        Ok(())
    }

    async fn renew_leases(&self, engine: &impl Engine, session: &EventSession) -> Result<(), EngineError> {
        let mut ticks = tokio::time::interval(RENEW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let epoch = lock(&session.place).epoch.clone();
            self.renew(engine, session, &epoch).await?;
        }
    }

    /// Renews the leases of this replica, also those that the engine has lost.
    async fn renew(&self, engine: &impl Engine, session: &EventSession, epoch: &str) -> Result<(), EngineError> {
        for (scraper, lease) in session.events.active_leases() {
            // If another replica has it by now, its events are in doubt: they may come twice.
            engine.lease(epoch, &scraper, &self.token(lease), LEASE_TTL, true).await?;
            if !session.events.is_active(lease) {
                // It was settled, and perhaps given back, while it was renewed.
                let release = Some(lease);
                session.events.give_back(&UnsharedScraper { scraper, release });
            }
        }
        Ok(())
    }

    /// The name of a lease in the engine, which no other replica and no other run has.
    fn token(&self, lease: LeaseId) -> String {
        format!("{}-{}", self.id, lease.number())
    }
}

/// States of scrapers that are being written. Those that are left when this is dropped are written again.
struct Unwritten<'e> {
    events: &'e SharedEvents,
    left: Vec<UnsharedScraper>,
}

impl<'e> Unwritten<'e> {
    fn take(events: &'e SharedEvents) -> Self {
        Self {
            events,
            left: events.take_unshared(BATCH),
        }
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.left.iter().for_each(|scraper| self.events.give_back(scraper));
    }
}
