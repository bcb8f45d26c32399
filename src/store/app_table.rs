//! The table of apps: their entries in the order of first sight, the sums over them, and which of them the disk has to follow.
//!
//! Plain data without lock, catalog and clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::events::MonotonicTime;
use super::persistence::{DirtyApps, FamilyKey, SavedPosition};
use super::{App, Text};
use crate::model::{AppName, Origin, Timestamp};

/// An app in the table: its entry, its name twice, and the allocator's share.
const APP_BYTES: u64 = 480;

/// Apps that are looked at in one call, in which other requests wait for the store: some tens of microseconds.
const SCANNED_AT_ONCE: usize = 1_000;

/// The entries of all apps.
#[derive(Debug)]
pub(super) struct AppTable {
    /// By order of first sight. Bounded by [`Limits::max_apps`](super::Limits::max_apps).
    apps: BTreeMap<u64, Arc<App>>,
    /// The order of each name. As many as `apps`.
    orders: HashMap<AppName, u64, foldhash::fast::RandomState>,
    /// The order that the next new app gets.
    next_order: u64,
    /// The positions of apps that were stored before a restart and have not been updated since. Bounded by what was stored then.
    reserved: HashMap<AppName, SavedPosition, foldhash::fast::RandomState>,
    totals: Totals,
    /// Grows with every change of what is exposed.
    generation: u64,
    /// No app that expires by the limit of all was updated before this time, so no app is looked at until then is too long ago.
    oldest: MonotonicTime,
    /// The times at which apps expire that have an age of their own, with their orders. Bounded by `apps`.
    deadlines: BTreeSet<(MonotonicTime, u64)>,
    /// The apps that have changed since they were written to disk; `None` without a directory.
    pub(super) dirty: Option<DirtyApps>,
}

/// Sums over all apps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of text.
    pub(super) bytes: u64,
    /// Bytes of the texts' indexes.
    pub(super) index_bytes: u64,
    /// Series.
    pub(super) series: u64,
}

impl Totals {
    fn add(&mut self, app: &App) {
        self.bytes += app.text.body().len() as u64;
        self.index_bytes += index_bytes(&app.text);
        self.series += app.series().unwrap_or(0);
    }

    fn subtract(&mut self, app: &App) {
        self.bytes -= app.text.body().len() as u64;
        self.index_bytes -= index_bytes(&app.text);
        self.series -= app.series().unwrap_or(0);
    }
}

/// The bytes that the index of a text takes.
pub(super) fn index_bytes(text: &Text) -> u64 {
    text.exposition().map_or(0, |text| text.index_bytes() as u64)
}

impl AppTable {
    pub(super) fn new() -> Self {
        Self {
            apps: BTreeMap::new(),
            orders: HashMap::default(),
            next_order: 0,
            reserved: HashMap::default(),
            totals: Totals::default(),
            generation: 0,
            oldest: MonotonicTime::FIRST,
            deadlines: BTreeSet::new(),
            dirty: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// A number that grows with every change of what is exposed.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The bytes that the entries take, without the texts.
    pub(super) fn footprint(&self) -> u64 {
        self.totals.index_bytes + self.apps.len() as u64 * APP_BYTES
    }

    /// All apps in the order of first sight.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(self.orders.get(name)?)
    }

    pub(super) fn by_order(&self, order: u64) -> Option<&Arc<App>> {
        self.apps.get(&order)
    }

    /// Keeps the position of an app that was stored before a restart, until its first update.
    pub(super) fn reserve(&mut self, name: AppName, position: SavedPosition) {
        self.skip_orders(position.order);
        self.reserved.insert(name, position);
    }

    /// The families of an app that carried a disambiguating label before a restart, until its first update after it.
    pub(super) fn labels_to_restore(&self, name: &AppName) -> Vec<FamilyKey> {
        self.reserved.get(name).map_or_else(Vec::new, |position| position.labelled.clone())
    }

    /// The position of an app: a new one for an app that is not known.
    pub(super) fn position(&mut self, name: &AppName, at: Timestamp) -> (u64, Timestamp) {
        if let Some(old) = self.get(name.as_str()) {
            return (old.order, old.first_seen);
        }
        let saved = self.reserved.remove(name);
        let position = saved.map_or((self.next_order, at), |saved| (saved.order, saved.first_seen));
        self.skip_orders(position.0);
        self.orders.insert(name.clone(), position.0);
        position
    }

    /// Gives no order up to this one to new apps.
    fn skip_orders(&mut self, taken: u64) {
        self.next_order = self.next_order.max(taken + 1);
    }

    /// The order that the next new app gets.
    pub(super) fn next_order(&self) -> u64 {
        self.next_order
    }

    /// Puts an entry in its position, in place of an earlier one.
    pub(super) fn insert(&mut self, mut app: App) {
        let (order, new_deadline) = (app.order, deadline(&app));
        if app.expires && new_deadline.is_none() {
            self.oldest = self.oldest.min(app.refreshed);
        }
        self.totals.add(&app);
        self.generation += 1;
        app.changed = self.generation;
        if let Some(dirty) = &mut self.dirty {
            dirty.touch(app.order);
        }
        if let Some(old) = self.apps.insert(order, Arc::new(app)) {
            self.totals.subtract(&old);
            if let Some(deadline) = deadline(&old) {
                self.deadlines.remove(&(deadline, order));
            }
        }
        self.deadlines.extend(new_deadline.map(|deadline| (deadline, order)));
    }

    /// Removes an app; false if it is unknown.
    pub(super) fn remove(&mut self, name: &AppName) -> bool {
        let Some(order) = self.orders.remove(name) else { return false };
        if let Some(app) = self.apps.remove(&order) {
            self.totals.subtract(&app);
            if let Some(deadline) = deadline(&app) {
                self.deadlines.remove(&(deadline, order));
            }
        }
        self.generation += 1;
        if let Some(dirty) = &mut self.dirty {
            dirty.remove(order);
        }
        true
    }

    /// The names of up to `most` apps that came from such an origin, in order from `from` on, and the order to go on from; `None` at the end.
    /// No more than [`SCANNED_AT_ONCE`] apps are looked at.
    pub(super) fn of_origin(&self, matches: impl Fn(&Origin) -> bool, from: u64, most: usize) -> (Vec<AppName>, Option<u64>) {
        let (mut names, mut apps) = (Vec::new(), self.apps.range(from..));
        for (_, app) in apps.by_ref().take(SCANNED_AT_ONCE) {
            if matches(&app.origin) {
                names.push(app.name.clone());
            }
            if names.len() >= most {
                break;
            }
        }
        (names, apps.next().map(|(order, _)| *order))
    }

    /// Changes remarks about an app, not its data; false if it is unknown.
    pub(super) fn amend(&mut self, name: &AppName, change: impl FnOnce(&mut App)) -> bool {
        let Some(app) = self.orders.get(name).and_then(|order| self.apps.get_mut(order)) else {
            return false;
        };
        change(Arc::make_mut(app));
        if let Some(dirty) = &mut self.dirty {
            dirty.touch(app.order);
        }
        self.generation += 1;
        true
    }

    /// Has these apps written to disk: families of them came to carry a disambiguating label.
    pub(super) fn touch(&mut self, names: &[AppName]) {
        let Some(dirty) = &mut self.dirty else { return };
        let orders = names.iter().filter_map(|name| self.orders.get(name));
        orders.for_each(|order| dirty.touch(*order));
    }

    /// Counts a change of all that is exposed.
    pub(super) fn touch_generation(&mut self) {
        self.generation += 1;
    }

    /// Returns the names of apps that have reached the age of their own, and of those without one that were last updated `expire_after` ago or earlier, no
    /// more than `most`.
    pub(super) fn expired(&mut self, now: MonotonicTime, expire_after: Option<Duration>, most: usize) -> Vec<AppName> {
        let due = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now).take(most);
        let due = due.filter_map(|(_, order)| self.apps.get(order));
        let mut gone: Vec<AppName> = due.map(|app| app.name.clone()).collect();
        if let Some(expire_after) = expire_after.filter(|expire_after| now.since(self.oldest) >= *expire_after) {
            let rest = self.expired_by_limit(now, expire_after, most - gone.len());
            gone.extend(rest);
        }
        gone
    }

    fn expired_by_limit(&mut self, now: MonotonicTime, expire_after: Duration, most: usize) -> Vec<AppName> {
        let (mut gone, mut oldest) = (Vec::new(), now);
        for app in self.apps.values().filter(|app| app.expires && app.expire_after.is_none()) {
            if now.since(app.refreshed) < expire_after {
                oldest = oldest.min(app.refreshed);
            } else if gone.len() < most {
                gone.push(app.name.clone());
            } else {
                // There are more, which the next call finds.
                break;
            }
        }
        if gone.is_empty() {
            self.oldest = oldest;
        }
        gone
    }

    /// Looks at all apps in the next call of [`AppTable::expired`]: the age at which they expire has changed.
    pub(super) fn reset_oldest(&mut self) {
        self.oldest = MonotonicTime::FIRST;
    }
}

/// The time at which an app expires that has an age of its own.
fn deadline(app: &App) -> Option<MonotonicTime> {
    Some(app.refreshed.after(app.expire_after.filter(|_| app.expires)?))
}
