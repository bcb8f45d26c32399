//! One connection to the engine: the local store and the engine are brought together, events before apps; then local changes are written,
//! changes of others are fetched, and heartbeats are sent, until the connection fails.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::MissedTickBehavior;

use super::engine::{Beat, BeatReply, Engine, EngineError, Revision, Stored, Watched, Write, Written};
use super::events::EventSession;
use super::record;
use super::revisions::{self, Reconciled, Revisions};
use crate::model::{AppName, Clock};
use crate::store::{Inlet, LocalChange, LocalChanges, ReplicatedApp, ReplicatedOutcome, Settlement, View};
use crate::supervise::blocking;
use crate::telemetry::{RemovalReason, Telemetry};

/// Changes that are written at once, and records that are fetched at once: enough to fill the connection.
pub(super) const BATCH: usize = 64;
/// KiB of the texts of apps that are packed and sent at the same time. Each is there up to three times: as a copy, packed, and in the
/// connection. A longer one goes alone.
const WRITTEN_KIB: u32 = 64 << 10;
/// The interval of heartbeats.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// The time after which a replica counts as gone, and its lease is free: four lost heartbeats.
pub(super) const BEAT_TTL: Duration = Duration::from_secs(10);
/// Bytes of text from which an app is packed and parsed on a thread of its own.
const LARGE_BYTES: usize = 64 << 10;
/// The time that the engine keeps an app for longer than the replicas do: they forget it by themselves, and a late one must still find it.
pub(super) const TTL_SLACK: Duration = Duration::from_secs(60);

/// The state of a replica that outlives its connections.
pub(super) struct Replica {
    /// The URL of the engine.
    pub(super) engine: Arc<str>,
    pub(super) id: String,
    /// An id for the data of an engine that has none.
    pub(super) epoch_candidate: String,
    pub(super) inlet: Inlet,
    pub(super) view: View,
    pub(super) changes: Arc<LocalChanges>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) clock: Clock,
    /// Locked under the store's lock, never the other way round. Shared with work on records that outlives a session.
    pub(super) revisions: Arc<Mutex<Revisions>>,
    pub(super) position: Mutex<Position>,
    /// Records to fetch again, because a write of this replica came too late. Bounded by the apps.
    pub(super) refetch: Mutex<HashSet<AppName>>,
    pub(super) refetch_arrived: Notify,
    /// Room for texts that are being written, in KiB: [`room_for_writes`].
    pub(super) room: Semaphore,
    /// True while this replica does the work that one does for all.
    pub(super) lease: watch::Sender<bool>,
    /// The exchange of one-shot events, where they are enabled.
    pub(super) events: Option<EventSession>,
}

/// The place in the engine's history up to which the store has everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    epoch: String,
    last: Revision,
    /// The engine's time, and when it was that.
    time: Option<(u64, Instant)>,
    /// The number of heartbeats so far.
    beats: u64,
}

impl Position {
    /// The engine's time now, in milliseconds.
    fn millis(&self) -> u64 {
        self.time.map_or(0, |(millis, at)| {
            millis.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }
}

/// The owner of a session, which learns of its progress.
pub(super) trait Observer: Send + Sync {
    /// The description of this replica for the others.
    fn about(&self) -> String;

    /// The store has all that the engine has.
    fn synchronized(&self);

    /// The engine has answered a heartbeat.
    fn heard(&self, heard: &BeatReply);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    /// Uses an engine until it fails, and returns the reason.
    pub(super) async fn run(&self, engine: &impl Engine, observer: &impl Observer) -> EngineError {
        // Events first: after a loss all replicas must have written what they know of scrapers before the first one gives events again, however
        // long each of them takes to compare its apps.
        if let Err(why) = self.join_events(engine).await {
            return why;
        }
        let outcome = tokio::select! {
            outcome = self.share_apps(engine, observer) => outcome,
            outcome = self.share_events(engine) => outcome,
        };
        // Changes in flight are written again by the next session.
        outcome.err().unwrap_or_else(|| EngineError("the session ended".to_owned()))
    }

    /// Brings the apps together, and keeps them so until the connection fails.
    async fn share_apps(&self, engine: &impl Engine, observer: &impl Observer) -> Result<(), EngineError> {
        self.synchronize(engine, observer).await?;
        self.changes.set_away(false);
        observer.synchronized();
        tokio::select! {
            outcome = self.write(engine) => outcome,
            outcome = self.follow(engine) => outcome,
            outcome = self.beats(engine, observer) => outcome,
        }
    }

    /// Says whether the engine can be used. While it cannot, nothing waits for it.
    pub(super) fn set_away(&self, away: bool) {
        self.changes.set_away(away);
        if let Some(session) = &self.events {
            session.events.set_away(away);
        }
    }

    /// Returns true if something here is to be written to the engine.
    pub(super) fn has_pending(&self) -> bool {
        let events = self.events.as_ref().is_some_and(|session| session.pending() != (0, 0));
        self.changes.pending() > 0 || events
    }

    /// Brings the store and the engine together: by what was missed, if the engine still has that history, otherwise by comparing all apps.
    async fn synchronize(&self, engine: &impl Engine, observer: &impl Observer) -> Result<(), EngineError> {
        let heard = self.beat(engine, observer, false).await?;
        let Position { epoch, last, .. } = lock(&self.position).clone();
        let is_same_history = epoch == heard.epoch && last != Revision::ZERO && engine.has(last).await?;
        if !is_same_history {
            return self.load(engine, &heard.epoch).await;
        }
        let target = engine.last().await?;
        while lock(&self.position).last < target {
            self.follow_once(engine).await?;
        }
        Ok(())
    }

    /// Compares all apps of the store with those of the engine.
    async fn load(&self, engine: &impl Engine, epoch: &str) -> Result<(), EngineError> {
        lock(&self.revisions).reset();
        let last = engine.last().await?;
        let (mut cursor, mut seen) = (0, HashSet::new());
        loop {
            let (next, names) = engine.list(cursor).await?;
            let names: Vec<_> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
            for part in names.chunks(BATCH) {
                for stored in engine.get(part.to_vec()).await? {
                    let here = self.view.last_update(&stored.app);
                    match revisions::reconcile(here, &stored) {
                        Reconciled::Fetch => self.apply(stored, false).await,
                        Reconciled::Write => self.changes.mark_delayed(&stored.app),
                    }
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // The engine is new, or has lost them.
        for app in self.view.app_names().into_iter().filter(|app| !seen.contains(app)) {
            self.changes.mark_delayed(&app);
        }
        let mut position = lock(&self.position);
        (position.epoch, position.last) = (epoch.to_owned(), last);
        Ok(())
    }

    /// Writes local changes as they come.
    async fn write(&self, engine: &impl Engine) -> Result<(), EngineError> {
        loop {
            let batch = self.changes.take(BATCH);
            if batch.is_empty() {
                self.changes.arrived().await;
                continue;
            }
            let mut unsettled = Unsettled::new(&self.changes, &batch);
            let outcomes = join_all(batch.iter().map(|change| self.write_one(engine, change))).await;
            let mut failure = None;
            for (change, outcome) in batch.iter().zip(outcomes) {
                match outcome {
                    Ok(written) => {
                        // Before the change counts as settled, so that an earlier record, which is being put into the store just now, does not
                        // replace it.
                        if let Written::Stored(revision) = written {
                            lock(&self.revisions).applied(&change.app, revision);
                        }
                        unsettled.stored(&change.app);
                        // Settled first: a change of others that comes now is not deferred to a write that has ended.
                        if lock(&self.revisions).written(&change.app, written) {
                            self.fetch_again(change.app.clone());
                        }
                        self.count_write(written);
                    }
                    Err(why) => {
                        self.telemetry.cluster_writes_total.with(["failed"]).inc();
                        failure = Some(why);
                    }
                }
            }
            drop(unsettled);
            if let Some(why) = failure {
                return Err(why);
            }
        }
    }

    async fn write_one(&self, engine: &impl Engine, change: &LocalChange) -> Result<Written, EngineError> {
        let replicated = self.view.replicated(&change.app).filter(|_| change.removed.is_none());
        // Held until the engine has the record.
        let mut room = None;
        let write = match (replicated, change.removed) {
            // It was removed meanwhile, which is a change of its own, or it has expired, which all replicas see for themselves.
            (None, None) => return Ok(Written::Superseded),
            (_, Some(at)) => Write {
                app: change.app.clone(),
                record: None,
                at,
                age: Duration::ZERO,
                ttl: None,
                delayed: change.delayed,
                replaces: None,
            },
            (Some((app, age)), None) => {
                let kib = u32::try_from(app.body.len() >> 10).unwrap_or(u32::MAX).min(WRITTEN_KIB);
                // Never closed. The app as it was taken is written: a later change is one of its own.
                room = self.room.acquire_many(kib).await.ok();
                let (at, expiry) = (app.updated.unwrap_or(app.first_seen), app.expiry(self.view.expire_after()));
                Write {
                    app: change.app.clone(),
                    record: Some(pack(app).await),
                    at,
                    age,
                    ttl: expiry.map(|expiry| expiry.saturating_sub(age) + TTL_SLACK),
                    delayed: change.delayed,
                    replaces: None,
                }
            }
        };
        let written = engine.put(write).await;
        drop(room);
        written
    }

    fn count_write(&self, written: Written) {
        let result = match written {
            Written::Stored(_) => "stored",
            Written::Superseded => "superseded",
        };
        self.telemetry.cluster_writes_total.with([result]).inc();
    }

    fn fetch_again(&self, app: AppName) {
        lock(&self.refetch).insert(app);
        self.refetch_arrived.notify_one();
    }

    /// Fetches changes of others as they come.
    async fn follow(&self, engine: &impl Engine) -> Result<(), EngineError> {
        // Some may be left of the last session.
        self.refetch_arrived.notify_one();
        loop {
            let after = lock(&self.position).last;
            let mut watching = std::pin::pin!(engine.watch(after));
            let watched = loop {
                tokio::select! {
                    watched = &mut watching => break watched?,
                    () = self.refetch_arrived.notified() => {
                        let mut unfetched = Unfetched::take(self);
                        self.fetch(engine, unfetched.left.clone()).await?;
                        unfetched.left.clear();
                    }
                }
            };
            self.take(engine, watched).await?;
        }
    }

    async fn follow_once(&self, engine: &impl Engine) -> Result<(), EngineError> {
        let after = lock(&self.position).last;
        let watched = engine.watch(after).await?;
        self.take(engine, watched).await
    }

    async fn take(&self, engine: &impl Engine, watched: Watched) -> Result<(), EngineError> {
        let Watched::Changes(changes) = watched else {
            return Err(EngineError(
                "this replica has missed more changes than the engine keeps; it loads all apps again".to_owned(),
            ));
        };
        let Some((_, last)) = changes.last().cloned() else { return Ok(()) };
        let apps = lock(&self.revisions).changed(changes, |app| self.changes.is_pending(app));
        self.fetch(engine, apps).await?;
        lock(&self.position).last = last;
        Ok(())
    }

    async fn fetch(&self, engine: &impl Engine, apps: Vec<AppName>) -> Result<(), EngineError> {
        for part in apps.chunks(BATCH) {
            for stored in engine.get(part.to_vec()).await? {
                self.apply(stored, true).await;
            }
        }
        if lock(&self.revisions).has_outgrown(self.view.totals().apps) {
            let stored: HashSet<_> = self.view.app_names().into_iter().collect();
            lock(&self.revisions).retain(|app| stored.contains(app));
        }
        Ok(())
    }

    /// Puts a record of the engine into the store. `is_followed` is true for a change that was just made.
    async fn apply(&self, stored: Stored, is_followed: bool) {
        let (app, revision) = (stored.app.clone(), stored.revision);
        if !lock(&self.revisions).is_news(&app, revision) {
            return;
        }
        let millis = lock(&self.position).millis();
        let outcome = match stored.record.clone() {
            None => {
                let outcome = self
                    .inlet
                    .remove_replicated(&app, (self.clock)(), || lock(&self.revisions).is_news(&app, revision));
                if outcome == ReplicatedOutcome::Applied {
                    self.telemetry.app_removed(&app, RemovalReason::Deleted("another replica".into()));
                }
                Ok(outcome)
            }
            Some(record) => self.put(record, revisions::age(&stored, millis), &app, revision).await,
        };
        if outcome == Ok(ReplicatedOutcome::Deferred) {
            self.defer(&app, revision);
        } else {
            lock(&self.revisions).applied(&app, revision);
        }
        let result = match outcome {
            Ok(ReplicatedOutcome::Applied) => "applied",
            Ok(ReplicatedOutcome::Unneeded | ReplicatedOutcome::Deferred) => "skipped",
            Err(why) => {
                if let Some(suppressed) = self.telemetry.admit_line(&format!("cluster {app}")) {
                    tracing::warn!(app = app.as_str(), suppressed, "cannot store what another replica has: {why}");
                }
                "refused"
            }
        };
        self.telemetry.cluster_reads_total.with([result]).inc();
        let delay = Duration::from_millis(lock(&self.position).millis().saturating_sub(revision.millis));
        if is_followed {
            self.telemetry.cluster_watch_delay_seconds.with([&*self.engine]).observe(delay);
        }
    }

    /// Notes that a record was not taken, because a change of this process has come since it was fetched. The outcome of that change's write
    /// decides about it.
    fn defer(&self, app: &AppName, revision: Revision) {
        if self.changes.is_pending(app) {
            lock(&self.revisions).defer(app, revision);
        } else if lock(&self.revisions).is_news(app, revision) {
            // That change was settled meanwhile, and may be the earlier one.
            self.fetch_again(app.clone());
        }
    }

    async fn put(&self, record: Bytes, age: Duration, app: &AppName, revision: Revision) -> Result<ReplicatedOutcome, String> {
        let most = self.view.memory_limit();
        let large = record.len() > LARGE_BYTES / 8;
        let (inlet, revisions) = (self.inlet.clone(), Arc::clone(&self.revisions));
        let name = app.clone();
        let limit = self.view.expire_after();
        let work = move || {
            let replicated = record::unpack(&record, most).and_then(|bytes| ReplicatedApp::decode(&bytes));
            let Some(replicated) = replicated.filter(|replicated| replicated.app == name) else {
                return Err("the record cannot be read".to_owned());
            };
            if replicated.expiry(limit).is_some_and(|expiry| age >= expiry) {
                return Ok(ReplicatedOutcome::Unneeded);
            }
            let is_news = || lock(&revisions).is_news(&name, revision);
            inlet
                .put_replicated(&replicated, age, is_news)
                .map_err(|refused| refused.to_string())
        };
        if large { blocking(work).await } else { work() }
    }

    /// Sends heartbeats.
    async fn beats(&self, engine: &impl Engine, observer: &impl Observer) -> Result<(), EngineError> {
        let mut ticks = tokio::time::interval(BEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let heard = self.beat(engine, observer, true).await?;
            if heard.epoch != lock(&self.position).epoch {
                return Err(EngineError(
                    "the engine has lost its data; this replica writes what it has".to_owned(),
                ));
            }
        }
    }

    /// An id for the data of an engine that has none: another one for each heartbeat. If it were the same one, the replica that gave it first
    /// would give it again after the engine has lost its data, and no replica would notice the loss.
    pub(super) fn next_epoch(&self) -> String {
        let mut position = lock(&self.position);
        position.beats += 1;
        format!("{}-{}", self.epoch_candidate, position.beats)
    }

    /// Sends a heartbeat. The work of the lease does not begin before the store has all apps: otherwise endpoints that are listed before their first
    /// poll would take the place of their data in the engine.
    async fn beat(&self, engine: &impl Engine, observer: &impl Observer, is_synchronized: bool) -> Result<BeatReply, EngineError> {
        let beat = Beat {
            id: self.id.clone(),
            about: observer.about(),
            ttl: BEAT_TTL,
            epoch: self.next_epoch(),
        };
        let heard = engine.beat(beat).await?;
        lock(&self.position).time = Some((heard.millis, Instant::now()));
        self.lease.send_if_modified(|held| {
            let holds = heard.lease_owner == self.id && (is_synchronized || *held);
            std::mem::replace(held, holds) != holds
        });
        observer.heard(&heard);
        Ok(heard)
    }
}

/// Room for the texts that a replica writes at the same time.
pub(super) fn room_for_writes() -> Semaphore {
    Semaphore::new(WRITTEN_KIB as usize)
}

/// Packs an app for the engine.
async fn pack(app: ReplicatedApp) -> Bytes {
    match app.body.len() > LARGE_BYTES {
        true => blocking(move || record::pack(&app.encode())).await,
        false => record::pack(&app.encode()),
    }
}

/// Changes that were taken. Those that are not stored by the end are written again, also where the session is dropped.
struct Unsettled<'c> {
    changes: &'c LocalChanges,
    left: Vec<AppName>,
}

impl<'c> Unsettled<'c> {
    fn new(changes: &'c LocalChanges, batch: &[LocalChange]) -> Self {
        let left = batch.iter().map(|change| change.app.clone()).collect();
        Self { changes, left }
    }

    fn stored(&mut self, app: &AppName) {
        self.left.retain(|other| other != app);
        self.changes.settle(app, Settlement::Stored);
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.left.iter().for_each(|app| self.changes.settle(app, Settlement::Retry));
    }
}

/// Apps that are being fetched again. Those that are left when this is dropped are fetched by the next session.
struct Unfetched<'r> {
    replica: &'r Replica,
    left: Vec<AppName>,
}

impl<'r> Unfetched<'r> {
    fn take(replica: &'r Replica) -> Self {
        let left = std::mem::take(&mut *lock(&replica.refetch)).into_iter().collect();
        Self { replica, left }
    }
}

impl Drop for Unfetched<'_> {
    fn drop(&mut self) {
        lock(&self.replica.refetch).extend(self.left.drain(..));
    }
}
