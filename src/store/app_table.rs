//! The state behind the lock: plain data, changed by whole assignments after all checks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::events::{MonotonicClock, MonotonicTime};
use super::persistence::{DirtyApps, FamilyKey, SavedPosition};
use super::{App, Limits, Mode, Receipt, Refused, Text};
use crate::exposition::catalog::{self, Catalog, Outcome, Rules};
use crate::exposition::render::{Chunk, OutputFormat};
use crate::exposition::{Exposition, MemoryMeter, detect};
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp, Update};

/// The latest of every application.
#[derive(Debug)]
pub(super) struct AppTable {
    pub(super) limits: Limits,
    /// By order of first sight. Bounded by [`Limits::max_apps`].
    apps: BTreeMap<u64, Arc<App>>,
    /// The order of each name. As many as `apps`.
    orders: HashMap<AppName, u64, foldhash::fast::RandomState>,
    /// What all texts make together; `None` where they are not read.
    catalog: Option<Catalog>,
    /// The changes since a copy of the catalog was made that is to take its place; `None` while there is no such copy.
    replay: Option<Replay>,
    /// The order that the next newcomer gets.
    next_order: u64,
    /// The sum of the texts' lengths.
    bytes: u64,
    /// The sum of the bytes that the texts' indexes take.
    index_bytes: u64,
    /// Counts texts, and their rendered and compressed forms. With the tables they are bounded by [`Limits::max_memory`].
    meter: MemoryMeter,
    /// The sum of the texts' series.
    series: u64,
    /// Changes with every change of what is exposed.
    generation: u64,
    /// Tells how old updates are, whatever happens to the time of day.
    pub(super) clock: MonotonicClock,
    /// No application that expires was updated before this moment, so nothing needs to be looked for until it is old enough.
    oldest: MonotonicTime,
    /// What somebody has to hear of who keeps it across a restart; `None` where nobody does.
    pub(super) dirty: Option<DirtyApps>,
    /// The places of those that were here before a restart and have not come again. Bounded by what was kept then.
    pub(super) reserved: HashMap<AppName, SavedPosition, foldhash::fast::RandomState>,
}

/// An update whose text has been read where texts are read.
#[derive(Debug)]
pub(super) struct ParsedUpdate {
    pub(super) app: AppName,
    pub(super) text: Text,
    pub(super) labels: Arc<[LabelPair]>,
    pub(super) origin: Origin,
    pub(super) at: Timestamp,
    pub(super) expires: bool,
    pub(super) outdated: bool,
    /// The change of the catalog, where it is prepared already.
    pub(super) change: Option<catalog::Update>,
}

/// A change of the catalog that is repeated on a copy which is to take the catalog's place.
#[derive(Debug)]
pub(super) enum CatalogChange {
    Update(catalog::Update),
    Remove(AppName),
    RestoreLabels(AppName, Vec<FamilyKey>),
}

/// Changes to be repeated, in order. Of each app the last update alone is kept, so there are no more than apps and removals of apps.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// `None` where a later update has taken the place of an earlier one.
    changes: Vec<Option<CatalogChange>>,
    /// The update of each app among them.
    updates: HashMap<AppName, usize, foldhash::fast::RandomState>,
}

impl Replay {
    fn push(&mut self, change: CatalogChange) {
        if !matches!(change, CatalogChange::RestoreLabels(..))
            && let Some(before) = self.updates.remove(change.app())
        {
            self.changes[before] = None;
        }
        if let CatalogChange::Update(update) = &change {
            self.updates.insert(update.app().clone(), self.changes.len());
        }
        self.changes.push(Some(change));
    }
}

/// The work of a change that is done at once, under the lock: about a millisecond. See [`Catalog::cost`].
pub(super) const MAX_COST_AT_ONCE: usize = 1_000;

/// The age of a timestamp beyond which Prometheus drops the sample: half of its head block's two hours.
const TOO_OLD: Duration = Duration::from_secs(3_600);

impl ParsedUpdate {
    /// Reads an update's text, if texts are read. `expires` is for what is pushed, not for what is polled.
    pub(super) fn read(update: Update, expires: bool, reads: bool) -> Self {
        let Update {
            app,
            body,
            syntax,
            labels,
            origin,
            at,
        } = update;
        let syntax = syntax.unwrap_or_else(|| detect(&body));
        let text = if reads {
            Text::Read(Arc::new(Exposition::parse(body, syntax)))
        } else {
            Text::Raw(body, syntax)
        };
        let newest = text.exposition().and_then(|read| read.newest_timestamp());
        let outdated = newest.is_some_and(|newest| at.since(newest) > TOO_OLD);
        Self {
            app,
            text,
            labels,
            origin,
            at,
            expires,
            outdated,
            change: None,
        }
    }

    /// Does the work of merging that needs no lock.
    pub(super) fn prepare_change(&mut self, rules: &Arc<Rules>) {
        if let Text::Read(exposition) = &self.text {
            self.change = Some(catalog::Update::new(rules, &self.app, &self.labels, Arc::clone(exposition)));
        }
    }
}

/// An app in the table of apps: its state, its name twice, and the allocator's share.
const APP_BYTES: u64 = 480;

/// The bytes that the index of a text takes.
fn index_bytes(text: &Text) -> u64 {
    text.exposition().map_or(0, |text| text.index_bytes() as u64)
}

/// The bytes that a text and its index take, and its families in the tables.
fn memory_of(text: &Text) -> u64 {
    let families = text.exposition().map_or(0, |text| text.families().len() as u64);
    text.body().len() as u64 + index_bytes(text) + families * 64
}

impl CatalogChange {
    pub(super) fn apply(self, catalog: &mut Catalog) {
        match self {
            Self::Update(update) => drop(catalog.update(update)),
            Self::Remove(app) => drop(catalog.remove(app.as_str())),
            Self::RestoreLabels(app, keys) => catalog.restore_labels(&app, keys),
        }
    }

    pub(super) fn cost(&self, catalog: &Catalog) -> usize {
        match self {
            Self::Update(update) => catalog.cost(update),
            Self::Remove(app) => catalog.cost_of_removal(app.as_str()),
            Self::RestoreLabels(_, keys) => 1 + keys.len() / 8,
        }
    }

    pub(super) const fn app(&self) -> &AppName {
        match self {
            Self::Update(update) => update.app(),
            Self::Remove(app) | Self::RestoreLabels(app, _) => app,
        }
    }
}

impl AppTable {
    pub(super) fn new(limits: Limits, mode: Mode) -> Self {
        let catalog = match mode {
            Mode::Raw => None,
            Mode::Merge(rules) => Some(Catalog::new(rules)),
        };
        let meter = catalog
            .as_ref()
            .map_or_else(MemoryMeter::default, |catalog| catalog.meter().clone());
        Self {
            limits,
            apps: BTreeMap::new(),
            orders: HashMap::default(),
            catalog,
            replay: None,
            next_order: 0,
            bytes: 0,
            index_bytes: 0,
            meter,
            series: 0,
            generation: 0,
            clock: MonotonicClock::new(),
            oldest: MonotonicTime::FIRST,
            dirty: None,
            reserved: HashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn series(&self) -> u64 {
        self.series
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The rules of the merge; `None` where texts are not merged.
    pub(super) fn rules(&self) -> Option<Arc<Rules>> {
        self.catalog.as_ref().map(|catalog| Arc::clone(catalog.rules()))
    }

    pub(super) fn catalog(&mut self) -> Option<&mut Catalog> {
        self.catalog.as_mut()
    }

    /// The rendered segments, each once.
    pub(super) fn chunks(&self) -> Vec<Arc<Chunk>> {
        let mut chunks: Vec<_> = self.catalog.iter().flat_map(Catalog::chunks).collect();
        // What looks the same in two variants is kept in both.
        chunks.sort_unstable_by_key(Arc::as_ptr);
        chunks.dedup_by(|a, b| Arc::ptr_eq(a, b));
        chunks
    }

    /// Takes out the rendered segments of one variant.
    pub(super) fn forget(&self, variant: OutputFormat) -> Vec<Arc<Chunk>> {
        self.catalog.as_ref().map_or_else(Vec::new, |catalog| catalog.evict(variant))
    }

    /// All applications in the order of first sight.
    pub(super) fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(self.orders.get(name)?)
    }

    /// A snapshot of the catalog, to describe apps with.
    pub(super) fn snapshot(&self) -> Option<Catalog> {
        self.catalog.clone()
    }

    /// An app together with its conflicts and duplicate series of the moment; at most `most` conflicts are listed.
    pub(super) fn described(catalog: Option<&Catalog>, app: &Arc<App>, most: usize) -> Arc<App> {
        let Some(catalog) = catalog else { return Arc::clone(app) };
        let name = app.name.as_str();
        let (conflicts, duplicates) = (catalog.conflicts(name, most), catalog.duplicate_series(name));
        if *app.conflicts == conflicts && app.duplicates == duplicates {
            return Arc::clone(app);
        }
        Arc::new(App {
            conflicts: Arc::new(conflicts),
            duplicates,
            ..App::clone(app)
        })
    }

    /// Whether there is room for an update.
    pub(super) fn check(&self, update: &ParsedUpdate) -> Result<(), Refused> {
        let old = self.get(update.app.as_str());
        if old.is_none() && self.apps.len() >= self.limits.max_apps {
            return Err(Refused::TooManyApps {
                max_apps: self.limits.max_apps,
            });
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
        let used = self.memory() + added - (update.text.body().len() as u64).min(added);
        if added > removed && used - removed.min(used) > self.limits.max_memory {
            return Err(Refused::Full {
                used: used - removed.min(used),
                max_memory: self.limits.max_memory,
            });
        }
        Ok(())
    }

    /// The memory in use, about.
    pub(super) fn memory(&self) -> u64 {
        let tables = self.catalog.as_ref().map_or(0, Catalog::footprint) as u64;
        self.meter.held() + self.index_bytes + tables + self.apps.len() as u64 * APP_BYTES
    }

    /// Counts texts, and their rendered and compressed forms.
    pub(super) const fn meter(&self) -> &MemoryMeter {
        &self.meter
    }

    /// Replaces all that the app had.
    pub(super) fn put(&mut self, update: ParsedUpdate) -> Result<Receipt, Refused> {
        let refreshed = self.clock.at(update.at);
        self.put_at(update, refreshed)
    }

    /// As [`AppTable::put`], with the moment at which the update came.
    pub(super) fn put_at(&mut self, mut update: ParsedUpdate, refreshed: MonotonicTime) -> Result<Receipt, Refused> {
        self.check(&update)?;
        let place = self.place(&update.app, update.at);
        let outcome = match (&self.catalog, &update.text) {
            (Some(catalog), Text::Read(exposition)) => {
                let rules = Arc::clone(catalog.rules());
                let new = || catalog::Update::new(&rules, &update.app, &update.labels, Arc::clone(exposition));
                let change = update.change.take().unwrap_or_else(new);
                self.merge(change)
            }
            _ => Outcome::default(),
        };
        Ok(self.commit(update, place, outcome, refreshed))
    }

    /// Changes the catalog.
    fn merge(&mut self, change: catalog::Update) -> Outcome {
        if let Some(replay) = &mut self.replay {
            replay.push(CatalogChange::Update(change.clone()));
        }
        self.catalog
            .as_mut()
            .map_or_else(Outcome::default, |catalog| catalog.update(change))
    }

    /// The work of an update of the catalog.
    pub(super) fn cost(&self, update: &ParsedUpdate) -> usize {
        let change = self.catalog.as_ref().zip(update.change.as_ref());
        change.map_or(0, |(catalog, change)| catalog.cost(change))
    }

    /// The work of removing an app.
    pub(super) fn cost_of_removal(&self, app: &str) -> usize {
        self.catalog.as_ref().map_or(0, |catalog| catalog.cost_of_removal(app))
    }

    /// A copy of the catalog that is to take its place; from now on changes are noted, to be repeated on it.
    pub(super) fn begin_copy(&mut self) -> Option<Catalog> {
        let copy = self.catalog.clone()?;
        self.replay = Some(Replay::default());
        Some(copy)
    }

    /// The changes since the copy was made, or since the last call.
    pub(super) fn take_replay(&mut self) -> Vec<CatalogChange> {
        let replay = self.replay.replace(Replay::default()).unwrap_or_default();
        replay.changes.into_iter().flatten().collect()
    }

    /// Puts the copy in the catalog's place; returns the catalog before, to be dropped without a lock.
    pub(super) fn end_copy(&mut self, copy: Catalog) -> Option<Catalog> {
        self.replay = None;
        self.catalog.replace(copy)
    }

    /// Gives the copy up.
    pub(super) fn drop_copy(&mut self) {
        self.replay = None;
    }

    /// Labels that an app had before a restart and has not got back yet.
    pub(super) fn labels_to_restore(&self, app: &AppName) -> Vec<FamilyKey> {
        self.reserved.get(app).map_or_else(Vec::new, |position| position.labelled.clone())
    }

    /// Puts an update into the table of apps, after the catalog has it.
    pub(super) fn commit(&mut self, update: ParsedUpdate, place: (u64, Timestamp), outcome: Outcome, refreshed: MonotonicTime) -> Receipt {
        let ParsedUpdate {
            app: name,
            text,
            labels,
            origin,
            at,
            expires,
            outdated,
            ..
        } = update;
        let (order, first_seen) = place;
        let old = self.get(name.as_str()).cloned();
        if expires {
            self.oldest = self.oldest.min(refreshed);
        }
        // A text that is equal to the one before is not kept beside it.
        let kept = self.catalog.as_ref().and_then(|catalog| catalog.exposition(name.as_str()));
        let text = match (text, kept) {
            (Text::Read(_), Some(kept)) => Text::Read(Arc::clone(kept)),
            (text, _) => text,
        };
        let app = App {
            name,
            order,
            changed: 0,
            origin,
            text,
            labels,
            first_seen,
            updated: Some(at),
            refreshed,
            fault: None,
            conflicts: Arc::new(outcome.conflicts),
            duplicates: outcome.duplicates,
            outdated,
            withdrawn: false,
            expires,
        };
        let complaint = app.complaint();
        let receipt = Receipt {
            replaced: old.is_some(),
            bytes: app.text.body().len() as u64,
            families: app.text.exposition().map(|text| text.families().len() as u64),
            series: app.series(),
            remarks: app.push_remarks(),
            conflicts: Arc::clone(&app.conflicts),
            same_text: old.as_ref().is_some_and(|old| match (&old.text, &app.text) {
                (Text::Read(old), Text::Read(new)) => Arc::ptr_eq(old, new),
                _ => false,
            }),
            is_new: complaint.is_some() && old.as_ref().is_none_or(|old| old.complaint() != complaint),
            complaint,
        };
        self.insert(app);
        self.touch_labelled(&outcome.labelled);
        receipt
    }

    /// Puts an entry in place of an earlier one and keeps the sums right.
    fn insert(&mut self, mut app: App) {
        self.bytes += app.text.body().len() as u64;
        self.index_bytes += index_bytes(&app.text);
        self.series += app.series().unwrap_or(0);
        self.generation += 1;
        app.changed = self.generation;
        if let Some(dirty) = &mut self.dirty {
            dirty.touch(app.order);
        }
        if let Some(old) = self.apps.insert(app.order, Arc::new(app)) {
            self.bytes -= old.text.body().len() as u64;
            self.index_bytes -= index_bytes(&old.text);
            self.series -= old.series().unwrap_or(0);
        }
    }

    /// PendingChanges for the disk that these apps' families came to carry a label.
    fn touch_labelled(&mut self, labelled: &[AppName]) {
        let Some(dirty) = &mut self.dirty else { return };
        labelled
            .iter()
            .filter_map(|name| self.orders.get(name))
            .for_each(|order| dirty.touch(*order));
    }

    /// Lists an application of which nothing has been heard yet.
    pub(super) fn register(&mut self, name: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        if self.get(name.as_str()).is_some() {
            return Ok(());
        }
        if self.apps.len() >= self.limits.max_apps {
            return Err(Refused::TooManyApps {
                max_apps: self.limits.max_apps,
            });
        }
        let (order, first_seen) = self.place(&name, at);
        let app = App {
            name,
            order,
            changed: 0,
            origin,
            text: self.nothing(),
            labels: [].into(),
            first_seen,
            updated: None,
            refreshed: self.clock.at(at),
            fault: None,
            conflicts: Arc::default(),
            duplicates: 0,
            outdated: false,
            withdrawn: false,
            expires: false,
        };
        self.insert(app);
        Ok(())
    }

    /// An empty text.
    fn nothing(&self) -> Text {
        match self.catalog {
            None => Text::Raw(Bytes::new(), Syntax::Text),
            Some(_) => Text::Read(Arc::new(Exposition::parse(Bytes::new(), Syntax::Text))),
        }
    }

    /// The place of an app in the order: a new one for an app that is not known.
    pub(super) fn place(&mut self, name: &AppName, at: Timestamp) -> (u64, Timestamp) {
        if let Some(old) = self.get(name.as_str()) {
            return (old.order, old.first_seen);
        }
        let (order, first_seen) = match self.reserved.remove(name) {
            Some(position) => {
                if let Some(catalog) = &mut self.catalog {
                    if let Some(replay) = &mut self.replay {
                        replay.push(CatalogChange::RestoreLabels(name.clone(), position.labelled.clone()));
                    }
                    catalog.restore_labels(name, position.labelled);
                }
                (position.order, position.first_seen)
            }
            None => (self.next_order, at),
        };
        self.skip_orders(order);
        self.orders.insert(name.clone(), order);
        (order, first_seen)
    }

    /// Gives no place up to this one to anybody else.
    pub(super) fn skip_orders(&mut self, taken: u64) {
        self.next_order = self.next_order.max(taken + 1);
    }

    /// The place that the next newcomer gets.
    pub(super) fn next_order(&self) -> u64 {
        self.next_order
    }

    pub(super) fn by_order(&self, order: u64) -> Option<&Arc<App>> {
        self.apps.get(&order)
    }

    /// The families of an application that are labelled to tell them from others'.
    pub(super) fn labelled(&self, name: &AppName) -> Vec<FamilyKey> {
        self.catalog
            .as_ref()
            .map_or_else(Vec::new, |catalog| catalog.labelled(name.as_str()))
    }

    /// Changes what is said about an application, not its data.
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

    /// Takes an application's data out of the exposition; it stays listed, and labels that tell it from others stay its.
    pub(super) fn withdraw(&mut self, name: &AppName) -> bool {
        let Some(old) = self.get(name.as_str()).cloned() else {
            return false;
        };
        let text = self.nothing();
        let outcome = match (&self.catalog, &text) {
            (Some(catalog), Text::Read(exposition)) => {
                let change = catalog::Update::new(catalog.rules(), name, &old.labels, Arc::clone(exposition));
                self.merge(change)
            }
            _ => Outcome::default(),
        };
        self.insert(App {
            text,
            conflicts: Arc::default(),
            duplicates: 0,
            outdated: false,
            withdrawn: true,
            ..App::clone(&old)
        });
        self.touch_labelled(&outcome.labelled);
        true
    }

    /// Forgets an application.
    pub(super) fn remove(&mut self, name: &AppName) -> bool {
        let Some(order) = self.orders.remove(name) else { return false };
        if let Some(app) = self.apps.remove(&order) {
            self.bytes -= app.text.body().len() as u64;
            self.index_bytes -= index_bytes(&app.text);
            self.series -= app.series().unwrap_or(0);
        }
        self.generation += 1;
        if let Some(dirty) = &mut self.dirty {
            dirty.remove(order);
        }
        if let Some(replay) = &mut self.replay {
            replay.push(CatalogChange::Remove(name.clone()));
        }
        if let Some(catalog) = &mut self.catalog {
            let outcome = catalog.remove(name.as_str());
            self.touch_labelled(&outcome.labelled);
        }
        true
    }

    /// Names apps that are too old at `now`, no more than `most`.
    pub(super) fn expired(&mut self, now: Timestamp, most: usize) -> Vec<AppName> {
        // Looked at each time, because the clock takes a large step for one that was set.
        let now = self.clock.at(now);
        self.note_step();
        let Some(expire_after) = self.limits.expire_after else {
            return Vec::new();
        };
        if now.since(self.oldest) < expire_after {
            return Vec::new();
        }
        let (mut gone, mut oldest) = (Vec::new(), now);
        for app in self.apps.values().filter(|app| app.expires) {
            if now.since(app.refreshed) < expire_after {
                oldest = oldest.min(app.refreshed);
            } else if gone.len() < most {
                gone.push(app.name.clone());
            } else {
                // There are more, to be looked for again.
                oldest = self.oldest;
                break;
            }
        }
        self.oldest = if gone.is_empty() { oldest } else { self.oldest };
        gone
    }

    /// Whether an app is too old at `now`.
    pub(super) fn is_expired(&mut self, app: &AppName, now: Timestamp) -> bool {
        let now = self.clock.at(now);
        let Some((expire_after, app)) = self.limits.expire_after.zip(self.get(app.as_str())) else {
            return false;
        };
        app.expires && now.since(app.refreshed) >= expire_after
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.oldest = MonotonicTime::FIRST;
    }

    /// The texts of all apps, to be merged by other rules.
    pub(super) fn texts(&self) -> Vec<Arc<App>> {
        self.apps.values().cloned().collect()
    }

    /// PendingChanges that everything is exposed otherwise.
    pub(super) fn changed_all(&mut self) {
        self.generation += 1;
    }
}
