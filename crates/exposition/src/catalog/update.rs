//! Updates: the families that an app has now against those that it had.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::app::{App, AppFamily, AppId, MAX_REMEMBERED};
use super::contributions::Contribution;
use super::duplicates::{ContributionSamples, has_same_lines, has_same_series};
use super::entry::{FamilyEntry, FamilyRef, Key, OpenMetricsForm, Placement, SharedFamily};
use super::halves::Halves;
use super::paged::{Id, PagedVec};
use super::rules::{Duplicates, Rules};
use super::segments::{Group, Segment, SegmentList, TARGET_SEGMENT_BYTES};
use super::text_family::{Shape, TextFamily, text_families};
use super::{Catalog, Conflicts, MAX_CONFLICTS_LISTED};
use crate::app_name::{AppName, LabelPair};
use crate::family::{MetricType, Suffix};
use crate::hash::name_hash;
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::syntax::Syntax;

/// Series of a shared family that take as long as a family when they come or go: they are hashed and indexed.
const CHANGED_SERIES_A_FAMILY: usize = 4;

/// Text that takes as long as a family when its series are hashed and indexed: four short lines.
const INDEXED_BYTES_A_FAMILY: usize = 96;

/// Series that take as long as a family otherwise: their lines are compared.
const SAME_SERIES_A_FAMILY: usize = 64;

/// Series of an app, before and after an update, that count as changed without being compared: most apps have fewer.
const UNCOMPARED_SERIES: usize = 512;

/// Labels that take as long to restore as a family takes to merge.
const LABELS_A_FAMILY: usize = 8;

/// A cost beyond which it is not counted any further: what costs so much is never done at once, and counting takes time as well.
const MAX_COST: usize = 1_024;

/// An update that is ready to be applied: all work that needs no catalog is done.
#[derive(Debug, Clone)]
pub struct Update {
    rules: Arc<Rules>,
    name: AppName,
    labels: Arc<[LabelPair]>,
    extra_labels: Arc<[ExtraLabel]>,
    exposition: Arc<Exposition>,
    families: PagedVec<AppFamily>,
    /// The hashes of the families' keys.
    hashes: Vec<u64>,
    reserved: Arc<[u32]>,
    same_name: Arc<[u32]>,
    /// About how many bytes of text all families make.
    bytes: usize,
}

/// The result of an update.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The contradictions between the app and others.
    pub conflicts: Conflicts,
    /// The number of its series that other apps have as well.
    pub duplicates: u64,
    /// The apps of which families came to carry the disambiguating label.
    pub labelled: Vec<AppName>,
    /// The text that the catalog keeps: the one before where it is equal, so that the new one need not be kept beside it. `None` after a
    /// removal.
    pub text: Option<Arc<Exposition>>,
}

impl Update {
    /// Prepares the update that replaces all families of an app. `labels` are added to every series that lacks them.
    #[must_use]
    pub fn new(rules: &Arc<Rules>, name: &AppName, labels: &Arc<[LabelPair]>, exposition: Arc<Exposition>) -> Self {
        let extra_labels = extra_labels(rules, name, labels);
        Self::with(rules, name, labels, extra_labels, exposition, None)
    }

    /// Prepares an update of all families, or of some given by number.
    pub(super) fn with(
        rules: &Arc<Rules>,
        name: &AppName,
        labels: &Arc<[LabelPair]>,
        extra_labels: Arc<[ExtraLabel]>,
        exposition: Arc<Exposition>,
        only: Option<&[u32]>,
    ) -> Self {
        let mut families = text_families(&exposition);
        if let Some(only) = only {
            families.retain(|family| only.contains(&family.family));
        }
        let mut reserved: Vec<u32> = Vec::new();
        if rules.has_reserved() {
            let is_reserved = |family: &&TextFamily| rules.is_reserved(&family.key(&exposition));
            reserved.extend(families.iter().filter(is_reserved).map(|family| family.family));
            reserved.dedup();
            families.retain(|family| reserved.binary_search(&family.family).is_err());
        }
        let same_name = same_names(&exposition, &families);
        families.retain(|family| same_name.binary_search(&family.family).is_err());
        let hashes = families.iter().map(|family| name_hash(&family.key(&exposition))).collect();
        let bytes = families.iter().map(|family| family.size(&exposition) as usize).sum();
        let families = families.into_iter().map(|text| AppFamily {
            since: Halves::ZERO,
            text: text.into(),
            entry: Id::NONE,
            form: OpenMetricsForm::Plain(MetricType::Unknown),
            shared: false,
            labelled: false,
        });
        Self {
            rules: Arc::clone(rules),
            name: name.clone(),
            labels: Arc::clone(labels),
            extra_labels,
            exposition: Arc::clone(&exposition),
            families: families.collect(),
            hashes,
            reserved: reserved.into(),
            same_name: same_name.into(),
            bytes,
        }
    }

    /// The app.
    #[must_use]
    pub const fn app(&self) -> &AppName {
        &self.name
    }

    /// The text.
    #[must_use]
    pub const fn exposition(&self) -> &Arc<Exposition> {
        &self.exposition
    }

    pub(super) fn same_name(&self) -> &[u32] {
        &self.same_name
    }
}

/// No added labels.
pub(super) fn no_labels() -> Arc<[LabelPair]> {
    Arc::new([])
}

fn extra_labels(rules: &Rules, name: &AppName, labels: &[LabelPair]) -> Arc<[ExtraLabel]> {
    let given = labels
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| ExtraLabel::new(label, value));
    let own_label = rules
        .app_label
        .iter()
        .filter(|own| !labels.iter().any(|(label, value)| label == *own && !value.is_empty()));
    given.chain(own_label.map(|own| ExtraLabel::new(own, name.as_str()))).collect()
}

/// The numbers of the families with names, or sample names, that other families of the same text have, once names are put together or
/// escaped.
/// Names as written differ within a text.
fn same_names(exposition: &Exposition, families: &[TextFamily]) -> Vec<u32> {
    if exposition.syntax() == Syntax::Text && families.iter().all(|family| !family.quoted) {
        return Vec::new();
    }
    let (mut names, mut claims, mut same) = (HashSet::new(), HashSet::new(), Vec::new());
    for family in families {
        let key = family.key(exposition);
        let claimed = |suffix: &Suffix| [&*key, suffix.as_str().as_bytes()].concat();
        let suffixes = family.shape().suffixes();
        let taken = names.contains(&*key) || claims.contains(&*key) || suffixes.iter().any(|suffix| names.contains(&claimed(suffix)));
        if taken {
            same.push(family.family);
        } else {
            claims.extend(suffixes.iter().map(claimed));
            names.insert(key.into_owned());
        }
    }
    same.dedup();
    same
}

/// The cost of the series of a family that come to be indexed, or no longer.
fn cost_of_indexing(exposition: &Exposition, text: &TextFamily) -> usize {
    exposition.families()[text.family as usize].samples as usize / CHANGED_SERIES_A_FAMILY
}

/// The cost of families while their series stay the same.
fn least_cost(families: &PagedVec<AppFamily>, exposition: &Exposition) -> usize {
    families.len() + exposition.series() as usize / SAME_SERIES_A_FAMILY
}

/// The cost of the series that come or go with an update that has the same families as the one before.
fn cost_of_series(old: &App, update: &Update) -> usize {
    let all = (old.exposition.series() + update.exposition.series()) as usize;
    if all <= UNCOMPARED_SERIES {
        return all / CHANGED_SERIES_A_FAMILY;
    }
    let shared = old.families.iter().zip(update.families.iter()).filter(|(was, _)| was.shared);
    let families = shared.map(|(was, is)| {
        let was = &old.exposition.families()[was.text().family as usize];
        (was, &update.exposition.families()[is.text().family as usize])
    });
    let changed = families.filter(|(was, is)| !has_same_lines(&old.exposition, was, &update.exposition, is));
    let series: usize = changed.map(|(was, is)| was.samples as usize + is.samples as usize).sum();
    series / CHANGED_SERIES_A_FAMILY
}

/// The state of an update that is being applied.
pub(super) struct UpdateContext {
    /// Its app.
    pub(super) app: AppId,
    /// Its number.
    pub(super) update: u64,
    /// The app before it.
    pub(super) before: Arc<App>,
    /// Entries to look at for contradictions again at the end; some may be gone by then.
    pub(super) contested: BTreeSet<Id<FamilyEntry>>,
    /// Entries to decide on the form of again at the end; some may be gone by then.
    pub(super) stale_forms: Vec<Id<FamilyEntry>>,
    /// Entries of which the app's family has another type than before.
    pub(super) retyped: HashSet<Id<FamilyEntry>>,
    /// Families of the app in conflict, as they were before, that were not found again yet.
    pub(super) stale_derived: HashSet<Id<FamilyEntry>>,
    /// Apps of which families came to carry the disambiguating label.
    pub(super) labelled: BTreeSet<AppId>,
    /// True if a conflict has made entries since the app's families were looked up.
    pub(super) has_new_names: bool,
}

impl Catalog {
    /// Replaces all families of an app.
    pub fn update(&mut self, update: Update) -> Outcome {
        let update = if Arc::ptr_eq(&update.rules, &self.rules) {
            update
        } else {
            Update::new(&self.rules, &update.name, &update.labels, update.exposition)
        };
        match self.apps.find(update.name.as_str()) {
            Some(id) if self.is_unchanged(id, &update) => self.outcome(id, BTreeSet::new()),
            _ => {
                let id = self.id_of(&update.name);
                self.apply(id, update)
            }
        }
    }

    /// Adds the proxy itself, or another app, to a catalog that is used once.
    pub(super) fn add(&mut self, own: bool, update: Update) {
        let id = self.apps.slots.insert(Arc::new(App::new(update.name.clone(), own)));
        self.apply(id, update);
    }

    /// Removes all families of an app that stays known, with its labels.
    pub fn clear(&mut self, name: &AppName) -> Outcome {
        let Some((_, app)) = self.app(name.as_str()) else {
            return Outcome::default();
        };
        let nothing = Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text));
        let update = Update::new(&self.rules, name, &app.labels, nothing);
        self.update(update)
    }

    /// Removes an app.
    pub fn remove(&mut self, name: &str) -> Outcome {
        let Some(id) = self.apps.find(name) else {
            return Outcome::default();
        };
        let nothing = Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text));
        let name = self.apps.slots[id].name.clone();
        let update = Update::with(&self.rules, &name, &no_labels(), Arc::new([]), nothing, None);
        let mut outcome = self.apply(id, update);
        self.apps.remove(id);
        outcome.labelled.retain(|labelled| *labelled != name);
        outcome.text = None;
        outcome
    }

    /// Applies an update if that is at most `max_cost` work, as [`Catalog::cost`] counts it. `labelled` are families that carried the
    /// disambiguating label before a restart; see [`Catalog::restore_labels`].
    ///
    /// # Errors
    /// The update itself, if it is more work. Nothing was changed.
    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    pub fn update_within(&mut self, update: Update, labelled: &[Arc<[u8]>], max_cost: usize) -> Result<Outcome, Update> {
        if max_cost < usize::MAX && self.cost(&update) + labelled.len() / LABELS_A_FAMILY > max_cost {
            return Err(update);
        }
        self.restore_labels(&update.name, labelled.iter().cloned());
        Ok(self.update(update))
    }

    /// Removes an app if that is at most `max_cost` work; `None` if it is more, and nothing was changed.
    pub fn remove_within(&mut self, name: &str, max_cost: usize) -> Option<Outcome> {
        let is_within = max_cost == usize::MAX || self.cost_of_removal(name) <= max_cost;
        is_within.then(|| self.remove(name))
    }

    /// About how many families an update touches, those of other apps included: a thousand take about a millisecond.
    #[must_use]
    pub fn cost(&self, update: &Update) -> usize {
        let (id, old) = self.app(update.name.as_str()).unzip();
        let cost = least_cost(&update.families, &update.exposition) + old.map_or(0, |old| least_cost(&old.families, &old.exposition));
        if cost > MAX_COST {
            return cost;
        }
        let Some(old) = old else {
            return cost + self.cost_of_names(None, &update.families, &update.exposition);
        };
        if old.exposition.body() == update.exposition.body() {
            return 1;
        }
        if old.exposition.is_same_but_values(&update.exposition) && old.families.len() == update.families.len() {
            return cost;
        }
        let same = |(new, old_family): (&AppFamily, &AppFamily)| {
            let key = new.text().key(&update.exposition);
            new.text().kind == old_family.text().kind && old_family.text().has_key(&old.exposition, &key)
        };
        let is_alike = update.families.len() == old.families.len() && update.families.iter().zip(old.families.iter()).all(same);
        if is_alike {
            cost + cost_of_series(old, update)
        } else {
            cost + self.cost_of_names(id, &update.families, &update.exposition) + self.cost_of_names(id, &old.families, &old.exposition)
        }
    }

    /// The same for the removal of an app.
    #[must_use]
    pub fn cost_of_removal(&self, app: &str) -> usize {
        let Some((id, app)) = self.app(app) else { return 1 };
        let cost = 1 + least_cost(&app.families, &app.exposition);
        if cost > MAX_COST {
            return cost;
        }
        cost + self.cost_of_names(Some(id), &app.families, &app.exposition)
    }

    /// The contributions of all apps that may come into conflict, or out of it, when families of these names come, go or change their
    /// types, and the series that come to be indexed, or no longer: those of all families but private ones of the app `own`.
    fn cost_of_names(&self, own: Option<AppId>, families: &PagedVec<AppFamily>, exposition: &Exposition) -> usize {
        let mut cost = 0;
        for family in families.iter() {
            let key = family.text().key(exposition);
            if let Some(id) = self.find(&key) {
                let entry = self.families.entry(id);
                match entry {
                    FamilyRef::Private { app, .. } if Some(app) == own => {}
                    FamilyRef::Private { .. } => cost += self.indexing_cost(id) + cost_of_indexing(exposition, &family.text()),
                    FamilyRef::Shared(_) => cost += cost_of_indexing(exposition, &family.text()),
                }
                let shapes = self.shapes(id);
                let other = (0..3).any(|shape| shapes[shape] > 0 && shape != family.text().shape() as usize);
                if other || entry.in_conflict() {
                    cost += self.indexing_cost(id);
                }
            }
            let may_overlap = family.text().shape() != Shape::Scalar || Suffix::split(&key).is_some();
            if may_overlap {
                let apps = &self.apps.slots;
                self.families.related_names(apps, &key, |id| cost += self.indexing_cost(id));
            }
            if cost > MAX_COST {
                return cost;
            }
        }
        cost
    }

    /// The contributions to a family, and the series that are indexed when it comes to be shared, or comes into conflict or out of it.
    fn indexing_cost(&self, id: Id<FamilyEntry>) -> usize {
        match self.families.entry(id) {
            FamilyRef::Private { app, at } => {
                let app = &self.apps.slots[app];
                1 + cost_of_indexing(&app.exposition, &app.families[at as usize].text())
            }
            FamilyRef::Shared(shared) => shared.contributions.len() + shared.counts().bytes / INDEXED_BYTES_A_FAMILY,
        }
    }

    /// True if an update changes nothing. Where the newest series is exposed, being the newest is a change.
    fn is_unchanged(&self, id: AppId, update: &Update) -> bool {
        let app = &self.apps.slots[id];
        self.rules.duplicates == Duplicates::Label
            && app.exposition.syntax() == update.exposition.syntax()
            && app.exposition.body() == update.exposition.body()
            && app.labels == update.labels
    }

    fn outcome(&self, id: AppId, labelled: BTreeSet<AppId>) -> Outcome {
        let names = labelled.into_iter().filter_map(|id| self.apps.slots.get(id));
        Outcome {
            conflicts: self.conflicts_of(id, MAX_CONFLICTS_LISTED),
            duplicates: self.apps.slots[id].duplicates,
            labelled: names.map(|app| app.name.clone()).collect(),
            text: Some(Arc::clone(&self.apps.slots[id].exposition)),
        }
    }

    pub(super) fn apply(&mut self, id: AppId, update: Update) -> Outcome {
        self.updates += 1;
        let before = Arc::clone(&self.apps.slots[id]);
        let mut context = UpdateContext {
            app: id,
            update: self.updates,
            contested: BTreeSet::new(),
            stale_forms: Vec::new(),
            retyped: HashSet::new(),
            stale_derived: self.derived_entries(&before).into_iter().collect(),
            labelled: BTreeSet::new(),
            has_new_names: false,
            before,
        };
        let (hashes, found, kept) = self.install(&mut context, update);
        self.detach_declared(&mut context, &kept);
        for (at, (hash, entry)) in (0..).zip(hashes.into_iter().zip(found)) {
            self.bind(&mut context, at, hash, entry);
        }
        self.detach_derived(&mut context);
        self.resolve_dependents(&mut context);
        self.layout.private.invalidate(id);
        let version = self.next_version();
        self.app_mut(id).version = version;
        self.outcome(id, context.labelled)
    }

    /// Finds the entries of the new families and puts the app's new state in place of the old one. Entries that refer to its families
    /// follow; those of private families that it no longer has go. Returns the hashes of the new keys, their entries, and which of the old families there still are.
    fn install(&mut self, context: &mut UpdateContext, update: Update) -> (Vec<u64>, Vec<Id<FamilyEntry>>, Vec<bool>) {
        let before = Arc::clone(&context.before);
        let mut kept = vec![false; before.families.len()];
        let mut families = update.families;
        let mut found = Vec::with_capacity(families.len());
        let mut remembered = Arc::clone(&before.remembered);
        let mut private_bytes = update.bytes;
        for (at, hash) in update.hashes.iter().enumerate() {
            let text = families[at].text();
            let key = text.key(&update.exposition);
            let same_place = before.families.get(at).filter(|old| old.text().has_key(&before.exposition, &key));
            let entry = match same_place {
                Some(old) => Some(old.entry),
                None => self.families.find_hashed(&self.apps.slots, *hash, &key),
            };
            let old = match same_place {
                Some(_) => u32::try_from(at).ok(),
                None => entry.and_then(|entry| self.declared_place(entry, context.app)),
            };
            let labelled = !remembered.is_empty() && Arc::make_mut(&mut remembered).remove(&*key);
            let Some(family) = families.get_mut(at) else { continue };
            family.since = context.update.into();
            family.labelled = labelled;
            family.entry = entry.unwrap_or(Id::NONE);
            if let Some(old) = old {
                let old_family = &before.families[old as usize];
                kept[old as usize] = true;
                if old_family.shared {
                    private_bytes = private_bytes.saturating_sub(text.size(&update.exposition) as usize);
                }
                if family.inherit(old_family) {
                    context.retyped.insert(family.entry);
                }
            }
            found.push(entry.unwrap_or(Id::NONE));
        }
        self.leave_entries(context, &kept, &mut remembered);
        for (at, entry) in (0..).zip(&found).filter(|(_, entry)| **entry != Id::NONE) {
            self.families.renumber(*entry, context.app, at);
        }
        let app = App {
            name: update.name,
            own: before.own,
            exposition: update.exposition,
            labels: update.labels,
            extra_labels: update.extra_labels,
            families,
            reserved: update.reserved,
            same_name: update.same_name,
            private_bytes,
            update: context.update,
            version: before.version,
            remembered,
            duplicates: before.duplicates,
            conflicts: before.conflicts,
        };
        self.counts.families += app.families.len();
        self.counts.families -= before.families.len();
        self.apps.slots[context.app] = Arc::new(app);
        self.spread_labels(context.app);
        (update.hashes, found, kept)
    }

    /// Removes the entries of private families that the update no longer has, finds other places for the keys of shared ones, and remembers
    /// those of all such families that are labelled.
    fn leave_entries(&mut self, context: &mut UpdateContext, kept: &[bool], remembered: &mut Arc<BTreeSet<Box<[u8]>>>) {
        let before = Arc::clone(&context.before);
        for (old, _) in before.families.iter().zip(kept).filter(|(_, kept)| !**kept) {
            let key = old.text().key(&before.exposition);
            if old.labelled && remembered.len() < MAX_REMEMBERED {
                Arc::make_mut(remembered).insert((*key).into());
            }
            if self.shared(old.entry).is_some() {
                self.families.leave_key(old.entry, context.app, &key);
            } else {
                self.queue_name_dependents(&key, old.text().shape(), context);
                self.families.remove(old.entry, &key);
            }
        }
    }

    /// The place of an app's declared family among its families.
    fn declared_place(&self, id: Id<FamilyEntry>, app: AppId) -> Option<u32> {
        match self.families.entry(id) {
            FamilyRef::Private { app: owner, at } => (owner == app).then_some(at),
            FamilyRef::Shared(shared) => shared.contributions.get(app).filter(|it| !it.derived).map(|it| it.at),
        }
    }

    /// Ties a family of the updated app to its entry.
    fn bind(&mut self, context: &mut UpdateContext, at: u32, hash: u64, entry: Id<FamilyEntry>) {
        let app = context.app;
        let entry = if entry == Id::NONE && context.has_new_names {
            let app = &self.apps.slots[app];
            let key = app.families[at as usize].text().key(&app.exposition);
            self.families.find_hashed(&self.apps.slots, hash, &key).unwrap_or(Id::NONE)
        } else {
            entry
        };
        if entry == Id::NONE {
            return self.create(context, at, hash);
        }
        if self.apps.slots[app].families[at as usize].entry != entry
            && let Some(family) = self.app_mut(app).families.get_mut(at as usize)
        {
            family.entry = entry;
        }
        let shape = self.apps.slots[app].families[at as usize].text().shape();
        match self.families.entry(entry) {
            FamilyRef::Private { app: owner, .. } if owner == app => {
                if context.retyped.contains(&entry) {
                    self.queue_dependents(entry, context);
                }
            }
            FamilyRef::Private { .. } => {
                self.make_shared(entry, context);
                self.declare(context, at, entry);
            }
            FamilyRef::Shared(shared) => match shared.contributions.get(app) {
                None => self.declare(context, at, entry),
                // A contribution can be renewed if it has the shape that it had, or no other app contributes.
                Some(old) if !old.derived && (old.text().shape() == shape || shared.contributions.len() == 1) => {
                    if self.keeps_series(context, at, old, shared) {
                        self.invalidate_segment(entry, app);
                    } else {
                        self.renew_all(context, at, entry);
                    }
                }
                Some(_) => self.declare_again(context, at, hash, entry),
            },
        }
    }

    /// Replaces a derived contribution by a declared one, or one of another shape.
    fn declare_again(&mut self, context: &mut UpdateContext, at: u32, hash: u64, entry: Id<FamilyEntry>) {
        let source = self.source_before(context, entry);
        self.detach(entry, context.app, source.as_ref(), context);
        context.stale_derived.remove(&entry);
        if self.families.get(entry).is_some() {
            self.declare(context, at, entry);
        } else {
            self.create(context, at, hash);
        }
    }

    /// Adds a family that no app has.
    fn create(&mut self, context: &mut UpdateContext, at: u32, hash: u64) {
        let app = Arc::clone(&self.apps.slots[context.app]);
        let text = app.families[at as usize].text();
        let key = text.key(&app.exposition);
        let id = self.families.insert_private(hash, &key, context.app, at);
        self.queue_name_dependents(&key, text.shape(), context);
        if text.shape() != Shape::Scalar || Suffix::split(&key).is_some() {
            context.contested.insert(id);
        }
        context.stale_forms.push(id);
        drop(app);
        if let Some(family) = self.app_mut(context.app).families.get_mut(at as usize) {
            family.entry = id;
        }
    }

    /// Notes that the form and the conflicts of other families may depend on a family of this name that comes, goes or changes its type.
    pub(super) fn queue_name_dependents(&self, key: &[u8], shape: Shape, context: &mut UpdateContext) {
        if shape != Shape::Scalar || Suffix::split(key).is_some() {
            self.families.related_names(&self.apps.slots, key, |id| {
                context.contested.insert(id);
            });
        }
        self.families.dependents(&self.apps.slots, key, |id| context.stale_forms.push(id));
    }

    /// The same for an entry that changes its type.
    fn queue_dependents(&self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let key = self.families.key(&self.apps.slots, id);
        self.families.related_names(&self.apps.slots, &key, |id| {
            context.contested.insert(id);
        });
        self.families.dependents(&self.apps.slots, &key, |id| context.stale_forms.push(id));
        context.contested.insert(id);
        context.stale_forms.push(id);
    }

    /// Adds a declared family of the updated app to a shared entry.
    fn declare(&mut self, context: &mut UpdateContext, at: u32, id: Id<FamilyEntry>) {
        let text = self.apps.slots[context.app].families[at as usize].text();
        self.attach(id, context.app, at, text, false, context);
        self.sync_derived(id, context.app, context);
    }

    /// Adds a contribution to a shared entry.
    pub(super) fn attach(
        &mut self,
        id: Id<FamilyEntry>,
        app: AppId,
        at: u32,
        text: TextFamily,
        derived: bool,
        context: &mut UpdateContext,
    ) {
        self.enter_conflict_if_contradicted(id, &text, derived, context);
        let owner = &self.apps.slots[app];
        let family = owner.families[at as usize];
        let bytes = text.size(&owner.exposition);
        let contribution = Contribution {
            since: family.since,
            at,
            text: text.into(),
            derived,
            bytes,
            duplicates: 0,
            labelled: family.labelled,
            taken: 0,
            counted_in_conflict: false,
        };
        let exposed_type = self.exposed_type(id);
        if let Some(shared) = self.shared_mut(id) {
            shared.contributions.insert(app, contribution);
            if !derived && matches!(shared.key, Key::Owned(_)) {
                shared.key = Key::Declared { app, at };
            }
            self.counts.contributions += 1;
        }
        self.resize(id, bytes as usize, 0);
        if !derived {
            if !family.shared {
                let owner = self.app_mut(app);
                owner.private_bytes = owner.private_bytes.saturating_sub(bytes as usize);
                if let Some(family) = owner.families.get_mut(at as usize) {
                    family.shared = true;
                }
            }
            self.queue_dependents(id, context);
        }
        let has_help = self.apps.slots[app].help(text.family).is_some();
        self.offer_help(id, app, has_help);
        self.reindex(id, app, None, context);
        self.rerank(id, context);
        self.keep_quoted_together(id);
        self.after_change(id, app, exposed_type, context);
        if text.has_unit {
            self.invalidate_header(id);
        }
        self.invalidate_membership(id, app);
    }

    /// True if only the values of samples have changed in a contribution of the updated app, as in most updates.
    fn keeps_series(&self, context: &UpdateContext, at: u32, old: &Contribution, shared: &SharedFamily) -> bool {
        let app = &self.apps.slots[context.app];
        let family = app.families[at as usize];
        let bytes = family.text().size(&app.exposition);
        old.text() == family.text()
            && (old.at, old.bytes, old.labelled) == (at, bytes, family.labelled)
            && !shared.in_conflict
            && (old.duplicates == 0 || self.rules.duplicates == Duplicates::Label)
            && app.help(family.text().family) == context.before.help(old.text().family)
            && app.unit(family.text().family) == context.before.unit(old.text().family)
            && has_same_series(&context.before, app, &family.text())
    }

    /// Renews a declared contribution of the updated app.
    fn renew_all(&mut self, context: &mut UpdateContext, at: u32, id: Id<FamilyEntry>) {
        let (app, exposed_type) = (context.app, self.exposed_type(id));
        let before = self.source_before(context, id);
        let owner = &self.apps.slots[app];
        let family = owner.families[at as usize];
        let bytes = family.text().size(&owner.exposition);
        let Some(old) = self.renew_contribution(id, app, at, family, bytes) else {
            return;
        };
        let (was, is) = (old.text(), family.text());
        if context.retyped.contains(&id) {
            self.queue_dependents(id, context);
        }
        self.keep_quoted_together(id);
        self.reindex(id, app, before, context);
        self.update_help_and_unit(id, &old, context);
        if family.labelled && !old.labelled {
            self.label_bound(id, app, context);
        }
        self.after_change(id, app, exposed_type, context);
        if was.names == is.names {
            self.invalidate(id, app);
        } else {
            self.invalidate_membership(id, app);
        }
        self.sync_derived(id, app, context);
    }

    /// Puts the new state of a declared family into its contribution; returns the contribution as it was.
    fn renew_contribution(&mut self, id: Id<FamilyEntry>, app: AppId, at: u32, family: AppFamily, bytes: u32) -> Option<Contribution> {
        let shared = self.shared_mut(id)?;
        let old = shared.contributions.change(app, |it| {
            let new = Contribution {
                since: family.since,
                at,
                text: family.text,
                bytes,
                ..it.clone()
            };
            std::mem::replace(it, new)
        })?;
        self.resize(id, bytes as usize, old.bytes as usize);
        Some(old)
    }

    /// Keeps the size of a family's group up to date.
    fn resize(&mut self, id: Id<FamilyEntry>, added: usize, removed: usize) {
        if added != removed
            && let Some(&Placement::Group(group)) = self.shared(id).map(|shared| &shared.placement)
        {
            let segment = &mut Arc::make_mut(&mut self.layout.groups[group]).segment;
            segment.bytes = segment.bytes + added - removed;
            segment.sized = false;
        }
    }

    /// Renews a derived contribution of the updated app.
    pub(super) fn renew_derived(&mut self, id: Id<FamilyEntry>, app: AppId, at: u32, text: TextFamily, context: &mut UpdateContext) {
        let before = self.source_before(context, id);
        let owner = &self.apps.slots[app];
        let family = AppFamily {
            text: text.into(),
            ..owner.families[at as usize]
        };
        let bytes = text.size(&owner.exposition);
        let Some(old) = self.renew_contribution(id, app, at, family, bytes) else {
            return;
        };
        self.keep_quoted_together(id);
        self.reindex(id, app, before, context);
        self.update_help_and_unit(id, &old, context);
        if family.labelled && !old.labelled {
            self.label_bound(id, app, context);
        }
        self.invalidate(id, app);
    }

    /// Makes a private entry a shared one.
    pub(super) fn make_shared(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let FamilyRef::Private { app, at } = self.families.entry(id) else {
            return;
        };
        let text = self.apps.slots[app].families[at as usize].text();
        self.layout.private.invalidate(app);
        let placement = Placement::Group(self.group_for(id, 0));
        self.families.share(id, placement);
        self.counts.shared += 1;
        self.attach(id, app, at, text, false, context);
    }

    /// Removes the contributions of shared families that the update no longer has.
    fn detach_declared(&mut self, context: &mut UpdateContext, kept: &[bool]) {
        let before = Arc::clone(&context.before);
        for (old, _) in before.families.iter().zip(kept).filter(|(old, kept)| !**kept && old.shared) {
            let source = self.source_before(context, old.entry);
            self.detach(old.entry, context.app, source.as_ref(), context);
        }
    }

    /// Removes the contributions under other names that the update no longer has.
    fn detach_derived(&mut self, context: &mut UpdateContext) {
        for id in std::mem::take(&mut context.stale_derived) {
            let source = self.source_before(context, id);
            self.detach(id, context.app, source.as_ref(), context);
        }
    }

    /// Removes a contribution with the samples of `source`.
    pub(super) fn detach(&mut self, id: Id<FamilyEntry>, app: AppId, source: Option<&ContributionSamples>, context: &mut UpdateContext) {
        self.invalidate_membership(id, app);
        let exposed_type = self.exposed_type(id);
        if let Some(source) = source {
            self.release_series(id, app, source, context);
        }
        let Some(shared) = self.shared_mut(id) else { return };
        let Some(gone) = shared.contributions.remove(app) else { return };
        let is_empty = shared.contributions.is_empty();
        self.counts.contributions -= 1;
        self.resize(id, 0, gone.bytes as usize);
        if gone.counted_in_conflict {
            let owner = self.app_mut(app);
            owner.conflicts = owner.conflicts.saturating_sub(1);
        }
        self.queue_dependents(id, context);
        if is_empty {
            return self.remove_entry(id);
        }
        self.withdraw_help(id, app);
        self.after_change(id, app, exposed_type, context);
        if gone.text().has_unit {
            self.invalidate_header(id);
        }
    }

    /// Removes an entry without contributions.
    fn remove_entry(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        match shared.placement {
            Placement::Group(group) => self.leave_group(id, group),
            Placement::Large(list) => self.leave_large(id, list),
        }
        let key = self.families.key(&self.apps.slots, id).into_owned();
        self.families.remove(id, &key);
        self.counts.shared -= 1;
    }

    /// Drops the segments of a family that had its own.
    pub(super) fn leave_large(&mut self, id: Id<FamilyEntry>, list: Id<Arc<SegmentList>>) {
        Arc::make_mut(&mut self.layout.large).remove(&id);
        self.layout.lists.remove(list);
    }

    fn leave_group(&mut self, id: Id<FamilyEntry>, group: Id<Arc<Group>>) {
        let members = Arc::make_mut(&mut self.layout.groups[group]);
        members.remove(id);
        members.segment.invalidate();
        if members.families.is_empty() {
            self.layout.groups.remove(group);
        }
    }

    /// The group for a family of this many bytes, which joins it.
    pub(super) fn group_for(&mut self, id: Id<FamilyEntry>, bytes: usize) -> Id<Arc<Group>> {
        let last = self.layout.groups.last();
        let fitting = last.filter(|(_, group)| group.segment.bytes + bytes <= TARGET_SEGMENT_BYTES);
        let group = fitting.map(|(id, _)| id).unwrap_or_else(|| {
            self.layout.groups.insert(Arc::new(Group {
                families: Vec::new(),
                segment: Segment::new(0),
            }))
        });
        let joined = Arc::make_mut(&mut self.layout.groups[group]);
        joined.add(id);
        joined.segment.bytes += bytes;
        joined.segment.invalidate();
        group
    }

    /// Moves a family with quoted names out of segments of its own: its names may differ, and the samples of each belong together.
    fn keep_quoted_together(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        let (quoted, bytes) = {
            let counts = shared.counts();
            (counts.quoted > 0, counts.bytes)
        };
        if quoted && let Placement::Large(list) = shared.placement {
            let group = self.group_for(id, bytes);
            self.leave_large(id, list);
            if let Some(shared) = self.shared_mut(id) {
                shared.placement = Placement::Group(group);
            }
        }
    }

    /// True if a family is in conflict, and its type as exposed: contributions count as conflicts by these.
    pub(super) fn exposed_type(&self, id: Id<FamilyEntry>) -> Option<(bool, MetricType)> {
        self.shared(id).map(|shared| (shared.in_conflict, shared.kind()))
    }

    /// Updates what depends on a family's type and on the contribution of one app.
    fn after_change(&mut self, id: Id<FamilyEntry>, app: AppId, exposed_type: Option<(bool, MetricType)>, context: &mut UpdateContext) {
        if self.exposed_type(id) == exposed_type {
            self.refresh_conflict_count(id, app);
        } else {
            context.stale_forms.push(id);
            self.refresh_conflict_counts(id);
            self.invalidate_all(id);
        }
    }

    /// Decides at the end of an update about other families than those that it touched.
    fn resolve_dependents(&mut self, context: &mut UpdateContext) {
        while !context.contested.is_empty() {
            for id in std::mem::take(&mut context.contested) {
                self.resolve(id, context);
            }
        }
        let mut stale_forms = std::mem::take(&mut context.stale_forms);
        stale_forms.sort_unstable();
        stale_forms.dedup();
        for id in stale_forms {
            self.update_form(id);
        }
    }
}
