//! The names of all families of a body, and the fields around their metrics.

use std::ops::Range;

use hashbrown::HashTable;

use super::{count_families, for_each_family};
use crate::family::{FamilyFlags, Suffix};
use crate::hash::name_hash;
use crate::protobuf::MessageType;
use crate::protobuf::error::{DecodeError, DecodeErrorKind};
use crate::protobuf::field::family;
use crate::protobuf::text::slice;
use crate::protobuf::wire::{Fault, Fields};
use crate::syntax::Syntax;

/// A message without its metrics.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) range: Range<usize>,
    pub(super) name: Range<usize>,
    pub(super) name_hash: u64,
    pub(super) help: Range<usize>,
    pub(super) unit: Range<usize>,
    pub(super) kind: MessageType,
    pub(super) metrics: usize,
    /// The bytes of the metrics with their tags and lengths.
    pub(super) metric_bytes: usize,
}

impl Head {
    pub(super) fn read(body: &[u8], range: Range<usize>) -> Result<Self, Fault> {
        let mut fields = Fields::new(body, range.clone());
        let mut head = Self {
            range: range.clone(),
            name: 0..0,
            name_hash: 0,
            help: 0..0,
            unit: 0..0,
            kind: MessageType::Counter,
            metrics: 0,
            metric_bytes: 0,
        };
        // In the order of encoders; what comes in another one is read below.
        if let Some(name) = fields.message_of(family::NAME)? {
            head.name = name;
        }
        if let Some(help) = fields.message_of(family::HELP)? {
            head.help = help;
        }
        let type_start = fields.at();
        if let Some(number) = fields.number_of(family::TYPE)? {
            head.kind = MessageType::from_number(number).ok_or((type_start, DecodeErrorKind::UnknownType(number)))?;
        }
        let before = fields.at();
        while fields.message_of(family::METRIC)?.is_some() {
            head.metrics += 1;
        }
        head.metric_bytes = fields.at() - before;
        while let Some(field) = fields.next()? {
            match field.number {
                family::NAME => head.name = field.bytes()?,
                family::HELP => head.help = field.bytes()?,
                family::UNIT => head.unit = field.bytes()?,
                family::TYPE => {
                    let number = field.varint()?;
                    head.kind = MessageType::from_number(number).ok_or((field.start, DecodeErrorKind::UnknownType(number)))?;
                }
                family::METRIC => {
                    head.metrics += 1;
                    head.metric_bytes += fields.at() - field.start;
                    field.bytes()?;
                }
                _ => {}
            }
        }
        if head.name.is_empty() && head.metrics > 0 {
            return Err((range.start, DecodeErrorKind::NoName));
        }
        head.name_hash = name_hash(slice(body, &head.name));
        Ok(head)
    }
}

/// The number of messages that are not read a second time for the fields around their metrics. More than pages have; about a hundred bytes
/// each.
const MAX_HEADS: usize = 16_384;

/// The least bytes of a family with a metric: its length, a name of one byte, an empty metric.
const MIN_FAMILY: usize = 6;

/// The names of all families with metrics. Twelve bytes each and a byte of the table.
pub(super) struct Names<'a> {
    body: &'a [u8],
    table: HashTable<Name>,
    /// The first messages.
    pub(super) heads: Vec<Head>,
    /// The suffixes that some of the names have.
    suffixes: FamilyFlags,
}

#[derive(Clone, Copy)]
pub(super) struct Name {
    /// Its first occurrence.
    pub(super) start: u32,
    len: u32,
    /// True if several messages have it.
    pub(super) repeated: bool,
    /// The types of its messages, a bit for each.
    kinds: u8,
}

/// The suffixes of the samples that each family of a type has, so that no other family can have such a name in text.
fn required_suffixes(kind: MessageType) -> impl Iterator<Item = Suffix> {
    let suffixes = kind.metric_type().suffixes(Syntax::OpenMetrics).iter().copied();
    suffixes.filter(|suffix| !matches!(suffix, Suffix::Total | Suffix::Created))
}

impl Name {
    const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl<'a> Names<'a> {
    pub(super) fn of(body: &'a [u8], memory: NamesMemory) -> Result<Self, DecodeError> {
        let NamesMemory { table, heads } = memory;
        let mut names = Self {
            body,
            table,
            heads,
            suffixes: FamilyFlags::NONE,
        };
        let count = count_families(body);
        names.table.reserve(count.min(body.len() / MIN_FAMILY), |_| 0);
        names.heads.reserve(count.min(MAX_HEADS));
        for_each_family(body, |range| {
            let head = Head::read(body, range)?;
            names.insert(&head);
            if names.heads.len() < MAX_HEADS {
                names.heads.push(head);
            }
            Ok(())
        })?;
        Ok(names)
    }

    /// The memory for the names of another body.
    pub(super) fn memory(self) -> NamesMemory {
        let Self { mut table, mut heads, .. } = self;
        heads.clear();
        heads.shrink_to(KEPT_FAMILIES);
        table.clear();
        table.shrink_to(KEPT_FAMILIES, |_| 0);
        NamesMemory { table, heads }
    }

    fn insert(&mut self, head: &Head) {
        if head.metrics == 0 {
            return;
        }
        let body = self.body;
        let name = slice(body, &head.name);
        let hash = |it: &Name| name_hash(slice(body, &it.range()));
        let kind = 1 << head.kind as u8;
        match self.table.find_mut(head.name_hash, |it| slice(body, &it.range()) == name) {
            Some(known) => {
                known.repeated = true;
                known.kinds |= kind;
            }
            None => {
                // No body is longer than 32 bits can count.
                let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let entry = Name {
                    start: narrow(head.name.start),
                    len: narrow(name.len()),
                    repeated: false,
                    kinds: kind,
                };
                self.table.insert_unique(head.name_hash, entry, hash);
                self.suffixes |= Suffix::split(name).map_or(FamilyFlags::NONE, |(_, suffix)| suffix.as_flag());
            }
        }
    }

    pub(super) fn get(&self, name: &[u8], hash: u64) -> Option<Name> {
        self.table.find(hash, |it| slice(self.body, &it.range()) == name).copied()
    }

    /// True if a family has this name.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.get(name, name_hash(name)).is_some()
    }

    /// True if a family has the name of another one with a suffix.
    pub(super) fn has(&self, base: &[u8], suffix: Suffix) -> bool {
        self.suffixes.contains(suffix.as_flag()) && self.contains(&[base, suffix.as_str().as_bytes()].concat())
    }

    /// True if a name is one that the samples of another family have, by its type.
    pub(super) fn is_claimed(&self, name: &[u8]) -> bool {
        // Most names with a suffix are those of counters.
        let Some((base, suffix)) = Suffix::split(name).filter(|(_, suffix)| *suffix != Suffix::Total) else {
            return false;
        };
        let Some(other) = self.get(base, name_hash(base)) else {
            return false;
        };
        let kinds = MessageType::ALL.into_iter().filter(|kind| other.kinds & (1 << *kind as u8) != 0);
        kinds.flat_map(required_suffixes).any(|required| required == suffix)
    }

    /// True if another family has a name that the samples of a family of this name and type have.
    pub(super) fn claims_others(&self, name: &[u8], kind: MessageType) -> bool {
        required_suffixes(kind).any(|suffix| self.has(name, suffix))
    }
}

/// Number of families for the names of which memory is kept.
const KEPT_FAMILIES: usize = 2_048;

/// The memory of [`Names`].
#[derive(Default)]
pub(super) struct NamesMemory {
    table: HashTable<Name>,
    heads: Vec<Head>,
}
