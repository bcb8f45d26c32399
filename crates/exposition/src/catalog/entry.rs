//! A family of the text format, and the apps that contribute to it.

use std::borrow::Cow;
use std::sync::Arc;

use super::app::{App, AppId};
use super::contributions::{Contribution, Contributions, FamilyCounts};
use super::paged::{Id, LateId};
use super::segments::{Group, SegmentList};
use super::series::SeriesIndex;
use super::text_family::{OpenMetricsRole, Shape, TextFamily};
use crate::family::{MetricType, Suffix};

/// A family by its key. Twelve bytes, because there may be millions.
#[derive(Debug, Clone, Copy)]
pub(super) enum FamilyEntry {
    /// A family that one app declares and no other app ever had: it is exposed together with the rest of that app. `at` is its place among
    /// the app's families.
    Private { app: AppId, at: u32 },
    /// A family that several apps contribute to, or did, or that is in conflict.
    Shared(Id<SharedFamily>),
}

/// A [`FamilyEntry`] with what it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum FamilyRef<'a> {
    Private { app: AppId, at: u32 },
    Shared(&'a SharedFamily),
}

/// The name of a shared family by the underscores rule.
#[derive(Debug, Clone)]
pub(super) enum Key {
    /// That of the family at this place of an app that declares it: nothing is kept twice.
    Declared { app: AppId, at: u32 },
    /// A copy, where no app declares the family.
    Owned(Arc<[u8]>),
}

/// A family of several apps. What may be large is shared with snapshots, since a page of these is copied at once.
#[derive(Debug, Clone)]
pub(super) struct SharedFamily {
    /// Its name.
    pub(super) key: Key,
    /// Grows when something changes that all contributing apps show.
    pub(super) version: u64,
    /// The contributions.
    pub(super) contributions: Contributions,
    /// True if its samples are exposed untyped, one family for each sample name, because apps contradict each other.
    pub(super) in_conflict: bool,
    /// The number of times that `exporter_` stands before the name of the disambiguating label.
    pub(super) rank: u8,
    /// The apps of each series.
    pub(super) series: SeriesIndex,
    /// The owner of the exposed HELP: the first app by name that has one, or [`Id::NONE`]. Looked for when it is needed.
    pub(super) help_owner: LateId<Arc<App>>,
    /// Its form under OpenMetrics.
    pub(super) form: OpenMetricsForm,
    /// The segment that shows it.
    pub(super) placement: Placement,
}

/// The segment that shows a shared family.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placement {
    /// A segment of small shared families.
    Group(Id<Arc<Group>>),
    /// Segments of its own.
    Large(Id<Arc<SegmentList>>),
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

impl<'a> FamilyRef<'a> {
    pub(super) const fn shared(self) -> Option<&'a SharedFamily> {
        match self {
            Self::Private { .. } => None,
            Self::Shared(shared) => Some(shared),
        }
    }

    pub(super) fn in_conflict(self) -> bool {
        self.shared().is_some_and(|shared| shared.in_conflict)
    }
}

impl SharedFamily {
    /// A family without contributions.
    pub(super) fn new(key: Key, placement: Placement) -> Self {
        Self {
            key,
            version: 0,
            contributions: Contributions::default(),
            in_conflict: false,
            rank: 0,
            series: SeriesIndex::default(),
            help_owner: LateId::unknown(),
            form: OpenMetricsForm::Plain(MetricType::Unknown),
            placement,
        }
    }

    /// The family of a contribution as it is exposed: in a conflict untyped, and a histogram's or summary's only as far as its samples
    /// bear the family's own name.
    pub(super) fn exposed(&self, contribution: &Contribution) -> TextFamily {
        if self.in_conflict {
            contribution.text().untyped(Suffix::Bare)
        } else {
            contribution.text()
        }
    }

    /// True if samples of a contribution are exposed under this family's name.
    pub(super) fn shows(&self, contribution: &Contribution) -> bool {
        !self.in_conflict || !self.exposed(contribution).names.is_empty()
    }

    /// True if its header, in every format, is that before the samples of its first app.
    pub(super) fn has_header_first(&self) -> bool {
        !self.in_conflict && self.form != OpenMetricsForm::Split
    }

    /// Sums over the contributions.
    pub(super) fn counts(&self) -> Cow<'_, FamilyCounts> {
        self.contributions.counts()
    }

    /// The type in the text format.
    pub(super) fn kind(&self) -> MetricType {
        if self.in_conflict {
            return MetricType::Unknown;
        }
        let counts = self.counts();
        let mut stated = counts.stated_kinds();
        match (stated.next(), stated.next()) {
            (Some(kind), None) => kind,
            (None, _) => MetricType::Unknown,
            (Some(_), Some(_)) => self.type_owner().map_or(MetricType::Unknown, |(_, kind)| kind),
        }
    }

    /// The app that has had the family longest of those that state a type, while they state several.
    pub(super) fn type_owner(&self) -> Option<(AppId, MetricType)> {
        self.contributions.type_owner()
    }

    /// The shape of the family as exposed.
    pub(super) fn shape(&self) -> Shape {
        if self.in_conflict { Shape::Scalar } else { self.counts().shape() }
    }

    /// The role of all contributions, if they agree and are valid.
    pub(super) fn common_role(&self) -> Option<OpenMetricsRole> {
        if self.in_conflict { None } else { self.counts().common_role() }
    }

    /// The owner of the exposed UNIT: the first app that states one; none in a conflict.
    pub(super) fn unit_owner(&self) -> Option<AppId> {
        if self.in_conflict || self.counts().units == 0 {
            return None;
        }
        self.contributions.find(|it| it.text().has_unit)
    }
}
