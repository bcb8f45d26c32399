//! A family of the text format, and the apps that contribute to it.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::sync::{Arc, OnceLock};

use super::app::AppId;
use super::paged::Id;
use super::segments::{Group, SegmentList};
use super::series::SeriesIndex;
use super::text_family::{OpenMetricsRole, Shape, TextFamily};
use crate::exposition::{MetricType, Suffix};

/// Names of the disambiguating label: `exporter_` is put before it at most seven times, once for each proxy in a chain.
pub(super) const MAX_RANKS: usize = LAST_RANK as usize + 1;
/// The rank that is taken when no name is free.
pub(super) const LAST_RANK: u8 = 7;

/// Contributions a page of [`Contributions`]: the unit of copy-on-write.
const PAGE_CONTRIBUTIONS: usize = 128;

/// A family by its key.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// A family that one app declares and no other app ever had: it is exposed together with the rest of that app. `at` is its place among
    /// the app's families. Twelve bytes, because there may be millions.
    Private { app: AppId, at: u32 },
    /// A family that several apps contribute to, or did, or that is in conflict.
    Shared(Arc<Shared>),
}

/// A family of several apps.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Its name by the underscores rule.
    pub(super) key: Arc<[u8]>,
    /// Grows when something changes that all contributing apps show.
    pub(super) version: u64,
    /// The contributions.
    pub(super) contributions: Contributions,
    /// True if its samples are exposed untyped, one family for each sample name, because apps contradict each other.
    pub(super) in_conflict: bool,
    /// The number of declared contributions of each kind, by [`kind_index`].
    pub(super) kinds: [u32; KINDS],
    /// The number of contributions that stem from families of other names in conflict.
    pub(super) derived: u32,
    /// The number of contributions with each role.
    pub(super) roles: Vec<(OpenMetricsRole, u32)>,
    /// The number of contributions that do not make a valid OpenMetrics family.
    pub(super) invalid: u32,
    /// The number of contributions with quoted names.
    pub(super) quoted: u32,
    /// The number of contributions that state a unit.
    pub(super) units: u32,
    /// The number of contributions with the disambiguating label.
    pub(super) labelled: u32,
    /// For each rank the number of contributions that have a label of the name which the disambiguating label would get.
    pub(super) taken: [u32; MAX_RANKS],
    /// The number of times that `exporter_` stands before the name of the disambiguating label.
    pub(super) rank: u8,
    /// About how many bytes of text all contributions make.
    pub(super) bytes: usize,
    /// The apps of each series.
    pub(super) series: SeriesIndex,
    /// Declared contributions with a stated type, oldest first; kept only while they state several.
    pub(super) by_age: Option<BTreeSet<(u64, AppId)>>,
    /// The app whose HELP is exposed: the first by name that has one. Looked for when it is needed.
    pub(super) help_owner: OnceLock<Option<AppId>>,
    /// Its form under OpenMetrics.
    pub(super) form: OpenMetricsForm,
    /// The segment that shows it.
    pub(super) placement: Placement,
}

/// The number of kinds.
pub(super) const KINDS: usize = 8;

/// The place of a kind in [`Shared::kinds`].
pub(super) const fn kind_index(kind: MetricType) -> usize {
    kind as usize
}

/// The segment that shows a shared family.
#[derive(Debug, Clone)]
pub(super) enum Placement {
    /// A segment of small shared families.
    Group(Id<Arc<Group>>),
    /// Segments of its own.
    Large(SegmentList),
}

/// The form of a family under OpenMetrics, given all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenMetricsForm {
    /// A family of this type under its OpenMetrics name; creation times and the like are inside.
    Typed(MetricType),
    /// No family of its own: it is part of another one.
    Inside,
    /// A family of this type, a gauge or an unknown, under its own name.
    Plain(MetricType),
    /// An unknown for each of its sample names.
    Split,
}

/// The contribution of one app to a shared family.
#[derive(Debug, Clone)]
pub(super) struct Contribution {
    /// The update with which the app came to have the family in this shape; no other app has the same number.
    pub(super) since: u64,
    /// The place of the declared family among the app's families.
    pub(super) at: u32,
    /// The family in the app's text: as declared, or one sample name of a family in conflict.
    pub(super) text: TextFamily,
    /// True if it stems from a family of another name that is in conflict.
    pub(super) derived: bool,
    /// About how many bytes of text it makes.
    pub(super) bytes: u32,
    /// A sum over its series, equal for equal sets of series; never 0.
    pub(super) digest: u64,
    /// The number of its series, or groups of series, that other apps have as well.
    pub(super) duplicates: u32,
    /// True if its series carry the disambiguating label.
    pub(super) labelled: bool,
    /// The ranks whose label names its series use themselves, one bit each.
    pub(super) taken: u8,
    /// True if it is counted in [`App::conflicts`](super::app::App::conflicts).
    pub(super) counted_in_conflict: bool,
}

/// Contributions in the order of their apps, copied on write a page at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Contributions {
    /// Never an empty page.
    pages: Vec<Arc<Vec<(AppId, Contribution)>>>,
    len: usize,
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

impl Contributions {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The page that has, or would have, an app.
    fn page(&self, app: AppId) -> usize {
        self.pages.partition_point(|page| page[0].0 <= app).saturating_sub(1)
    }

    fn place(&self, app: AppId) -> Option<(usize, usize)> {
        let page = self.page(app);
        let at = self.pages.get(page)?.binary_search_by_key(&app, |(app, _)| *app).ok()?;
        Some((page, at))
    }

    pub(super) fn get(&self, app: AppId) -> Option<&Contribution> {
        let (page, at) = self.place(app)?;
        Some(&self.pages[page][at].1)
    }

    pub(super) fn get_mut(&mut self, app: AppId) -> Option<&mut Contribution> {
        let (page, at) = self.place(app)?;
        Some(&mut Arc::make_mut(&mut self.pages[page])[at].1)
    }

    /// Adds the contribution of an app that has none.
    pub(super) fn insert(&mut self, app: AppId, contribution: Contribution) {
        let number = self.page(app);
        self.len += 1;
        let Some(page) = self.pages.get_mut(number) else {
            self.pages.push(Arc::new(vec![(app, contribution)]));
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
        let tail = page.split_off(if at == page.len() { at } else { PAGE_CONTRIBUTIONS / 2 });
        if tail.is_empty() {
            self.pages.insert(number + 1, Arc::new(vec![(app, contribution)]));
            return;
        }
        if at <= page.len() {
            page.insert(at, (app, contribution));
            self.pages.insert(number + 1, Arc::new(tail));
        } else {
            let mut tail = tail;
            tail.insert(at - page.len(), (app, contribution));
            self.pages.insert(number + 1, Arc::new(tail));
        }
    }

    pub(super) fn remove(&mut self, app: AppId) -> Option<Contribution> {
        let (number, at) = self.place(app)?;
        let page = Arc::make_mut(&mut self.pages[number]);
        let (_, contribution) = page.remove(at);
        self.len -= 1;
        if page.is_empty() {
            self.pages.remove(number);
        }
        Some(contribution)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AppId, &Contribution)> {
        self.pages.iter().flat_map(|page| page.iter()).map(|(app, it)| (*app, it))
    }

    /// The contributions of some apps; the others cost nothing.
    pub(super) fn among(&self, only: AppRange) -> impl Iterator<Item = (AppId, &Contribution)> {
        let (from, bounds) = match only {
            AppRange::Range(from, to) => (from, (Included(from), to.map_or(Unbounded, Excluded))),
            AppRange::App(app) => (app, (Included(app), Included(app))),
        };
        let first = self.page(from);
        let pages = self.pages.iter().enumerate().skip(first);
        let all = pages.flat_map(move |(number, page)| {
            let skip = if number == first {
                page.partition_point(|(app, _)| *app < from)
            } else {
                0
            };
            page[skip..].iter()
        });
        all.map(|(app, it)| (*app, it)).take_while(move |(app, _)| bounds.contains(app))
    }

    /// The first app.
    pub(super) fn first(&self) -> Option<AppId> {
        Some(self.pages.first()?.first()?.0)
    }

    /// The first app whose contribution `wanted` accepts.
    pub(super) fn find(&self, mut wanted: impl FnMut(&Contribution) -> bool) -> Option<AppId> {
        self.iter().find(|(_, it)| wanted(it)).map(|(app, _)| app)
    }
}

impl Entry {
    pub(super) fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Private { .. } => None,
            Self::Shared(shared) => Some(shared),
        }
    }

    pub(super) fn shared_mut(&mut self) -> Option<&mut Shared> {
        match self {
            Self::Private { .. } => None,
            Self::Shared(shared) => Some(Arc::make_mut(shared)),
        }
    }

    pub(super) fn in_conflict(&self) -> bool {
        self.shared().is_some_and(|shared| shared.in_conflict)
    }
}

impl Shared {
    /// A family without contributions.
    pub(super) fn new(key: Arc<[u8]>, placement: Placement) -> Self {
        Self {
            key,
            version: 0,
            contributions: Contributions::default(),
            in_conflict: false,
            kinds: [0; KINDS],
            derived: 0,
            roles: Vec::new(),
            invalid: 0,
            quoted: 0,
            units: 0,
            labelled: 0,
            taken: [0; MAX_RANKS],
            rank: 0,
            bytes: 0,
            series: SeriesIndex::default(),
            by_age: None,
            help_owner: OnceLock::new(),
            form: OpenMetricsForm::Plain(MetricType::Unknown),
            placement,
        }
    }

    /// The family of a contribution as it is exposed: in a conflict untyped, and a histogram's or summary's only as far as its samples
    /// bear the family's own name.
    pub(super) fn exposed(&self, contribution: &Contribution) -> TextFamily {
        if self.in_conflict {
            contribution.text.untyped(Suffix::Bare)
        } else {
            contribution.text
        }
    }

    /// True if samples of a contribution are exposed under this family's name.
    pub(super) fn shows(&self, contribution: &Contribution) -> bool {
        !self.in_conflict || !self.exposed(contribution).names.is_empty()
    }

    /// The declared contributions of each shape: scalar, histogram, summary.
    pub(super) fn shapes(&self) -> [u32; 3] {
        let (histograms, summaries) = (
            self.kinds[kind_index(MetricType::Histogram)],
            self.kinds[kind_index(MetricType::Summary)],
        );
        [self.kinds.iter().sum::<u32>() - histograms - summaries, histograms, summaries]
    }

    /// The type in the text format.
    pub(super) fn kind(&self) -> MetricType {
        if self.in_conflict {
            return MetricType::Unknown;
        }
        let mut stated = STATED.into_iter().filter(|kind| self.kinds[kind_index(*kind)] > 0);
        match (stated.next(), stated.next()) {
            (Some(kind), None) => kind,
            (None, _) => MetricType::Unknown,
            (Some(_), Some(_)) => self.type_owner().map_or(MetricType::Unknown, |(_, kind)| kind),
        }
    }

    /// The app that has had the family longest of those that state a type, while they state several.
    pub(super) fn type_owner(&self) -> Option<(AppId, MetricType)> {
        let (_, app) = self.by_age.as_ref()?.first()?;
        Some((*app, self.contributions.get(*app)?.text.kind))
    }

    /// True if contributions state several types.
    pub(super) fn states_several_kinds(&self) -> bool {
        STATED.into_iter().filter(|kind| self.kinds[kind_index(*kind)] > 0).count() > 1
    }

    /// The shape of the family where it is not in conflict.
    pub(super) fn shape(&self) -> Shape {
        if self.in_conflict {
            return Shape::Scalar;
        }
        match self.shapes() {
            [_, 0, 0] => Shape::Scalar,
            [_, 0, _] => Shape::Summary,
            _ => Shape::Histogram,
        }
    }

    /// The role of all contributions, if they agree and are valid.
    pub(super) fn common_role(&self) -> Option<OpenMetricsRole> {
        match &*self.roles {
            [(role, _)] if self.invalid == 0 && !self.in_conflict => Some(*role),
            _ => None,
        }
    }

    /// True if some contribution has this role.
    pub(super) fn has_role(&self, role: OpenMetricsRole) -> bool {
        self.roles.iter().any(|(it, _)| *it == role)
    }

    /// Counts a contribution in.
    pub(super) fn count_in(&mut self, app: AppId, contribution: &Contribution) {
        let text = &contribution.text;
        if contribution.derived {
            self.derived += 1;
        } else {
            self.kinds[kind_index(text.kind)] += 1;
        }
        match self.roles.iter_mut().find(|(role, _)| *role == text.role) {
            Some((_, count)) => *count += 1,
            None => self.roles.push((text.role, 1)),
        }
        self.invalid += u32::from(!text.valid);
        self.quoted += u32::from(text.quoted);
        self.units += u32::from(text.has_unit);
        self.labelled += u32::from(contribution.labelled);
        self.count_taken_in(contribution.taken);
        self.bytes += contribution.bytes as usize;
        if let Some(by_age) = &mut self.by_age {
            if is_stated(contribution) {
                by_age.insert((contribution.since, app));
            }
        } else if self.states_several_kinds() {
            // The contribution itself may be among the members already, or not yet.
            let stated = self
                .contributions
                .iter()
                .filter(|(_, it)| is_stated(it))
                .map(|(app, it)| (it.since, app));
            let own = is_stated(contribution).then_some((contribution.since, app));
            self.by_age = Some(stated.chain(own).collect());
        }
    }

    /// Counts a contribution out.
    pub(super) fn count_out(&mut self, app: AppId, contribution: &Contribution) {
        let text = &contribution.text;
        if contribution.derived {
            self.derived -= 1;
        } else {
            self.kinds[kind_index(text.kind)] -= 1;
        }
        if let Some(at) = self.roles.iter().position(|(role, _)| *role == text.role) {
            self.roles[at].1 -= 1;
            if self.roles[at].1 == 0 {
                self.roles.remove(at);
            }
        }
        self.invalid -= u32::from(!text.valid);
        self.quoted -= u32::from(text.quoted);
        self.units -= u32::from(text.has_unit);
        self.labelled -= u32::from(contribution.labelled);
        self.count_taken_out(contribution.taken);
        self.bytes -= contribution.bytes as usize;
        if let Some(by_age) = &mut self.by_age {
            by_age.remove(&(contribution.since, app));
        }
        if !self.states_several_kinds() {
            self.by_age = None;
        }
    }

    /// Counts the ranks whose label names one contribution uses.
    pub(super) fn count_taken_in(&mut self, ranks: u8) {
        let counts = self.taken.iter_mut().enumerate();
        counts.for_each(|(rank, count)| *count += u32::from(ranks >> rank & 1));
    }

    /// Counts the ranks out whose label names one contribution used.
    pub(super) fn count_taken_out(&mut self, ranks: u8) {
        let counts = self.taken.iter_mut().enumerate();
        counts.for_each(|(rank, count)| *count -= u32::from(ranks >> rank & 1));
    }

    /// The app whose UNIT is exposed: the first that states one; none in a conflict.
    pub(super) fn unit_owner(&self) -> Option<AppId> {
        if self.units == 0 || self.in_conflict {
            return None;
        }
        self.contributions.find(|it| it.text.has_unit)
    }
}

/// The kinds that a TYPE line can state.
const STATED: [MetricType; KINDS - 1] = [
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::Summary,
    MetricType::GaugeHistogram,
    MetricType::Info,
    MetricType::StateSet,
];

fn is_stated(contribution: &Contribution) -> bool {
    !contribution.derived && contribution.text.kind != MetricType::Unknown
}
