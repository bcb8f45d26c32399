//! The cost of an update before it is applied, so that what takes long is not done at once.

use super::Catalog;
use super::app::{App, AppFamily, AppId};
use super::duplicates::has_same_lines;
use super::entry::{FamilyEntry, FamilyRef};
use super::paged::{Id, PagedVec};
use super::text_family::{Shape, TextFamily};
use super::update::Update;
use crate::family::{Family, FamilyFlags, Suffix};
use crate::index::Exposition;

/// Series of a shared family that take as long as a family when they come or go: they are hashed and indexed.
const CHANGED_SERIES_A_FAMILY: usize = 4;

/// Text that takes as long as a family when its series are hashed and indexed: four short lines, or the names of some labels that are
/// escaped for that.
const INDEXED_BYTES_A_FAMILY: usize = 96;

/// The same for lines that are longer than most, without quoted names.
const LONG_BYTES_A_FAMILY: usize = 1_024;

/// Series that take as long as a family otherwise: their lines are compared.
const SAME_SERIES_A_FAMILY: usize = 64;

/// Series of an app, before and after an update, that count as changed without being compared: most apps have fewer.
const UNCOMPARED_SERIES: usize = 512;

/// Their text, in which even the labels of all series are quickly escaped and hashed.
const UNCOMPARED_BYTES: usize = UNCOMPARED_SERIES * 256;

/// A cost beyond which it is not counted any further: what costs so much is never done at once, and counting takes time as well.
const MAX_COST: usize = 1_024;

/// The cost of the series of a family that come to be indexed, or no longer.
fn cost_of_indexing(exposition: &Exposition, text: &TextFamily) -> usize {
    let family = &exposition.families()[text.family as usize];
    (family.samples as usize / CHANGED_SERIES_A_FAMILY).max(cost_of_bytes(exposition, family))
}

/// The same by the length of its lines, which counts where they are long or names are escaped.
fn cost_of_bytes(exposition: &Exposition, family: &Family) -> usize {
    let bytes: usize = exposition.run_spans(family).iter().map(|span| span.len()).sum();
    let bytes_a_family = if family.flags.contains(FamilyFlags::QUOTED) {
        INDEXED_BYTES_A_FAMILY
    } else {
        LONG_BYTES_A_FAMILY
    };
    bytes / bytes_a_family
}

/// The cost of families while their series stay the same.
fn least_cost(families: &PagedVec<AppFamily>, exposition: &Exposition) -> usize {
    families.len() + exposition.series() as usize / SAME_SERIES_A_FAMILY
}

/// The cost of the series that come or go with an update that has the same families as the one before.
fn cost_of_series(old: &App, update: &Update) -> usize {
    let all = (old.exposition.series() + update.exposition.series()) as usize;
    let bytes = old.exposition.body().len() + update.exposition.body().len();
    if all <= UNCOMPARED_SERIES && bytes <= UNCOMPARED_BYTES {
        return all / CHANGED_SERIES_A_FAMILY;
    }
    let shared = old.families.iter().zip(update.families.iter()).filter(|(was, _)| was.shared);
    let families = shared.map(|(was, is)| {
        let was = &old.exposition.families()[was.text().family as usize];
        (was, &update.exposition.families()[is.text().family as usize])
    });
    let changed = families.filter(|(was, is)| !has_same_lines(&old.exposition, was, &update.exposition, is));
    let (mut series, mut by_bytes) = (0, 0);
    for (was, is) in changed {
        series += was.samples as usize + is.samples as usize;
        by_bytes += cost_of_bytes(&old.exposition, was) + cost_of_bytes(&update.exposition, is);
    }
    by_bytes.max(series / CHANGED_SERIES_A_FAMILY)
}

impl Catalog {
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
}
