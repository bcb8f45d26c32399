//! One connection of a bridge to the engine: all records are read, then those of this bridge are written, those of others are followed, and
//! heartbeats are sent, until the connection fails.
//!
//! A record has one writer, so nothing is compared but presence: each session begins with all records, and writes what the engine lacks of
//! its own. Another bridge can only remove it, as it has seen it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::MissedTickBehavior;

use super::engine::{Beat, BeatReply, Engine, EngineError, Revision, Stored, Watched, Write, Written};
use super::service::{Instruments, Shared};
use super::session::{BATCH, BEAT_INTERVAL, BEAT_TTL, Observer, TTL_SLACK};
use super::{members, revisions};
use crate::bridge::{BridgeMember, ClaimOrder, ClaimRead, ForwardKey, IncomingClaim, OutgoingClaim, SharedRegistry};
use crate::model::{AppName, Timestamp};
use crate::telemetry::BridgeTelemetry;

/// The state of a bridge that outlives its connections.
pub(super) struct BridgeReplica {
    /// The URL of the engine.
    pub(super) engine: Arc<str>,
    pub(super) id: String,
    /// An id for the data of an engine that has none.
    pub(super) epoch_candidate: String,
    /// The key by which other bridges may forward scrapes to this one.
    pub(super) forward_key: ForwardKey,
    pub(super) registry: SharedRegistry,
    pub(super) telemetry: Arc<BridgeTelemetry>,
    /// The id of the engine's data.
    pub(super) epoch: Mutex<String>,
    /// The engine's time, and when it was that.
    pub(super) time: Mutex<Option<(u64, Instant)>>,
    /// The number of heartbeats so far.
    pub(super) beats: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared for BridgeReplica {
    const CONTENT: &'static str = "aliases";
    const ALONE: &'static str = "this bridge goes on with the aliases that it has";

    fn id(&self) -> &str {
        &self.id
    }

    fn engine(&self) -> &str {
        &self.engine
    }

    async fn run(&self, engine: &impl Engine, observer: &impl Observer) -> EngineError {
        let last = match self.load(engine, observer).await {
            Ok(last) => last,
            Err(why) => return why,
        };
        observer.synchronized();
        let outcome = tokio::select! {
            outcome = self.write(engine) => outcome,
            outcome = self.follow(engine, last) => outcome,
            outcome = self.beats(engine, observer) => outcome,
        };
        outcome.err().unwrap_or_else(|| EngineError("the session ended".to_owned()))
    }

    /// Nothing waits for a write.
    fn set_away(&self, _: bool) {}

    fn pending(&self) -> usize {
        self.registry.pending()
    }

    fn count(&self) -> usize {
        self.registry.aliases()
    }

    fn forward_key(&self) -> Option<String> {
        Some(self.forward_key.to_hex())
    }

    fn heard(&self, heard: &BeatReply) {
        let about: HashMap<&str, &str> = heard.members.iter().map(|(id, about)| (&**id, &**about)).collect();
        let read = members::read(&heard.members, &heard.lease_owner);
        let bridges = read.into_iter().filter_map(|member| {
            // One without a key is of a version that takes no scrapes.
            let key = members::forward_key(about.get(&*member.id)?)?;
            Some(BridgeMember {
                key: ForwardKey::from_hex(&key)?,
                id: member.id,
                name: member.name,
                http: member.http,
                tls: member.tls,
            })
        });
        self.registry.set_members(bridges);
    }

    fn instruments(&self) -> Instruments<'_> {
        Instruments {
            state: self.telemetry.cluster(),
            connected: &self.telemetry.cluster_connected,
            members: &self.telemetry.cluster_members,
            pending: &self.telemetry.cluster_pending_changes,
        }
    }
}

impl BridgeReplica {
    /// The engine's time now, in milliseconds.
    fn millis(&self) -> u64 {
        lock(&self.time).map_or(0, |(millis, at)| {
            millis.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// Reads all records, has those of this bridge written that the engine lacks, and returns the revision from which on changes are to be
    /// followed.
    async fn load(&self, engine: &impl Engine, observer: &impl Observer) -> Result<Revision, EngineError> {
        let heard = self.beat(engine, observer).await?;
        *lock(&self.epoch) = heard.epoch;
        let last = engine.last().await?;
        let (mut cursor, mut there) = (0, HashMap::new());
        loop {
            let (next, names) = engine.list(cursor).await?;
            for part in names.chunks(BATCH) {
                for stored in engine.get(part.to_vec()).await? {
                    if stored.record.is_some() {
                        there.insert(stored.app.clone(), order(stored.revision));
                    }
                    self.apply(stored, false);
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        self.registry.reconcile(&there);
        Ok(last)
    }

    /// Writes the records of this bridge as they change.
    async fn write(&self, engine: &impl Engine) -> Result<(), EngineError> {
        loop {
            if self.registry.overflowed() {
                return Err(EngineError(
                    "more aliases have changed than are noted; this bridge compares all of them again".to_owned(),
                ));
            }
            let batch = self.registry.take(BATCH);
            if batch.is_empty() {
                self.registry.arrived().await;
                continue;
            }
            try_join_all(batch.iter().map(|claim| self.write_one(engine, claim))).await?;
        }
    }

    async fn write_one(&self, engine: &impl Engine, claim: &OutgoingClaim) -> Result<(), EngineError> {
        let write = Write {
            app: claim.name.clone(),
            record: claim.record.clone(),
            at: Timestamp::default(),
            age: claim.age,
            ttl: Some(claim.ttl + TTL_SLACK),
            delayed: false,
            replaces: claim.replaces.map(revision_of),
        };
        let written = engine.put(write).await;
        let result = match &written {
            Ok(Written::Stored(_)) => "stored",
            Ok(Written::Superseded) => "superseded",
            Err(_) => "failed",
        };
        self.telemetry.cluster_writes_total.with([result]).inc();
        match written? {
            Written::Stored(revision) => self.registry.written(claim, order(revision)),
            Written::Superseded => self.registry.superseded(claim),
        }
        Ok(())
    }

    /// Takes changes of others as they come.
    async fn follow(&self, engine: &impl Engine, mut last: Revision) -> Result<(), EngineError> {
        loop {
            let Watched::Changes(changes) = engine.watch(last).await? else {
                return Err(EngineError(
                    "this bridge has missed more changes than the engine keeps; it reads all aliases again".to_owned(),
                ));
            };
            let Some((_, newest)) = changes.last() else { continue };
            let newest = *newest;
            let mut names: Vec<AppName> = changes.into_iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            names.dedup();
            for part in names.chunks(BATCH) {
                for stored in engine.get(part.to_vec()).await? {
                    self.apply(stored, true);
                }
            }
            last = newest;
        }
    }

    /// Gives a record of the engine to the registry. `is_followed` is true for a change that was just made.
    fn apply(&self, stored: Stored, is_followed: bool) {
        let millis = self.millis();
        let age = revisions::age(&stored, millis);
        let (revision, name) = (stored.revision, stored.app.clone());
        let incoming = IncomingClaim {
            name: stored.app,
            order: order(revision),
            age_when_written: stored.age,
            age,
            record: stored.record,
        };
        let result = match self.registry.apply(&incoming, is_followed) {
            ClaimRead::Applied => "applied",
            ClaimRead::Skipped => "skipped",
            ClaimRead::Refused => {
                tracing::debug!(name = name.as_str(), "cannot use the record of another bridge");
                "refused"
            }
        };
        self.telemetry.cluster_reads_total.with([result]).inc();
        if is_followed {
            let delay = Duration::from_millis(millis.saturating_sub(revision.millis));
            self.telemetry.cluster_watch_delay_seconds.with([&*self.engine]).observe(delay);
        }
    }

    /// Sends heartbeats.
    async fn beats(&self, engine: &impl Engine, observer: &impl Observer) -> Result<(), EngineError> {
        let mut ticks = tokio::time::interval(BEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let heard = self.beat(engine, observer).await?;
            if heard.epoch != *lock(&self.epoch) {
                return Err(EngineError(
                    "the engine has lost its data; this bridge writes what it has".to_owned(),
                ));
            }
        }
    }

    async fn beat(&self, engine: &impl Engine, observer: &impl Observer) -> Result<BeatReply, EngineError> {
        let beat = Beat {
            id: self.id.clone(),
            about: observer.about(),
            ttl: BEAT_TTL,
            // Another one for each heartbeat: otherwise this bridge would give a new engine the id of the one that was lost.
            epoch: format!("{}-{}", self.epoch_candidate, self.beats.fetch_add(1, Ordering::Relaxed)),
        };
        let heard = engine.beat(beat).await?;
        *lock(&self.time) = Some((heard.millis, Instant::now()));
        observer.heard(&heard);
        Ok(heard)
    }
}

/// The revision of a record in the order of claims.
fn order(revision: Revision) -> ClaimOrder {
    ClaimOrder {
        millis: revision.millis,
        sequence: revision.sequence,
    }
}

/// The revision of a place in the order of claims.
fn revision_of(order: ClaimOrder) -> Revision {
    Revision {
        millis: order.millis,
        sequence: order.sequence,
    }
}

#[cfg(test)]
mod tests;
