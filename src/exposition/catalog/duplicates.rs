//! Series that several applications have: found by their hashes when an update comes in, confirmed by comparing them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::entry::Entry;
use super::parts::Part;
use super::rules::Duplicates;
use super::slab::Id;
use super::updates::Turn;
use super::{App, Catalog, MAX_REMEMBERED};
use crate::exposition::render::{Addition, Hidden, bound_label, group_hash, legacy_labels, underscored_label};
use crate::exposition::{Exposition, Kind, Label, Runs, Sample, Suffix};

/// Where the samples of a contribution stand.
pub(super) struct Source {
    exposition: Arc<Exposition>,
    additions: Arc<[Addition]>,
    part: Part,
}

impl Source {
    /// What the application whose turn it is had before.
    pub(super) fn before(turn: &Turn, part: Part) -> Self {
        Self {
            exposition: Arc::clone(&turn.before.exposition),
            additions: Arc::clone(&turn.before.additions),
            part,
        }
    }

    /// The samples, each with the identity that it has within its family.
    fn samples(&self) -> impl Iterator<Item = (u64, Suffix, Sample<'_>)> {
        let family = &self.exposition.families()[self.part.family as usize];
        let name = self.exposition.text(family.name);
        // Creation times belong to the groups of their family: OpenMetrics wants each group in one piece.
        let whole = self.part.role.primary && self.part.role.kind != Kind::Unknown;
        let names = if whole { family.traits.names() } else { self.part.names };
        self.exposition.samples(family).filter_map(move |sample| {
            let suffix = Suffix::between(name, sample.name).filter(|suffix| names.contains(suffix.as_trait()))?;
            Some((
                group_hash(&sample, self.part.kind, suffix, &self.additions, self.part.quoted),
                suffix,
                sample,
            ))
        })
    }

    fn lines(&self) -> Lines<'_> {
        let family = &self.exposition.families()[self.part.family as usize];
        Lines {
            runs: self.exposition.runs(family),
            rest: None,
        }
    }

    /// The identities, each once, in order.
    fn hashes(&self) -> Vec<u64> {
        let mut hashes: Vec<u64> = self.samples().map(|(hash, ..)| hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// All that makes the identity of a sample, in order.
    fn identity<'a>(&'a self, suffix: Suffix, sample: &Sample<'a>) -> Vec<(Cow<'a, [u8]>, &'a [u8])> {
        let bound = bound_label(self.part.kind, suffix);
        let labels = legacy_labels(&sample.labels, self.part.quoted).filter(|(_, label)| Some(label.name) != bound);
        let added = self.additions.iter().filter(|it| it.lacking_in(&sample.labels));
        let labels = labels.map(|(name, label)| (name, label.value));
        let mut identity: Vec<_> = labels
            .chain(added.map(|it| (Cow::Borrowed(&*it.legacy_name), &*it.value)))
            .collect();
        identity.sort_unstable();
        identity
    }
}

/// Whether two texts have the same series line by line, which is how most updates differ from the one before: by values alone. It may say no
/// where a closer look would say yes.
fn same_series(before: &Source, now: &Source) -> bool {
    let part = |source: &Source| Part {
        family: 0,
        fit: true,
        ..source.part
    };
    part(before) == part(now)
        && before.exposition.syntax() == now.exposition.syntax()
        && before.additions == now.additions
        && before.lines().eq_by_series(now.lines())
}

/// The lines of a family's samples.
struct Lines<'a> {
    runs: Runs<'a>,
    rest: Option<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn eq_by_series(mut self, mut other: Lines<'_>) -> bool {
        loop {
            match (self.next(), other.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if b.get(..series_end(a)) == Some(&a[..series_end(a)]) => {}
                _ => return false,
            }
        }
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

/// How much of a checked sample line says which series it is; more where it has an exemplar. Lines that agree so far are of one series: the
/// last closing brace ends the labels or comes after them, and without one the first blank ends the name.
fn series_end(line: &[u8]) -> usize {
    let end = memchr::memrchr(b'}', line).or_else(|| memchr::memchr2(b' ', b'\t', line));
    end.map_or(line.len(), |at| at + 1)
}

/// Equal for equal sets of samples, whatever their order; almost never 0.
fn digest(hashes: impl Iterator<Item = u64>) -> u64 {
    let mixed = |hash: u64| {
        // The identity of a sample without labels is 0, which must count like any other.
        let hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    hashes.fold(1, |sum: u64, hash| sum.wrapping_add(mixed(hash)))
}

impl Catalog {
    fn source(&self, id: Id<Entry>, app: Id<App>) -> Option<Source> {
        let part = self.entries[id].get(app)?.part;
        let app = &self.apps[app];
        Some(Source {
            exposition: Arc::clone(&app.exposition),
            additions: Arc::clone(&app.additions),
            part,
        })
    }

    /// Notes the series that a contribution to a shared family has now, given what it had.
    pub(super) fn reindex(&mut self, id: Id<Entry>, app: Id<App>, before: Option<Source>, turn: &mut Turn) {
        if self.entries[id].shared().is_none() {
            return;
        }
        let Some(source) = self.source(id, app) else { return };
        let entry = &self.entries[id];
        let Some(contribution) = entry.get(app) else { return };
        let (kept, known) = (entry.keeps(contribution), contribution.digest != 0);
        if self.rules.duplicates == Duplicates::Latest && contribution.duplicates > 0 {
            self.mark_all(id);
        }
        if kept && known && before.as_ref().is_some_and(|before| same_series(before, &source)) {
            return;
        }
        let (digest, taken) = self.survey(&source);
        let now = if kept { digest } else { 0 };
        let had = self.resurvey(id, app, now, taken);
        if had != now {
            let before = before.filter(|_| had != 0).map_or_else(Vec::new, |before| before.hashes());
            let after = if kept { source.hashes() } else { Vec::new() };
            for &series in before.iter().filter(|series| after.binary_search(series).is_err()) {
                self.release(id, app, series, turn);
            }
            let added: Vec<u64> = after.into_iter().filter(|series| before.binary_search(series).is_err()).collect();
            self.claim(id, app, &source, &added, turn);
        }
        self.rerank(id, turn);
    }

    /// The digest of a contribution's series, and which names of the telling label they have.
    fn survey(&self, source: &Source) -> (u64, u8) {
        let rules = &self.rules;
        let mut taken = source.additions.iter().fold(0, |taken, it| taken | rules.taken_by(&it.legacy_name));
        let mut take = |label: Label<'_>| {
            taken |= if label.quoted {
                rules.taken_by(&underscored_label(label.name))
            } else {
                rules.taken_by(label.name)
            }
        };
        let digest = digest(source.samples().map(|(hash, _, sample)| {
            sample.labels.clone().filter(|label| !label.value.is_empty()).for_each(&mut take);
            hash
        }));
        (digest, taken)
    }

    /// Notes what a survey found; returns the digest of the one before.
    fn resurvey(&mut self, id: Id<Entry>, app: Id<App>, digest: u64, taken: u8) -> u64 {
        let entry = &mut self.entries[id];
        let Some(contribution) = entry.get_mut(app) else { return digest };
        let had = std::mem::replace(&mut contribution.digest, digest);
        let had_taken = std::mem::replace(&mut contribution.taken, taken);
        if let Some(shared) = entry.shared_mut() {
            shared.take(taken);
            shared.untake(had_taken);
        }
        had
    }

    /// Notes all series of a family anew, after its shape has changed.
    pub(super) fn reindex_all(&mut self, id: Id<Entry>, turn: &mut Turn) {
        let Some(shared) = self.entries[id].shared_mut() else { return };
        shared.series = super::series::SeriesIndex::default();
        shared.of.values_mut().for_each(|it| (it.digest, it.duplicates) = (0, 0));
        let apps: Vec<_> = shared.of.keys().copied().collect();
        for app in apps {
            self.reindex(id, app, None, turn);
        }
    }

    /// Forgets the series that a contribution had.
    pub(super) fn release_series(&mut self, id: Id<Entry>, before: Source, turn: &mut Turn) {
        if self.entries[id].get(turn.app).is_some_and(|it| it.digest != 0) {
            for series in before.hashes() {
                self.release(id, turn.app, series, turn);
            }
        }
    }

    fn release(&mut self, id: Id<Entry>, app: Id<App>, series: u64, turn: &mut Turn) {
        let entry = &mut self.entries[id];
        let Some(shared) = entry.shared_mut() else { return };
        let was_shared = shared.series.holders(series).contains(&app);
        let alone = shared.series.release(series, app);
        if was_shared && let Some(contribution) = entry.get_mut(app) {
            contribution.duplicates -= 1;
        }
        if let Some(other) = alone
            && let Some(contribution) = entry.get_mut(other)
        {
            contribution.duplicates -= 1;
            turn.affected.insert(other);
        }
        if was_shared && self.rules.duplicates == Duplicates::Latest {
            self.mark_all(id);
        }
    }

    /// Notes series that a contribution has come to have.
    fn claim(&mut self, id: Id<Entry>, app: Id<App>, source: &Source, added: &[u64], turn: &mut Turn) {
        let Some(shared) = self.entries[id].shared_mut() else { return };
        let mut suspects: BTreeMap<Id<App>, HashSet<u64>> = BTreeMap::new();
        for &series in added {
            if let Some(holder) = shared.series.claim(series, app) {
                suspects.entry(holder).or_default().insert(series);
            }
        }
        for (holder, series) in suspects {
            for series in self.confirmed(id, holder, source, series) {
                self.duplicate(id, app, series, turn);
            }
        }
    }

    /// The series of these that both have for certain.
    fn confirmed(&self, id: Id<Entry>, holder: Id<App>, mine: &Source, mut suspects: HashSet<u64>) -> Vec<u64> {
        let Some(theirs) = self.source(id, holder) else { return Vec::new() };
        let wanted = mine.samples().filter(|(hash, ..)| suspects.contains(hash));
        let wanted: HashMap<u64, _> = wanted
            .map(|(hash, suffix, sample)| (hash, mine.identity(suffix, &sample)))
            .collect();
        let found = theirs.samples().filter(|(hash, ..)| suspects.remove(hash));
        found
            .filter(|(hash, suffix, sample)| wanted.get(hash) == Some(&theirs.identity(*suffix, sample)))
            .map(|(hash, ..)| hash)
            .collect()
    }

    /// A series that others have as well.
    fn duplicate(&mut self, id: Id<Entry>, app: Id<App>, series: u64, turn: &mut Turn) {
        let Some(shared) = self.entries[id].shared_mut() else { return };
        let alone = shared.series.share(series, app);
        for holder in alone.into_iter().chain([app]) {
            if let Some(contribution) = shared.of.get_mut(&holder) {
                contribution.duplicates += 1;
            }
        }
        match self.rules.duplicates {
            Duplicates::Latest => self.mark_all(id),
            Duplicates::Label => {
                for holder in alone.into_iter().chain([app]) {
                    self.label(id, holder, turn);
                }
            }
        }
    }

    /// Gives the series of an application's family, with all parts that were one family as written, the label that tells the application.
    fn label(&mut self, id: Id<Entry>, app: Id<App>, turn: &mut Turn) {
        let Some(family) = self.entries[id].get(app).filter(|it| !it.labelled).map(|it| it.part.family) else {
            return;
        };
        if self.apps[app].own {
            return;
        }
        let mut parts: Vec<_> = self.apps[app]
            .parts
            .iter()
            .filter(|part| part.family == family)
            .map(|part| part.entry)
            .collect();
        if !parts.contains(&id) {
            // The update is under way; the other parts follow when all are known.
            parts.push(id);
        }
        self.remember(app, family);
        for part in parts {
            self.label_part(part, app, turn);
        }
        turn.affected.insert(app);
    }

    fn label_part(&mut self, id: Id<Entry>, app: Id<App>, turn: &mut Turn) {
        let entry = &mut self.entries[id];
        let Some(contribution) = entry.get_mut(app).filter(|it| !it.labelled) else {
            return;
        };
        contribution.labelled = true;
        if let Some(shared) = entry.shared_mut() {
            shared.labelled += 1;
        }
        turn.reshaped.insert(Arc::clone(&entry.key));
        self.mark(id, app);
        self.rerank(id, turn);
    }

    /// Labels what belongs to families of which a part is labelled, or was when the application last had it.
    pub(super) fn label_rest(&mut self, turn: &mut Turn) {
        let app = &self.apps[turn.app];
        if app.labelled.is_empty() {
            return;
        }
        let labelled = app.parts.iter().filter(|part| app.labelled.contains(&self.entries[part.entry].key));
        let families: BTreeSet<u32> = labelled.map(|part| part.family).collect();
        let parts: Vec<_> = app
            .parts
            .iter()
            .filter(|part| families.contains(&part.family))
            .map(|part| part.entry)
            .collect();
        let keys: Vec<_> = parts.iter().map(|&id| Arc::clone(&self.entries[id].key)).collect();
        self.apps[turn.app].labelled.extend(keys);
        for id in parts {
            self.label_part(id, turn.app, turn);
        }
    }

    /// Remembers that a family of an application is labelled, whether the application goes on having it or not.
    fn remember(&mut self, id: Id<App>, family: u32) {
        let exposition = Arc::clone(&self.apps[id].exposition);
        let parts = super::parts::parts(&exposition);
        let keys: Vec<Arc<[u8]>> = parts
            .iter()
            .filter(|part| part.family == family)
            .map(|part| (*part.key(&exposition)).into())
            .collect();
        if self.apps[id].labelled.len() + keys.len() > MAX_REMEMBERED {
            let present: HashSet<_> = parts.iter().map(|part| part.key(&exposition)).collect();
            self.apps[id].labelled.retain(|key| present.contains(&**key));
        }
        self.apps[id].labelled.extend(keys);
    }

    /// Finds a name for the telling label that no series of the family has. It only ever moves on while something is labelled.
    fn rerank(&mut self, id: Id<Entry>, turn: &mut Turn) {
        let entry = &mut self.entries[id];
        let Some(shared) = entry.shared_mut().filter(|shared| shared.labelled > 0) else {
            return;
        };
        let rank = self.rules.free_rank(shared.rank, &shared.taken);
        if std::mem::replace(&mut shared.rank, rank) != rank {
            turn.reshaped.insert(Arc::clone(&entry.key));
            self.mark_all(id);
        }
    }

    /// The series of a contribution that stay away because another application's newer ones stand.
    pub(super) fn hidden(&self, id: Id<Entry>, app: Id<App>) -> Option<Arc<Hidden>> {
        let (entry, update) = (&self.entries[id], self.apps[app].update);
        let duplicates = entry.get(app)?.duplicates;
        if self.rules.duplicates == Duplicates::Label || duplicates == 0 {
            return None;
        }
        let series = &entry.shared()?.series;
        let hashes = self.source(id, app)?.hashes().into_iter();
        let older = |holders: &[Id<App>]| holders.contains(&app) && holders.iter().any(|&other| self.apps[other].update > update);
        Some(Arc::new(hashes.filter(|&hash| older(series.holders(hash))).collect()))
    }
}
