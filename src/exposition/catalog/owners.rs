//! Which of two families has the sample names that both claim, and where applications contradict each other.
//!
//! All of this follows from who has had what for how long, so it does not depend on the order in which it is looked at: among families
//! that claim a name the one that some application has had longest has it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{Contributions, Entry};
use super::parts::{Part, Shape};
use super::slab::Id;
use super::updates::Turn;
use super::{App, Catalog, Clash};
use crate::exposition::{Exposition, Kind, Suffix};
use crate::model::AppName;

/// The suffixes by which one family can claim the name of another.
const CLAIMING: [Suffix; 3] = [Suffix::Bucket, Suffix::Sum, Suffix::Count];

impl Entry {
    /// Whether it has samples that are called like the other family.
    fn covers(&self, other: &[u8]) -> bool {
        covers(self.shape, &self.key, other)
    }

    fn contests(&self, other: &Self) -> bool {
        self.covers(&other.key) || other.covers(&self.key)
    }
}

fn covers(shape: Shape, name: &[u8], other: &[u8]) -> bool {
    let Some(rest) = other.strip_prefix(name) else { return false };
    shape.suffixes().iter().any(|suffix| suffix.as_str().as_bytes() == rest)
}

impl Catalog {
    /// Where an application contradicts others.
    #[must_use]
    pub fn clashes(&self, app: &str) -> Vec<Clash> {
        self.names.get(app).map_or_else(Vec::new, |&id| self.clashes_of(id))
    }

    /// Where a text would contradict other applications if `app` handed it in: reasons to refuse it whole.
    #[must_use]
    pub fn check_push(&self, app: &str, exposition: &Exposition) -> Vec<Clash> {
        let sorted = self.sort(exposition, None);
        let id = self.names.get(app).copied();
        let news = sorted
            .parts
            .iter()
            .enumerate()
            .filter(|(at, part)| !id.is_some_and(|id| self.stands(id, *at, part, exposition)));
        let clashes = news.filter_map(|(_, part)| self.would_clash(id, part, exposition));
        clashes
            .chain(sorted.doubles.iter().map(|&family| same_name(exposition, family)))
            .collect()
    }

    pub(super) fn clashes_of(&self, id: Id<App>) -> Vec<Clash> {
        let app = &self.apps[id];
        let parts = app.parts.iter().filter_map(|part| self.clash_in(id, part.entry));
        parts
            .chain(app.doubles.iter().map(|&family| same_name(&app.exposition, family)))
            .collect()
    }

    fn clash_in(&self, app: Id<App>, id: Id<Entry>) -> Option<Clash> {
        let entry = &self.entries[id];
        let contribution = entry.get(app)?;
        if let Some(other) = entry.blocked_by {
            return Some(self.covered(&entry.key, other));
        }
        let (family, kind) = (text(&entry.key), contribution.part.kind);
        if !entry.keeps(contribution) {
            let senior = entry.get(entry.senior)?;
            return Some(Clash::LeftOut {
                family,
                kind,
                stands: senior.part.kind,
                by: self.name_of(entry.senior),
            });
        }
        let overruled = kind != Kind::Unknown && kind != entry.kind;
        overruled.then(|| Clash::Overruled {
            family,
            kind,
            stands: entry.kind,
            by: self.name_of(entry.typer.unwrap_or(entry.senior)),
        })
    }

    /// Whether a part is what the application has at that place already, alone and without a clash: most parts of most updates are,
    /// and a family that goes out gives way to none that is younger.
    fn stands(&self, app: Id<App>, at: usize, part: &Part, exposition: &Exposition) -> bool {
        let Some(before) = self.apps[app].parts.get(at) else { return false };
        let entry = &self.entries[before.entry];
        let Contributions::One(only, contribution) = &entry.contributions else {
            return false;
        };
        let same = contribution.part.kind == part.kind && *entry.key == *part.key(exposition);
        *only == app && entry.is_active() && same
    }

    fn would_clash(&self, app: Option<Id<App>>, part: &Part, exposition: &Exposition) -> Option<Clash> {
        let (key, shape) = (part.key(exposition), Shape::from(part.kind));
        let entry = self.entry_by_key(&key).map(|(_, entry)| entry);
        let mine = app.and_then(|app| entry?.get(app)).filter(|mine| mine.shape() == shape);
        // The family as it would be without this application, unless that has had it longest and gives way to nobody.
        let senior = entry
            .filter(|entry| mine.is_none() || Some(entry.senior) != app)
            .and_then(|entry| entry.senior_without(app));
        if let (Some(entry), Some((by, theirs))) = (entry, senior)
            && mine.is_none_or(|mine| theirs.since < mine.since)
        {
            if let Some(other) = entry.blocked_by {
                return Some(self.covered(&entry.key, other));
            }
            let (family, by) = (text(&key), self.name_of(by));
            if theirs.shape() != shape {
                return Some(Clash::LeftOut {
                    family,
                    kind: part.kind,
                    stands: theirs.part.kind,
                    by,
                });
            }
            if part.kind != Kind::Unknown && entry.typer != app && entry.kind != Kind::Unknown && entry.kind != part.kind {
                let by = self.name_of(entry.typer.unwrap_or(entry.senior));
                return Some(Clash::Overruled {
                    family,
                    kind: part.kind,
                    stands: entry.kind,
                    by,
                });
            }
            return None;
        }
        let contests = |other: &Entry| covers(shape, &key, &other.key) || other.covers(&key);
        let rivals = self
            .neighbours(&key)
            .into_iter()
            .filter(|&it| contests(&self.entries[it]) && self.entries[it].is_active());
        let stronger = |other: &Id<Entry>| {
            let senior = self.entries[*other].senior_without(app);
            senior.is_some_and(|(_, senior)| mine.is_none_or(|mine| senior.since < mine.since))
        };
        rivals.into_iter().find(stronger).map(|other| self.covered(&key, other))
    }

    fn covered(&self, key: &[u8], other: Id<Entry>) -> Clash {
        let other = &self.entries[other];
        Clash::Covered {
            family: text(key),
            other: text(&other.key),
            by: self.name_of(other.senior),
        }
    }

    fn name_of(&self, app: Id<App>) -> AppName {
        self.apps[app].name.clone()
    }

    /// After an update: decides what follows from it for families beyond those that it touched.
    pub(super) fn settle(&mut self, turn: &mut Turn) {
        self.contest(turn);
        let reshaped = std::mem::take(&mut turn.reshaped);
        self.reform(&reshaped);
    }

    /// Decides which families have the names that several claim.
    fn contest(&mut self, turn: &mut Turn) {
        let contested = std::mem::take(&mut turn.contested);
        let around = contested
            .iter()
            .flat_map(|key| self.neighbours(key).into_iter().chain(self.keys.get(key).copied()));
        let mut seen: BTreeSet<Id<Entry>> = around.collect();
        let mut reached: Vec<_> = seen.iter().copied().collect();
        // All that is connected by claims with what has changed.
        while let Some(id) = reached.pop() {
            for other in self.rivals(id) {
                if seen.insert(other) {
                    reached.push(other);
                }
            }
        }
        // Families that came with the same update: any order, as long as it is always the same.
        let age = |id: Id<Entry>| (self.entries[id].since(), &self.entries[id].key);
        let mut by_age: Vec<_> = seen.into_iter().collect();
        by_age.sort_unstable_by(|&a, &b| age(a).cmp(&age(b)));
        let mut active = HashSet::new();
        for id in by_age {
            let blocked_by = self.rivals(id).into_iter().find(|other| active.contains(other));
            if blocked_by.is_none() {
                active.insert(id);
            }
            self.block(id, blocked_by, turn);
        }
    }

    fn block(&mut self, id: Id<Entry>, by: Option<Id<Entry>>, turn: &mut Turn) {
        let entry = &mut self.entries[id];
        let changes = entry.blocked_by.is_some() != by.is_some();
        entry.blocked_by = by;
        if changes {
            turn.affected.extend(entry.iter().map(|(app, _)| app));
            turn.reshaped.insert(Arc::clone(&entry.key));
            self.mark_all(id);
        }
    }

    fn rivals(&self, id: Id<Entry>) -> Vec<Id<Entry>> {
        let entry = &self.entries[id];
        let mut rivals = self.neighbours(&entry.key);
        rivals.retain(|&other| entry.contests(&self.entries[other]));
        rivals
    }

    /// The families whose names are this one with a claiming suffix more or less.
    fn neighbours(&self, key: &[u8]) -> Vec<Id<Entry>> {
        let mut neighbours = Vec::new();
        let mut name = Vec::with_capacity(key.len() + 8);
        for suffix in CLAIMING {
            name.clear();
            name.extend_from_slice(key);
            name.extend_from_slice(suffix.as_str().as_bytes());
            neighbours.extend(self.keys.get(&*name));
            if let Some(base) = key.strip_suffix(suffix.as_str().as_bytes()) {
                neighbours.extend(self.keys.get(base));
            }
        }
        neighbours
    }
}

fn same_name(exposition: &Exposition, family: u32) -> Clash {
    Clash::SameName {
        family: text(exposition.text(exposition.families()[family as usize].name)),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
