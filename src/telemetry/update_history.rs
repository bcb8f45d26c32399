//! The latest updates of each app, for its page: when they came, how large they were, from where, and their outcome.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::{AppName, Client};

/// Apps with a history: 2 MB where each is updated by one client. Further ones have none.
const MAX_APPS: usize = 10_000;

/// Runs of an app that are kept. Clients that take turns fill them; the oldest is dropped.
const MAX_RUNS: usize = 8;

/// An update and its outcome.
#[derive(Debug, Clone, Copy)]
pub struct UpdateOutcome<'a> {
    /// The way in, as in `/apps`.
    pub source: &'a Arc<str>,
    /// The client, where the way in has clients with addresses.
    pub client: Option<&'a Client>,
    /// The length of the text.
    pub bytes: usize,
    /// The reason of a refusal, as in `exporter_proxy_rejected_total`.
    pub refused: Option<&'static str>,
}

/// Successive updates of an app from one client with the same outcome: a client that pushes every second is one entry, so that the history
/// reaches back to what was different before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRun {
    /// The way in.
    pub source: Arc<str>,
    /// The client, if it is known.
    pub client: Option<Client>,
    /// The reason of the refusals; `None` if the updates were accepted.
    pub refused: Option<&'static str>,
    /// The number of updates.
    pub count: u64,
    /// The length of the last text in bytes, and of the smallest and the largest.
    pub bytes: u64,
    /// The length of the smallest.
    pub smallest: u64,
    /// The length of the largest.
    pub largest: u64,
    /// The time of the first update.
    pub first: Instant,
    /// The time of the last one.
    pub last: Instant,
}

impl UpdateRun {
    fn new(outcome: UpdateOutcome<'_>, now: Instant) -> Self {
        let bytes = outcome.bytes as u64;
        Self {
            source: Arc::clone(outcome.source),
            client: outcome.client.cloned(),
            refused: outcome.refused,
            count: 1,
            bytes,
            smallest: bytes,
            largest: bytes,
            first: now,
            last: now,
        }
    }

    fn continues_with(&self, outcome: &UpdateOutcome<'_>) -> bool {
        self.refused == outcome.refused && self.client.as_ref() == outcome.client && self.source == *outcome.source
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        (self.count, self.bytes, self.last) = (self.count + 1, bytes, now);
        (self.smallest, self.largest) = (self.smallest.min(bytes), self.largest.max(bytes));
    }
}

/// The histories of all apps.
#[derive(Debug, Default)]
pub(super) struct UpdateHistory(Mutex<HashMap<AppName, VecDeque<UpdateRun>, foldhash::fast::RandomState>>);

impl UpdateHistory {
    fn apps(&self) -> MutexGuard<'_, HashMap<AppName, VecDeque<UpdateRun>, foldhash::fast::RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an update. A refused one of an app without a history makes none: clients can invent names.
    pub(super) fn record(&self, app: &AppName, outcome: UpdateOutcome<'_>, now: Instant) {
        let mut apps = self.apps();
        let Some(runs) = apps.get_mut(app) else {
            if outcome.refused.is_none() && apps.len() < MAX_APPS {
                let mut runs = VecDeque::with_capacity(1);
                runs.push_back(UpdateRun::new(outcome, now));
                apps.insert(app.clone(), runs);
            }
            return;
        };
        match runs.front_mut().filter(|latest| latest.continues_with(&outcome)) {
            Some(latest) => latest.add(outcome.bytes as u64, now),
            None => {
                runs.truncate(MAX_RUNS - 1);
                runs.push_front(UpdateRun::new(outcome, now));
            }
        }
    }

    /// Forgets an app.
    pub(super) fn forget(&self, app: &AppName) {
        self.apps().remove(app);
    }

    /// The updates of an app, the latest first.
    pub(super) fn of(&self, app: &AppName) -> Vec<UpdateRun> {
        self.apps().get(app).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
