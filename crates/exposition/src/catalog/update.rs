//! Updates: the families that an app has now against those that it had.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::app::{App, AppFamily, AppId, MAX_REMEMBERED};
use super::entry::{FamilyEntry, FamilyRef, OpenMetricsForm};
use super::halves::Halves;
use super::paged::{Id, PagedVec};
use super::rules::{Duplicates, Rules};
use super::text_family::{Shape, TextFamily, text_families};
use super::{Catalog, Conflicts, MAX_CONFLICTS_LISTED};
use crate::app_name::{AppName, LabelPair};
use crate::family::{MetricType, Suffix};
use crate::hash::name_hash;
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::syntax::Syntax;

/// Labels that take as long to restore as a family takes to merge.
const LABELS_A_FAMILY: usize = 8;

/// An update that is ready to be applied: all work that needs no catalog is done.
#[derive(Debug, Clone)]
pub struct Update {
    rules: Arc<Rules>,
    pub(super) name: AppName,
    labels: Arc<[LabelPair]>,
    extra_labels: Arc<[ExtraLabel]>,
    pub(super) exposition: Arc<Exposition>,
    pub(super) families: PagedVec<AppFamily>,
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
            Some(id) if self.has_other_values_only(id, &update) => self.renew_values(id, update),
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

    /// True if an update changes nothing. Where the newest series is exposed, being the newest is a change.
    fn is_unchanged(&self, id: AppId, update: &Update) -> bool {
        let app = &self.apps.slots[id];
        self.rules.duplicates == Duplicates::Label
            && app.exposition.syntax() == update.exposition.syntax()
            && app.exposition.body() == update.exposition.body()
            && app.exposition.record_bytes() == update.exposition.record_bytes()
            && app.labels == update.labels
    }

    /// True if an update has the headers and series of the text before it, and that decides all that depends on other apps: then the families,
    /// their contributions and the series indexes stay as they are. Where the newest series is exposed, being the newest is a change.
    fn has_other_values_only(&self, id: AppId, update: &Update) -> bool {
        let app = &self.apps.slots[id];
        self.rules.duplicates == Duplicates::Label
            && app.conflicts == 0
            && app.exposition.is_same_but_values(&update.exposition)
            && app.families.len() == update.families.len()
            && app.labels == update.labels
    }

    /// Applies an update with [other values only](Self::has_other_values_only).
    fn renew_values(&mut self, id: AppId, update: Update) -> Outcome {
        let before = Arc::clone(&self.apps.slots[id].exposition);
        let mut private_bytes = 0;
        for at in 0..self.apps.slots[id].families.len() {
            let family = self.apps.slots[id].families[at];
            let text = family.text();
            let bytes = text.size(&update.exposition);
            if family.shared {
                self.renew_size(family.entry, id, text.size(&before), bytes);
                self.invalidate_segment(family.entry, id);
            } else {
                private_bytes += bytes as usize;
            }
        }
        if private_bytes > 0 {
            self.layout.private.invalidate(id);
        }
        self.updates += 1;
        let (number, version) = (self.updates, self.next_version());
        let app = self.app_mut(id);
        app.exposition = update.exposition;
        app.private_bytes = private_bytes;
        app.update = number;
        app.version = version;
        self.outcome(id, BTreeSet::new())
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
        let had_private = before.private_bytes > 0;
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
        // Only where the app shows, or showed, private families: a segment of none may reach over all apps.
        if had_private || self.apps.slots[id].private_bytes > 0 {
            self.layout.private.invalidate(id);
        }
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
        self.apps.replace(context.app, app);
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
    pub(super) fn declared_place(&self, id: Id<FamilyEntry>, app: AppId) -> Option<u32> {
        match self.families.entry(id) {
            FamilyRef::Private { app: owner, at } => (owner == app).then_some(at),
            FamilyRef::Shared(shared) => shared.contributions.get(app).filter(|it| !it.derived).map(|it| it.at),
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
    pub(super) fn queue_dependents(&self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let key = self.families.key(&self.apps.slots, id);
        self.families.related_names(&self.apps.slots, &key, |id| {
            context.contested.insert(id);
        });
        self.families.dependents(&self.apps.slots, &key, |id| context.stale_forms.push(id));
        context.contested.insert(id);
        context.stale_forms.push(id);
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
