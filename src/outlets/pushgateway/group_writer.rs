//! One group as JSON, written piece by piece: the whole may be some times as large as its text, and takes a tree of objects some times as
//! much again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde::Serialize;

use super::super::table::rfc3339;
use super::{float, gauge, number, parsed, push_time};
use crate::exposition::group::{as_text, unescape};
use crate::exposition::{Exposition, Family, Label, MetricType, Sample, SamplePosition, Suffix, go_float};
use crate::model::Syntax;
use crate::store::App;
use crate::wire::pushgateway::{INSTANCE, PUSH_FAILURE_TIME, PUSH_TIME};

/// The JSON of a group: its labels, the outcome of its last push, and its families, all sorted by name.
#[derive(Debug)]
pub(super) struct GroupWriter {
    text: Arc<Exposition>,
    labels: BTreeMap<String, String>,
    is_successful: bool,
    /// The times of the last push and of the last that failed.
    pushed: Option<String>,
    failed: Option<String>,
    members: Vec<Member>,
    /// The next of them.
    next: usize,
    /// The family in work.
    family: Option<FamilyWriter>,
}

/// A member of the JSON object of a group.
#[derive(Debug, Clone, Copy)]
enum Member {
    Labels,
    IsSuccessful,
    /// The family with this number.
    Family(u32),
}

impl Member {
    fn name(self, text: &Exposition) -> Cow<'_, str> {
        match self {
            Self::Labels => "labels".into(),
            Self::IsSuccessful => "last_push_successful".into(),
            Self::Family(number) => unescaped(text.text(text.families()[number as usize].name)),
        }
    }
}

impl GroupWriter {
    /// The JSON of an app that is a group.
    pub(super) fn new(app: &App) -> Self {
        let text = parsed_as_text(app);
        let time = |name: &str| gauge(&text, name).and_then(|sample| number(&sample)).unwrap_or(0.0);
        // As at Pushgateway, a push that failed moves the time of its own gauge alone.
        let failed = push_time(&text, PUSH_FAILURE_TIME.0);
        Self {
            labels: group_labels(app, &text),
            is_successful: time(PUSH_FAILURE_TIME.0) <= time(PUSH_TIME.0),
            pushed: app.updated.and_then(rfc3339),
            failed: app.updated.max(failed).and_then(rfc3339),
            members: members(&text),
            next: 0,
            family: None,
            text,
        }
    }

    /// Appends to `out` until it has `enough` bytes, and at most one sample or one HELP more. Returns false at the end of the group.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        loop {
            if let Some(family) = &mut self.family {
                if family.write(&self.text, out, enough) {
                    return true;
                }
                self.end_family(out);
            }
            if out.len() >= enough {
                return true;
            }
            let Some(member) = self.members.get(self.next).copied() else {
                out.push(b'}');
                return false;
            };
            out.push(if self.next == 0 { b'{' } else { b',' });
            self.next += 1;
            self.begin(member, out);
        }
    }

    /// Bytes that it keeps. The text of the group counts as a whole: the store may have replaced it.
    pub(super) fn memory(&self) -> u64 {
        let family = self.family.as_ref().map_or(0, FamilyWriter::memory);
        (self.text.body().len() + self.text.index_bytes() + size_of_val(&*self.members) + family) as u64
    }

    fn begin(&mut self, member: Member, out: &mut Vec<u8>) {
        push_json(out, &*member.name(&self.text));
        out.push(b':');
        match member {
            Member::Labels => push_json(out, &self.labels),
            Member::IsSuccessful => push_json(out, &self.is_successful),
            Member::Family(number) => {
                let family = &self.text.families()[number as usize];
                out.push(b'{');
                if let Some(help) = family.help() {
                    out.extend_from_slice(b"\"help\":");
                    push_json(out, &*unescaped(self.text.text(help)));
                    out.push(b',');
                }
                out.extend_from_slice(b"\"metrics\":[");
                self.family = Some(FamilyWriter::new(&self.text, number));
            }
        }
    }

    fn end_family(&mut self, out: &mut Vec<u8>) {
        let Some(ended) = self.family.take() else { return };
        let family = ended.family(&self.text);
        let is_failure = self.text.text(family.name) == PUSH_FAILURE_TIME.0.as_bytes();
        out.extend_from_slice(b"],\"time_stamp\":");
        push_json(out, if is_failure { &self.failed } else { &self.pushed });
        out.extend_from_slice(b",\"type\":");
        push_json(out, type_word(family.kind));
        out.push(b'}');
    }
}

/// The members of a group, sorted by name. A family has the place of a fact of the same name, as at Pushgateway.
fn members(text: &Exposition) -> Vec<Member> {
    let families = (0..).zip(text.families()).filter(|(_, family)| family.samples > 0);
    let families = families.map(|(number, _)| Member::Family(number));
    let mut members: Vec<Member> = [Member::Labels, Member::IsSuccessful].into_iter().chain(families).collect();
    members.sort_by(|one, other| one.name(text).cmp(&other.name(text)));
    members.dedup_by(|later, earlier| {
        let is_same = later.name(text) == earlier.name(text);
        if is_same {
            *earlier = *later;
        }
        is_same
    });
    members
}

/// The metrics of a family.
#[derive(Debug)]
struct FamilyWriter {
    number: u32,
    metrics: Metrics,
    /// True once a metric was written.
    begun: bool,
}

#[derive(Debug)]
enum Metrics {
    /// One for each sample, from this one on.
    Samples(SamplePosition),
    /// Those of a histogram or a summary: one for all samples with the same labels.
    Composite(CompositeMetrics),
}

impl FamilyWriter {
    fn new(text: &Exposition, number: u32) -> Self {
        let family = &text.families()[number as usize];
        let metrics = match family.kind {
            MetricType::Histogram => Metrics::Composite(CompositeMetrics::new(text, family, &BUCKETS)),
            MetricType::Summary => Metrics::Composite(CompositeMetrics::new(text, family, &QUANTILES)),
            _ => Metrics::Samples(text.samples(family).position()),
        };
        Self {
            number,
            metrics,
            begun: false,
        }
    }

    fn family<'a>(&self, text: &'a Exposition) -> &'a Family {
        &text.families()[self.number as usize]
    }

    /// As [`GroupWriter::write`].
    fn write(&mut self, text: &Exposition, out: &mut Vec<u8>, enough: usize) -> bool {
        let family = self.family(text);
        match &mut self.metrics {
            Metrics::Samples(place) => {
                let mut samples = text.samples_from(family, *place);
                while out.len() < enough {
                    let Some(sample) = samples.next() else { return false };
                    separate(&mut self.begun, out);
                    out.extend_from_slice(b"{\"labels\":");
                    push_json(out, &labels(&sample, None));
                    out.extend_from_slice(b",\"value\":");
                    push_json(out, &*number(&sample).map_or_else(String::new, go_float));
                    out.push(b'}');
                }
                *place = samples.position();
            }
            Metrics::Composite(metrics) => {
                while out.len() < enough {
                    if let Some(metric) = &mut metrics.metric {
                        if metric.write(out, enough) {
                            return true;
                        }
                        metrics.metric = None;
                    } else if metrics.next < metrics.samples.len() {
                        separate(&mut self.begun, out);
                        metrics.begin(text, family, out);
                    } else {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn memory(&self) -> usize {
        match &self.metrics {
            Metrics::Samples(_) => 0,
            Metrics::Composite(metrics) => metrics.memory(),
        }
    }
}

/// The form of a type with several samples for each metric.
#[derive(Debug)]
struct CompositeForm {
    /// The label that each of its values has.
    label: &'static str,
    /// The member with the values by that label.
    values: &'static str,
    /// True if the values are counts.
    are_counts: bool,
    /// True if their member stands before that of the count.
    is_first: bool,
}

const BUCKETS: CompositeForm = CompositeForm {
    label: "le",
    values: "buckets",
    are_counts: true,
    is_first: true,
};
const QUANTILES: CompositeForm = CompositeForm {
    label: "quantile",
    values: "quantiles",
    are_counts: false,
    is_first: false,
};

/// The metrics of a histogram or a summary.
#[derive(Debug)]
struct CompositeMetrics {
    form: &'static CompositeForm,
    /// The samples of all metrics, each with the number of its metric and in the order of these.
    samples: Vec<(u32, SamplePosition)>,
    /// The first sample of the next metric.
    next: usize,
    /// The metric in work.
    metric: Option<CompositeMetric>,
}

impl CompositeMetrics {
    fn new(text: &Exposition, family: &Family, form: &'static CompositeForm) -> Self {
        Self {
            form,
            samples: samples_by_metric(text, family, form.label),
            next: 0,
            metric: None,
        }
    }

    /// Begins the next metric with what stands before its values.
    fn begin(&mut self, text: &Exposition, family: &Family, out: &mut Vec<u8>) {
        let (form, name) = (self.form, text.text(family.name));
        let rest = &self.samples[self.next..];
        let Some((metric, first)) = rest.first().copied() else { return };
        let samples = &rest[..rest.partition_point(|(number, _)| *number == metric)];
        self.next += samples.len();
        let (mut values, mut count, mut sum) = (Vec::new(), "0".to_owned(), "0".to_owned());
        for sample in samples.iter().filter_map(|(_, place)| text.samples_from(family, *place).next()) {
            let Some(value) = number(&sample) else { continue };
            match Suffix::between(name, sample.name) {
                Some(Suffix::Sum) => sum = go_float(value),
                Some(Suffix::Count) => count = self::count(value),
                _ => {
                    let at = sample.labels.clone().find(|label| label.name == form.label.as_bytes());
                    values.extend(at.and_then(|label| float(label.value)).map(|at| (at, value)));
                }
            }
        }
        let labels = labels_at(text, family, first, form.label);
        let mut end = Vec::new();
        out.push(b'{');
        if form.is_first {
            push_name(out, form.values);
            out.push(b'{');
            end.extend_from_slice(b"},");
        }
        let facts = if form.is_first { &mut end } else { &mut *out };
        push_name(facts, "count");
        push_json(facts, &*count);
        facts.push(b',');
        push_name(facts, "labels");
        push_json(facts, &labels);
        facts.push(b',');
        if !form.is_first {
            push_name(out, form.values);
            out.push(b'{');
            end.extend_from_slice(b"},");
        }
        push_name(&mut end, "sum");
        push_json(&mut end, &*sum);
        end.push(b'}');
        self.metric = Some(CompositeMetric::new(values, form.are_counts, end));
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.samples) + self.metric.as_ref().map_or(0, CompositeMetric::memory)
    }
}

/// The samples of a family, each with the number of its metric: metrics have the order of their first samples.
fn samples_by_metric(text: &Exposition, family: &Family, label: &str) -> Vec<(u32, SamplePosition)> {
    let hasher = RandomState::new();
    // The number of each metric and its first sample, by the hash of its labels. Of several with one hash each later one has the next free place.
    let mut known: HashMap<u64, (u32, SamplePosition)> = HashMap::new();
    let mut find = |labels: &BTreeMap<String, String>, place: SamplePosition, next: u32| {
        let mut hash = hasher.hash_one(labels);
        loop {
            match known.entry(hash) {
                Entry::Vacant(free) => {
                    free.insert((next, place));
                    return next;
                }
                Entry::Occupied(taken) => {
                    let (metric, first) = *taken.get();
                    if labels_at(text, family, first, label) == *labels {
                        return metric;
                    }
                    hash = hash.wrapping_add(1);
                }
            }
        }
    };
    let mut found = Vec::with_capacity(family.samples as usize);
    let (mut samples, mut last, mut metrics) = (text.samples(family), None, 0);
    loop {
        let place = samples.position();
        let Some(sample) = samples.next() else { break };
        let metric = match &last {
            // As a rule those of one metric follow each other, with their labels in one order.
            Some((before, metric)) if has_same_labels(before, &sample, label) => *metric,
            _ => {
                let metric = find(&labels(&sample, Some(label)), place, metrics);
                metrics += u32::from(metric == metrics);
                metric
            }
        };
        found.push((metric, place));
        last = Some((sample, metric));
    }
    found.sort_by_key(|(metric, _)| *metric);
    found
}

/// Returns true if two samples have the same labels in the same order and form, but for one.
fn has_same_labels(one: &Sample<'_>, other: &Sample<'_>, without: &str) -> bool {
    let wanted = |label: &Label<'_>| label.name != without.as_bytes();
    one.labels.clone().filter(wanted).eq(other.labels.clone().filter(wanted))
}

/// The values of one metric, and what stands behind them.
#[derive(Debug)]
struct CompositeMetric {
    /// Each with the number in its label.
    values: Vec<(f64, f64)>,
    are_counts: bool,
    /// The next of them.
    next: usize,
    end: Vec<u8>,
}

impl CompositeMetric {
    fn new(mut values: Vec<(f64, f64)>, are_counts: bool, end: Vec<u8>) -> Self {
        values.sort_by_cached_key(|(at, _)| go_float(*at));
        // Of several values for one number the last counts.
        values.dedup_by(|later, earlier| {
            let is_same = later.0.to_bits() == earlier.0.to_bits() || (later.0.is_nan() && earlier.0.is_nan());
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        Self {
            values,
            are_counts,
            next: 0,
            end,
        }
    }

    /// As [`GroupWriter::write`].
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while out.len() < enough {
            let Some((at, value)) = self.values.get(self.next) else {
                out.extend_from_slice(&self.end);
                return false;
            };
            if self.next > 0 {
                out.push(b',');
            }
            self.next += 1;
            let value = if self.are_counts { count(*value) } else { go_float(*value) };
            push_name(out, &go_float(*at));
            push_json(out, &*value);
        }
        true
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.values) + self.end.len()
    }
}

/// Writes a comma, but before the first.
fn separate(begun: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(begun, true) {
        out.push(b',');
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    push_json(out, name);
    out.push(b':');
}

fn push_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("writing strings, booleans and maps of strings to memory cannot fail");
}

/// The parsed text of a group in the text format, which has the names of Pushgateway's families.
fn parsed_as_text(app: &App) -> Arc<Exposition> {
    let text = parsed(app);
    match text.syntax() {
        Syntax::Text => text,
        Syntax::OpenMetrics => Arc::new(Exposition::parse(as_text(&text).into(), Syntax::Text)),
    }
}

/// The labels of the group: those of its gauges, without the instance that each sample gets.
fn group_labels(app: &App, text: &Exposition) -> BTreeMap<String, String> {
    let mut labels = gauge(text, PUSH_TIME.0).map_or_else(BTreeMap::new, |sample| labels(&sample, None));
    let is_added = |value: &String| value.is_empty() && !app.name.as_str().contains(&format!(",{INSTANCE}=\"\""));
    if labels.get(INSTANCE).is_some_and(is_added) {
        labels.remove(INSTANCE);
    }
    labels
}

const fn type_word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "COUNTER",
        MetricType::Gauge => "GAUGE",
        MetricType::Histogram => "HISTOGRAM",
        MetricType::Summary => "SUMMARY",
        MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
        MetricType::Unknown | MetricType::Info | MetricType::StateSet => "UNTYPED",
    }
}

/// The labels of a sample but for one.
fn labels(sample: &Sample<'_>, without: Option<&str>) -> BTreeMap<String, String> {
    let wanted = |label: &Label<'_>| without.is_none_or(|without| label.name != without.as_bytes());
    let pair = |label: Label<'_>| (unescape(label.name), unescape(label.value));
    sample.labels.clone().filter(wanted).map(pair).collect()
}

/// The labels of the sample at a place, but for one.
fn labels_at(text: &Exposition, family: &Family, place: SamplePosition, without: &str) -> BTreeMap<String, String> {
    let sample = text.samples_from(family, place).next();
    sample.map_or_else(BTreeMap::new, |sample| labels(&sample, Some(without)))
}

/// As [`unescape`], without a copy where nothing is escaped.
fn unescaped(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(plain) if !plain.contains('\\') => plain.into(),
        _ => unescape(text).into(),
    }
}

/// A count, which is usually a whole number.
fn count(value: f64) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && (0.0..EXACT).contains(&value) {
        return format!("{value:.0}");
    }
    go_float(value)
}

#[cfg(test)]
mod tests;
