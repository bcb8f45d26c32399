//! Records of which another app has newer samples.
//!
//! While apps contradict each other about a family, each sample is compared alone, under its own name; so are those of a body that gives a name several
//! types, which text shows under several names. But a record cannot lose one of its samples. So a record of which one is left out goes out as what is
//! left of it: its other samples, untyped, as in text.

use std::sync::Arc;

use crate::catalog::text_family::Shape;
use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::identity::Identity;
use crate::render::{Item, SuppressedSeries, record_groups};

/// The samples of an app's records with one suffix, as text shows them.
pub(super) struct RecordPart {
    /// Their name beyond that of the records.
    pub(super) suffix: Suffix,
    /// The number of the family of the text that they are in.
    pub(super) family: u32,
    /// The type by which they are compared with those of other apps.
    pub(super) grouping: MetricType,
    pub(super) is_labelled: bool,
    /// The number in the name of the disambiguating label.
    pub(super) rank: u8,
    /// Those that are left out, because another app's newer ones are exposed.
    pub(super) left_out: Option<Arc<SuppressedSeries>>,
}

impl RecordPart {
    /// The names of the samples beyond that of their family of the text.
    fn own_suffix(&self, records: &Item) -> Suffix {
        if self.family == records.family { self.suffix } else { Suffix::Bare }
    }
}

/// The item of an app's records without those of which samples are left out, and items of what is left of these.
pub(super) fn in_part(records: Item, parts: &[RecordPart]) -> Vec<Item> {
    let has_none = |part: &RecordPart| part.left_out.as_ref().is_none_or(|series| series.is_empty());
    if parts.iter().all(has_none) {
        return vec![records];
    }
    let groups = record_groups(&records);
    let samples: Vec<Vec<PartSample>> = parts.iter().map(|part| samples_of(part, &records, &groups)).collect();
    let of_replaced = samples.iter().flatten().filter(|sample| sample.is_left_out);
    let replaced: SuppressedSeries = of_replaced.filter_map(|sample| sample.group).collect();
    let is_shown = |sample: &PartSample| !sample.is_left_out && sample.group.is_some_and(|group| replaced.contains(&group));
    let rest = parts.iter().zip(&samples).filter(|(_, samples)| samples.iter().any(is_shown));
    let rest = rest.map(|(part, samples)| {
        let others = samples.iter().filter(|sample| !is_shown(sample));
        Item {
            family: part.family,
            names: part.own_suffix(&records).as_flag(),
            grouping: MetricType::Unknown,
            suppressed: Some(Arc::new(others.map(|sample| sample.series).collect())),
            untyped: true,
            ..records.clone()
        }
    });
    let rest: Vec<Item> = rest.collect();
    let whole = Item {
        suppressed: (!replaced.is_empty()).then(|| Arc::new(replaced)),
        ..records
    };
    std::iter::once(whole).chain(rest).collect()
}

/// A sample of a part.
struct PartSample {
    /// Its identity alone.
    series: u64,
    /// That of the record that has it.
    group: Option<u64>,
    is_left_out: bool,
}

fn samples_of(part: &RecordPart, records: &Item, groups: &SuppressedSeries) -> Vec<PartSample> {
    let exposition = &records.exposition;
    let family = &exposition.families()[part.family as usize];
    let name = exposition.text(family.name);
    let identity = |kind| Identity {
        kind,
        extra_labels: records.extra_labels.as_deref().unwrap_or_default(),
        quoted: family.flags.contains(FamilyFlags::QUOTED),
    };
    let of_records = match Shape::from(records.kind) {
        Shape::Scalar => records.grouping,
        Shape::Histogram | Shape::Summary => records.kind,
    };
    let own = part.own_suffix(records);
    let samples = exposition.samples(family);
    let samples = samples.filter(|sample| Suffix::between(name, sample.name) == Some(own));
    let read = |sample| {
        let compared = identity(part.grouping).of(&sample, own);
        let group = identity(of_records).of(&sample, part.suffix);
        PartSample {
            series: identity(MetricType::Unknown).of(&sample, own),
            group: (has_samples(records.kind, part.suffix) && groups.contains(&group)).then_some(group),
            is_left_out: part.left_out.as_ref().is_some_and(|series| series.contains(&compared)),
        }
    };
    samples.map(read).collect()
}

/// True for the suffixes of the samples that a message of this type makes, creation times apart.
pub(super) const fn has_samples(kind: MetricType, suffix: Suffix) -> bool {
    match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => matches!(suffix, Suffix::Bucket | Suffix::Sum | Suffix::Count),
        MetricType::Summary => matches!(suffix, Suffix::Bare | Suffix::Sum | Suffix::Count),
        _ => matches!(suffix, Suffix::Bare),
    }
}
