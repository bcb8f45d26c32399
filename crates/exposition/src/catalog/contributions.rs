//! The contributions of apps to a shared family, and their counts.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::sync::Arc;

use super::app::AppId;
use super::halves::Halves;
use super::paged::Id;
use super::text_family::{OpenMetricsRole, Shape, StoredTextFamily, TextFamily};
use crate::family::MetricType;

/// Names of the disambiguating label: `exporter_` is put before it at most seven times, once for each proxy in a chain.
pub(super) const MAX_RANKS: usize = LAST_RANK as usize + 1;
/// The rank that is taken when no name is free.
pub(super) const LAST_RANK: u8 = 7;

/// Contributions a page of [`Contributions`]: the unit of copy-on-write.
const PAGE_CONTRIBUTIONS: usize = 128;

/// Contributions of which no counts are kept: counting them takes less than looking for kept counts in memory, and a wide text that two
/// apps have makes very many families of two contributions.
const MAX_UNCOUNTED: usize = 8;

/// The number of kinds.
pub(super) const KINDS: usize = MetricType::ALL.len();

/// The place of a kind in [`FamilyCounts::kinds`].
pub(super) const fn kind_index(kind: MetricType) -> usize {
    kind as usize
}

/// The contribution of one app to a shared family.
#[derive(Debug, Clone)]
pub(super) struct Contribution {
    /// The update with which the app came to have the family in this shape; no other app has the same number.
    pub(super) since: Halves,
    /// The place of the declared family among the app's families.
    pub(super) at: u32,
    pub(super) text: StoredTextFamily,
    /// True if it stems from a family of another name that is in conflict.
    pub(super) derived: bool,
    /// About how many bytes of text it makes.
    pub(super) bytes: u32,
    /// The number of its series, or groups of series, that other apps have as well.
    pub(super) duplicates: u32,
    /// True if its series carry the disambiguating label.
    pub(super) labelled: bool,
    /// The ranks of the label names that its series use themselves, one bit each.
    pub(super) taken: u8,
    /// True if it is counted in [`App::conflicts`](super::app::App::conflicts).
    pub(super) counted_in_conflict: bool,
}

impl Contribution {
    /// The family in the app's text: as declared, or one sample name of a family in conflict.
    pub(super) fn text(&self) -> TextFamily {
        self.text.get()
    }

    /// True if a TYPE line states its type.
    fn is_stated(&self) -> bool {
        !self.derived && self.text().kind != MetricType::Unknown
    }
}

/// Sums over the contributions to a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FamilyCounts {
    /// The number of declared contributions of each kind, by [`kind_index`].
    kinds: [u32; KINDS],
    /// The number of contributions that stem from families of other names in conflict.
    pub(super) derived: u32,
    /// The number of contributions with each role, by [`role_index`].
    roles: [u32; 2 * KINDS],
    /// The number of contributions that do not make a valid OpenMetrics family.
    pub(super) invalid: u32,
    /// The number of contributions with quoted names.
    pub(super) quoted: u32,
    /// The number of contributions that state a unit.
    pub(super) units: u32,
    /// The number of contributions with records of other types than their own.
    pub(super) other_records: u32,
    /// The number of contributions with the disambiguating label.
    pub(super) labelled: u32,
    /// For each rank the number of contributions that have a label of the name which the disambiguating label would get.
    pub(super) taken: [u32; MAX_RANKS],
    /// About how many bytes of text all contributions make.
    pub(super) bytes: usize,
}

const fn role_index(role: OpenMetricsRole) -> usize {
    2 * kind_index(role.kind) + role.primary as usize
}

impl FamilyCounts {
    fn of<'a>(contributions: impl Iterator<Item = (AppId, &'a Contribution)>) -> Self {
        let mut counts = Self::default();
        contributions.for_each(|(_, it)| counts.add(it));
        counts
    }

    fn add(&mut self, contribution: &Contribution) {
        self.change(contribution, |count, more| *count += more);
        self.bytes += contribution.bytes as usize;
    }

    fn subtract(&mut self, contribution: &Contribution) {
        self.change(contribution, |count, less| *count -= less);
        self.bytes -= contribution.bytes as usize;
    }

    fn change(&mut self, contribution: &Contribution, change: fn(&mut u32, u32)) {
        let text = contribution.text();
        if contribution.derived {
            change(&mut self.derived, 1);
        } else {
            change(&mut self.kinds[kind_index(text.kind)], 1);
        }
        change(&mut self.roles[role_index(text.role)], 1);
        change(&mut self.invalid, (!text.valid).into());
        change(&mut self.quoted, text.quoted.into());
        change(&mut self.units, text.has_unit.into());
        change(&mut self.other_records, text.other_records.into());
        change(&mut self.labelled, contribution.labelled.into());
        for (rank, count) in self.taken.iter_mut().enumerate() {
            change(count, (contribution.taken >> rank & 1).into());
        }
    }

    fn contributions(&self) -> usize {
        (self.kinds.iter().sum::<u32>() + self.derived) as usize
    }

    /// The declared contributions of each shape: scalar, histogram, summary.
    pub(super) fn shapes(&self) -> [u32; 3] {
        let (histograms, summaries) = (
            self.kinds[kind_index(MetricType::Histogram)],
            self.kinds[kind_index(MetricType::Summary)],
        );
        [self.kinds.iter().sum::<u32>() - histograms - summaries, histograms, summaries]
    }

    /// The shape of the family where it is not in conflict.
    pub(super) fn shape(&self) -> Shape {
        match self.shapes() {
            [_, 0, 0] => Shape::Scalar,
            [_, 0, _] => Shape::Summary,
            _ => Shape::Histogram,
        }
    }

    /// True if some declared contribution has this type.
    pub(super) const fn has_kind(&self, kind: MetricType) -> bool {
        self.kinds[kind_index(kind)] > 0
    }

    /// The types that contributions state.
    pub(super) fn stated_kinds(&self) -> impl Iterator<Item = MetricType> {
        STATED.into_iter().filter(|kind| self.kinds[kind_index(*kind)] > 0)
    }

    /// True if contributions state several types.
    fn states_several_kinds(&self) -> bool {
        self.stated_kinds().nth(1).is_some()
    }

    /// The role of all contributions, if they agree and are valid.
    pub(super) fn common_role(&self) -> Option<OpenMetricsRole> {
        let mut roles = (0..).zip(&self.roles).filter(|(_, count)| **count > 0);
        match (roles.next(), roles.next()) {
            (Some((index, _)), None) if self.invalid == 0 => Some(role_at(index)),
            _ => None,
        }
    }

    /// True if some contribution has this role.
    pub(super) const fn has_role(&self, role: OpenMetricsRole) -> bool {
        self.roles[role_index(role)] > 0
    }
}

fn role_at(index: usize) -> OpenMetricsRole {
    OpenMetricsRole {
        kind: MetricType::ALL[index / 2],
        primary: index % 2 == 1,
    }
}

/// The kinds that a TYPE line can state.
const STATED: [MetricType; KINDS - 1] = {
    let [_, stated @ ..] = MetricType::ALL;
    stated
};

/// Contributions in the order of their apps, with their counts.
#[derive(Debug, Clone)]
pub(super) enum Contributions {
    /// At most two, without an allocation: the first slots are used.
    Two([Option<Entry>; 2]),
    /// More, shared with snapshots.
    Many(Arc<Many>),
}

/// The contribution of an app.
type Entry = (AppId, Contribution);

/// Contributions in pages, with their counts.
#[derive(Debug, Clone)]
pub(super) struct Many {
    /// Copied on write a page at a time. Never an empty page.
    pages: Vec<Page>,
    /// Kept while there are more than [`MAX_UNCOUNTED`].
    counted: Option<Box<Counted>>,
}

/// Sums and an order of many contributions.
#[derive(Debug, Clone)]
struct Counted {
    counts: FamilyCounts,
    /// Contributions with a stated type, oldest first; kept only while they state several.
    by_age: Option<BTreeSet<(u64, AppId)>>,
}

/// Contributions in the order of their apps, shared with snapshots.
type Page = Arc<Vec<Entry>>;

impl Default for Contributions {
    fn default() -> Self {
        Self::Two([None, None])
    }
}

/// Apps by id.
#[derive(Debug, Clone, Copy)]
pub(super) enum AppRange {
    /// Those from the first up to but without the second.
    Range(AppId, Option<AppId>),
    /// One.
    App(AppId),
}

impl AppRange {
    pub(super) const ALL: Self = Self::Range(Id::FIRST, None);
}

/// The number of the page that has, or would have, an app.
fn page_of(pages: &[Page], app: AppId) -> usize {
    pages.partition_point(|page| page[0].0 <= app).saturating_sub(1)
}

/// The page of an app and its place there.
fn place(pages: &[Page], app: AppId) -> Option<(usize, usize)> {
    let number = page_of(pages, app);
    let page = pages.get(number)?;
    // Where all apps of a range contribute, as in a fleet of one program, no search is needed.
    let guess = app.distance(page[0].0);
    if page.get(guess).is_some_and(|(other, _)| *other == app) {
        return Some((number, guess));
    }
    let at = page.binary_search_by_key(&app, |(app, _)| *app).ok()?;
    Some((number, at))
}

fn insert_into_pages(pages: &mut Vec<Page>, app: AppId, contribution: Contribution) {
    let number = page_of(pages, app);
    let Some(page) = pages.get_mut(number) else {
        pages.push(Arc::new(vec![(app, contribution)]));
        return;
    };
    let page = Arc::make_mut(page);
    let at = page.partition_point(|(other, _)| *other < app);
    if page.len() < PAGE_CONTRIBUTIONS {
        if page.len() == page.capacity() {
            // By a quarter and not to the double: most families have few contributors.
            page.reserve_exact((page.len() / 4).max(1));
        }
        page.insert(at, (app, contribution));
        return;
    }
    // Apps mostly come in the order of their ids: then pages stay full.
    let mut tail = page.split_off(if at == page.len() { at } else { PAGE_CONTRIBUTIONS / 2 });
    if tail.is_empty() || at > page.len() {
        tail.insert(at - page.len(), (app, contribution));
    } else {
        page.insert(at, (app, contribution));
    }
    pages.insert(number + 1, Arc::new(tail));
}

impl Contributions {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Two(two) => two.iter().flatten().count(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    pub(super) fn get(&self, app: AppId) -> Option<&Contribution> {
        match self {
            Self::Two(two) => two.iter().flatten().find(|(id, _)| *id == app).map(|(_, it)| it),
            Self::Many(many) => {
                let (page, at) = place(&many.pages, app)?;
                Some(&many.pages[page][at].1)
            }
        }
    }

    fn slices(&self) -> (&[Option<Entry>], &[Page]) {
        match self {
            Self::Two(two) => (two, &[]),
            Self::Many(many) => (&[], &many.pages),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AppId, &Contribution)> {
        let (two, pages) = self.slices();
        let paged = pages.iter().flat_map(|page| page.iter());
        two.iter().flatten().chain(paged).map(|(app, it)| (*app, it))
    }

    /// The contributions of some apps; the others cost nothing.
    pub(super) fn among(&self, range: AppRange) -> impl Iterator<Item = (AppId, &Contribution)> {
        let (from, bounds) = match range {
            AppRange::Range(from, to) => (from, (Included(from), to.map_or(Unbounded, Excluded))),
            AppRange::App(app) => (app, (Included(app), Included(app))),
        };
        let (two, pages) = self.slices();
        let first = page_of(pages, from);
        let numbered = pages.iter().enumerate().skip(first);
        let paged = numbered.flat_map(move |(number, page)| {
            let skip = if number == first {
                page.partition_point(|(app, _)| *app < from)
            } else {
                0
            };
            page[skip..].iter()
        });
        let listed = two.iter().flatten().filter(move |(app, _)| *app >= from);
        let all = listed.chain(paged).map(|(app, it)| (*app, it));
        all.take_while(move |(app, _)| bounds.contains(app))
    }

    /// The first app.
    pub(super) fn first(&self) -> Option<AppId> {
        self.iter().next().map(|(app, _)| app)
    }

    /// The first app with a contribution that `wanted` accepts.
    pub(super) fn find(&self, mut wanted: impl FnMut(&Contribution) -> bool) -> Option<AppId> {
        self.iter().find(|(_, it)| wanted(it)).map(|(app, _)| app)
    }

    fn counted(&self) -> Option<&Counted> {
        match self {
            Self::Two(_) => None,
            Self::Many(many) => many.counted.as_deref(),
        }
    }

    /// The sums over all contributions.
    pub(super) fn counts(&self) -> Cow<'_, FamilyCounts> {
        match self.counted() {
            Some(counted) => Cow::Borrowed(&counted.counts),
            None => Cow::Owned(FamilyCounts::of(self.iter())),
        }
    }

    /// The app that has had the family longest of those that state a type, while they state several.
    pub(super) fn type_owner(&self) -> Option<(AppId, MetricType)> {
        let app = match self.counted() {
            Some(counted) => counted.by_age.as_ref()?.first()?.1,
            None if self.counts().states_several_kinds() => {
                let stated = self.iter().filter(|(_, it)| it.is_stated());
                stated.min_by_key(|(app, it)| (u64::from(it.since), *app))?.0
            }
            None => return None,
        };
        Some((app, self.get(app)?.text().kind))
    }

    /// Adds the contribution of an app that has none.
    pub(super) fn insert(&mut self, app: AppId, contribution: Contribution) {
        match self {
            Self::Two([Some((first, _)), second @ None]) if *first < app => *second = Some((app, contribution)),
            Self::Two([first, second @ None]) => {
                *second = first.take();
                *first = Some((app, contribution));
            }
            Self::Two(two) => {
                let both = std::mem::take(two).into_iter().flatten();
                let mut many = Many {
                    pages: vec![Arc::new(both.collect())],
                    counted: None,
                };
                many.insert(app, contribution);
                *self = Self::Many(Arc::new(many));
            }
            Self::Many(many) => Arc::make_mut(many).insert(app, contribution),
        }
    }

    /// Removes the contribution of an app.
    pub(super) fn remove(&mut self, app: AppId) -> Option<Contribution> {
        match self {
            Self::Two(two) => {
                let at = two.iter().position(|it| it.as_ref().is_some_and(|(id, _)| *id == app))?;
                let (_, gone) = two[at].take()?;
                if at == 0 {
                    two.swap(0, 1);
                }
                Some(gone)
            }
            Self::Many(shared) => {
                let many = Arc::make_mut(shared);
                let gone = many.remove(app)?;
                // At one and not at two, so that an app that comes and goes does not change the form each time.
                if let [page] = &mut *many.pages
                    && page.len() == 1
                {
                    let last = Arc::make_mut(page).pop();
                    *self = Self::Two([last, None]);
                }
                Some(gone)
            }
        }
    }

    /// Changes the contribution of an app; returns what `change` returns.
    pub(super) fn change<T>(&mut self, app: AppId, change: impl FnOnce(&mut Contribution) -> T) -> Option<T> {
        match self {
            Self::Two(two) => two.iter_mut().flatten().find(|(id, _)| *id == app).map(|(_, it)| change(it)),
            Self::Many(many) => Arc::make_mut(many).change(app, change),
        }
    }

    /// Changes the number of an app's duplicates, on which no count depends.
    pub(super) fn duplicates_mut(&mut self, app: AppId) -> Option<&mut u32> {
        let contribution = match self {
            Self::Two(two) => two.iter_mut().flatten().find(|(id, _)| *id == app).map(|(_, it)| it),
            Self::Many(many) => many_mut(&mut Arc::make_mut(many).pages, app),
        };
        Some(&mut contribution?.duplicates)
    }
}

/// The contribution of an app, to change it.
fn many_mut(pages: &mut [Page], app: AppId) -> Option<&mut Contribution> {
    let (page, at) = place(pages, app)?;
    Some(&mut Arc::make_mut(&mut pages[page])[at].1)
}

impl Many {
    fn len(&self) -> usize {
        match &self.counted {
            None => self.pages.iter().map(|page| page.len()).sum(),
            Some(counted) => counted.counts.contributions(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (AppId, &Contribution)> {
        self.pages.iter().flat_map(|page| page.iter()).map(|(app, it)| (*app, it))
    }

    fn insert(&mut self, app: AppId, contribution: Contribution) {
        if let Some(counted) = &mut self.counted {
            counted.add(app, &contribution);
        }
        insert_into_pages(&mut self.pages, app, contribution);
        self.update_counted();
    }

    fn remove(&mut self, app: AppId) -> Option<Contribution> {
        let (number, at) = place(&self.pages, app)?;
        let page = Arc::make_mut(&mut self.pages[number]);
        let (_, gone) = page.remove(at);
        if page.is_empty() {
            self.pages.remove(number);
        }
        if let Some(counted) = &mut self.counted {
            counted.subtract(app, &gone);
        }
        self.update_counted();
        Some(gone)
    }

    fn change<T>(&mut self, app: AppId, change: impl FnOnce(&mut Contribution) -> T) -> Option<T> {
        let contribution = many_mut(&mut self.pages, app)?;
        let Some(counted) = &mut self.counted else {
            return Some(change(contribution));
        };
        counted.subtract(app, contribution);
        let result = change(contribution);
        counted.add(app, contribution);
        self.update_counted();
        Some(result)
    }

    /// Begins to keep counts, and begins or ends to keep the order by age, as the number of contributions and their types demand.
    fn update_counted(&mut self) {
        // Looked at only where it can be needed: counting pages takes a while.
        if self.counted.is_none() && self.len() > MAX_UNCOUNTED {
            let counts = FamilyCounts::of(self.iter());
            self.counted = Some(Box::new(Counted { counts, by_age: None }));
        }
        let Some(counted) = &mut self.counted else { return };
        let several = counted.counts.states_several_kinds();
        if !several {
            counted.by_age = None;
        } else if counted.by_age.is_none() {
            let entries = self.pages.iter().flat_map(|page| page.iter());
            let stated = entries.filter(|(_, it)| it.is_stated());
            counted.by_age = Some(stated.map(|(app, it)| (it.since.into(), *app)).collect());
        }
    }
}

impl Counted {
    fn add(&mut self, app: AppId, contribution: &Contribution) {
        self.counts.add(contribution);
        if let Some(by_age) = self.by_age.as_mut().filter(|_| contribution.is_stated()) {
            by_age.insert((contribution.since.into(), app));
        }
    }

    fn subtract(&mut self, app: AppId, contribution: &Contribution) {
        self.counts.subtract(contribution);
        if let Some(by_age) = &mut self.by_age {
            by_age.remove(&(contribution.since.into(), app));
        }
    }
}

#[cfg(test)]
impl Contributions {
    /// Panics where what is kept differs from what it is kept of.
    pub(super) fn check_invariants(&self) {
        assert!(self.iter().is_sorted_by_key(|(app, _)| app), "contributions are in order");
        assert_eq!(self.len(), self.iter().count());
        if self.len() > MAX_UNCOUNTED {
            assert!(self.counted().is_some(), "many contributions are counted");
        }
        if let Some(counted) = self.counted() {
            assert_eq!(counted.counts, FamilyCounts::of(self.iter()), "kept counts");
            assert_eq!(counted.by_age.is_some(), counted.counts.states_several_kinds());
            let stated = self.iter().filter(|(_, it)| it.is_stated());
            if let Some(by_age) = &counted.by_age {
                assert_eq!(*by_age, stated.map(|(app, it)| (it.since.into(), app)).collect());
            }
        }
        if let Self::Many(many) = self {
            assert!(many.pages.iter().all(|page| !page.is_empty()), "no page is empty");
        }
    }
}

#[cfg(test)]
mod tests;
