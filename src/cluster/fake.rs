//! An engine in memory, for tests of the replicas. Its time moves by one millisecond with each write.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::engine::{Beat, BeatReply, Engine, EngineError, Revision, Stored, Watched, Write, Written};
use crate::model::AppName;

#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    pub(super) apps: BTreeMap<AppName, Stored>,
    pub(super) changes: Vec<(AppName, Revision)>,
    pub(super) epoch: String,
    pub(super) members: Vec<(String, String)>,
    pub(super) lease: String,
    pub(super) millis: u64,
}

/// The engine. Cloning it is another connection.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeEngine {
    pub(super) data: Arc<Mutex<Data>>,
    pub(super) written: Arc<Notify>,
    /// True while no command gets through.
    pub(super) away: Arc<Mutex<bool>>,
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
        let data = self.data.lock().unwrap();
        Ok(apps.iter().filter_map(|app| data.apps.get(app).cloned()).collect())
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
