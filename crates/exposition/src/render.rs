//! Rendering of families: headers, and samples that are copied unchanged where that is legal and reformatted where not.

mod chunk;
mod header;
mod messages;
mod sample;
mod series_deduplicator;
mod slice_writer;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::escape;
use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::identity::{ExtraLabel, Identity, bound_label};
use crate::index::Exposition;
use crate::negotiate::{Escaping, Format};
use crate::sample::Sample;
use crate::syntax::Syntax;

pub use chunk::Chunk;
pub(crate) use header::{Header, Help};
pub(crate) use messages::{message_name_in, put_header, record_groups};

use sample::SampleFormatter;
use series_deduplicator::SeriesDeduplicator;
use slice_writer::SliceWriter;

/// Output format of a response body. Less specific than the negotiated format: the versions of the text format differ only in their
/// `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputFormat {
    /// The syntax; in protobuf, which has the names of the text format, [`Syntax::Text`].
    pub syntax: Syntax,
    /// True for protobuf messages; OpenMetrics 2.0 is [made from them](crate::openmetrics2::Writer).
    pub protobuf: bool,
    /// The escaping of names outside the legacy character set.
    pub escaping: Escaping,
}

impl OutputFormat {
    /// The number of output formats.
    pub const COUNT: usize = 6;

    /// All output formats, each at its [`OutputFormat::index`].
    pub const ALL: [Self; Self::COUNT] = {
        const fn variant(syntax: Syntax, protobuf: bool, escaping: Escaping) -> OutputFormat {
            OutputFormat {
                syntax,
                protobuf,
                escaping,
            }
        }
        [
            variant(Syntax::Text, false, Escaping::Underscores),
            variant(Syntax::Text, false, Escaping::AllowUtf8),
            variant(Syntax::OpenMetrics, false, Escaping::Underscores),
            variant(Syntax::OpenMetrics, false, Escaping::AllowUtf8),
            variant(Syntax::Text, true, Escaping::Underscores),
            variant(Syntax::Text, true, Escaping::AllowUtf8),
        ]
    };

    /// Index below [`OutputFormat::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        let format = match (self.protobuf, self.syntax) {
            (true, _) => 2,
            (false, Syntax::OpenMetrics) => 1,
            (false, Syntax::Text) => 0,
        };
        2 * format + matches!(self.escaping, Escaping::AllowUtf8) as usize
    }
}

impl From<Format> for OutputFormat {
    fn from(format: Format) -> Self {
        Self {
            syntax: format.syntax(),
            protobuf: matches!(format, Format::OpenMetrics200(_) | Format::Protobuf(_)),
            escaping: format.escaping(),
        }
    }
}

/// The samples of one family of one application, with instructions for rendering.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The text of the samples.
    pub(crate) exposition: Arc<Exposition>,
    /// Index of the family in it.
    pub(crate) family: u32,
    /// The suffixes of the family's samples to render.
    pub(crate) names: FamilyFlags,
    /// The header before the samples; `None` if they continue a family.
    pub(crate) header: Option<Box<Header>>,
    /// The rendered type, which determines exemplars and the format of bounds. [`MetricType::Unknown`] leaves labels unchanged.
    pub(crate) kind: MetricType,
    /// The type by which samples are compared in groups; see [`Identity`].
    pub(crate) grouping: MetricType,
    /// Labels for samples that lack them; `None` if there are none, so that most items need not count references to an empty list.
    pub(crate) extra_labels: Option<Arc<[ExtraLabel]>>,
    /// Hashes of suppressed series, which another application provides.
    pub(crate) suppressed: Option<Arc<SuppressedSeries>>,
    /// True if only those samples are rendered that a protobuf message of the type cannot carry.
    pub(crate) only_leftovers: bool,
    /// True if messages show each sample name untyped, whatever the type, and no records.
    pub(crate) untyped: bool,
}

/// Hashes of suppressed series; see [`Identity`].
pub(crate) type SuppressedSeries = HashSet<u64>;

impl Item {
    fn source(&self) -> &Family {
        &self.exposition.families()[self.family as usize]
    }

    fn extra_labels(&self) -> &[ExtraLabel] {
        self.extra_labels.as_deref().unwrap_or_default()
    }

    /// Returns true if the names of this item are the same in all escapings.
    pub(crate) fn is_legacy(&self) -> bool {
        !self.source().flags.contains(FamilyFlags::QUOTED) && self.extra_labels().iter().all(|it| escape::is_legacy_label_name(&it.name))
    }

    /// Approximate rendered size in bytes.
    fn size(&self) -> usize {
        let runs: usize = self.exposition.run_spans(self.source()).iter().map(|span| span.len() + 1).sum();
        runs + self.header.as_ref().map_or(0, |header| header.size())
    }

    /// Copies the parts that belong to another application. Otherwise one line of help would keep that application's complete text in
    /// memory after its next update.
    fn detach(&mut self) {
        if let Some(header) = &mut self.header {
            header.detach(self.exposition.body());
        }
    }

    /// Approximate memory in bytes, without the application's text.
    fn footprint(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| size_of::<Header>() + header.size());
        let extra_labels = size_of_val(self.extra_labels());
        let suppressed = self
            .suppressed
            .as_ref()
            .map_or(0, |suppressed| suppressed.capacity() * size_of::<u64>());
        size_of::<Self>() + header + extra_labels + suppressed
    }

    fn write<'a>(&'a self, to: OutputFormat, out: &mut SliceWriter<'a>) {
        if let Some(header) = &self.header {
            header.write(to, out);
        }
        if self.may_be_copied(to) {
            for span in self.exposition.run_spans(self.source()) {
                out.write_slice(self.exposition.body(), span.range());
                out.write(b"\n");
            }
        } else {
            self.reformat(to, out);
        }
    }

    fn may_be_copied(&self, to: OutputFormat) -> bool {
        let flags = self.source().flags;
        let forbidden = match to.syntax {
            Syntax::Text => FamilyFlags::REFORMAT_TEXT,
            // Exemplars are kept if the rendered type allows them.
            Syntax::OpenMetrics if self.takes_exemplars() => FamilyFlags::REFORMAT_OPENMETRICS,
            Syntax::OpenMetrics => FamilyFlags::REFORMAT_OPENMETRICS | FamilyFlags::EXEMPLARS,
        };
        !flags.intersects(forbidden | FamilyFlags::MULTIPLE_TIMES)
            && self.extra_labels().is_empty()
            && self.suppressed.is_none()
            && (to.escaping == Escaping::AllowUtf8 || !flags.contains(FamilyFlags::QUOTED))
            && self.names.contains(flags.names())
    }

    fn takes_exemplars(&self) -> bool {
        matches!(self.kind, MetricType::Counter | MetricType::Histogram | MetricType::GaugeHistogram)
    }

    fn reformat(&self, to: OutputFormat, out: &mut SliceWriter<'_>) {
        let formatter = SampleFormatter {
            from: self.exposition.syntax(),
            to,
            quoted: self.source().flags.contains(FamilyFlags::QUOTED),
            extra_labels: self.extra_labels(),
            canonical: None,
            exemplars: to.syntax == Syntax::OpenMetrics && self.takes_exemplars(),
        };
        self.for_each_sample(to, |suffix, sample| {
            let canonical = if to.syntax == Syntax::OpenMetrics {
                bound_label(self.kind, suffix)
            } else {
                None
            };
            SampleFormatter { canonical, ..formatter }.write(&sample, out.buffer());
        });
    }

    /// Calls `each` for every sample that is rendered, in order.
    fn for_each_sample<'a>(&'a self, to: OutputFormat, mut each: impl FnMut(Suffix, Sample<'a>)) {
        let (exposition, source) = (&self.exposition, self.source());
        let name = exposition.text(source.name);
        let escapes = to.escaping == Escaping::Underscores && source.flags.contains(FamilyFlags::QUOTED);
        let mut deduplicator = SeriesDeduplicator::new(source.kind, exposition.samples(source), self.extra_labels(), escapes);
        let samples = exposition
            .samples(source)
            .filter_map(|sample| Some((Suffix::between(name, sample.name)?, sample)));
        let samples: Box<dyn Iterator<Item = (Suffix, Sample<'a>)>> = if source.flags.contains(FamilyFlags::MULTIPLE_TIMES) {
            Box::new(self.by_time(samples.collect(), to).into_iter())
        } else {
            Box::new(samples)
        };
        // They go out with the records.
        let with_records = to.protobuf && !self.untyped;
        let is_carried = |sample: &Sample<'_>| with_records && exposition.is_of_records(sample);
        let is_early = |sample: &Sample<'_>| source.flags.contains(FamilyFlags::EARLY_TIMES) && self.is_too_early(sample, to);
        for (suffix, sample) in samples {
            let stands = deduplicator
                .as_mut()
                .is_none_or(|deduplicator| deduplicator.admits(&sample, suffix));
            if stands
                && self.names.contains(suffix.as_flag())
                && !self.is_suppressed(&sample, suffix)
                && !is_early(&sample)
                && !is_carried(&sample)
            {
                each(suffix, sample);
            }
        }
    }

    /// True if a format has no such timestamp. Without its timestamp the sample would become a current one, so all of it is left out.
    fn is_too_early(&self, sample: &Sample<'_>, to: OutputFormat) -> bool {
        let millis = sample.millis(self.exposition.syntax());
        millis.is_some_and(|millis| match (to.protobuf, to.syntax) {
            // There 0 means none.
            (true, _) => millis == 0,
            // Prometheus refuses a whole text with a sign before a timestamp.
            (false, Syntax::Text) => millis < 0,
            (false, Syntax::OpenMetrics) => false,
        })
    }

    /// Sorts samples with several timestamps per series: by group, and within a group by ascending time. A sample without timestamp counts
    /// as the latest, and is dropped in OpenMetrics if others of its group have timestamps.
    fn by_time<'a>(&self, samples: Vec<(Suffix, Sample<'a>)>, to: OutputFormat) -> Vec<(Suffix, Sample<'a>)> {
        let identity = Identity {
            kind: self.kind,
            extra_labels: &[],
            quoted: false,
        };
        let syntax = self.exposition.syntax();
        let mut groups: HashMap<u64, (usize, bool)> = HashMap::new();
        let mut placed = Vec::with_capacity(samples.len());
        for (suffix, sample) in samples {
            let (next, time) = (groups.len(), sample.millis(syntax));
            // Without a type, each sample name is a family of its own.
            let apart = if self.kind == MetricType::Unknown { suffix as u64 } else { 0 };
            let (group, has_times) = groups
                .entry(identity.of(&sample, suffix).wrapping_add(apart))
                .or_insert((next, false));
            *has_times |= time.is_some();
            placed.push((*group, time, suffix, sample));
        }
        if to.syntax == Syntax::OpenMetrics {
            let mut has_times = vec![false; groups.len()];
            groups.values().for_each(|(group, has)| has_times[*group] = *has);
            placed.retain(|(group, time, ..)| time.is_some() || !has_times[*group]);
        }
        placed.sort_by_key(|(group, time, ..)| (*group, time.unwrap_or(i64::MAX)));
        placed.into_iter().map(|(.., suffix, sample)| (suffix, sample)).collect()
    }

    fn is_suppressed(&self, sample: &Sample<'_>, suffix: Suffix) -> bool {
        let quoted = self.source().flags.contains(FamilyFlags::QUOTED);
        let identity = Identity {
            kind: self.grouping,
            extra_labels: self.extra_labels(),
            quoted,
        };
        self.suppressed
            .as_ref()
            .is_some_and(|suppressed| suppressed.contains(&identity.of(sample, suffix)))
    }
}
