//! The state behind the store's lock: the table of apps and the combiner of their texts, changed together after all checks.

use std::sync::Arc;

use super::app_table::{AppTable, index_bytes};
use super::combiner::{Change, Combiner, Draft, ParsedUpdate};
use super::events::{MonotonicClock, MonotonicTime};
use super::{App, Limits, Mode, Receipt, Refused, Text, UpdateRate};
use crate::exposition::catalog::Outcome;
use crate::exposition::render::OutputFormat;
use crate::model::{AppName, Origin, Timestamp};

/// The work of a change that is done at once, under the lock: about a millisecond. See
/// [`Catalog::cost`](crate::exposition::catalog::Catalog::cost).
pub(super) const MAX_COST_AT_ONCE: usize = 1_000;

/// The bytes that a family takes at most, and a series, in the tables and as rendered and compressed text, for the check before there are any.
/// `crates/exposition/benches/memory.rs` measures them.
const FAMILY_BYTES: u64 = 160;
const SERIES_BYTES: u64 = 60;

/// Growth of an app that is small: that of a few hundred series.
const SMALL_GROWTH: u64 = 64 << 10;

/// The part of `store.max_memory` that is kept for small growth, so that one app that fills the store does not stop the ordinary pushes of
/// others: a sixteenth, which also covers what an update takes beyond the estimate.
const RESERVE: u64 = 16;

/// The apps and what their texts make together.
#[derive(Debug)]
pub(super) struct StoredApps {
    pub(super) limits: Limits,
    pub(super) table: AppTable,
    pub(super) combiner: Combiner,
    /// Measures the ages of updates, whatever happens to the time of day.
    pub(super) clock: MonotonicClock,
}

/// The result of a change.
#[derive(Debug)]
pub(super) enum Applied<T> {
    /// The change is visible.
    Now(T),
    /// The change is more work than [`MAX_COST_AT_ONCE`], so nothing was done; see [`Shared::merge_on_copy`](super::Shared::merge_on_copy).
    TooLarge(Change),
}

/// The bytes of a text and of its records, which the meter counts.
fn text_bytes(text: &Text) -> u64 {
    let records = text.exposition().map_or(0, |text| text.record_bytes().len());
    (text.body().len() + records) as u64
}

/// The bytes that a text takes at most, with all that is made of it. The index of an ordinary text is part of the estimate; that of a strange
/// one may be larger.
fn memory_of(text: &Text) -> u64 {
    let made = text.exposition().map_or(0, |text| {
        text.families().len() as u64 * FAMILY_BYTES + u64::from(text.series()) * SERIES_BYTES
    });
    text_bytes(text) + made.max(index_bytes(text))
}

impl StoredApps {
    pub(super) fn new(limits: Limits, mode: Mode) -> Self {
        Self {
            limits,
            table: AppTable::new(),
            combiner: Combiner::new(mode),
            clock: MonotonicClock::new(),
        }
    }

    /// The memory in use, about.
    pub(super) fn memory(&self) -> u64 {
        self.combiner.meter().held() + self.table.footprint() + self.combiner.footprint()
    }

    /// Checks an update against the limits.
    ///
    /// # Errors
    /// The limit that it exceeds.
    pub(super) fn check(&self, update: &ParsedUpdate) -> Result<(), Refused> {
        let old = self.table.get(update.app.as_str());
        if old.is_none() {
            self.check_apps()?;
        }
        let (max_series, series) = (
            self.limits.max_series_per_app,
            update.text.exposition().map_or(0, |text| text.series()),
        );
        if series > max_series {
            return Err(Refused::TooManySeries { series, max_series });
        }
        // The text itself is counted already; the old one goes.
        let (added, removed) = (memory_of(&update.text), old.map_or(0, |old| memory_of(&old.text)));
        let used = (self.memory() + added - text_bytes(&update.text).min(added)).saturating_sub(removed);
        self.check_memory(used, added.saturating_sub(removed))
    }

    /// Checks whether the store may use so much memory after an app has grown by so much.
    fn check_memory(&self, used: u64, growth: u64) -> Result<(), Refused> {
        let max_memory = self.limits.max_memory;
        let room = max_memory - max_memory / RESERVE;
        if growth > 0 && used > max_memory {
            Err(Refused::Full { used, max_memory })
        } else if growth > SMALL_GROWTH && used > room {
            Err(Refused::NearlyFull { used, room, max_memory })
        } else {
            Ok(())
        }
    }

    fn check_apps(&self) -> Result<(), Refused> {
        let max_apps = self.limits.max_apps;
        if self.table.len() < max_apps {
            Ok(())
        } else {
            Err(Refused::TooManyApps { max_apps })
        }
    }

    /// Replaces all that an app had by an update that arrived at `refreshed`, if that is little work. A large update keeps all but its
    /// [change](ParsedUpdate::take_change), and is completed by [`StoredApps::commit`].
    ///
    /// # Errors
    /// When the update exceeds a limit.
    pub(super) fn put(&mut self, update: &mut ParsedUpdate, refreshed: MonotonicTime) -> Result<Applied<Receipt>, Refused> {
        // One that may be refused for its outcome is applied to a copy.
        let max_cost = if update.consistent { 0 } else { MAX_COST_AT_ONCE };
        self.put_within(update, refreshed, max_cost)
    }

    /// As [`StoredApps::put`], if it is at most `max_cost` work.
    ///
    /// # Errors
    /// As for [`StoredApps::put`].
    pub(super) fn put_within(
        &mut self,
        update: &mut ParsedUpdate,
        refreshed: MonotonicTime,
        max_cost: usize,
    ) -> Result<Applied<Receipt>, Refused> {
        self.check(update)?;
        let labelled = self.table.labels_to_restore(&update.app);
        match self.combiner.update_within(update.take_change(), labelled, max_cost) {
            Ok(outcome) => Ok(Applied::Now(self.commit(update, outcome, refreshed))),
            Err(change) => Ok(Applied::TooLarge(change)),
        }
    }

    /// Puts an update into the table, after the combiner has it.
    pub(super) fn commit(&mut self, update: &ParsedUpdate, outcome: Outcome, refreshed: MonotonicTime) -> Receipt {
        let old = self.table.get(update.app.as_str()).cloned();
        let (order, first_seen) = self.table.position(&update.app, update.at);
        let noted = old.as_ref().filter(|old| update.keeps_age && old.updated.is_some());
        let (updated, refreshed, rate) = match noted {
            Some(old) => (old.updated, old.refreshed, old.rate),
            None => {
                let rate = old.as_ref().map(|old| old.rate).unwrap_or_default();
                (Some(update.at), refreshed, rate.updated(refreshed))
            }
        };
        let app = App {
            name: update.app.clone(),
            order,
            changed: 0,
            origin: update.origin.clone(),
            text: outcome.text.map_or_else(|| update.text.clone(), Text::Read),
            labels: Arc::clone(&update.labels),
            first_seen,
            updated,
            refreshed,
            rate,
            fault: None,
            conflicts: Arc::new(outcome.conflicts),
            duplicates: outcome.duplicates,
            outdated: update.outdated,
            withdrawn: false,
            expires: update.expires,
            expire_after: update.expire_after,
        };
        let receipt = Receipt::new(old.as_deref(), &app);
        self.table.insert(app);
        self.table.touch(&outcome.labelled);
        receipt
    }

    /// Lists an app before its first update; one that is known stays as it is.
    ///
    /// # Errors
    /// When there are too many apps.
    pub(super) fn register(&mut self, name: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        if self.table.get(name.as_str()).is_some() {
            return Ok(());
        }
        self.check_apps()?;
        let labelled = self.table.labels_to_restore(&name);
        self.combiner.restore_labels(&name, labelled);
        let (order, first_seen) = self.table.position(&name, at);
        self.table.insert(App {
            name,
            order,
            changed: 0,
            origin,
            text: self.combiner.empty_text(),
            labels: [].into(),
            first_seen,
            updated: None,
            refreshed: self.clock.at(at),
            rate: UpdateRate::default(),
            fault: None,
            conflicts: Arc::default(),
            duplicates: 0,
            outdated: false,
            withdrawn: false,
            expires: false,
            expire_after: None,
        });
        Ok(())
    }

    /// Takes an app's data out of the exposition, if that is little work; it stays listed and keeps its labels. False if it is unknown.
    pub(super) fn withdraw(&mut self, name: &AppName) -> Applied<bool> {
        let Some(app) = self.table.get(name.as_str()).cloned() else {
            return Applied::Now(false);
        };
        let text = self.combiner.empty_text();
        match self.combiner.clear_within(&app, &text, MAX_COST_AT_ONCE) {
            Ok(outcome) => Applied::Now(self.commit_withdrawal(name, outcome)),
            Err(change) => Applied::TooLarge(change),
        }
    }

    /// Notes in the table that an app has no data, after the combiner has it. False if it is unknown.
    pub(super) fn commit_withdrawal(&mut self, name: &AppName, outcome: Outcome) -> bool {
        let Some(app) = self.table.get(name.as_str()).cloned() else {
            return false;
        };
        let text = outcome.text.map_or_else(|| self.combiner.empty_text(), Text::Read);
        self.table.insert(App {
            text,
            conflicts: Arc::default(),
            duplicates: 0,
            outdated: false,
            withdrawn: true,
            ..App::clone(&app)
        });
        self.table.touch(&outcome.labelled);
        true
    }

    /// Removes an app, if that is little work. False if it is unknown.
    pub(super) fn remove(&mut self, name: &AppName) -> Applied<bool> {
        if self.table.get(name.as_str()).is_none() {
            return Applied::Now(false);
        }
        match self.combiner.remove_within(name, MAX_COST_AT_ONCE) {
            Ok(outcome) => Applied::Now(self.commit_removal(name, &outcome)),
            Err(change) => Applied::TooLarge(change),
        }
    }

    /// Removes an app from the table, after the combiner has removed it. False if it is unknown.
    pub(super) fn commit_removal(&mut self, name: &AppName, outcome: &Outcome) -> bool {
        let is_known = self.table.remove(name);
        self.table.touch(&outcome.labelled);
        is_known
    }

    /// A draft of the response with all apps.
    pub(super) fn draft_everything(&mut self, variant: OutputFormat) -> Draft {
        self.combiner.draft_everything(variant, self.table.iter())
    }

    /// Names apps that are too old at `now`, no more than `most`.
    pub(super) fn expired(&mut self, now: Timestamp, most: usize) -> Vec<AppName> {
        // Each second, because the clock takes a large step for one that was set.
        let now = self.clock.tick(now);
        self.note_step();
        self.table.expired(now, self.limits.expire_after, most)
    }

    /// True if an app is too old at `now`.
    pub(super) fn is_expired(&mut self, app: &AppName, now: Timestamp) -> bool {
        let now = self.clock.at(now);
        let Some(app) = self.table.get(app.as_str()) else { return false };
        let expiry = app.expiry(self.limits.expire_after);
        expiry.is_some_and(|expiry| now.since(app.refreshed) >= expiry)
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.table.reset_oldest();
    }
}
