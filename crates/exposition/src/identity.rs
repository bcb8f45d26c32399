//! Identity of samples within a family, for the comparison of several applications.

use std::borrow::Cow;

use crate::escape;
use crate::family::{MetricType, Suffix};
use crate::hash::label_hash;
use crate::sample::{Label, Labels, Sample};

/// A label that is added to samples that lack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraLabel {
    /// Its name, escaped as inside quotes.
    pub(crate) name: Box<[u8]>,
    /// Its name, escaped by the underscores scheme.
    pub(crate) legacy_name: Box<[u8]>,
    /// Its value, escaped as inside quotes.
    pub(crate) value: Box<[u8]>,
}

impl ExtraLabel {
    /// Creates the label from an unescaped name and value.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self {
            name: escape::quote_escaped(name).into(),
            legacy_name: escape::label_name(name).as_bytes().into(),
            value: escape::quote_escaped(value).into(),
        }
    }

    /// Returns true if a sample with these labels lacks it. An empty label counts as missing, and one with the same escaped name as present.
    pub(crate) fn missing_in(&self, labels: &Labels<'_>) -> bool {
        !labels.clone().any(|label| !label.value.is_empty() && self.has_name_of(&label))
    }

    /// Returns true if a label has its escaped name.
    pub(crate) fn has_name_of(&self, label: &Label<'_>) -> bool {
        *label.name == *self.legacy_name || label.quoted && *escape::escaped_label_name(label.name) == *self.legacy_name
    }
}

/// The labels under their names escaped by the underscores scheme. Of several with the same escaped name only one: the first with a value, or
/// else the first.
fn escaped_labels<'a>(labels: &Labels<'a>) -> Vec<(Cow<'a, [u8]>, Label<'a>)> {
    let escaped = labels.clone().map(|label| (escape::escaped_label_name(label.name), label));
    let mut all: Vec<_> = escaped.collect();
    // Names as written differ.
    if all.iter().any(|(name, _)| matches!(name, Cow::Owned(_))) {
        keep_one_of_each_name(&mut all);
    }
    all
}

fn keep_one_of_each_name(all: &mut Vec<(Cow<'_, [u8]>, Label<'_>)>) {
    // Sorted, because a sample may have hundreds of labels, and this is done for each sample.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&one, &other| {
        let key = |at: usize| (&all[at].0, all[at].1.value.is_empty());
        key(one).cmp(&key(other))
    });
    let mut is_kept = vec![true; all.len()];
    for pair in order.windows(2) {
        is_kept[pair[1]] = all[pair[0]].0 != all[pair[1]].0;
    }
    let mut kept = is_kept.into_iter();
    all.retain(|_| kept.next().unwrap_or(true));
}

/// The labels under their names escaped by the underscores scheme: without empty ones, and of several with the same escaped name only the
/// first. `quoted` is true if some name of the family is quoted; otherwise escaping changes nothing.
pub(crate) fn legacy_labels<'a>(labels: &Labels<'a>, quoted: bool) -> impl Iterator<Item = (Cow<'a, [u8]>, Label<'a>)> {
    let as_written = (!quoted).then(|| labels.clone().map(|label| (Cow::Borrowed(label.name), label)));
    let escaped = quoted.then(|| escaped_labels(labels));
    let all = as_written.into_iter().flatten().chain(escaped.into_iter().flatten());
    all.filter(|(_, label)| !label.value.is_empty())
}

/// The empty labels that are exposed, such as the `instance` of Pushgateway's groups, by which Prometheus adds none of its own: not those that
/// an extra label replaces.
pub(crate) fn empty_labels<'a>(labels: &Labels<'a>, extra_labels: &'a [ExtraLabel]) -> impl Iterator<Item = Label<'a>> {
    let is_replaced = |label: &Label<'_>| extra_labels.iter().any(|extra| extra.has_name_of(label));
    labels.clone().filter(move |label| label.value.is_empty() && !is_replaced(label))
}

/// The labels that are exposed under their names escaped by the underscores scheme: those with a value, and behind them [empty
/// ones](empty_labels).
pub(crate) fn exposed_labels<'a>(labels: &Labels<'a>, extra_labels: &[ExtraLabel]) -> Vec<(Cow<'a, [u8]>, Label<'a>)> {
    let mut all = escaped_labels(labels);
    all.retain(|(_, label)| !label.value.is_empty() || !extra_labels.iter().any(|extra| extra.has_name_of(label)));
    all.sort_by_key(|(_, label)| label.value.is_empty());
    all
}

/// The label by which the samples of one group differ: the bound of a bucket, the quantile of a summary.
pub(crate) const fn bound_label(kind: MetricType, suffix: Suffix) -> Option<&'static [u8]> {
    match (kind, suffix) {
        (MetricType::Histogram | MetricType::GaugeHistogram, Suffix::Bucket) => Some(b"le"),
        (MetricType::Summary, Suffix::Bare) => Some(b"quantile"),
        _ => None,
    }
}

/// Hash by which samples of several apps are compared within a family: that of the series, with names escaped by the underscores scheme.
/// For histograms and summaries it is that of the group, which is rendered or suppressed as a whole.
pub(crate) struct Identity<'a> {
    /// The type, which determines the groups.
    pub(crate) kind: MetricType,
    /// Labels for samples that lack them.
    pub(crate) extra_labels: &'a [ExtraLabel],
    /// True if some name of the family is quoted.
    pub(crate) quoted: bool,
}

impl Identity<'_> {
    /// The hash of a sample with this suffix.
    pub(crate) fn of(&self, sample: &Sample<'_>, suffix: Suffix) -> u64 {
        let bound = if matches!(self.kind, MetricType::GaugeHistogram) {
            None
        } else {
            bound_label(self.kind, suffix)
        };
        let labels = legacy_labels(&sample.labels, self.quoted).filter(|(_, label)| Some(label.name) != bound);
        let hash = labels.fold(0_u64, |hash, (name, label)| hash.wrapping_add(label_hash(&name, label.value)));
        let added = self.extra_labels.iter().filter(|it| it.missing_in(&sample.labels));
        added.fold(hash, |hash, it| hash.wrapping_add(label_hash(&it.legacy_name, &it.value)))
    }
}

#[cfg(test)]
mod tests;
