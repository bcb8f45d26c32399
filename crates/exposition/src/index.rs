//! The index of a text: one stored copy, and byte offsets into it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::fault::{Faults, MAX_FAULTS_KEPT};
use crate::identity::Identity;
use crate::memory::MemoryMeter;
use crate::parse::{self, Hashes, ParseOutput, Repeated, Report, Template, escapes};
use crate::protobuf::{self, DecodeError, Records, TextIndex};
use crate::sample::{Runs, SamplePosition, Samples};
use crate::span::Span;
use crate::syntax::Syntax;
use crate::timestamps::millis;

/// A parsed text: the one copy of it, and byte offsets into it. The index takes 36 bytes per family and two per sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    pub(super) body: Bytes,
    pub(super) syntax: Syntax,
    pub(super) families: Box<[Family]>,
    pub(super) runs: Box<[Span]>,
    pub(super) series: u32,
    pub(super) faults: Faults,
    mixed_times: u32,
    early_times: EarlyTimes,
    /// Template for updates that differ in values only; see [`Exposition::parse_update`].
    pub(super) template: Option<Template>,
    /// Metrics of which the text has not all.
    records: Option<Arc<Records>>,
}

/// Numbers of samples that formats leave out because their timestamps are not after the start of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EarlyTimes {
    /// Samples before it. Text responses leave them out: Prometheus refuses a whole text with a negative timestamp.
    pub before: u32,
    /// Samples at it, to the millisecond. Protobuf responses, and OpenMetrics 2.0, which is made of them, leave them out: there a timestamp of 0
    /// means none, and the sample would become a current one.
    pub at: u32,
}

impl Exposition {
    /// Parses a text. This never fails: unusable lines are left out and listed in [`Exposition::faults`].
    #[must_use]
    pub fn parse(body: Bytes, syntax: Syntax) -> Self {
        Self::read(body, syntax, Repeated::Fault)
    }

    /// Parses a text that replaces `before`. The result is that of [`Exposition::parse`], sooner if the texts differ in nothing but values:
    /// names, labels and headers are then compared and not parsed.
    #[must_use]
    pub fn parse_update(body: Bytes, syntax: Syntax, before: &Self) -> Self {
        let same_syntax = before.template.as_ref().filter(|_| before.syntax == syntax);
        let families = same_syntax.and_then(|template| parse::read_update(&before.body, &before.families, template, &body));
        match families {
            Some(families) => Self {
                body,
                families,
                runs: Box::default(),
                faults: Faults::default(),
                template: before.template.clone(),
                records: None,
                ..*before
            },
            None => Self::parse(body, syntax),
        }
    }

    /// True if the texts were found to differ in nothing but values when one was [parsed as an update](Exposition::parse_update) of the other.
    /// They may be alike without it.
    pub(crate) fn is_same_but_values(&self, other: &Self) -> bool {
        let templates = self.template.as_ref().zip(other.template.as_ref());
        templates.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Parses the proxy's own text: a series may occur several times in a row, with different timestamps.
    pub(crate) fn parse_self_metrics(body: Bytes) -> Self {
        Self::read(body, Syntax::Text, Repeated::Points)
    }

    fn read(body: Bytes, syntax: Syntax, repeated: Repeated) -> Self {
        let mut report = Report::of_faults(MAX_FAULTS_KEPT);
        let doubled = escapes::doubled(&body, syntax).map(Bytes::from);
        let (body, original) = match doubled {
            Some(doubled) => (doubled, Some(body)),
            None => (body, None),
        };
        let ParseOutput {
            families,
            runs,
            series,
            template,
        } = parse::read(&body, syntax, repeated, &mut report);
        let mut faults = Faults::of(report, &body);
        if let Some(original) = original {
            faults.restore_columns(&original, syntax);
        }
        let mut read = Self {
            body,
            syntax,
            families,
            runs,
            series,
            faults,
            mixed_times: 0,
            early_times: EarlyTimes::default(),
            template,
            records: None,
        };
        read.mixed_times = read.count_mixed_times();
        read.early_times = read.count_early_times();
        read.invalidate_mixed_groups();
        read
    }

    /// Decodes a protobuf body: the same as [`protobuf::decode`], [`Exposition::parse`] and [`Exposition::with_records`], sooner, and its
    /// faults name the metrics of the body. The text may have `max_text` bytes.
    ///
    /// # Errors
    /// The first fault that makes the body unusable as a whole.
    pub fn decode(body: &[u8], max_text: usize) -> Result<Self, DecodeError> {
        let (decoded, index) = protobuf::decode_indexed(body, max_text)?;
        if let Some(index) = index {
            return Ok(Self::of_index(decoded.text, decoded.records, index));
        }
        let mut read = Self::parse(decoded.text, Syntax::OpenMetrics).with_records(decoded.records);
        read.faults.name_places(|offsets| protobuf::places(body, offsets));
        Ok(read)
    }

    /// Changes the faults of a text that was made from another one; see [`Faults::amend`].
    pub(crate) fn amend_faults(&mut self, other: Faults, places: impl FnOnce(&[u32]) -> Vec<(u32, u32)>) {
        self.faults.amend(other, places);
    }

    /// A text with the index that was made with it.
    fn of_index(body: Bytes, records: Bytes, index: TextIndex) -> Self {
        let families = index.records;
        let records = (!families.is_empty()).then(|| {
            Arc::new(Records {
                bytes: records,
                families,
                carried: Box::default(),
            })
        });
        let mut read = Self {
            body,
            syntax: Syntax::OpenMetrics,
            families: index.families,
            runs: Box::default(),
            series: index.series,
            faults: Faults::default(),
            mixed_times: 0,
            early_times: EarlyTimes::default(),
            template: None,
            records,
        };
        read.early_times = read.count_early_times();
        read
    }

    /// The same text, its memory counted by `meter` from now on.
    #[must_use]
    pub fn metered(self, meter: &MemoryMeter) -> Self {
        let records = self.records.map(|records| {
            let records = Arc::unwrap_or_clone(records);
            Arc::new(Records {
                bytes: meter.hold(records.bytes),
                ..records
            })
        });
        Self {
            body: meter.hold(self.body),
            records,
            ..self
        }
    }

    /// Adds the records of the same body as the text, as [`protobuf::decode`] returns both. A protobuf response then has their metrics as
    /// they came. Metrics of lines with faults are left out.
    #[must_use]
    pub fn with_records(self, records: Bytes) -> Self {
        let records = self.find_records(records);
        Self { records, ..self }
    }

    /// The records of families of this text.
    fn find_records(&self, records: Bytes) -> Option<Arc<Records>> {
        if records.is_empty() {
            return None;
        }
        let numbers: HashMap<&[u8], u32> = (0..).zip(&self.families).map(|(number, it)| (self.text(it.name), number)).collect();
        let number_of = |name: &[u8]| {
            let name = protobuf::escaped(name);
            let base = name.strip_suffix(b"_total");
            let counter = base
                .and_then(|base| numbers.get(base))
                .filter(|number| self.families[**number as usize].kind == MetricType::Counter);
            // A family of this very name keeps it, beside a counter that would claim it.
            numbers.get(&*name).or(counter).copied()
        };
        let mut found = Records::read(records, &number_of);
        if !self.faults.is_empty() {
            // Of several metrics with the same series the first stands, as in the text.
            let mut series: HashMap<u64, u32> = HashMap::new();
            for number in found.families.iter().map(|it| it.family as usize).collect::<HashSet<_>>() {
                self.series_hashes(&self.families[number])
                    .for_each(|hash| *series.entry(hash).or_default() += 1);
            }
            let kept = protobuf::retain(&found.bytes, |hash| {
                series.get_mut(&hash).is_some_and(|left| {
                    let is_left = *left > 0;
                    *left = left.saturating_sub(1);
                    is_left
                })
            });
            found = Records::read(kept, &number_of);
        }
        found.carried = self.carried_by(&found, &numbers);
        (!found.families.is_empty()).then(|| Arc::new(found))
    }

    /// The families of samples without a header that records of another family have. `numbers` are those of the families by name.
    fn carried_by(&self, records: &Records, numbers: &HashMap<&[u8], u32>) -> Box<[u32]> {
        let mut carried = Vec::new();
        for record in &records.families {
            let family = &self.families[record.family as usize];
            let known = family.kind.suffixes(Syntax::OpenMetrics);
            let of_record = record.kind.metric_type().suffixes(Syntax::OpenMetrics).iter();
            for suffix in of_record.filter(|suffix| !known.contains(suffix)) {
                // The records of a counter have its name with `_total`, and so have those of other types that a body gives this name.
                for total in ["", "_total"] {
                    let name = [self.text(family.name), total.as_bytes(), suffix.as_str().as_bytes()].concat();
                    let of_samples = numbers
                        .get(&*name)
                        .filter(|number| !self.has_header(&self.families[**number as usize]));
                    carried.extend(of_samples.filter(|number| **number != record.family));
                }
            }
        }
        carried.sort_unstable();
        carried.dedup();
        carried.into()
    }

    /// True if the name of a family is that of a header, not of a sample.
    fn has_header(&self, family: &Family) -> bool {
        let before = &self.body[..family.name.start as usize];
        !matches!(before, [] | [.., b'\n'] | [.., b'{', b'"'])
    }

    /// The records, as [`Exposition::with_records`] takes them; empty if there are none.
    #[must_use]
    pub fn record_bytes(&self) -> Bytes {
        self.records.as_ref().map_or_else(Bytes::new, |records| records.bytes.clone())
    }

    pub(crate) fn records(&self) -> Option<&Records> {
        self.records.as_deref()
    }

    /// The number of native histograms: a text has their counts, sums and classic buckets only.
    #[must_use]
    pub fn native_histograms(&self) -> u64 {
        self.records.as_ref().map_or(0, |records| records.native())
    }

    /// The number of native histograms without classic buckets: in a text their buckets are not visible.
    #[must_use]
    pub fn native_only(&self) -> u64 {
        self.records.as_ref().map_or(0, |records| records.native_only())
    }

    /// Counts the samples without timestamp of series that also have samples with timestamps.
    fn count_mixed_times(&self) -> u32 {
        let several = self
            .families
            .iter()
            .filter(|family| family.flags.contains(FamilyFlags::MULTIPLE_TIMES));
        let of = |family: &Family| {
            let mut series: HashMap<u64, (u32, bool)> = HashMap::new();
            for sample in self.samples(family) {
                let (without, has_times) = series.entry(sample.hash()).or_default();
                *without += u32::from(sample.timestamp.is_none());
                *has_times |= sample.timestamp.is_some();
            }
            let mixed = series.into_values().filter(|(_, has_times)| *has_times);
            mixed.map(|(without, _)| without).sum::<u32>()
        };
        several.map(of).sum()
    }

    /// Counts the samples with timestamps that are not after the start of 1970.
    fn count_early_times(&self) -> EarlyTimes {
        let mut counts = EarlyTimes::default();
        let early = self
            .families
            .iter()
            .filter(|family| family.flags.contains(FamilyFlags::EARLY_TIMES));
        for millis in early
            .flat_map(|family| self.samples(family))
            .filter_map(|sample| sample.millis(self.syntax))
        {
            counts.before += u32::from(millis < 0);
            counts.at += u32::from(millis == 0);
        }
        counts
    }

    /// Marks families as invalid OpenMetrics in which a sample without timestamp stands in a group with timestamps. OpenMetrics does not
    /// allow the mix within a group; as one family for each sample name the sample can stand.
    fn invalidate_mixed_groups(&mut self) {
        let several = (0..self.families.len()).filter(|at| self.families[*at].flags.contains(FamilyFlags::MULTIPLE_TIMES));
        let mixed: Vec<usize> = several.filter(|at| self.has_mixed_group(&self.families[*at])).collect();
        for at in mixed {
            self.families[at].flags |= FamilyFlags::INVALID_OPENMETRICS;
        }
    }

    /// True if a series without timestamps belongs to a group of samples of which others have timestamps.
    fn has_mixed_group(&self, family: &Family) -> bool {
        let name = self.text(family.name);
        let identity = Identity {
            kind: family.kind,
            extra_labels: &[],
            quoted: false,
        };
        let samples = || {
            self.samples(family).filter_map(|sample| {
                let group = identity.of(&sample, Suffix::between(name, sample.name)?);
                Some((group, sample.hash(), sample.timestamp.is_some()))
            })
        };
        let timed = samples().filter(|(.., timed)| *timed);
        let (groups, series): (HashSet<u64>, HashSet<u64>) = timed.map(|(group, series, _)| (group, series)).unzip();
        samples().any(|(group, hash, timed)| !timed && groups.contains(&group) && !series.contains(&hash))
    }

    /// The number of samples without timestamp of series that also have samples with timestamps. OpenMetrics does not allow the mix, so
    /// they are left out of OpenMetrics responses.
    #[must_use]
    pub const fn mixed_times(&self) -> u32 {
        self.mixed_times
    }

    /// The numbers of samples that formats leave out because their timestamps are not after the start of 1970.
    #[must_use]
    pub const fn early_times(&self) -> EarlyTimes {
        self.early_times
    }

    /// The text as it was received, except that backslashes that start no escape sequence are doubled.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The format that the text was parsed as.
    #[must_use]
    pub const fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// The families in the order in which they first appear. Names are unique, and no family claims a sample name of another.
    #[must_use]
    pub const fn families(&self) -> &[Family] {
        &self.families
    }

    /// Approximate memory of the index in bytes, without the text.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        const FIXED: usize = 256;
        let lines = self.template.as_ref().map_or(0, |template| size_of_val(&**template));
        let records = self.records.as_ref().map_or(0, |records| records.index_bytes());
        FIXED + self.families.len() * size_of::<Family>() + self.runs.len() * size_of::<Span>() + lines + records
    }

    /// Number of distinct series.
    #[must_use]
    pub const fn series(&self) -> u32 {
        self.series
    }

    /// The faults of the text.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The bytes of a span of this text.
    #[must_use]
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.body)
    }

    /// The spans of a family's runs, in the order of the text. A run is one or more consecutive valid sample lines with newlines between
    /// them and none at the end. Lines have no whitespace or carriage return at their ends, so a run may be copied unchanged if
    /// [`Family::flags`] allow it.
    #[must_use]
    pub fn run_spans<'a>(&'a self, family: &'a Family) -> &'a [Span] {
        if family.has_one_run {
            std::slice::from_ref(&family.runs)
        } else {
            &self.runs[family.runs.range()]
        }
    }

    /// The bytes of a family's runs; see [`Exposition::run_spans`].
    #[must_use]
    pub fn runs<'a>(&'a self, family: &'a Family) -> Runs<'a> {
        Runs::new(&self.body, self.run_spans(family))
    }

    /// The newest timestamp of all samples, in milliseconds since the Unix epoch; `None` without any, which needs no search.
    #[must_use]
    pub fn newest_timestamp(&self) -> Option<i64> {
        let families = self
            .families()
            .iter()
            .filter(|family| family.flags.contains(FamilyFlags::TIMESTAMPS));
        let samples = families.flat_map(|family| self.samples(family));
        samples.filter_map(|sample| millis(sample.timestamp?, self.syntax())).max()
    }

    /// The samples of a family, in the order of the text, parsed again line by line.
    #[must_use]
    pub fn samples<'a>(&'a self, family: &'a Family) -> Samples<'a> {
        Samples::new(self.runs(family), self.text(family.name), family, self.syntax)
    }

    /// The samples of a family from a place on, which [`Samples::position`] gave for this family of this text.
    #[must_use]
    pub fn samples_from<'a>(&'a self, family: &'a Family, place: SamplePosition) -> Samples<'a> {
        self.samples(family).starting_at(place)
    }

    /// The hashes of a family's series, in the order of its samples; see [`Sample::hash`](super::Sample::hash).
    pub fn series_hashes<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = u64> + 'a {
        Hashes::new(&self.body, self.syntax, self.run_spans(family)).map(|(_, hash)| hash)
    }
}

#[cfg(test)]
mod tests;
