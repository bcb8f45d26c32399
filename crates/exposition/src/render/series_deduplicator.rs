//! Series of one application that become the same series when rendered, by extra labels or by escaped names.

use std::collections::HashMap;

use crate::family::{MetricType, Suffix};
use crate::hash::label_hash;
use crate::identity::{ExtraLabel, bound_label, legacy_labels};
use crate::sample::{Sample, Samples};

/// Keeps the first of several groups of series that are the same once rendered. Compares groups and not single series, because half a
/// histogram is invalid.
pub(super) struct SeriesDeduplicator<'a> {
    kind: MetricType,
    extra_labels: &'a [ExtraLabel],
    /// True if names are escaped and some of them change.
    escapes: bool,
    /// From the hash of a rendered group to the hash of its source group.
    first: HashMap<u64, u64>,
}

impl<'a> SeriesDeduplicator<'a> {
    /// `None` if no two series of these samples can become the same.
    pub(super) fn new(kind: MetricType, samples: Samples<'_>, extra_labels: &'a [ExtraLabel], escapes: bool) -> Option<Self> {
        let has_one = |sample: Sample<'_>| extra_labels.iter().any(|it| !it.missing_in(&sample.labels));
        let needed = escapes || !extra_labels.is_empty() && samples.into_iter().any(has_one);
        needed.then(|| Self {
            kind,
            extra_labels,
            escapes,
            first: HashMap::new(),
        })
    }

    /// Returns true if a sample is rendered.
    pub(super) fn admits(&mut self, sample: &Sample<'_>, suffix: Suffix) -> bool {
        let bound = bound_label(self.kind, suffix);
        let labels = sample.labels.clone().filter(|label| Some(label.name) != bound);
        let was = labels.fold(0_u64, |hash, label| hash.wrapping_add(label_hash(label.name, label.value)));
        let labels = legacy_labels(&sample.labels, self.escapes).filter(|(_, label)| Some(label.name) != bound);
        let looks = labels.fold(0_u64, |hash, (name, label)| hash.wrapping_add(label_hash(&name, label.value)));
        let added = self.extra_labels.iter().filter(|it| it.missing_in(&sample.labels));
        let looks = added.fold(looks, |hash, it| {
            let name = if self.escapes { &it.legacy_name } else { &it.name };
            hash.wrapping_add(label_hash(name, &it.value))
        });
        // A sample without the bound of its group is in no group, like one with the bare name of a histogram.
        let bare = matches!(self.kind, MetricType::Histogram | MetricType::GaugeHistogram) && suffix == Suffix::Bare;
        let unbound = bound.is_some_and(|bound| sample.labels.clone().all(|label| label.name != bound));
        let apart = u64::from(bare || unbound);
        *self.first.entry(looks.wrapping_add(apart)).or_insert(was) == was
    }
}
