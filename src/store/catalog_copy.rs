//! Large changes of the catalog: merged into a copy, while others go on with the original.
//!
//! The copy costs some microseconds, because the catalog is copy-on-write. Changes that are made meanwhile are noted and repeated on the copy
//! until few are left; these are repeated under the lock, and then the copy takes the original's place. So no change keeps the lock for more
//! than some milliseconds, each becomes visible at once, and none is lost.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Shared;
use super::combiner::Change;
use super::stored_apps::{MAX_COST_AT_ONCE, StoredApps};
use crate::exposition::catalog::{Catalog, Outcome, Rules, Update};
use crate::model::AppName;

/// Rounds in which noted changes are repeated without the lock. Each is shorter than the one before, unless others change more in a moment
/// than this thread does; then the rest is repeated under the lock, so that a large change does not wait without end.
const MAX_ROUNDS: usize = 64;

/// Catalogs that are dropped where no request waits: freeing millions of families takes a while.
pub(super) struct Dropping;

impl Dropping {
    /// Drops a catalog on a thread of its own if it may be large.
    pub(super) fn later(catalog: Option<Catalog>) {
        let Some(catalog) = catalog else { return };
        // Without a thread to be had it is dropped here, which costs time and nothing else.
        let spawned = std::thread::Builder::new().name("free".into()).spawn(move || drop(catalog));
        drop(spawned);
    }
}

/// Runs work that takes long in a way that lets other tasks of this thread go on.
fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Shared {
    /// Applies a change of one app to a copy of the catalog. Returns the copy, up to date but not yet in place, with the lock held.
    pub(super) fn merge_on_copy(&self, change: Change) -> (MutexGuard<'_, StoredApps>, Catalog, Outcome) {
        in_place(|| {
            let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
            let mut copy = begin_copy(&mut self.apps());
            let app = change.app().clone();
            let outcome = change.apply(&mut copy);
            let (apps, copy) = self.catch_up(copy, Some(&app));
            (apps, copy, outcome)
        })
    }

    /// Merges all texts by other rules, on a new catalog.
    pub(super) fn merge_all(&self, rules: Rules) -> (MutexGuard<'_, StoredApps>, Catalog) {
        in_place(|| {
            let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
            let (before, stored) = {
                let mut apps = self.apps();
                let before = begin_copy(&mut apps);
                (before, apps.table.iter().cloned().collect::<Vec<_>>())
            };
            let mut copy = before.start_over(rules);
            self.parser.set_rules(copy.rules());
            for app in &stored {
                if let Some(exposition) = app.text.exposition() {
                    let update = Update::new(copy.rules(), &app.name, &app.labels, Arc::clone(exposition));
                    let labelled = before.labelled(app.name.as_str());
                    Change::Update { update, labelled }.apply(&mut copy);
                }
            }
            self.catch_up(copy, None)
        })
    }

    /// Repeats changes on a copy that were made since it was taken, except changes of `app`: its own change comes after them.
    fn catch_up(&self, mut copy: Catalog, app: Option<&AppName>) -> (MutexGuard<'_, StoredApps>, Catalog) {
        for round in 1.. {
            let mut apps = self.apps();
            let changes = apps.combiner.take_replay();
            let cost: usize = changes.iter().map(|change| change.cost(&copy)).sum();
            let last = cost <= MAX_COST_AT_ONCE || round == MAX_ROUNDS;
            let held = if last {
                Some(apps)
            } else {
                drop(apps);
                None
            };
            for change in changes.into_iter().filter(|change| Some(change.app()) != app) {
                change.apply(&mut copy);
            }
            if let Some(apps) = held {
                return (apps, copy);
            }
        }
        unreachable!("the last round returns")
    }
}

fn begin_copy(apps: &mut StoredApps) -> Catalog {
    let copy = apps.combiner.begin_copy();
    copy.expect("only where texts are merged is there a catalog to change")
}
