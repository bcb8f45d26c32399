//! Classic gauge histograms that came as OpenMetrics text. Messages show them as gauges, because Prometheus gives their counts and sums other
//! names if it reads them as gauge histograms of protobuf.

use std::collections::HashMap;

use super::Metric;
use crate::escape::unescaped_bytes;
use crate::openmetrics2::histogram::Histogram;
use crate::openmetrics2::message::{FamilyFields, FamilyMessage, Rows};
use crate::openmetrics2::plan::MAX_GATHERED;
use crate::parse;
use crate::protobuf::{MessageType, put_label_text};
use crate::sample::Labels;

/// A gauge histogram of some labels and a time.
#[derive(Default)]
struct GaugeGroup {
    count: Option<f64>,
    sum: Option<f64>,
    buckets: Vec<(f64, f64)>,
}

/// Labels without the bound, as they are written, and a time.
type Key = (Vec<u8>, Option<i64>);

/// Writes all metrics of the messages of buckets, of counts and of sums. They are those of one app, and are all in memory meanwhile: at most
/// [`MAX_GATHERED`].
pub(super) fn put(rows: &Rows, name: &[u8], messages: [Option<&FamilyMessage>; 3], out: &mut Vec<u8>) {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut groups: Vec<(Key, GaugeGroup)> = Vec::new();
    for (kind, message) in (0..).zip(messages).filter_map(|(kind, message)| Some((kind, message?))) {
        let mut fields = FamilyFields::new(rows, message.fields);
        while let Some(bytes) = fields.metric(MAX_GATHERED) {
            let mut metric = Metric::read(name, MessageType::Gauge, &bytes);
            let bound = if kind == 0 { take_bound(&mut metric.labels) } else { None };
            let key = (std::mem::take(&mut metric.labels), metric.timestamp);
            let place = *places.entry(key.clone()).or_insert(groups.len());
            if place == groups.len() {
                groups.push((key, GaugeGroup::default()));
            }
            let group = &mut groups[place].1;
            match (kind, bound) {
                (0, Some(bound)) => group.buckets.push((bound, metric.gauge())),
                (1, _) => group.count = Some(metric.gauge()),
                (2, _) => group.sum = Some(metric.gauge()),
                _ => {}
            }
        }
    }
    for ((labels, timestamp), group) in groups {
        let metric = Metric {
            labels,
            timestamp,
            ..Metric::read(name, MessageType::Gauge, &[])
        };
        metric.begin(None, out);
        Histogram::gathered(group.count, group.sum, &group.buckets).put(true, out);
        metric.end(None, &[], out);
    }
}

/// Takes the bound out of labels.
fn take_bound(labels: &mut Vec<u8>) -> Option<f64> {
    let (mut others, mut bound) = (Vec::with_capacity(labels.len()), None);
    for label in Labels::new(labels) {
        if label.name == b"le" {
            bound = parse::whole_float(label.value);
        } else {
            put_label_text(&unescaped_bytes(label.name), &unescaped_bytes(label.value), &mut others);
        }
    }
    *labels = others;
    bound
}
