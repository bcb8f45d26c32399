//! The families of a text while it is parsed, and the owner of each sample name.
//!
//! A name belongs to the family with this name, else to the family that claims it by type and suffix (a histogram `foo` claims
//! `foo_bucket`, `foo_sum` and `foo_count`). The first family wins: a header for a claimed name is a fault, and so is a type that would
//! claim the name of a family that already has a type or samples.
//!
//! Totals and creation times are claimed only while no family of its own has the name: a program may have a gauge `foo_created` beside its
//! histogram `foo` without creation times, and neither should lose its type. A TYPE line makes such a name the family's own, unless
//! the other family has samples of this name.

use std::ops::Range;

use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::hash::Seed;
use crate::reason::Reason;
use crate::span::Span;
use crate::syntax::Syntax;

use super::conformance::ConformanceChecker;
use super::span;
use super::table::HashTable;

/// A family that is being parsed.
pub(super) struct FamilyBuilder {
    pub(super) name: Range<usize>,
    pub(super) kind: MetricType,
    /// True after a TYPE line.
    pub(super) typed: bool,
    pub(super) help: Option<Span>,
    pub(super) unit_len: u16,
    pub(super) samples: u32,
    pub(super) flags: FamilyFlags,
    pub(super) conformance: ConformanceChecker,
    /// True after a line of the family, for the detection of interleaved families.
    pub(super) entered: bool,
    /// True if another family claimed its name while it had only a HELP line.
    taken: bool,
}

/// The family that a sample name belongs to.
#[derive(Clone, Copy)]
pub(super) struct NameOwner {
    pub(super) family: usize,
    pub(super) suffix: Suffix,
}

/// The effects of a type on other families.
pub(super) struct Claims {
    /// The HELP lines of families without anything else that lost their names.
    pub(super) lost: Vec<(Span, Reason)>,
    /// Names that the type claims in OpenMetrics, and that other families keep.
    pub(super) beside: Vec<Reason>,
}

/// The families so far. Its size is bounded by the text, which contains each of the names.
#[derive(Default)]
pub(super) struct Families {
    builders: Vec<FamilyBuilder>,
    names: Vec<(Span, NameOwner)>,
    /// From hashes of names to `names`.
    table: HashTable,
    /// The suffixes that occur in names of families.
    suffixed: FamilyFlags,
    /// The suffixes with which families claim names by their types.
    claimed: FamilyFlags,
    /// Buffer for composing names.
    scratch: Vec<u8>,
}

/// Capacity for families that is kept from one text to the next; only huge texts need more.
const KEPT_FAMILIES: usize = 1_024;

impl Families {
    pub(super) fn reset(&mut self) {
        self.builders.clear();
        self.names.clear();
        self.suffixed = FamilyFlags::NONE;
        self.claimed = FamilyFlags::NONE;
        self.table.reset(0);
    }

    /// Frees capacity that only a huge text needed.
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

    /// The owner of a name. A name without owner gets a new family.
    pub(super) fn owner(&mut self, body: &[u8], name: Range<usize>, hash: u64, syntax: Syntax) -> NameOwner {
        if let Some(owner) = self.find(body, &body[name.clone()], hash) {
            return owner;
        }
        let split = Suffix::split(&body[name.clone()]);
        let claimant = split.and_then(|(base, suffix)| self.claimant(body, base, suffix, syntax));
        let owner = claimant.unwrap_or_else(|| self.push(body, name.clone()));
        self.enter(body, name, hash, owner);
        owner
    }

    /// The owner of a name in a TYPE line, which makes it a family's own while another family only claims it and need not have such
    /// samples. `is_last` is true for the name of the last sample.
    pub(super) fn typed_owner(&mut self, body: &[u8], name: Range<usize>, hash: u64, syntax: Syntax, is_last: bool) -> NameOwner {
        let owner = self.owner(body, name.clone(), hash, syntax);
        let has_samples = self.builders[owner.family].flags.contains(owner.suffix.as_flag());
        if !is_optional(owner.suffix) || has_samples || is_last {
            return owner;
        }
        let at = self
            .table
            .find(hash, |at| self.names[at as usize].0.of(body) == &body[name.clone()]);
        let own = self.push(body, name);
        if let Some(at) = at {
            self.names[at as usize].1 = own;
        }
        own
    }

    /// A new family of this name.
    fn push(&mut self, body: &[u8], name: Range<usize>) -> NameOwner {
        let split = Suffix::split(&body[name.clone()]);
        self.suffixed |= split.map_or(FamilyFlags::NONE, |(_, suffix)| suffix.as_flag());
        let family = self.builders.len();
        self.builders.push(FamilyBuilder {
            name,
            kind: MetricType::Unknown,
            typed: false,
            help: None,
            unit_len: 0,
            samples: 0,
            flags: FamilyFlags::NONE,
            conformance: ConformanceChecker::default(),
            entered: false,
            taken: false,
        });
        NameOwner {
            family,
            suffix: Suffix::Bare,
        }
    }

    /// The suffix with which the type of another family claims a name that has become a family's own, and that family.
    pub(super) fn claim_beside(&self, body: &[u8], name: &[u8], syntax: Syntax) -> Option<(Suffix, Span)> {
        let (base, suffix) = Suffix::split(name).filter(|(_, suffix)| is_optional(*suffix))?;
        let claimant = self.claimant(body, base, suffix, syntax)?;
        Some((suffix, span(self.builders[claimant.family].name.clone())))
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

    /// The family that claims a name that has no entry yet: its name and the suffix.
    fn claimant(&self, body: &[u8], base: &[u8], suffix: Suffix, syntax: Syntax) -> Option<NameOwner> {
        if !self.claimed.contains(suffix.as_flag()) {
            return None;
        }
        let owner = self.find(body, base, Seed::get().name(base))?;
        let claims = self.builders[owner.family].kind.suffixes(syntax).contains(&suffix);
        (owner.suffix == Suffix::Bare && claims).then_some(NameOwner {
            family: owner.family,
            suffix,
        })
    }

    /// Sets the type of a family, unless another family owns a name that the type claims and has to have.
    pub(super) fn set_kind(&mut self, body: &[u8], family: usize, kind: MetricType, syntax: Syntax) -> Result<Claims, Reason> {
        let base = self.builders[family].name.clone();
        let (mut lost, mut beside) = (Vec::new(), Vec::new());
        let suffixed = self.suffixed;
        for suffix in kind.suffixes(syntax).iter().filter(|suffix| suffixed.contains(suffix.as_flag())) {
            if let Some(at) = self.entry(body, &body[base.clone()], *suffix) {
                let other = &self.builders[self.names[at].1.family];
                let is_own = other.typed || other.samples > 0 || other.unit_len > 0;
                match (is_own, is_optional(*suffix)) {
                    (true, true) => beside.push(Reason::Taken(*suffix, span(base.clone()))),
                    (true, false) => return Err(Reason::Taken(*suffix, span(base))),
                    (false, _) => lost.push((at, *suffix)),
                }
            }
        }
        self.builders[family].kind = kind;
        self.builders[family].typed = true;
        for suffix in kind.suffixes(syntax) {
            self.claimed |= suffix.as_flag();
        }
        let lost = lost.into_iter().filter_map(|(at, suffix)| self.take_name(at, family, suffix));
        Ok(Claims {
            lost: lost.collect(),
            beside,
        })
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

    /// The families that kept their names, with their numbers.
    pub(super) fn kept(&self) -> impl Iterator<Item = (usize, &FamilyBuilder)> {
        self.builders.iter().enumerate().filter(|(_, builder)| !builder.taken)
    }
}

/// True for the suffixes of samples that a family need not have.
const fn is_optional(suffix: Suffix) -> bool {
    matches!(suffix, Suffix::Total | Suffix::Created)
}

impl FamilyBuilder {
    /// The finished family; see [`Family`] for its runs.
    pub(super) fn finish(&self, runs: Span, has_one_run: bool) -> Family {
        Family {
            name: span(self.name.clone()),
            kind: self.kind,
            samples: self.samples,
            flags: self.flags,
            help: self.help.unwrap_or_default(),
            runs,
            has_one_run,
            unit_len: self.unit_len,
        }
    }
}
