//! An engine in memory, for tests of the replicas. Its time moves by one millisecond with each write.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::engine::{
    Beat, BeatReply, Compared, Engine, EngineError, EventPlace, LeaseGrant, Move, Opened, Opening, ReadEvents, Revision, Stored, Watched,
    Write, Written,
};
use crate::model::{AppName, IdempotencyKey, ScraperId};
use crate::store::{OriginId, OwnEvent, ReadEvent, UsedIdempotencyKey};

#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    pub(super) apps: BTreeMap<AppName, Stored>,
    pub(super) changes: Vec<(AppName, Revision)>,
    pub(super) epoch: String,
    pub(super) members: Vec<(String, String)>,
    pub(super) lease: String,
    pub(super) millis: u64,
    pub(super) events: FakeEvents,
}

/// The events in the engine. Their time moves only as a test says.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeEvents {
    pub(super) epoch: String,
    /// The last place of an event or of a change of a scraper.
    pub(super) last: u64,
    pub(super) events: Vec<(Revision, ReadEvent)>,
    pub(super) moves: Vec<(Revision, Move)>,
    pub(super) tails: BTreeMap<OriginId, u64>,
    pub(super) keys: BTreeMap<IdempotencyKey, (OriginId, u64)>,
    pub(super) scrapers: BTreeMap<ScraperId, (u64, Bytes)>,
    pub(super) leases: BTreeMap<ScraperId, (String, Duration)>,
    /// The run in which they were exchanged last.
    pub(super) opened_in: u64,
    pub(super) held_until: Duration,
    pub(super) now: Duration,
    /// The number of this run of the engine.
    pub(super) run: u64,
}

impl FakeEvents {
    fn next(&mut self) -> Revision {
        self.last += 1;
        place(self.last)
    }
}

fn place(millis: u64) -> Revision {
    Revision { millis, sequence: 0 }
}

/// The engine. Cloning it is another connection.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeEngine {
    pub(super) data: Arc<Mutex<Data>>,
    pub(super) written: Arc<Notify>,
    /// True while no command gets through.
    pub(super) away: Arc<Mutex<bool>>,
    /// The number of fetches so far.
    pub(super) fetches: Arc<AtomicUsize>,
    /// The number of fetches that fail from now on.
    pub(super) failing_fetches: Arc<AtomicUsize>,
}

impl FakeEngine {
    pub(super) fn set_away(&self, away: bool) {
        *self.away.lock().unwrap() = away;
        self.written.notify_waiters();
    }

    fn reach(&self) -> Result<(), EngineError> {
        match *self.away.lock().unwrap() {
            true => Err(EngineError("away".to_owned())),
            false => Ok(()),
        }
    }
}

impl Engine for FakeEngine {
    async fn put(&self, write: Write) -> Result<Written, EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        if write.delayed && data.apps.get(&write.app).is_some_and(|there| there.at >= write.at) {
            return Ok(Written::Superseded);
        }
        if write.replaces.is_some() && data.apps.get(&write.app).map(|there| there.revision) != write.replaces {
            return Ok(Written::Superseded);
        }
        data.millis += 1;
        let revision = Revision {
            millis: data.millis,
            sequence: 0,
        };
        let stored = Stored {
            app: write.app.clone(),
            revision,
            at: write.at,
            age: write.age,
            record: write.record,
        };
        data.apps.insert(write.app.clone(), stored);
        data.changes.push((write.app, revision));
        drop(data);
        self.written.notify_waiters();
        Ok(Written::Stored(revision))
    }

    async fn watch(&self, after: Revision) -> Result<Watched, EngineError> {
        loop {
            let written = self.written.notified();
            self.reach()?;
            let changes: Vec<_> = {
                let data = self.data.lock().unwrap();
                data.changes.iter().filter(|(_, revision)| *revision > after).cloned().collect()
            };
            if !changes.is_empty() {
                return Ok(Watched::Changes(changes));
            }
            written.await;
        }
    }

    async fn last(&self) -> Result<Revision, EngineError> {
        self.reach()?;
        Ok(self
            .data
            .lock()
            .unwrap()
            .changes
            .last()
            .map_or(Revision::ZERO, |(_, revision)| *revision))
    }

    async fn has(&self, revision: Revision) -> Result<bool, EngineError> {
        self.reach()?;
        Ok(self.data.lock().unwrap().changes.iter().any(|(_, other)| *other == revision))
    }

    async fn list(&self, _: u64) -> Result<(u64, Vec<AppName>), EngineError> {
        self.reach()?;
        Ok((0, self.data.lock().unwrap().apps.keys().cloned().collect()))
    }

    async fn get(&self, apps: Vec<AppName>) -> Result<Vec<Stored>, EngineError> {
        self.reach()?;
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let fails = |left: usize| left.checked_sub(1);
        if self
            .failing_fetches
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails)
            .is_ok()
        {
            return Err(EngineError("the fetch fails".to_owned()));
        }
        let data = self.data.lock().unwrap();
        Ok(apps.iter().filter_map(|app| data.apps.get(app).cloned()).collect())
    }

    async fn open_events(&self, opening: Opening) -> Result<Opened, EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        let events = &mut data.events;
        let is_new = events.epoch.is_empty();
        if is_new {
            events.epoch = opening.candidate;
        }
        let EventPlace { epoch, event, scraper } = &opening.known;
        let has = |at: Revision, places: Vec<Revision>| at == Revision::ZERO || places.contains(&at);
        let is_restarted = events.opened_in != events.run;
        events.opened_in = events.run;
        let has_lost = if is_restarted {
            true
        } else if epoch.is_empty() {
            is_new
        } else {
            *epoch != events.epoch
                || !has(*event, events.events.iter().map(|(at, _)| *at).collect())
                || !has(*scraper, events.moves.iter().map(|(at, _)| *at).collect())
        };
        if has_lost {
            events.held_until = events.now + opening.hold;
        }
        Ok(Opened {
            epoch: events.epoch.clone(),
            scraper: events.moves.last().map_or(Revision::ZERO, |(at, _)| *at),
            lost: events.held_until > events.now,
        })
    }

    async fn claim(&self, used: &[UsedIdempotencyKey]) -> Result<(), EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        for UsedIdempotencyKey { key, origin, number } in used {
            data.events.keys.entry(key.clone()).or_insert((*origin, *number));
        }
        Ok(())
    }

    async fn append(&self, origin: OriginId, after: u64, own: Vec<OwnEvent>) -> Result<u64, EngineError> {
        self.reach()?;
        let tail = {
            let mut data = self.data.lock().unwrap();
            let events = &mut data.events;
            let mut tail = events.tails.get(&origin).copied().unwrap_or_default();
            if tail == after {
                let is_held = events.held_until > events.now;
                for event in own {
                    let name = (origin, event.number);
                    let is_unknown = event.key.as_ref().is_some_and(|key| !events.keys.contains_key(key));
                    if is_held && is_unknown && !event.confirmed {
                        break;
                    }
                    let is_first = event.key.is_none_or(|key| *events.keys.entry(key).or_insert(name) == name);
                    let read = ReadEvent {
                        origin,
                        number: event.number,
                        bytes: event.bytes.filter(|_| is_first),
                    };
                    let at = events.next();
                    events.events.push((at, read));
                    tail = event.number;
                }
                events.tails.insert(origin, tail);
            }
            tail
        };
        self.written.notify_waiters();
        Ok(tail)
    }

    async fn tail(&self, origin: OriginId) -> Result<u64, EngineError> {
        self.reach()?;
        Ok(self.data.lock().unwrap().events.tails.get(&origin).copied().unwrap_or_default())
    }

    async fn read(&self, after: &EventPlace) -> Result<ReadEvents, EngineError> {
        loop {
            let written = self.written.notified();
            self.reach()?;
            let read = {
                let data = self.data.lock().unwrap();
                ReadEvents {
                    events: data.events.events.iter().filter(|(at, _)| *at > after.event).cloned().collect(),
                    moves: data.events.moves.iter().filter(|(at, _)| *at > after.scraper).cloned().collect(),
                }
            };
            if read != ReadEvents::default() {
                return Ok(read);
            }
            written.await;
        }
    }

    async fn last_event(&self) -> Result<Revision, EngineError> {
        self.reach()?;
        Ok(self.data.lock().unwrap().events.events.last().map_or(Revision::ZERO, |(at, _)| *at))
    }

    async fn scrapers(&self) -> Result<Vec<(ScraperId, u64, Bytes)>, EngineError> {
        self.reach()?;
        let data = self.data.lock().unwrap();
        let scrapers = data.events.scrapers.iter();
        Ok(scrapers
            .map(|(who, (version, state))| (who.clone(), *version, state.clone()))
            .collect())
    }

    async fn compare_and_set(
        &self,
        scraper: &ScraperId,
        expected: u64,
        state: Option<Bytes>,
        release: Option<&str>,
    ) -> Result<Compared, EngineError> {
        self.reach()?;
        let outcome = {
            let mut data = self.data.lock().unwrap();
            let events = &mut data.events;
            let (version, current) = events
                .scrapers
                .get(scraper)
                .map_or((0, None), |(version, state)| (*version, Some(state.clone())));
            if version != expected {
                return Ok(Compared::Differs(version, current));
            }
            let at = events.next();
            let version = state.as_ref().map_or(0, |_| at.millis);
            match state.clone() {
                Some(state) => drop(events.scrapers.insert(scraper.clone(), (version, state))),
                None => drop(events.scrapers.remove(scraper)),
            }
            let scraper = scraper.clone();
            if events.leases.get(&scraper).is_some_and(|(token, _)| Some(&**token) == release) {
                events.leases.remove(&scraper);
            }
            events.moves.push((at, Move { scraper, state }));
            Compared::Set(version)
        };
        self.written.notify_waiters();
        Ok(outcome)
    }

    async fn lease(
        &self,
        epoch: &str,
        scraper: &ScraperId,
        token: &str,
        ttl: Duration,
        renews: bool,
    ) -> Result<Option<LeaseGrant>, EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        let events = &mut data.events;
        if events.epoch != epoch {
            return Err(EngineError("lost".to_owned()));
        }
        let now = events.now;
        events.leases.retain(|_, (_, until)| *until > now);
        let owner = events.leases.get(scraper).map(|(owner, _)| &**owner);
        let is_free = owner.is_none() && (renews || events.held_until <= now);
        if !is_free && owner != Some(token) {
            return Ok(None);
        }
        events.leases.insert(scraper.clone(), (token.to_owned(), now + ttl));
        let (version, state) = events
            .scrapers
            .get(scraper)
            .map_or((0, None), |(version, state)| (*version, Some(state.clone())));
        Ok(Some(LeaseGrant { version, state }))
    }

    async fn beat(&self, beat: Beat) -> Result<BeatReply, EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        if data.epoch.is_empty() {
            data.epoch = beat.epoch;
        }
        if data.lease.is_empty() {
            data.lease.clone_from(&beat.id);
        }
        data.members.retain(|(id, _)| *id != beat.id);
        data.members.push((beat.id, beat.about));
        Ok(BeatReply {
            epoch: data.epoch.clone(),
            lease_owner: data.lease.clone(),
            millis: data.millis,
            members: data.members.clone(),
        })
    }

    async fn leave(&self, id: &str) -> Result<(), EngineError> {
        self.reach()?;
        let mut data = self.data.lock().unwrap();
        data.members.retain(|(other, _)| other != id);
        if data.lease == id {
            data.lease.clear();
        }
        Ok(())
    }
}
