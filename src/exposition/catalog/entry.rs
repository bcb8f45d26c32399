//! A family of the text format, and who contributes to it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds as _;
use std::sync::Arc;

use super::App;
use super::jobs::Only;
use super::parts::{Part, Role, Shape};
use super::series::SeriesIndex;
use super::slab::Id;
use super::strip::{Segment, Strip};
use crate::exposition::Kind;

/// How often `exporter_` is put before the name of a telling label before it is taken to be free: each time is one proxy behind another.
pub(super) const MAX_RANKS: usize = LAST_RANK as usize + 1;
/// The rank that is taken when no name is free.
pub(super) const LAST_RANK: u8 = 7;

/// What one application contributes to a family.
#[derive(Debug, Clone)]
pub(super) struct Contribution {
    /// When the application came to have the family in this shape; nobody else has the same number.
    pub(super) since: u64,
    /// What it is in the application's text.
    pub(super) part: Part,
    /// The number of the update that it came with.
    pub(super) update: u64,
    /// About how many bytes of text it makes.
    pub(super) bytes: u32,
    /// A sum over its series, equal for equal sets of series; 0 while nobody else has the family.
    pub(super) digest: u64,
    /// How many of its series, or groups of series, other applications have as well.
    pub(super) duplicates: u32,
    /// Whether its series carry the label that tells the application.
    pub(super) labelled: bool,
    /// Which of the names that such a label may have its series have already, one bit a rank.
    pub(super) taken: u8,
}

impl Contribution {
    pub(super) fn shape(&self) -> Shape {
        Shape::from(self.part.kind)
    }
}

/// What a family is under OpenMetrics, given all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A family of this type under its OpenMetrics name; creation times and the like are inside.
    Typed(Kind),
    /// Nothing: it goes out inside of another one.
    Inside,
    /// A family of this type, a gauge or an unknown, under its own name.
    Plain(Kind),
    /// An unknown for each of its sample names.
    Split,
}

/// A family of the text format.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name, with underscores for what only UTF-8 aware scrapers can read.
    pub(super) key: Arc<[u8]>,
    /// The application that has had it longest. It decides on the shape.
    pub(super) senior: Id<App>,
    /// The application that has had it longest of those that fit and state a type. It decides on the type.
    pub(super) typer: Option<Id<App>>,
    /// The application whose HELP goes out: the first by name. Not to be relied on while the family is among those whose helper is looked
    /// for.
    pub(super) helper: Option<Id<App>>,
    /// Its shape.
    pub(super) shape: Shape,
    /// Its type in the text format.
    pub(super) kind: Kind,
    /// The family that claims some of its names and has been there longer.
    pub(super) blocked_by: Option<Id<Entry>>,
    /// What it is under OpenMetrics.
    pub(super) form: Form,
    /// When something changed last that all who contribute show.
    pub(super) stamp: u64,
    /// Who contributes.
    pub(super) contributions: Contributions,
}

/// Who contributes to a family.
#[derive(Debug)]
pub(super) enum Contributions {
    /// One application, and never was there another: the family goes out with the rest of that application.
    One(Id<App>, Contribution),
    /// Several, or there were.
    Many(Box<Shared>),
}

/// A family that several applications have, or had.
#[derive(Debug)]
pub(super) struct Shared {
    /// What each contributes.
    pub(super) of: BTreeMap<Id<App>, Contribution>,
    /// Who has which series.
    pub(super) series: SeriesIndex,
    /// How many contributions are labelled.
    pub(super) labelled: u32,
    /// How many contributions have a label that the telling label would be called like, for each rank.
    pub(super) taken: [u32; MAX_RANKS],
    /// How many contributions differ from the senior's in what they are under OpenMetrics, or are unfit for it.
    pub(super) odd: u32,
    /// How many contributions have quoted names.
    pub(super) quoted: u32,
    /// How many contributions state a unit.
    pub(super) united: u32,
    /// About how many bytes of text all make.
    pub(super) bytes: usize,
    /// Those who have had it longest, the eldest last, as far as they have been looked up. Who has left may still be among them.
    pub(super) elders: Vec<(u64, Id<App>)>,
    /// How often `exporter_` stands before the name of the telling label.
    pub(super) rank: u8,
    /// Where it goes out.
    pub(super) home: Home,
}

/// Where a shared family goes out.
#[derive(Debug)]
pub(super) enum Home {
    /// Together with other shared families.
    Group(Id<Group>),
    /// In segments of its own.
    Own(Strip),
}

/// A segment of small shared families.
#[derive(Debug)]
pub(super) struct Group {
    /// The families, in the order in which they came.
    pub(super) families: Vec<Id<Entry>>,
    /// The segment.
    pub(super) segment: Segment,
}

impl Entry {
    pub(super) fn get(&self, app: Id<App>) -> Option<&Contribution> {
        match &self.contributions {
            Contributions::One(only, contribution) => (*only == app).then_some(contribution),
            Contributions::Many(shared) => shared.of.get(&app),
        }
    }

    pub(super) fn get_mut(&mut self, app: Id<App>) -> Option<&mut Contribution> {
        match &mut self.contributions {
            Contributions::One(only, contribution) => (*only == app).then_some(contribution),
            Contributions::Many(shared) => shared.of.get_mut(&app),
        }
    }

    /// All contributions, in the order of the applications.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<App>, &Contribution)> {
        let (one, many) = match &self.contributions {
            Contributions::One(app, contribution) => (Some((*app, contribution)), None),
            Contributions::Many(shared) => (None, Some(shared.of.iter().map(|(app, contribution)| (*app, contribution)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The contributions of some applications, in the order of the applications. The others cost nothing.
    pub(super) fn among(&self, only: Only) -> impl Iterator<Item = (Id<App>, &Contribution)> {
        let bounds = match only {
            Only::Range(from, to) => (Included(from), to.map_or(Unbounded, Excluded)),
            Only::App(app) => (Included(app), Included(app)),
        };
        let (one, many) = match &self.contributions {
            Contributions::One(app, contribution) => (Some((*app, contribution)).filter(|_| bounds.contains(app)), None),
            Contributions::Many(shared) => (None, Some(shared.of.range(bounds).map(|(app, contribution)| (*app, contribution)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The application that has had it longest but for this one.
    pub(super) fn senior_without(&self, app: Option<Id<App>>) -> Option<(Id<App>, &Contribution)> {
        if Some(self.senior) != app {
            return self.get(self.senior).map(|it| (self.senior, it));
        }
        self.iter().filter(|(other, _)| Some(*other) != app).min_by_key(|(_, it)| it.since)
    }

    /// The application whose unit goes out: the one that decides on the type, if it states one, or the first that does.
    pub(super) fn uniter(&self) -> Option<Id<App>> {
        let states = |app: &Id<App>| self.get(*app).is_some_and(|it| it.part.united);
        let first = || match &self.contributions {
            Contributions::One(app, contribution) => contribution.part.united.then_some(*app),
            Contributions::Many(shared) if shared.united == 0 => None,
            Contributions::Many(shared) => shared.of.iter().find(|(_, it)| it.part.united).map(|(app, _)| *app),
        };
        self.typer.filter(states).or_else(first)
    }

    pub(super) fn shared(&self) -> Option<&Shared> {
        match &self.contributions {
            Contributions::One(..) => None,
            Contributions::Many(shared) => Some(shared),
        }
    }

    /// How often `exporter_` stands before the name of the telling label.
    pub(super) fn rank(&self) -> u8 {
        self.shared().map_or(0, |shared| shared.rank)
    }

    pub(super) fn shared_mut(&mut self) -> Option<&mut Shared> {
        match &mut self.contributions {
            Contributions::One(..) => None,
            Contributions::Many(shared) => Some(shared),
        }
    }

    /// Whether its samples go out at all.
    pub(super) fn is_active(&self) -> bool {
        self.blocked_by.is_none()
    }

    /// Whether a contribution goes out where the family does.
    pub(super) fn keeps(&self, contribution: &Contribution) -> bool {
        contribution.shape() == self.shape
    }

    /// When the application that has had it longest came to have it.
    pub(super) fn since(&self) -> u64 {
        self.get(self.senior).map_or(u64::MAX, |senior| senior.since)
    }

    /// What all of its contributions are under OpenMetrics, if they agree and are fit for it.
    pub(super) fn common_role(&self) -> Option<Role> {
        let senior = self.get(self.senior)?;
        let agreed = self.shared().map_or(senior.part.fit, |shared| shared.odd == 0);
        agreed.then_some(senior.part.role)
    }

    pub(super) fn is_odd(&self, contribution: &Contribution, role: Role) -> bool {
        contribution.part.role != role || !contribution.part.fit || !self.keeps(contribution)
    }
}
