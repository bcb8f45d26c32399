//! Conflicts: apps that contradict each other about a family.
//!
//! A family is in conflict while apps give it different shapes (one app's histogram is another app's summary), or while one app has a family
//! of the name of another app's samples (`x_count` beside the histogram `x`). Then all samples of all of these families are exposed untyped,
//! one family for each sample name. The catalog has such a sample name as a family like any other, with contributions that are derived from
//! the declared ones. Nothing of an app is left out because of another app.

use std::fmt;

use super::app::{App, AppId};
use super::entry::{FamilyEntry, FamilyRef, Placement, SharedFamily};
use super::families::SAMPLE_SUFFIXES;
use super::paged::{Id, LateId};
use super::text_family::{Shape, TextFamily};
use super::update::UpdateContext;
use super::{Catalog, Update};
use crate::app_name::AppName;
use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::index::Exposition;
use crate::syntax::Syntax;

/// Conflicts of one app that are listed; the others are counted.
pub const MAX_CONFLICTS_LISTED: usize = 20;

/// The conflicts of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// The first [`MAX_CONFLICTS_LISTED`].
    pub listed: Vec<Conflict>,
    /// The number of all.
    pub total: u64,
    /// Exemplars that are left out because their families are exposed untyped. Counted by [`Catalog::conflicts`] alone.
    pub exemplars: u64,
}

/// A family of an app that is exposed otherwise than it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Another app has a family of this name with another kind of samples. All are exposed untyped.
    Type {
        /// The name of the family in the text format.
        family: String,
        /// Its type in this app.
        kind: MetricType,
        /// Its type in the other app.
        other_kind: MetricType,
        /// The other app.
        by: AppName,
    },
    /// Another app has a family of the name of this family's samples, or samples of this family's name. All are exposed untyped.
    Name {
        /// The name of the family in the text format.
        family: String,
        /// The name of the other app's family.
        other: String,
        /// The other app.
        by: AppName,
    },
    /// The family is exposed under the type of the app that has had it longest: counter, gauge and untyped have the same samples.
    Overruled {
        /// The name of the family in the text format.
        family: String,
        /// Its type in this app.
        kind: MetricType,
        /// The type that is exposed.
        exposed: MetricType,
        /// The app that determines the type.
        by: AppName,
    },
    /// The family is left out: another family of the same app has its name, once names are escaped or suffixes are appended.
    SameName {
        /// The name of the family as it was handed in.
        family: String,
    },
}

impl Conflicts {
    /// True if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |kind: &MetricType| kind.word(Syntax::Text).unwrap_or("gauge");
        match self {
            Self::Type {
                family,
                kind,
                other_kind,
                by,
            } => write!(
                f,
                "family {family} is exposed untyped: {} here, {} in app {by:?}",
                word(kind),
                word(other_kind)
            ),
            Self::Name { family, other, by } => {
                write!(
                    f,
                    "family {family} is exposed untyped: its names overlap with family {other} of app {by:?}"
                )
            }
            Self::Overruled { family, kind, exposed, by } => write!(
                f,
                "family {family} is exposed as {}, its type in app {by:?}, not as {}",
                word(exposed),
                word(kind)
            ),
            Self::SameName { family } => write!(
                f,
                "family {family} is left out: another family of this app has the same name once escaped"
            ),
        }
    }
}

impl Update {
    /// True if families of the text are left out because other families of the same text have their names.
    #[must_use]
    pub fn same_names(&self) -> Vec<Conflict> {
        let families = self.same_name().iter().take(MAX_CONFLICTS_LISTED);
        families.map(|&family| same_name(self.exposition(), family)).collect()
    }
}

fn same_name(exposition: &Exposition, family: u32) -> Conflict {
    Conflict::SameName {
        family: text(exposition.text(exposition.families()[family as usize].name)),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Catalog {
    /// The conflicts of an app, of which at most `most` are listed.
    #[must_use]
    pub fn conflicts(&self, app: &str, most: usize) -> Conflicts {
        let Some(id) = self.apps.find(app) else {
            return Conflicts::default();
        };
        Conflicts {
            exemplars: self.exemplars_left_out(&self.apps.slots[id]),
            ..self.conflicts_of(id, most)
        }
    }

    /// The exemplars of an app's families that are exposed untyped because of a conflict.
    fn exemplars_left_out(&self, app: &App) -> u64 {
        if app.conflicts == 0 {
            return 0;
        }
        let shared = app.families.iter().filter(|family| family.shared);
        let in_conflict = shared.filter(|family| self.shared(family.entry).is_some_and(|shared| shared.in_conflict));
        let written = in_conflict.map(|family| &app.exposition.families()[family.text().family as usize]);
        let with_exemplars = written.filter(|family| family.flags.contains(FamilyFlags::EXEMPLARS));
        let samples = with_exemplars.flat_map(|family| app.exposition.samples(family));
        samples.filter(|sample| sample.exemplar.is_some()).count() as u64
    }

    pub(super) fn conflicts_of(&self, id: AppId, most: usize) -> Conflicts {
        let app = &self.apps.slots[id];
        let total = u64::from(app.conflicts) + app.same_name.len() as u64;
        if total == 0 {
            return Conflicts::default();
        }
        let shared = app.families.iter().filter(|family| family.shared && app.conflicts > 0);
        let counted_in_conflict = shared.filter_map(|family| self.conflict_in(id, family.entry));
        let left_out = app.same_name.iter().map(|&family| same_name(&app.exposition, family));
        Conflicts {
            listed: counted_in_conflict
                .take(app.conflicts as usize)
                .chain(left_out)
                .take(most.min(MAX_CONFLICTS_LISTED))
                .collect(),
            total,
            exemplars: 0,
        }
    }

    fn conflict_in(&self, app: AppId, id: Id<FamilyEntry>) -> Option<Conflict> {
        let shared = self.shared(id)?;
        let mine = shared.contributions.get(app).filter(|it| it.counted_in_conflict)?;
        let key = self.families.key(&self.apps.slots, id);
        let (family, kind) = (text(&key), mine.text().kind);
        if !shared.in_conflict {
            let (owner, exposed) = shared.type_owner()?;
            let by = self.apps.slots[owner].name.clone();
            return Some(Conflict::Overruled { family, kind, exposed, by });
        }
        let differs = |shape: Shape| shape != mine.text().shape();
        if let Some((by, other_kind)) = shared.declared(differs) {
            let by = self.apps.slots[by].name.clone();
            return Some(Conflict::Type {
                family,
                kind,
                other_kind,
                by,
            });
        }
        let related = self.overlapping(id, &key);
        // A family overlaps because of some app, which may be this one only where it is the only one.
        let (other, by) = related.iter().find(|(_, by)| *by != app).or(related.first())?;
        Some(Conflict::Name {
            family,
            other: text(&self.families.key(&self.apps.slots, *other)),
            by: self.apps.slots[*by].name.clone(),
        })
    }

    /// The shape counts of an entry's declared families.
    pub(super) fn shapes(&self, id: Id<FamilyEntry>) -> [u32; 3] {
        match self.families.entry(id) {
            FamilyRef::Private { app, at } => {
                let mut shapes = [0; 3];
                shapes[self.apps.slots[app].families[at as usize].text().shape() as usize] = 1;
                shapes
            }
            FamilyRef::Shared(shared) => shared.counts().shapes(),
        }
    }

    /// The first app that declares the family in a shape that `wanted` accepts.
    fn declarer(&self, id: Id<FamilyEntry>, wanted: impl Fn(Shape) -> bool) -> Option<AppId> {
        match self.families.entry(id) {
            FamilyRef::Private { app, at } => wanted(self.apps.slots[app].families[at as usize].text().shape()).then_some(app),
            FamilyRef::Shared(shared) => shared.declared(wanted).map(|(app, _)| app),
        }
    }

    /// The families that are called like samples of this one, or have samples that are called like it, each with an app that declares it.
    fn overlapping(&self, id: Id<FamilyEntry>, key: &[u8]) -> Vec<(Id<FamilyEntry>, AppId)> {
        let mut found = Vec::new();
        let apps = &self.apps.slots;
        let [_, histograms, summaries] = self.shapes(id);
        for suffix in SAMPLE_SUFFIXES {
            let has = histograms > 0 || summaries > 0 && suffix != Suffix::Bucket;
            if has && let Some(child) = self.families.find_suffixed(apps, key, suffix, Suffix::Bare) {
                found.extend(self.declarer(child, |_| true).map(|app| (child, app)));
            }
        }
        if let Some((base, suffix)) = Suffix::split(key).filter(|(_, suffix)| SAMPLE_SUFFIXES.contains(suffix))
            && let Some(parent) = self.families.find(apps, base)
        {
            let app = self.declarer(parent, |shape| shape.suffixes().contains(&suffix));
            found.extend(app.map(|app| (parent, app)));
        }
        found
    }

    /// True if a family is in conflict, as things are now.
    pub(super) fn is_contradicted(&self, id: Id<FamilyEntry>) -> bool {
        let shapes = self.shapes(id);
        let declared = shapes.iter().filter(|count| **count > 0).count();
        declared > 1 || declared > 0 && !self.overlapping(id, &self.families.key(&self.apps.slots, id)).is_empty()
    }

    /// Puts a family into conflict, or out of it, if that has changed. The entry may be gone.
    pub(super) fn resolve(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let Some(entry) = self.families.get(id) else { return };
        let contradicted = self.is_contradicted(id);
        if entry.in_conflict() == contradicted {
            return;
        }
        self.make_shared(id, context);
        if contradicted {
            self.enter_conflict(id, context);
        } else {
            self.leave_conflict(id, context);
        }
    }

    /// Exposes the samples of a family untyped, those of histograms and summaries under families of their own names.
    fn enter_conflict(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        if let Some(shared) = self.shared_mut(id) {
            shared.in_conflict = true;
        }
        self.reindex_all(id, context);
        self.for_each_grouped(id, context, Self::sync_derived);
        self.after_conflict(id, context);
    }

    /// Exposes a family with its type again.
    fn leave_conflict(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        self.for_each_grouped(id, context, Self::detach_derived_of);
        if let Some(shared) = self.shared_mut(id) {
            shared.in_conflict = false;
        }
        self.reindex_all(id, context);
        self.after_conflict(id, context);
    }

    fn after_conflict(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        if let Some(shared) = self.shared_mut(id) {
            shared.help_owner = LateId::unknown();
        }
        context.stale_forms.push(id);
        let key = self.families.key(&self.apps.slots, id);
        self.families.dependents(&self.apps.slots, &key, |id| context.stale_forms.push(id));
        self.refresh_conflict_counts(id);
        self.invalidate_all(id);
    }

    /// Puts a family into conflict before a contribution comes that contradicts the others: its series would be compared with samples of
    /// another kind.
    pub(super) fn enter_conflict_if_contradicted(
        &mut self,
        id: Id<FamilyEntry>,
        text: &TextFamily,
        derived: bool,
        context: &mut UpdateContext,
    ) {
        let Some(shared) = self.shared(id).filter(|shared| !shared.in_conflict) else {
            return;
        };
        let counts = shared.counts();
        let shapes = counts.shapes();
        let mine = text.shape() as usize;
        let contradicts = if derived {
            shapes[1] + shapes[2] > 0
        } else {
            (0..3).any(|shape| shape != mine && shapes[shape] > 0) || text.shape() != Shape::Scalar && counts.derived > 0
        };
        if contradicts {
            self.enter_conflict(id, context);
            context.contested.insert(id);
        }
    }

    /// Calls `action` for each app that declares the family as a histogram or summary.
    fn for_each_grouped(
        &mut self,
        id: Id<FamilyEntry>,
        context: &mut UpdateContext,
        action: fn(&mut Self, Id<FamilyEntry>, AppId, &mut UpdateContext),
    ) {
        let Some(shared) = self.shared(id) else { return };
        let grouped = shared.contributions.iter().filter(|(_, it)| it.text().shape() != Shape::Scalar);
        let apps: Vec<AppId> = grouped.map(|(app, _)| app).collect();
        for app in apps {
            action(self, id, app, context);
        }
    }

    /// Makes contributions under the names of an app's samples, for a family that is in conflict.
    pub(super) fn sync_derived(&mut self, id: Id<FamilyEntry>, app: AppId, context: &mut UpdateContext) {
        let Some(shared) = self.shared(id).filter(|shared| shared.in_conflict) else {
            return;
        };
        let Some(declared) = shared.contributions.get(app) else { return };
        let (at, declared) = (declared.at, declared.text());
        let key = self.families.key(&self.apps.slots, id).into_owned();
        for suffix in declared.named_suffixes() {
            let name = [&*key, suffix.as_str().as_bytes()].concat();
            let text = declared.untyped(suffix);
            let entry = self.find(&name).unwrap_or_else(|| {
                context.has_new_names = true;
                self.create_derived(&name)
            });
            self.make_shared(entry, context);
            if self.shared(entry).is_some_and(|shared| shared.contributions.get(app).is_some()) {
                context.stale_derived.remove(&entry);
                self.renew_derived(entry, app, at, text, context);
            } else {
                self.attach(entry, app, at, text, true, context);
            }
        }
    }

    /// An entry that no app declares.
    fn create_derived(&mut self, name: &[u8]) -> Id<FamilyEntry> {
        let id = self.families.insert_shared(name, Placement::Group(Id::NONE));
        self.counts.shared += 1;
        let group = self.group_for(id, 0);
        if let Some(shared) = self.shared_mut(id) {
            shared.placement = Placement::Group(group);
        }
        id
    }

    /// Removes the contributions under the names of an app's samples.
    fn detach_derived_of(&mut self, id: Id<FamilyEntry>, app: AppId, context: &mut UpdateContext) {
        let Some(shared) = self.shared(id) else { return };
        let Some(declared) = shared.contributions.get(app).map(|it| it.text()) else {
            return;
        };
        let key = self.families.key(&self.apps.slots, id).into_owned();
        for suffix in declared.named_suffixes() {
            let name = [&*key, suffix.as_str().as_bytes()].concat();
            let Some(entry) = self.find(&name) else { continue };
            if self
                .shared(entry)
                .and_then(|shared| shared.contributions.get(app))
                .is_some_and(|it| it.derived)
            {
                let source = self.source(entry, app);
                self.detach(entry, app, source.as_ref(), context);
            }
        }
    }

    /// The entries with contributions of an app that are derived from families in conflict.
    pub(super) fn derived_entries(&self, app: &App) -> Vec<Id<FamilyEntry>> {
        if app.conflicts == 0 {
            return Vec::new();
        }
        let shared = app
            .families
            .iter()
            .filter(|family| family.shared && family.text().shape() != Shape::Scalar);
        let in_conflict = shared.filter(|family| self.shared(family.entry).is_some_and(|shared| shared.in_conflict));
        in_conflict
            .flat_map(|family| {
                let key = self.families.key(&self.apps.slots, family.entry);
                let find = move |suffix: Suffix| self.find(&[&*key, suffix.as_str().as_bytes()].concat());
                family.text().named_suffixes().filter_map(find)
            })
            .collect()
    }

    /// Counts or no longer counts the contribution of an app among its conflicts.
    pub(super) fn refresh_conflict_count(&mut self, id: Id<FamilyEntry>, app: AppId) {
        let Some(shared) = self.shared(id) else { return };
        let Some(contribution) = shared.contributions.get(app) else {
            return;
        };
        let kind = contribution.text().kind;
        let counted_in_conflict = !contribution.derived && (shared.in_conflict || kind != MetricType::Unknown && kind != shared.kind());
        if contribution.counted_in_conflict == counted_in_conflict {
            return;
        }
        if let Some(shared) = self.shared_mut(id) {
            shared.contributions.change(app, |it| it.counted_in_conflict = counted_in_conflict);
        }
        let app = self.app_mut(app);
        app.conflicts = if counted_in_conflict {
            app.conflicts + 1
        } else {
            app.conflicts.saturating_sub(1)
        };
    }

    /// The same for all contributions of a family.
    pub(super) fn refresh_conflict_counts(&mut self, id: Id<FamilyEntry>) {
        let apps: Vec<AppId> = self
            .shared(id)
            .map_or_else(Vec::new, |shared| shared.contributions.iter().map(|(app, _)| app).collect());
        for app in apps {
            self.refresh_conflict_count(id, app);
        }
    }
}

impl SharedFamily {
    /// The first app that declares the family in a shape that `wanted` accepts, and its type there.
    fn declared(&self, wanted: impl Fn(Shape) -> bool) -> Option<(AppId, MetricType)> {
        let declared = self.contributions.iter().filter(|(_, it)| !it.derived);
        declared
            .map(|(app, it)| (app, it.text()))
            .find(|(_, text)| wanted(text.shape()))
            .map(|(app, text)| (app, text.kind))
    }
}
