//! The changes of apps that this process's own sources have made and that the cluster has not stored yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::model::{AppName, Timestamp};

/// Removals that wait to be shared, without the apps that exist: while the engine is away clients may create and delete apps for hours.
/// Beyond it an older removal is dropped, and the other replicas keep that app until it expires.
const MAX_REMOVALS: usize = 100_000;

/// A change that a writer has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalChange {
    /// The app.
    pub app: AppName,
    /// The time at which the app was removed; `None` if its current state is to be written.
    pub removed: Option<Timestamp>,
    /// True if the change could not be written when it was made, so that another replica may have a later one.
    pub delayed: bool,
}

/// The outcome of writing a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The engine has it, or a later one.
    Stored,
    /// It is to be written again.
    Retry,
}

/// A change that is not settled.
#[derive(Debug, Default)]
struct UnsettledChange {
    /// Its place in [`ChangeQueue::order`] while it waits.
    place: i64,
    removed: Option<Timestamp>,
    delayed: bool,
    /// Notified once the change is stored. Bounded by the requests in work.
    waiters: Vec<oneshot::Sender<()>>,
}

impl UnsettledChange {
    /// Joins what is known of an earlier change of the same app.
    fn absorb(&mut self, earlier: Self) {
        self.delayed |= earlier.delayed;
        self.waiters.extend(earlier.waiters);
    }
}

/// The changes that are not settled. An app has at most one that waits and one that is being written.
#[derive(Debug, Default)]
pub struct LocalChanges {
    /// Held for a few map operations. Taken under the store's lock, never the other way round.
    state: Mutex<ChangeQueue>,
    arrived: Notify,
    /// True if [`LocalChanges::stored`] waits.
    waits: bool,
}

#[derive(Debug, Default)]
struct ChangeQueue {
    /// Bounded by the apps of the store and [`MAX_REMOVALS`].
    waiting: HashMap<AppName, UnsettledChange>,
    /// The names in `waiting`, in the order in which they came: by a number that grows, and falls below zero for those that come first.
    order: BTreeMap<i64, AppName>,
    /// The places of the removals among `waiting`. The oldest is dropped beyond [`MAX_REMOVALS`], without a search under the store's lock.
    removals: BTreeSet<i64>,
    /// Bounded by what a writer takes at once.
    writing: HashMap<AppName, UnsettledChange>,
    /// True while the engine cannot be written to.
    away: bool,
}

impl ChangeQueue {
    fn push(&mut self, app: AppName, mut pending: UnsettledChange, first: bool) {
        if let Some(earlier) = self.waiting.remove(&app) {
            self.removals.remove(&earlier.place);
            pending.place = earlier.place;
            pending.absorb(earlier);
        } else {
            pending.place = if first {
                self.order.first_key_value().map_or(0, |(place, _)| place - 1)
            } else {
                self.order.last_key_value().map_or(0, |(place, _)| place + 1)
            };
            self.order.insert(pending.place, app.clone());
        }
        if pending.removed.is_some() {
            self.removals.insert(pending.place);
        }
        self.waiting.insert(app, pending);
        if self.removals.len() > MAX_REMOVALS
            && let Some(oldest) = self.removals.pop_first()
            && let Some(app) = self.order.remove(&oldest)
        {
            self.waiting.remove(&app);
        }
    }
}

impl LocalChanges {
    /// No changes. `waits` is true if requests wait for the engine.
    pub(in crate::store) fn new(waits: bool) -> Self {
        Self { waits, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, ChangeQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change of an app: an update, or its removal at this time.
    pub(in crate::store) fn mark(&self, app: &AppName, removed: Option<Timestamp>) {
        let mut state = self.state();
        let delayed = state.away;
        let pending = UnsettledChange {
            removed,
            delayed,
            ..UnsettledChange::default()
        };
        state.push(app.clone(), pending, false);
        drop(state);
        self.arrived.notify_one();
    }

    /// Notes that the state of an app is to be written unless the engine has a later one.
    pub fn mark_delayed(&self, app: &AppName) {
        let mut state = self.state();
        if !state.waiting.contains_key(app) {
            let pending = UnsettledChange {
                delayed: true,
                ..UnsettledChange::default()
            };
            state.push(app.clone(), pending, false);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Says whether the engine can be written to. Changes that are made while it cannot, and those that are not settled when it is lost, count
    /// as delayed, and nothing waits for them.
    pub fn set_away(&self, away: bool) {
        let mut state = self.state();
        state.away = away;
        if away {
            let ChangeQueue { waiting, writing, .. } = &mut *state;
            for pending in waiting.values_mut().chain(writing.values_mut()) {
                pending.waiters.clear();
                // Made while the engine was lost already, perhaps, and that was not noticed yet.
                pending.delayed = true;
            }
        }
    }

    /// Returns true if an app has a change that is not settled.
    #[must_use]
    pub fn is_pending(&self, app: &AppName) -> bool {
        let state = self.state();
        state.waiting.contains_key(app) || state.writing.contains_key(app)
    }

    /// The number of changes that are not settled.
    #[must_use]
    pub fn pending(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.writing.len()
    }

    /// Takes changes to write, the oldest first, no more than `most`. An app that is being written waits for its turn.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<LocalChange> {
        let mut state = self.state();
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        while taken.len() < most
            && let Some((place, app)) = state.order.pop_first()
        {
            if state.writing.contains_key(&app) {
                kept.push((place, app));
                continue;
            }
            let Some(pending) = state.waiting.remove(&app) else { continue };
            state.removals.remove(&place);
            taken.push(LocalChange {
                app: app.clone(),
                removed: pending.removed,
                delayed: pending.delayed,
            });
            state.writing.insert(app, pending);
        }
        state.order.extend(kept);
        taken
    }

    /// Settles a change that was taken.
    pub fn settle(&self, app: &AppName, outcome: Settlement) {
        let mut state = self.state();
        let Some(mut pending) = state.writing.remove(app) else { return };
        match outcome {
            Settlement::Stored => {
                drop(state);
                // A request that has ended waits no more.
                for waiter in pending.waiters {
                    let _ = waiter.send(());
                }
            }
            Settlement::Retry => {
                pending.delayed = true;
                match state.waiting.get_mut(app) {
                    Some(later) => later.absorb(pending),
                    None => state.push(app.clone(), pending, true),
                }
            }
        }
    }

    /// Waits until there may be changes to take.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until the engine has the changes that an app has now, if requests wait for it. False if it is away, or has become so.
    pub async fn stored(&self, app: &AppName) -> bool {
        if !self.waits {
            return true;
        }
        let receivers: Vec<_> = {
            let mut state = self.state();
            if state.away {
                return !(state.waiting.contains_key(app) || state.writing.contains_key(app));
            }
            let ChangeQueue { waiting, writing, .. } = &mut *state;
            let pending = [waiting.get_mut(app), writing.get_mut(app)].into_iter().flatten();
            let wait = |pending: &mut UnsettledChange| {
                let (sender, receiver) = oneshot::channel();
                pending.waiters.push(sender);
                receiver
            };
            pending.map(wait).collect()
        };
        let mut stored = true;
        for receiver in receivers {
            stored &= receiver.await.is_ok();
        }
        stored
    }
}
