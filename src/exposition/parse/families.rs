//! The families of a text while it is read, and whose each sample name is.
//!
//! A name belongs to the family that is called so, else to the family whose type claims it by a suffix (a histogram `foo` claims
//! `foo_bucket`, `foo_sum` and `foo_count`). Who is first stands: a header for a claimed name is a fault, and so is a type
//! that would claim the name of a family which has a type or samples already.

use std::ops::Range;

use crate::model::Syntax;

use super::super::family::{Family, FamilyFlags, MetricType, Suffix};
use super::super::hash::Seed;
use super::super::reason::Reason;
use super::super::span::Span;
use super::conformance::ConformanceChecker;
use super::span;
use super::table::Table;

/// A family that is being read.
pub(super) struct FamilyBuilder {
    pub(super) name: Range<usize>,
    pub(super) kind: MetricType,
    /// Whether a TYPE line was seen.
    pub(super) typed: bool,
    pub(super) help: Option<Span>,
    pub(super) unit: Option<Span>,
    pub(super) samples: u32,
    pub(super) flags: FamilyFlags,
    pub(super) conformance: ConformanceChecker,
    /// Whether a line of it was seen, where order matters.
    pub(super) entered: bool,
    /// Its name was taken by another family before it had anything but a HELP line.
    taken: bool,
}

/// Whose a name is.
#[derive(Clone, Copy)]
pub(super) struct NameOwner {
    pub(super) family: usize,
    pub(super) suffix: Suffix,
}

/// The families so far. What it holds is bounded by the text: each name in it stands there.
#[derive(Default)]
pub(super) struct Families {
    builders: Vec<FamilyBuilder>,
    names: Vec<(Span, NameOwner)>,
    /// From hashes of names to `names`.
    table: Table,
    /// The suffixes that names of families have.
    suffixed: FamilyFlags,
    /// Where a name is put together.
    scratch: Vec<u8>,
}

/// The most families that room is kept for from one text to the next.
const KEPT_FAMILIES: usize = 1_024;

impl Families {
    pub(super) fn reset(&mut self) {
        self.builders.clear();
        self.names.clear();
        self.suffixed = FamilyFlags::NONE;
        self.table.reset(0);
    }

    /// Gives back what only a huge text needed.
    pub(super) fn trim(&mut self) {
        self.builders.clear();
        self.builders.shrink_to(KEPT_FAMILIES);
        self.names.clear();
        self.names.shrink_to(KEPT_FAMILIES);
        self.table.trim();
    }

    pub(super) fn builders(&self) -> &[FamilyBuilder] {
        &self.builders
    }

    pub(super) fn builder(&mut self, family: usize) -> &mut FamilyBuilder {
        &mut self.builders[family]
    }

    /// Whose the name is; a new family's where it is nobody's.
    pub(super) fn owner(&mut self, body: &[u8], name: Range<usize>, hash: u64, syntax: Syntax) -> NameOwner {
        if let Some(owner) = self.find(body, &body[name.clone()], hash) {
            return owner;
        }
        let owner = self.claimant(body, &body[name.clone()], syntax).unwrap_or(NameOwner {
            family: self.builders.len(),
            suffix: Suffix::Bare,
        });
        if owner.family == self.builders.len() {
            self.suffixed |= Suffix::split(&body[name.clone()]).map_or(FamilyFlags::NONE, |(_, suffix)| suffix.as_flag());
            self.builders.push(FamilyBuilder {
                name: name.clone(),
                kind: MetricType::Unknown,
                typed: false,
                help: None,
                unit: None,
                samples: 0,
                flags: FamilyFlags::NONE,
                conformance: ConformanceChecker::default(),
                entered: false,
                taken: false,
            });
        }
        self.enter(body, name, hash, owner);
        owner
    }

    fn enter(&mut self, body: &[u8], name: Range<usize>, hash: u64, owner: NameOwner) {
        let names = &self.names;
        let index = super::narrow(names.len());
        self.table
            .find_or_insert(hash, index, |at| names[at as usize].0.of(body) == &body[name.clone()]);
        self.names.push((span(name), owner));
    }

    fn find(&self, body: &[u8], name: &[u8], hash: u64) -> Option<NameOwner> {
        let at = self.table.find(hash, |at| self.names[at as usize].0.of(body) == name)?;
        Some(self.names[at as usize].1)
    }

    /// The family that claims a name which has no entry yet.
    fn claimant(&self, body: &[u8], name: &[u8], syntax: Syntax) -> Option<NameOwner> {
        let (base, suffix) = Suffix::split(name)?;
        let owner = self.find(body, base, Seed::get().name(base))?;
        let claims = self.builders[owner.family].kind.suffixes(syntax).contains(&suffix);
        (owner.suffix == Suffix::Bare && claims).then_some(NameOwner {
            family: owner.family,
            suffix,
        })
    }

    /// Gives a family its type, unless names that it would claim are somebody's. Says which families of nothing but a HELP line lost
    /// their name by that.
    pub(super) fn set_kind(&mut self, body: &[u8], family: usize, kind: MetricType, syntax: Syntax) -> Result<Vec<(Span, Reason)>, Reason> {
        let base = self.builders[family].name.clone();
        let mut lost = Vec::new();
        let suffixed = self.suffixed;
        for suffix in kind.suffixes(syntax).iter().filter(|suffix| suffixed.contains(suffix.as_flag())) {
            if let Some(at) = self.entry(body, &body[base.clone()], *suffix) {
                let other = &self.builders[self.names[at].1.family];
                if other.typed || other.samples > 0 || other.unit.is_some() {
                    return Err(Reason::Taken(*suffix, span(base)));
                }
                lost.push((at, *suffix));
            }
        }
        self.builders[family].kind = kind;
        self.builders[family].typed = true;
        Ok(lost
            .into_iter()
            .filter_map(|(at, suffix)| self.take_name(at, family, suffix))
            .collect())
    }

    /// The entry of a family's name with a suffix.
    fn entry(&mut self, body: &[u8], base: &[u8], suffix: Suffix) -> Option<usize> {
        self.scratch.clear();
        self.scratch.extend_from_slice(base);
        self.scratch.extend_from_slice(suffix.as_str().as_bytes());
        let (name, names) = (&self.scratch[..], &self.names);
        self.table
            .find(Seed::get().name(name), |at| names[at as usize].0.of(body) == name)
            .map(|at| at as usize)
    }

    fn take_name(&mut self, entry: usize, family: usize, suffix: Suffix) -> Option<(Span, Reason)> {
        let base = span(self.builders[family].name.clone());
        let (_, owner) = &mut self.names[entry];
        let loser = &mut self.builders[owner.family];
        loser.taken = true;
        *owner = NameOwner { family, suffix };
        loser.help.map(|help| (help, Reason::Claimed("HELP", suffix, base)))
    }

    /// The families that stand, with the number that each had while reading.
    pub(super) fn kept(&self) -> impl Iterator<Item = (usize, &FamilyBuilder)> {
        self.builders.iter().enumerate().filter(|(_, builder)| !builder.taken)
    }
}

impl FamilyBuilder {
    /// The family as it is kept.
    pub(super) fn finish(&self, runs: Range<u32>) -> Family {
        Family {
            name: span(self.name.clone()),
            kind: self.kind,
            help: self.help,
            unit: self.unit,
            runs,
            samples: self.samples,
            flags: self.flags,
        }
    }
}
