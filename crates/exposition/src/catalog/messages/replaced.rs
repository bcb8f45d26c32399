//! Records of which another app has newer samples, while apps contradict each other about their family.
//!
//! Then each sample is compared alone, under its own name, but a record cannot lose one of its samples. So a record of which one is left out goes out
//! as what is left of it: its other samples, untyped, as in text.

use std::sync::Arc;

use crate::catalog::text_family::Shape;
use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::identity::Identity;
use crate::render::{Item, SuppressedSeries, record_groups};

/// The series with a suffix that are left out, because another app's newer ones are exposed.
pub(super) type LeftOut = (Suffix, Option<Arc<SuppressedSeries>>);

/// The item of an app's records without those of which samples are left out, and items of what is left of these.
pub(super) fn in_part(records: Item, left_out: &[LeftOut]) -> Vec<Item> {
    let is_none = |(_, series): &LeftOut| series.as_ref().is_none_or(|series| series.is_empty());
    if left_out.iter().all(is_none) {
        return vec![records];
    }
    let exposition = Arc::clone(&records.exposition);
    let family = &exposition.families()[records.family as usize];
    let name = exposition.text(family.name);
    let extra_labels = records.extra_labels.clone().unwrap_or_default();
    let identity = |kind| Identity {
        kind,
        extra_labels: &extra_labels,
        quoted: family.flags.contains(FamilyFlags::QUOTED),
    };
    let (of_series, of_group) = (identity(MetricType::Unknown), identity(kind_of_groups(&records)));
    // A body may give the name several types.
    let groups = record_groups(&records);
    let mut samples = Vec::new();
    let mut replaced = SuppressedSeries::new();
    for sample in exposition.samples(family) {
        let Some(suffix) = Suffix::between(name, sample.name) else {
            continue;
        };
        let series = of_series.of(&sample, suffix);
        let group = Some(of_group.of(&sample, suffix)).filter(|group| has_samples(records.kind, suffix) && groups.contains(group));
        let is_left_out = left_out
            .iter()
            .any(|(other, left_out)| *other == suffix && left_out.as_ref().is_some_and(|left_out| left_out.contains(&series)));
        replaced.extend(group.filter(|_| is_left_out));
        samples.push((suffix, series, group.filter(|_| !is_left_out)));
    }
    let rest = left_out.iter().filter_map(|(suffix, _)| {
        let of_suffix = samples.iter().filter(|sample| sample.0 == *suffix);
        let is_shown = |group: &Option<u64>| group.is_some_and(|group| replaced.contains(&group));
        let (shown, hidden): (Vec<_>, Vec<_>) = of_suffix.partition(|sample| is_shown(&sample.2));
        (!shown.is_empty()).then(|| Item {
            names: suffix.as_flag(),
            grouping: MetricType::Unknown,
            suppressed: Some(Arc::new(hidden.iter().map(|sample| sample.1).collect())),
            untyped: true,
            ..records.clone()
        })
    });
    let rest: Vec<Item> = rest.collect();
    let whole = Item {
        suppressed: (!replaced.is_empty()).then(|| Arc::new(replaced)),
        ..records
    };
    std::iter::once(whole).chain(rest).collect()
}

/// The type by which samples are compared with the groups of records.
fn kind_of_groups(records: &Item) -> MetricType {
    match Shape::from(records.kind) {
        Shape::Scalar => records.grouping,
        Shape::Histogram | Shape::Summary => records.kind,
    }
}

/// True for the suffixes of the samples that a message of this type makes, creation times apart.
const fn has_samples(kind: MetricType, suffix: Suffix) -> bool {
    match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => matches!(suffix, Suffix::Bucket | Suffix::Sum | Suffix::Count),
        MetricType::Summary => matches!(suffix, Suffix::Bare | Suffix::Sum | Suffix::Count),
        _ => matches!(suffix, Suffix::Bare),
    }
}
