//! The revisions of the apps in the local store, and the decision which records of the engine are to be fetched.
//!
//! A state machine without I/O. The store itself keeps a change of this process from being replaced before the engine has it; here is
//! decided what happens to the changes of others meanwhile.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use super::engine::{Revision, Stored, Written};
use crate::model::{AppName, Timestamp};

/// The revisions of apps.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    /// The revision that the store has of each app. Bounded by the apps of the engine, see [`Revisions::has_outgrown`].
    known: HashMap<AppName, Revision>,
    /// Changes of others that came while a change of this process was not stored yet. Bounded by the unsettled changes.
    deferred: HashMap<AppName, Revision>,
}

impl Revisions {
    /// Decides which of these changes are fetched now: those that the store does not have, each app once. Those of apps with an unsettled
    /// change wait for its outcome.
    pub(super) fn changed(&mut self, changes: Vec<(AppName, Revision)>, is_pending: impl Fn(&AppName) -> bool) -> Vec<AppName> {
        let mut latest: HashMap<AppName, Revision> = HashMap::with_capacity(changes.len());
        let mut order = Vec::new();
        for (app, revision) in changes {
            if latest.insert(app.clone(), revision).is_none() {
                order.push(app);
            }
        }
        let mut pending = Vec::new();
        order.retain(|app| {
            let revision = latest[app];
            if self.known.get(app).is_some_and(|known| *known >= revision) {
                return false;
            }
            if is_pending(app) {
                pending.push((app.clone(), revision));
                return false;
            }
            true
        });
        pending.iter().for_each(|(app, revision)| self.defer(app, *revision));
        order
    }

    /// Notes the outcome of a write. True if the record is to be fetched, because another replica's is later.
    pub(super) fn written(&mut self, app: &AppName, outcome: Written) -> bool {
        let deferred = self.deferred.remove(app);
        match outcome {
            Written::Stored(revision) => {
                self.known.insert(app.clone(), revision);
                deferred.is_some_and(|deferred| deferred > revision)
            }
            Written::Superseded => {
                // The store has the change that the engine did not take, no longer what it had of that record before.
                self.known.remove(app);
                true
            }
        }
    }

    /// True if a fetched record is to be put into the store: one that is older than what is there comes from an earlier question.
    pub(super) fn is_news(&self, app: &AppName, revision: Revision) -> bool {
        self.known.get(app).is_none_or(|known| *known < revision)
    }

    /// Notes that the store has a record.
    pub(super) fn applied(&mut self, app: &AppName, revision: Revision) {
        let known = self.known.entry(app.clone()).or_default();
        *known = revision.max(*known);
    }

    /// Forgets the revisions of all apps: the engine has lost data, and its revisions begin again.
    pub(super) fn reset(&mut self) {
        self.known.clear();
        self.deferred.clear();
    }

    /// Defers a record that was fetched, because a change of this process has come since.
    pub(super) fn defer(&mut self, app: &AppName, revision: Revision) {
        let deferred = self.deferred.entry(app.clone()).or_default();
        *deferred = revision.max(*deferred);
    }

    /// True if there are many more revisions than apps, so that [`Revisions::retain`] is worth its time.
    pub(super) fn has_outgrown(&self, apps: usize) -> bool {
        const SLACK: usize = 10_000;
        self.known.len() > 2 * apps + SLACK
    }

    /// Forgets the revisions of apps that the store no longer has.
    pub(super) fn retain(&mut self, is_stored: impl Fn(&AppName) -> bool) {
        self.known.retain(|app, _| is_stored(app));
    }
}

/// The decision about an app after its states in the store and in the engine were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconciled {
    /// The engine's state is put into the store.
    Fetch,
    /// The store's state is written.
    Write,
}

/// Compares the time of the update that the store has, if it knows the app, with the state that the engine has.
pub(super) fn reconcile(here: Option<Timestamp>, there: &Stored) -> Reconciled {
    match here {
        Some(here) if here > there.at => Reconciled::Write,
        _ => Reconciled::Fetch,
    }
}

/// The age of a record's update at the engine's time `millis`.
pub(super) fn age(record: &Stored, millis: u64) -> Duration {
    Duration::from_millis(millis.saturating_sub(record.revision.millis)).saturating_add(record.age)
}
