//! Series that several apps have: found by their identities when an update is applied.
//!
//! An identity has 64 bits and depends on a secret of the process, so that two series share one by chance alone, about once in ten billion
//! families of a hundred thousand series. Then both get a label that they would not need.

use std::sync::Arc;

use super::Catalog;
use super::app::{App, AppId};
use super::entry::{FamilyEntry, FamilyRef};
use super::paged::Id;
use super::rules::Duplicates;
use super::text_family::{Shape, TextFamily};
use super::update::UpdateContext;
use crate::escape::escaped_label_name;
use crate::family::{Family, MetricType, Suffix};
use crate::identity::{ExtraLabel, Identity};
use crate::index::Exposition;
use crate::render::SuppressedSeries;
use crate::sample::{Label, Runs, Sample};

/// The samples of a contribution.
pub(super) struct ContributionSamples {
    exposition: Arc<Exposition>,
    extra_labels: Arc<[ExtraLabel]>,
    text: TextFamily,
}

impl ContributionSamples {
    fn of(app: &App, text: TextFamily) -> Self {
        Self {
            exposition: Arc::clone(&app.exposition),
            extra_labels: Arc::clone(&app.extra_labels),
            text,
        }
    }

    /// The samples, each with its identity within its family.
    fn samples(&self) -> impl Iterator<Item = (u64, Sample<'_>)> {
        let family = &self.exposition.families()[self.text.family as usize];
        let name = self.exposition.text(family.name);
        // Creation times belong to the groups of their family: OpenMetrics wants each group in one piece.
        let whole = self.text.role.primary && self.text.role.kind != MetricType::Unknown;
        let names = if whole { family.flags.names() } else { self.text.names };
        let identity = Identity {
            kind: self.text.kind,
            extra_labels: &self.extra_labels,
            quoted: self.text.quoted,
        };
        self.exposition.samples(family).filter_map(move |sample| {
            let suffix = Suffix::between(name, sample.name).filter(|suffix| names.contains(suffix.as_flag()))?;
            Some((identity.of(&sample, suffix), sample))
        })
    }

    fn lines(&self) -> Lines<'_> {
        let family = &self.exposition.families()[self.text.family as usize];
        Lines {
            runs: self.exposition.runs(family),
            rest: None,
        }
    }

    /// The identities, each once, in order.
    pub(super) fn identities(&self) -> Vec<u64> {
        in_order(self.samples().map(|(hash, _)| hash).collect())
    }
}

fn in_order(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// True if two texts have the same series line by line, which is how most updates differ from the one before: by values alone. It may say no
/// where a closer look would say yes.
fn same_series(before: &ContributionSamples, now: &ContributionSamples) -> bool {
    let text = |source: &ContributionSamples| TextFamily {
        family: 0,
        valid: true,
        ..source.text
    };
    text(before) == text(now)
        && before.exposition.syntax() == now.exposition.syntax()
        && before.extra_labels == now.extra_labels
        && before.lines().eq_by_series(now.lines())
}

/// The same for a family that has stayed what it was, in an app before and after an update.
pub(super) fn has_same_series(before: &App, now: &App, text: &TextFamily) -> bool {
    let at = text.family as usize;
    let (Some(old), Some(new)) = (before.exposition.families().get(at), now.exposition.families().get(at)) else {
        return false;
    };
    let has_same_lines =
        || now.exposition.is_same_but_values(&before.exposition) || has_same_lines(&before.exposition, old, &now.exposition, new);
    before.extra_labels == now.extra_labels && has_same_lines()
}

/// True if two families have the same series line by line.
pub(super) fn has_same_lines(before: &Exposition, old: &Family, now: &Exposition, new: &Family) -> bool {
    let lines = |runs| Lines { runs, rest: None };
    before.syntax() == now.syntax() && lines(before.runs(old)).eq_by_series(lines(now.runs(new)))
}

/// The lines of a family's samples.
struct Lines<'a> {
    runs: Runs<'a>,
    rest: Option<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn eq_by_series(mut self, mut other: Lines<'_>) -> bool {
        for line in self.by_ref() {
            if !other.skip_line(&line[..series_end(line)]) {
                return false;
            }
        }
        other.next().is_none()
    }

    /// Skips the next line if it begins with these bytes. Only what follows them is searched for its end.
    fn skip_line(&mut self, start: &[u8]) -> bool {
        let Some(rest) = self.rest.or_else(|| self.runs.next()) else {
            return false;
        };
        let Some(tail) = rest.strip_prefix(start) else { return false };
        self.rest = memchr::memchr(b'\n', tail).map(|end| &tail[end + 1..]);
        true
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = match self.rest {
            Some(rest) => rest,
            None => self.runs.next()?,
        };
        let end = memchr::memchr(b'\n', rest);
        self.rest = end.map(|end| &rest[end + 1..]);
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

/// The length of the part of a checked sample line that names the series; more where it has an exemplar. Lines that agree so far are of one
/// series: the last closing brace ends the labels or comes after them, and without one the first blank ends the name.
fn series_end(line: &[u8]) -> usize {
    let end = memchr::memrchr(b'}', line).or_else(|| memchr::memchr2(b' ', b'\t', line));
    end.map_or(line.len(), |at| at + 1)
}

impl Catalog {
    /// The samples of a contribution as they are exposed.
    pub(super) fn source(&self, id: Id<FamilyEntry>, app: AppId) -> Option<ContributionSamples> {
        let shared = self.shared(id)?;
        let text = shared.exposed(shared.contributions.get(app)?);
        Some(ContributionSamples::of(&self.apps.slots[app], text))
    }

    /// The same for the updated app before the update, as long as the contribution has not been renewed.
    pub(super) fn source_before(&self, context: &UpdateContext, id: Id<FamilyEntry>) -> Option<ContributionSamples> {
        let shared = self.shared(id)?;
        let text = shared.exposed(shared.contributions.get(context.app)?);
        Some(ContributionSamples::of(&context.before, text))
    }

    /// Brings the series index of a shared family up to date with a contribution; `before` has the samples that it has in the index.
    pub(super) fn reindex(&mut self, id: Id<FamilyEntry>, app: AppId, before: Option<ContributionSamples>, context: &mut UpdateContext) {
        let Some(source) = self.source(id, app) else { return };
        let Some(contribution) = self.shared(id).and_then(|shared| shared.contributions.get(app)) else {
            return;
        };
        if contribution.duplicates > 0 {
            self.invalidate_duplicates(id);
        }
        if before.as_ref().is_some_and(|before| same_series(before, &source)) {
            return;
        }
        let (after, taken) = self.identify_series(&source);
        if let Some(shared) = self.shared_mut(id) {
            shared.contributions.change(app, |it| it.taken = taken);
        }
        let before = before.map_or_else(Vec::new, |before| before.identities());
        let mut has_shared = false;
        for &series in before.iter().filter(|series| after.binary_search(series).is_err()) {
            has_shared |= self.release(id, app, series);
        }
        for &series in after.iter().filter(|series| before.binary_search(series).is_err()) {
            has_shared |= self.claim(id, app, series, context);
        }
        if has_shared {
            self.invalidate_duplicates(id);
        }
        self.rerank(id, context);
    }

    /// The identities of a contribution's series, each once, in order, and the ranks of the label names that they use.
    fn identify_series(&self, source: &ContributionSamples) -> (Vec<u64>, u8) {
        let rules = &self.rules;
        let mut taken = source
            .extra_labels
            .iter()
            .fold(0, |taken, it| taken | rules.taken_by(&it.legacy_name));
        let mut take = |label: Label<'_>| {
            taken |= if label.quoted {
                rules.taken_by(&escaped_label_name(label.name))
            } else {
                rules.taken_by(label.name)
            }
        };
        let hashes = source.samples().map(|(hash, sample)| {
            sample.labels.clone().filter(|label| !label.value.is_empty()).for_each(&mut take);
            hash
        });
        let hashes = in_order(hashes.collect());
        (hashes, taken)
    }

    /// Builds the series index of a family again, after a conflict has begun or ended.
    pub(super) fn reindex_all(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let Some(shared) = self.shared_mut(id) else { return };
        let index = std::mem::take(&mut shared.series);
        let apps: Vec<AppId> = shared.contributions.iter().map(|(app, _)| app).collect();
        self.counts.series_bytes -= index.bytes();
        for &app in &apps {
            let kept = self.shared_mut(id).and_then(|shared| shared.contributions.duplicates_mut(app));
            let duplicates = kept.map_or(0, std::mem::take);
            if duplicates > 0 {
                self.app_mut(app).duplicates -= u64::from(duplicates);
            }
        }
        for app in apps {
            self.reindex(id, app, None, context);
        }
    }

    /// Takes the series of a contribution out of the index.
    pub(super) fn release_series(&mut self, id: Id<FamilyEntry>, app: AppId, before: &ContributionSamples, context: &mut UpdateContext) {
        let mut has_shared = false;
        for series in before.identities() {
            has_shared |= self.release(id, app, series);
        }
        if has_shared {
            self.invalidate_duplicates(id);
        }
        context.stale_forms.push(id);
    }

    /// Invalidates what shows the duplicate series of a family, where the newest is exposed: others are left out now.
    fn invalidate_duplicates(&mut self, id: Id<FamilyEntry>) {
        if self.rules.duplicates == Duplicates::Latest {
            self.invalidate_with_base(id);
        }
    }

    /// Takes a series of an app out of the index; true if other apps had it as well.
    fn release(&mut self, id: Id<FamilyEntry>, app: AppId, series: u64) -> bool {
        let Some(shared) = self.shared_mut(id) else { return false };
        let before = shared.series.bytes();
        let (was_shared, alone) = shared.series.release(series, app);
        let after = shared.series.bytes();
        self.counts.series_bytes = self.counts.series_bytes + after - before;
        if was_shared {
            self.count_duplicate(id, app, false);
            if let Some(other) = alone {
                self.count_duplicate(id, other, false);
            }
        }
        was_shared
    }

    fn count_duplicate(&mut self, id: Id<FamilyEntry>, app: AppId, more: bool) {
        let Some(duplicates) = self.shared_mut(id).and_then(|shared| shared.contributions.duplicates_mut(app)) else {
            return;
        };
        if more {
            *duplicates += 1;
            self.app_mut(app).duplicates += 1;
        } else {
            *duplicates -= 1;
            self.app_mut(app).duplicates -= 1;
        }
    }

    /// Enters a series that a contribution has come to have; true if other apps have it as well.
    fn claim(&mut self, id: Id<FamilyEntry>, app: AppId, series: u64, context: &mut UpdateContext) -> bool {
        let Some(shared) = self.shared_mut(id) else { return false };
        let before = shared.series.bytes();
        let is_only = shared.series.claim(series, app).is_none();
        let alone = if is_only { None } else { shared.series.add_holder(series, app) };
        let after = shared.series.bytes();
        self.counts.series_bytes = self.counts.series_bytes + after - before;
        if is_only {
            return false;
        }
        let holders = alone.into_iter().chain([app]);
        holders.clone().for_each(|holder| self.count_duplicate(id, holder, true));
        if self.rules.duplicates == Duplicates::Label {
            holders.for_each(|holder| self.label(id, holder, context));
        }
        true
    }

    /// Gives the series of an app's family, with all that was one family as written, the disambiguating label.
    fn label(&mut self, id: Id<FamilyEntry>, app: AppId, context: &mut UpdateContext) {
        let owner = &self.apps.slots[app];
        if owner.own {
            return;
        }
        let Some(at) = self
            .shared(id)
            .and_then(|shared| shared.contributions.get(app))
            .filter(|it| !it.labelled)
            .map(|it| it.at)
        else {
            return;
        };
        context.labelled.insert(app);
        for sibling in owner.siblings(at) {
            let Some(family) = self.app_mut(app).families.get_mut(sibling as usize) else {
                continue;
            };
            family.labelled = true;
            let (entry, text) = (family.entry, family.text());
            // A sibling that is not bound yet takes the label when it is.
            if entry != Id::NONE {
                self.label_bound(entry, app, context);
                self.label_derived(entry, app, text, context);
            }
        }
        // The contribution itself may be one that is being attached.
        self.label_bound(id, app, context);
    }

    /// Labels the contribution of an app to an entry.
    pub(super) fn label_bound(&mut self, id: Id<FamilyEntry>, app: AppId, context: &mut UpdateContext) {
        match self.families.get(id) {
            Some(FamilyRef::Private { app: owner, .. }) if owner == app => {}
            Some(FamilyRef::Shared(shared)) if shared.contributions.get(app).is_some_and(|it| !it.labelled) => {
                let Some(shared) = self.shared_mut(id) else { return };
                shared.contributions.change(app, |it| it.labelled = true);
                self.rerank(id, context);
            }
            _ => return,
        }
        self.queue_label_dependents(id, context);
        self.invalidate(id, app);
        self.invalidate_base(id);
    }

    /// Labels the contributions that are derived from a family in conflict.
    fn label_derived(&mut self, id: Id<FamilyEntry>, app: AppId, text: TextFamily, context: &mut UpdateContext) {
        if text.shape() == Shape::Scalar || self.shared(id).is_none_or(|shared| !shared.in_conflict) {
            return;
        }
        let key = self.families.key(&self.apps.slots, id).into_owned();
        for suffix in text.named_suffixes() {
            if let Some(entry) = self.find(&[&*key, suffix.as_str().as_bytes()].concat())
                && self
                    .shared(entry)
                    .and_then(|shared| shared.contributions.get(app))
                    .is_some_and(|it| it.derived)
            {
                self.label_bound(entry, app, context);
            }
        }
    }

    /// Notes that forms may depend on a label that has come: creation times go out with their family only under the same label.
    fn queue_label_dependents(&self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        context.stale_forms.push(id);
        let key = self.families.key(&self.apps.slots, id);
        self.families.dependents(&self.apps.slots, &key, |id| context.stale_forms.push(id));
    }

    /// Labels the siblings of labelled families of an app that has been updated; its contributions follow when they are bound.
    pub(super) fn spread_labels(&mut self, id: AppId) {
        let app = &self.apps.slots[id];
        let labelled: Vec<u32> = (0..)
            .zip(app.families.iter())
            .filter(|(_, family)| family.labelled)
            .map(|(at, _)| at)
            .collect();
        for at in labelled {
            for sibling in self.apps.slots[id].siblings(at) {
                if !self.apps.slots[id].families[sibling as usize].labelled
                    && let Some(family) = self.app_mut(id).families.get_mut(sibling as usize)
                {
                    family.labelled = true;
                }
            }
        }
    }

    /// Finds a name for the disambiguating label that no series of the family uses. It only moves on while something is labelled.
    pub(super) fn rerank(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let Some(shared) = self.shared(id) else { return };
        let rank = {
            let counts = shared.counts();
            if counts.labelled == 0 {
                return;
            }
            self.rules.free_rank(shared.rank, &counts.taken)
        };
        if rank != shared.rank {
            if let Some(shared) = self.shared_mut(id) {
                shared.rank = rank;
            }
            self.queue_label_dependents(id, context);
            self.invalidate_with_base(id);
        }
    }

    /// The series of a contribution that are left out because another app's newer ones are exposed.
    pub(super) fn suppressed(&self, id: Id<FamilyEntry>, app: AppId) -> Option<Arc<SuppressedSeries>> {
        if self.rules.duplicates == Duplicates::Label {
            return None;
        }
        let shared = self.shared(id)?;
        if shared.contributions.get(app)?.duplicates == 0 {
            return None;
        }
        let update = self.apps.slots[app].update;
        let hashes = self.source(id, app)?.identities().into_iter();
        let older = |holders: &[AppId]| holders.contains(&app) && holders.iter().any(|&other| self.apps.slots[other].update > update);
        Some(Arc::new(hashes.filter(|&hash| older(&shared.series.holders(hash))).collect()))
    }
}
