//! A body of messages to text and records.
//!
//! Two passes: the first collects the names of all families, because OpenMetrics gives a family of a type more names than its own, and a
//! family that would claim the name of another is written without that claim. The second writes the text. Memory beside the text: one table
//! of the names.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use hashbrown::HashTable;

use super::MessageType;
use super::error::{DecodeError, DecodeErrorKind, quoted};
use super::field::{bucket, exemplar, family, histogram, metric, quantile, scalar, summary, timestamp};
use super::plain;
use super::records::{self, Native};
use super::text::{LabelHead, SampleValue, TextWriter, put_label, slice};
use super::text_index::{Bounds, IndexBuilder, TextIndex};
use super::wire::{Fault, Fields};
use crate::byte_scan::common_prefix;
use crate::escape::is_legacy_label_name;
use crate::family::{FamilyFlags, Suffix};
use crate::hash::{Seed, name_hash};
use crate::sample::MAX_EXEMPLAR_CHARS;
use crate::span::Span;

/// The longest body and the longest text: offsets have 32 bits.
const MAX_BYTES: usize = u32::MAX as usize - 1;

/// The text of a body, and what text cannot carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// OpenMetrics text with all families: a native histogram has the count, the sum and the bucket `+Inf`, beside its classic buckets.
    pub text: Bytes,
    /// The families of which text cannot carry all, as messages of the same format: for
    /// [`Exposition::with_records`](crate::Exposition::with_records). Empty if there are none.
    pub records: Bytes,
}

/// Decodes length-delimited messages. The text may have `max_text` bytes: one byte of a body can make as many bytes of text as a name is
/// long.
///
/// # Errors
/// The first fault of the body. Duplicate series, invalid names and the like are no such fault: the parser of the text reports them.
pub fn decode(body: &[u8], max_text: usize) -> Result<Decoded, DecodeError> {
    decode_indexed(body, max_text).map(|(decoded, _)| decoded)
}

/// Decodes a body, and makes the index of its text if that need not be parsed.
pub(crate) fn decode_indexed(body: &[u8], max_text: usize) -> Result<(Decoded, Option<TextIndex>), DecodeError> {
    let max_text = max_text.min(MAX_BYTES);
    if body.len() > MAX_BYTES {
        return Err(DecodeError {
            family: 1,
            name: None,
            offset: MAX_BYTES,
            kind: DecodeErrorKind::TooLong(MAX_BYTES),
        });
    }
    let mut scratch = Scratch::take();
    let names = Names::of(body, std::mem::take(&mut scratch.names))?;
    let mut decoder = Decoder::new(body, &names, max_text, scratch);
    for_each_family(body, |range| decoder.family(range))?;
    if std::str::from_utf8(decoder.out.text()).is_err() {
        for_each_family(body, |range| find_bad_text(body, range))?;
    }
    let (decoded, index, mut scratch) = decoder.finish();
    scratch.names = names.memory();
    scratch.put_back();
    Ok((decoded, index))
}

/// The records for which memory is kept.
const KEPT_RECORDS: usize = 1 << 18;

/// Number of families for the names of which memory is kept.
const KEPT_FAMILIES: usize = 2_048;

/// Working memory of one thread, so that decoding allocates little more than its result: at most about 1.5 MiB between two bodies.
#[derive(Default)]
struct Scratch {
    out: TextWriter,
    records: Vec<u8>,
    label_names: Vec<LabelName>,
    leading: Vec<LeadingLabel>,
    names: NamesMemory,
}

/// The memory of [`Names`].
#[derive(Default)]
struct NamesMemory {
    table: HashTable<Name>,
    heads: Vec<Head>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    fn take() -> Self {
        SCRATCH.take()
    }

    fn put_back(self) {
        SCRATCH.set(self);
    }
}

/// The place of a part of a text in the body that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyPlace {
    /// The metric family, from 1.
    family: u32,
    name: String,
    /// The metric of the family, from 1; `None` for its name, help, type or unit.
    metric: Option<u32>,
    /// The byte offset in the body, from 0.
    offset: usize,
}

impl BodyPlace {
    /// The byte offset in the body, from 0.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for BodyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protobuf metric family {} \"{}\", ", self.family, self.name.escape_debug())?;
        if let Some(metric) = self.metric {
            write!(f, "metric {metric}, ")?;
        }
        write!(f, "byte {}", self.offset)
    }
}

/// The places in a valid body of byte offsets of its text. Those of its end have none.
pub(crate) fn places(body: &[u8], offsets: &[u32]) -> Vec<Option<BodyPlace>> {
    let mut wanted: Vec<(u32, usize)> = offsets.iter().copied().zip(0..).collect();
    wanted.sort_unstable_by(|one, other| other.cmp(one));
    let mut places = vec![None; offsets.len()];
    let Ok(names) = Names::of(body, NamesMemory::default()) else {
        return places;
    };
    let mut decoder = Decoder::new(body, &names, MAX_BYTES, Scratch::default());
    decoder.index.give_up();
    decoder.wanted = wanted;
    // All of it was decoded before.
    let _ = for_each_family(body, |range| decoder.family(range));
    for (at, place) in decoder.found {
        places[at] = Some(place);
    }
    places
}

/// Calls `each` with the range of each message.
fn for_each_family(body: &[u8], mut each: impl FnMut(Range<usize>) -> Result<(), Fault>) -> Result<(), DecodeError> {
    let mut messages = Fields::new(body, 0..body.len());
    let mut number = 0;
    while !messages.is_empty() {
        number += 1;
        let error = |name: Option<String>, (offset, kind): Fault| DecodeError {
            family: number,
            name,
            offset,
            kind,
        };
        let range = messages.delimited().map_err(|fault| error(None, fault))?;
        each(range.clone()).map_err(|fault| error(name_of(body, range), fault))?;
    }
    Ok(())
}

/// The number of messages, up to the first fault.
fn count_families(body: &[u8]) -> usize {
    let mut messages = Fields::new(body, 0..body.len());
    let mut count = 0;
    while !messages.is_empty() && messages.delimited().is_ok() {
        count += 1;
    }
    count
}

/// The name of a family that may have a fault.
fn name_of(body: &[u8], range: Range<usize>) -> Option<String> {
    let mut fields = Fields::new(body, range);
    while let Ok(Some(field)) = fields.next() {
        if field.number == family::NAME {
            return field.bytes().ok().map(|name| quoted(slice(body, &name)));
        }
    }
    None
}

/// A message without its metrics.
#[derive(Clone)]
struct Head {
    range: Range<usize>,
    name: Range<usize>,
    name_hash: u64,
    help: Range<usize>,
    unit: Range<usize>,
    kind: MessageType,
    metrics: usize,
    /// The bytes of the metrics with their tags and lengths.
    metric_bytes: usize,
}

impl Head {
    fn read(body: &[u8], range: Range<usize>) -> Result<Self, Fault> {
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
struct Names<'a> {
    body: &'a [u8],
    table: HashTable<Name>,
    /// The first messages.
    heads: Vec<Head>,
    /// The suffixes that some of the names have.
    suffixes: FamilyFlags,
}

#[derive(Clone, Copy)]
struct Name {
    /// Its first occurrence.
    start: u32,
    len: u32,
    /// True if several messages have it.
    repeated: bool,
}

impl Name {
    const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl<'a> Names<'a> {
    fn of(body: &'a [u8], memory: NamesMemory) -> Result<Self, DecodeError> {
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
    fn memory(self) -> NamesMemory {
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
        match self.table.find_mut(head.name_hash, |it| slice(body, &it.range()) == name) {
            Some(known) => known.repeated = true,
            None => {
                // No body is longer than 32 bits can count.
                let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let entry = Name {
                    start: narrow(head.name.start),
                    len: narrow(name.len()),
                    repeated: false,
                };
                self.table.insert_unique(head.name_hash, entry, hash);
                self.suffixes |= Suffix::split(name).map_or(FamilyFlags::NONE, |(_, suffix)| suffix.as_flag());
            }
        }
    }

    fn get(&self, name: &[u8], hash: u64) -> Option<Name> {
        self.table.find(hash, |it| slice(self.body, &it.range()) == name).copied()
    }

    /// True if a family has this name.
    fn contains(&self, name: &[u8]) -> bool {
        self.get(name, name_hash(name)).is_some()
    }

    /// True if a family has the name of another one with a suffix.
    fn has(&self, base: &[u8], suffix: Suffix) -> bool {
        self.suffixes.contains(suffix.as_flag()) && self.contains(&[base, suffix.as_str().as_bytes()].concat())
    }
}

/// The form of a family in OpenMetrics text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextForm {
    /// A family of its type.
    Typed,
    /// A counter with samples of this many bytes of its name, and `_total`.
    Total(usize),
    /// Samples without headers, because the type would claim names of other families.
    Untyped,
}

/// The name of a label, which needs no quotes.
struct LabelName {
    name: Range<usize>,
    hash: u64,
    text: LabelHead,
}

/// A label at the beginning of a metric, with the labels before it.
#[derive(Debug, Clone, Copy, Default)]
struct LeadingLabel {
    /// The end of its field, from the beginning of the metric.
    end: usize,
    /// The length of the labels as text.
    text: usize,
    /// The sum of the hashes.
    hash: u64,
}

struct Decoder<'a> {
    body: &'a [u8],
    names: &'a Names<'a>,
    out: TextWriter,
    index: IndexBuilder,
    records: Vec<u8>,
    exemplar_labels: Vec<u8>,
    /// The names of labels that metrics have, by position.
    label_names: Vec<LabelName>,
    /// The labels with which the last metric begins, and their place in the body.
    leading: Vec<LeadingLabel>,
    leading_place: Range<usize>,
    /// True if one of the names is that of a bound, which only some families may have.
    has_bound_label: bool,
    seed: Seed,
    /// True if the family has something that its text lacks.
    text_lacks: bool,
    /// True if another family has the name of the creation times of this one.
    omits_created: bool,
    /// The native histograms of the family, and those without classic buckets.
    native: u32,
    native_only: u32,
    /// The number of the family, from 1.
    family: u32,
    /// Offsets of the text to find in the body, the first one last, with their numbers.
    wanted: Vec<(u32, usize)>,
    found: Vec<(usize, BodyPlace)>,
}

impl<'a> Decoder<'a> {
    fn new(body: &'a [u8], names: &'a Names<'a>, max_text: usize, scratch: Scratch) -> Self {
        let Scratch {
            mut out,
            records,
            label_names,
            leading,
            ..
        } = scratch;
        out.begin(body.len() + body.len() / 2, max_text);
        Self {
            body,
            names,
            out,
            index: IndexBuilder::new(),
            records,
            exemplar_labels: Vec::new(),
            label_names,
            leading,
            leading_place: 0..0,
            has_bound_label: false,
            seed: Seed::get(),
            text_lacks: false,
            omits_created: false,
            native: 0,
            native_only: 0,
            family: 0,
            wanted: Vec::new(),
            found: Vec::new(),
        }
    }

    /// The result, and the memory for another body.
    fn finish(self) -> (Decoded, Option<TextIndex>, Scratch) {
        let Self {
            mut out,
            index,
            mut records,
            mut label_names,
            mut leading,
            ..
        } = self;
        let index = index.finish(out.text());
        let kept = Bytes::copy_from_slice(&records);
        records.clear();
        records.shrink_to(KEPT_RECORDS);
        label_names.clear();
        leading.clear();
        let decoded = Decoded {
            text: out.finish(),
            records: kept,
        };
        let scratch = Scratch {
            out,
            records,
            label_names,
            leading,
            names: NamesMemory::default(),
        };
        (decoded, index, scratch)
    }

    fn form(&self, head: &Head) -> TextForm {
        let (name, names) = (slice(self.body, &head.name), self.names);
        match head.kind {
            MessageType::Gauge | MessageType::Untyped | MessageType::Histogram | MessageType::Summary => TextForm::Typed,
            MessageType::Counter => {
                let base = name.strip_suffix(b"_total").filter(|base| !base.is_empty());
                base.filter(|base| !names.contains(base))
                    .map_or(TextForm::Typed, |base| TextForm::Total(base.len()))
            }
            MessageType::GaugeHistogram => {
                let suffixes = [Suffix::Bucket, Suffix::GCount, Suffix::GSum];
                let is_taken = suffixes.iter().any(|suffix| names.has(name, *suffix));
                if is_taken { TextForm::Untyped } else { TextForm::Typed }
            }
        }
    }

    fn family(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let kept = self.names.heads.get(self.family as usize);
        self.family += 1;
        let head = kept.map_or_else(|| Head::read(self.body, range), |head| Ok(head.clone()))?;
        if head.metrics == 0 {
            return Ok(());
        }
        let form = self.form(&head);
        let name = slice(self.body, &head.name);
        let name = match form {
            TextForm::Total(len) => &name[..len],
            _ => name,
        };
        let entry = self.names.get(slice(self.body, &head.name), head.name_hash);
        let is_first = entry.is_none_or(|entry| entry.start as usize == head.name.start);
        let is_repeated = entry.is_some_and(|entry| entry.repeated);
        self.out.begin_family(name, head.metrics > 1);
        self.omits_created = self.names.has(name, Suffix::Created);
        self.text_lacks = head.kind == MessageType::GaugeHistogram || is_repeated;
        (self.native, self.native_only) = (0, 0);
        if self.has_bound_label {
            self.has_bound_label = false;
            self.label_names.clear();
            self.leading.clear();
        }
        self.index.begin_family(head.kind);
        if self.index.is_plain() && (is_repeated || form == TextForm::Untyped || self.out.is_quoted()) {
            self.index.give_up();
        }
        if is_first && form != TextForm::Untyped {
            self.headers(&head, name).map_err(|kind| (head.range.start, kind))?;
        }
        self.find_places(&head, None, head.range.start);
        let samples = self.out.len();
        let metrics = self.metrics(&head, form)?;
        let end = self.out.len();
        // Without the newline at the end.
        self.index.end_family(span(samples..end - 1));
        if self.text_lacks && form != TextForm::Untyped {
            self.record(&head, metrics)?;
        }
        Ok(())
    }

    /// Writes the metrics of a family. Returns the range in which they are.
    fn metrics(&mut self, head: &Head, form: TextForm) -> Result<Range<usize>, Fault> {
        let mut metrics = head.range.end..head.range.start;
        let mut number = 0;
        let mut fields = Fields::new(self.body, head.range.clone());
        while let Some(field) = fields.next()? {
            if field.number != family::METRIC {
                continue;
            }
            let start = field.start;
            number += 1;
            metrics = metrics.start.min(start)..fields.at();
            self.metric(head, form, field.bytes()?).map_err(|(offset, kind)| match kind {
                DecodeErrorKind::TooLong(_) => (start, kind),
                _ => (offset, kind),
            })?;
            if !self.wanted.is_empty() {
                self.find_places(head, Some(number), start);
            }
        }
        Ok(metrics)
    }

    /// Keeps this place for the wanted offsets of the text that was written last.
    fn find_places(&mut self, head: &Head, metric: Option<u32>, offset: usize) {
        while let Some((_, number)) = self.wanted.pop_if(|(wanted, _)| (*wanted as usize) < self.out.len()) {
            let place = BodyPlace {
                family: self.family,
                name: quoted(slice(self.body, &head.name)),
                metric,
                offset,
            };
            self.found.push((number, place));
        }
    }

    fn headers(&mut self, head: &Head, name: &[u8]) -> Result<(), DecodeErrorKind> {
        let word: &[u8] = match head.kind {
            MessageType::Counter => b"counter",
            MessageType::Gauge => b"gauge",
            MessageType::Summary => b"summary",
            MessageType::Untyped => b"unknown",
            MessageType::Histogram => b"histogram",
            MessageType::GaugeHistogram => b"gaugehistogram",
        };
        // Only a TYPE line makes a name the family's own that the type of another family claims.
        let is_claimed = matches!(Suffix::split(name), Some((_, Suffix::Created | Suffix::Total)));
        if is_claimed {
            self.header("# TYPE ", name, word)?;
        }
        if !head.help.is_empty() {
            let help = slice(self.body, &head.help);
            let start = self.header("# HELP ", name, help)?;
            if self.index.is_plain() {
                let end = self.out.len() - 1;
                self.index.help(&self.out.text()[start..end], span(start..end));
            }
        }
        if !is_claimed {
            self.header("# TYPE ", name, word)?;
        }
        let unit = slice(self.body, &head.unit);
        // A counter that keeps its `_total` in the name of its family cannot state its unit.
        let is_hidden = head.kind == MessageType::Counter && name.ends_with(b"_total");
        if !unit.is_empty() && !is_hidden {
            self.out.header("# UNIT ", unit)?;
            self.index.unit(name, unit);
        }
        self.text_lacks |= !unit.is_empty() && is_hidden;
        Ok(())
    }

    /// Writes a header line with the name of the family. Returns where its value begins.
    fn header(&mut self, keyword: &str, name: &[u8], value: &[u8]) -> Result<usize, DecodeErrorKind> {
        let start = self.out.len() + keyword.len();
        self.index.name(span(start..start + name.len()));
        self.out.header(keyword, value)
    }

    /// Keeps the metrics of a family as they came, under its name and type. They are in this range, among other fields if there are any.
    fn record(&mut self, head: &Head, metrics: Range<usize>) -> Result<(), Fault> {
        let name = slice(self.body, &head.name);
        records::put_family(name, head.kind, head.metric_bytes, &mut self.records);
        let start = self.records.len();
        if metrics.len() == head.metric_bytes {
            self.records.extend_from_slice(slice(self.body, &metrics));
        } else {
            let mut fields = Fields::new(self.body, head.range.clone());
            while let Some(field) = fields.next()? {
                if field.number == family::METRIC {
                    self.records.extend_from_slice(slice(self.body, &(field.start..fields.at())));
                }
            }
        }
        let metrics = span(start..self.records.len());
        self.index.records(metrics, self.native, self.native_only);
        Ok(())
    }

    fn metric(&mut self, head: &Head, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let wanted = match head.kind {
            MessageType::Counter => metric::COUNTER,
            MessageType::Gauge => metric::GAUGE,
            MessageType::Summary => metric::SUMMARY,
            MessageType::Untyped => metric::UNTYPED,
            MessageType::Histogram | MessageType::GaugeHistogram => metric::HISTOGRAM,
        };
        let start = range.start;
        let mut fields = Fields::new(self.body, range);
        let mut labels = self.leading_labels(&mut fields)?;
        // What encoders write next, which is nearly always the last field.
        let mut value = fields.message_of(wanted)?;
        while let Some(field) = fields.next()? {
            match field.number {
                metric::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    self.put_label(name, value, &mut labels);
                }
                metric::TIMESTAMP_MS => self.out.timestamp = field.varint()?.cast_signed(),
                number if number == wanted => {
                    let before = value.replace(field.bytes()?);
                    if before.is_some() {
                        self.index.give_up();
                    }
                }
                // Read again with the records, by its number alone.
                metric::HISTOGRAM => self.index.give_up(),
                _ => {}
            }
        }
        if self.index.is_plain() {
            self.index.metric(labels.hash, head.metrics);
            if self.out.timestamp != 0 {
                self.index.timestamp(self.out.timestamp);
            }
        }
        let value = value.unwrap_or(start..start);
        match head.kind {
            MessageType::Counter => self.counter(form, value),
            MessageType::Gauge | MessageType::Untyped => self.scalar(value),
            MessageType::Summary => self.summary(form, value),
            MessageType::Histogram => self.histogram(form, value, Suffix::Count, Suffix::Sum),
            MessageType::GaugeHistogram => self.histogram(form, value, Suffix::GCount, Suffix::GSum),
        }
    }

    /// Begins a metric with the labels that come first in it. Those with which the metric before begins as well are written already.
    fn leading_labels(&mut self, fields: &mut Fields<'a>) -> Result<LabelsSoFar, Fault> {
        if !self.index.is_plain() {
            self.out.begin_metric(0);
            return Ok(LabelsSoFar::default());
        }
        let body = self.body;
        let start = fields.at();
        let same = common_prefix(&body[self.leading_place.clone()], fields.rest());
        let count = self.leading.iter().take_while(|label| label.end <= same).count();
        self.leading.truncate(count);
        let last = self.leading.last().copied().unwrap_or_default();
        self.out.begin_metric(last.text);
        fields.skip(last.end);
        let mut labels = LabelsSoFar { count, hash: last.hash };
        while let Some(range) = fields.message_of(metric::LABEL)? {
            match self.known_value(labels.count, &range) {
                Some(value) => self.put_known(value, &mut labels),
                None => {
                    let (name, value) = self.label(range)?;
                    self.put_label(name, value, &mut labels);
                }
            }
            self.leading.push(LeadingLabel {
                end: fields.at() - start,
                text: self.out.labels_len(),
                hash: labels.hash,
            });
        }
        self.leading_place = start..fields.at();
        Ok(labels)
    }

    /// The value of a label that has the name of the label at this position in the metric before, if its message has the form that
    /// encoders write: the name, the value.
    #[inline]
    fn known_value(&self, at: usize, label: &Range<usize>) -> Option<Range<usize>> {
        let name = &self.body[self.label_names.get(at)?.name.clone()];
        let value = plain::value_of_label(slice(self.body, label), name)?;
        Some(label.end - value.len()..label.end)
    }

    /// Writes a label with the name of the label at its position in the metric before, and adds its hash.
    #[inline]
    fn put_known(&mut self, value: Range<usize>, so_far: &mut LabelsSoFar) {
        let Some(known) = self.label_names.get(so_far.count) else { return };
        so_far.count += 1;
        let escaped = self.out.known_label(&known.text, self.body, value);
        so_far.hash = so_far.hash.wrapping_add(self.seed.label_value(known.hash, escaped));
    }

    /// Writes a label of the metric, and adds its hash.
    fn put_label(&mut self, name: Range<usize>, value: Range<usize>, so_far: &mut LabelsSoFar) {
        let body = self.body;
        let at = so_far.count;
        if self.index.is_plain()
            && self
                .label_names
                .get(at)
                .is_none_or(|known| body[known.name.clone()] != body[name.clone()])
        {
            self.new_label_name(at, name.clone());
        }
        if self.index.is_plain() {
            self.put_known(value, so_far);
        } else {
            let name = &body[name];
            self.out.label(name, &body[value]);
        }
    }

    /// Keeps the name of a label that the metric before had not at this position. The names that are kept are always ones that a
    /// metric of the family can have together, and but for those of bounds one of any family.
    fn new_label_name(&mut self, at: usize, name: Range<usize>) {
        let body = self.body;
        let text = &body[name.clone()];
        self.label_names.truncate(at);
        let is_twice = self.label_names.iter().any(|known| body[known.name.clone()] == *text);
        if is_twice || !is_legacy_label_name(text) || self.index.is_special_label(text) || !IndexBuilder::has_room(at) {
            return self.index.give_up();
        }
        self.has_bound_label |= IndexBuilder::is_bound(text);
        let hash = self.seed.label_name(text);
        let head = LabelHead::new(text, at == 0);
        self.label_names.push(LabelName { name, hash, text: head });
    }

    /// The name and the value of a label.
    #[inline]
    fn label(&self, range: Range<usize>) -> Result<(Range<usize>, Range<usize>), Fault> {
        let start = range.start;
        let (name, value) = records::read_label(self.body, range)?;
        if name.is_empty() {
            return Err((start, DecodeErrorKind::NoLabelName));
        }
        Ok((name, value))
    }

    fn scalar(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (first, rest) = plain::scalar(self.body, range);
        let mut value = first.unwrap_or_default();
        let mut fields = Fields::new(self.body, rest);
        while let Some(field) = fields.next()? {
            if field.number == scalar::VALUE {
                value = field.double()?;
            }
        }
        self.index.sample(Suffix::Bare);
        self.out.sample(Suffix::Bare, SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    fn counter(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut exemplar, mut created) = (None, None);
        let (first, rest) = plain::scalar(self.body, range);
        let mut value = first.unwrap_or_default();
        let mut fields = Fields::new(self.body, rest);
        while let Some(field) = fields.next()? {
            match field.number {
                scalar::VALUE => value = field.double()?,
                scalar::EXEMPLAR => exemplar = Some(field.bytes()?),
                scalar::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        let is_total = matches!(form, TextForm::Total(_));
        let suffix = if is_total { Suffix::Total } else { Suffix::Bare };
        self.index.sample(suffix);
        self.index.require(is_total && value >= 0.0);
        self.out.sample(suffix, SampleValue::Double(value));
        if let Some(exemplar) = exemplar {
            // Without `_total` the parser of the text leaves it out, and counts it.
            if !is_total {
                self.text_lacks = true;
                self.index.give_up();
            }
            self.exemplar(form, exemplar)?;
        }
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    fn summary(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut sum, mut created) = (0, 0.0, None);
        let mut quantiles = Bounds::default();
        let mut has_bounds = false;
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                summary::COUNT => count = field.varint()?,
                summary::SUM => sum = field.double()?,
                summary::QUANTILE => {
                    if !has_bounds {
                        has_bounds = true;
                        self.out.begin_bounds(Suffix::Bare, "quantile");
                    }
                    self.quantile(&mut quantiles, field.bytes()?)?;
                }
                summary::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        self.index.summary(count, sum);
        self.out.sample(Suffix::Count, SampleValue::Whole(count));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample(Suffix::Sum, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    fn quantile(&mut self, quantiles: &mut Bounds, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut at, mut value) = (0.0, 0.0);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                quantile::QUANTILE => at = field.double()?,
                quantile::VALUE => value = field.double()?,
                _ => {}
            }
        }
        self.index.quantile(quantiles, at, value);
        self.out.bound(at, SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    fn histogram(&mut self, form: TextForm, range: Range<usize>, count_name: Suffix, sum_name: Suffix) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut count_float, mut sum, mut created) = (0, 0.0, 0.0, None);
        let (mut has_native, mut has_last, mut has_classic) = (false, false, false);
        let mut native = Native::default();
        let mut buckets = Bounds::default();
        let mut fields = Fields::new(self.body, range);
        // In the order of encoders; what comes in another one is read below.
        if let Some(number) = fields.number_of(histogram::COUNT)? {
            count = number;
        }
        if let Some(number) = fields.double_of(histogram::SUM)? {
            sum = number;
        }
        while let Some(range) = fields.message_of(histogram::BUCKET)? {
            if !has_classic {
                has_classic = true;
                self.out.begin_bounds(Suffix::Bucket, "le");
            }
            has_last |= self.bucket(form, &mut buckets, range)?;
        }
        has_native |= native.take_first(self.body, &mut fields)?;
        while let Some(field) = fields.next()? {
            match field.number {
                histogram::COUNT => count = field.varint()?,
                histogram::COUNT_FLOAT => count_float = field.double()?,
                histogram::SUM => sum = field.double()?,
                histogram::BUCKET => {
                    if !has_classic {
                        has_classic = true;
                        self.out.begin_bounds(Suffix::Bucket, "le");
                    }
                    has_last |= self.bucket(form, &mut buckets, field.bytes()?)?;
                }
                histogram::CREATED => created = Some(field.bytes()?),
                histogram::SCHEMA..=histogram::EXEMPLARS => {
                    has_native = true;
                    native.take(self.body, field)?;
                }
                _ => {}
            }
        }
        if has_native {
            self.text_lacks = true;
            native.check(start, count, count_float, sum)?;
            self.native += u32::from(native.is_native());
            self.native_only += u32::from(native.is_native() && !has_classic);
        }
        let total = number(count, count_float);
        if !has_last {
            self.index.bucket(&mut buckets, f64::INFINITY, count, count_float);
            if has_classic {
                self.out.bound(f64::INFINITY, total);
            } else {
                self.out.only_bound(Suffix::Bucket, "le", f64::INFINITY, total);
            }
            self.out.end_line().map_err(|kind| (start, kind))?;
        }
        self.index.histogram(&buckets, count, count_float, sum);
        self.out.sample(count_name, total);
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample(sum_name, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        if count_name == Suffix::Count {
            self.created(form, created)
        } else {
            Ok(())
        }
    }

    /// Writes a classic bucket; true if it is the one of infinity.
    #[inline]
    fn bucket(&mut self, form: TextForm, buckets: &mut Bounds, range: Range<usize>) -> Result<bool, Fault> {
        let start = range.start;
        if let Some((count, bound)) = plain::bucket(slice(self.body, &range)) {
            self.index.bucket(buckets, bound, count, 0.0);
            self.out.bound(bound, SampleValue::Whole(count));
            self.out.end_line().map_err(|kind| (start, kind))?;
            return Ok(bound == f64::INFINITY);
        }
        let (mut count, mut count_float, mut bound, mut exemplar) = (0, 0.0, 0.0, None);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                bucket::COUNT => count = field.varint()?,
                bucket::COUNT_FLOAT => count_float = field.double()?,
                bucket::BOUND => bound = field.double()?,
                bucket::EXEMPLAR => exemplar = Some(field.bytes()?),
                _ => {}
            }
        }
        self.index.bucket(buckets, bound, count, count_float);
        self.out.bound(bound, number(count, count_float));
        if let Some(exemplar) = exemplar {
            self.exemplar(form, exemplar)?;
        }
        self.out.end_line().map_err(|kind| (start, kind))?;
        Ok(bound == f64::INFINITY)
    }

    /// Writes the exemplar of the last sample. A family without headers has none.
    fn exemplar(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let mut labels = std::mem::take(&mut self.exemplar_labels);
        labels.clear();
        let (mut value, mut time, mut chars) = (0.0, None, 0);
        let mut names: Vec<&[u8]> = Vec::new();
        let mut is_plain = self.index.is_plain();
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                exemplar::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    let (name, value) = (&self.body[name], &self.body[value]);
                    put_label(name, value, &mut labels);
                    chars += characters(name) + characters(value);
                    if is_plain {
                        let is_named = is_legacy_label_name(name) && !name.starts_with(b"__") && !names.contains(&name);
                        is_plain = is_named && IndexBuilder::has_room(names.len()) && !value.contains(&0);
                        names.push(name);
                    }
                }
                exemplar::VALUE => value = field.double()?,
                exemplar::TIMESTAMP => time = Some(read_time(self.body, field.bytes()?)?),
                _ => {}
            }
        }
        self.text_lacks |= chars > MAX_EXEMPLAR_CHARS;
        if form != TextForm::Untyped {
            self.out.exemplar(&labels, value, time);
        }
        let is_time = time.is_none_or(|(seconds, _)| seconds.unsigned_abs() < MAX_PLAIN_SECONDS);
        if !is_plain || chars > MAX_EXEMPLAR_CHARS || !is_time {
            self.index.give_up();
        }
        self.index.exemplar();
        self.exemplar_labels = labels;
        Ok(())
    }

    /// Writes the creation time of a metric.
    fn created(&mut self, form: TextForm, range: Option<Range<usize>>) -> Result<(), Fault> {
        let Some(range) = range else { return Ok(()) };
        let start = range.start;
        let (seconds, nanos) = read_time(self.body, range)?;
        // As in Prometheus, the start of the epoch is no time.
        if (seconds, nanos) == (0, 0) || form == TextForm::Untyped {
            return Ok(());
        }
        if self.omits_created {
            self.text_lacks = true;
            return Ok(());
        }
        self.index.sample(Suffix::Created);
        self.out.sample(Suffix::Created, SampleValue::Time(seconds, nanos));
        self.out.end_line().map_err(|kind| (start, kind))
    }
}

/// Times of exemplars below are ones that the parser takes.
const MAX_PLAIN_SECONDS: u64 = 9_000_000_000_000_000;

/// The labels of a metric so far.
#[derive(Default)]
struct LabelsSoFar {
    count: usize,
    /// The sum of their hashes.
    hash: u64,
}

/// A range of the text or the records. Neither is longer than [`MAX_BYTES`] by more than a line, of which the text is refused.
fn span(range: Range<usize>) -> Span {
    let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(narrow(range.start), narrow(range.end))
}

/// A count, of which the float is the one that counts if it is above zero.
fn number(count: u64, float: f64) -> SampleValue {
    if float > 0.0 {
        SampleValue::Double(float)
    } else {
        SampleValue::Whole(count)
    }
}

/// Number of characters of UTF-8.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// The seconds and nanoseconds of a timestamp message.
pub(crate) fn read_time(body: &[u8], range: Range<usize>) -> Result<(i64, i64), Fault> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        match field.number {
            timestamp::SECONDS => seconds = field.varint()?.cast_signed(),
            timestamp::NANOS => nanos = field.varint()?.cast_signed(),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// Finds what is not UTF-8 in a family, which is looked for only if something is not.
fn find_bad_text(body: &[u8], range: Range<usize>) -> Result<(), Fault> {
    let check = |what: &'static str, range: &Range<usize>| match std::str::from_utf8(slice(body, range)) {
        Ok(_) => Ok(()),
        Err(error) => Err((range.start + error.valid_up_to(), DecodeErrorKind::Encoding(what))),
    };
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        match field.number {
            family::NAME => check("the name", &field.bytes()?)?,
            family::HELP => check("the help text", &field.bytes()?)?,
            family::UNIT => check("the unit", &field.bytes()?)?,
            family::METRIC => records::for_each_label(body, field.bytes()?, &mut |name, value| {
                check("a label name", &name)?;
                check("a label value", &value)
            })?,
            _ => {}
        }
    }
    Ok(())
}
