//! The protobuf format: length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! [`decode()`] turns a body into OpenMetrics text, which [`Exposition::parse`](crate::Exposition::parse) takes, and into records: the
//! metrics that text cannot carry, such as native histograms, as encoded messages. [`Exposition::with_records`](crate::Exposition::with_records)
//! puts both together again, so that a protobuf response has the records as they came. [`Exposition::decode`](crate::Exposition::decode) does
//! all of it, sooner: the text of a plain body is not parsed.

mod content_type;
mod decode;
mod error;
pub(crate) mod number;
mod plain;
mod records;
mod text;
mod text_index;
pub(crate) mod wire;

pub use content_type::{UnsupportedProtobuf, is_content_type};
pub(crate) use decode::{BodyPlace, decode_indexed, places, read_time};
pub use decode::{Decoded, decode};
pub use error::{DecodeError, DecodeErrorKind};
pub(crate) use records::{RecordFamily, RecordSample, Records, broken_rule, for_each_metric_label, read_label, retain, with_names};
pub(crate) use text::{put_escaped, put_label as put_label_text};
pub(crate) use text_index::TextIndex;

use std::borrow::Cow;

use crate::family::MetricType;

/// Field numbers of the messages.
pub(crate) mod field {
    pub(crate) mod family {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const HELP: u32 = 2;
        pub(crate) const TYPE: u32 = 3;
        pub(crate) const METRIC: u32 = 4;
        pub(crate) const UNIT: u32 = 5;
        /// Of records alone: their family of the text may have samples of other families as well.
        pub(crate) const MIXED: u32 = 15;
    }
    pub(crate) mod metric {
        pub(crate) const LABEL: u32 = 1;
        pub(crate) const GAUGE: u32 = 2;
        pub(crate) const COUNTER: u32 = 3;
        pub(crate) const SUMMARY: u32 = 4;
        pub(crate) const UNTYPED: u32 = 5;
        pub(crate) const TIMESTAMP_MS: u32 = 6;
        pub(crate) const HISTOGRAM: u32 = 7;
    }
    pub(crate) mod label {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const VALUE: u32 = 2;
    }
    /// Of a gauge, a counter and an untyped metric alike.
    pub(crate) mod scalar {
        pub(crate) const VALUE: u32 = 1;
        /// Of a counter.
        pub(crate) const EXEMPLAR: u32 = 2;
        /// Of a counter.
        pub(crate) const CREATED: u32 = 3;
    }
    pub(crate) mod summary {
        pub(crate) const COUNT: u32 = 1;
        pub(crate) const SUM: u32 = 2;
        pub(crate) const QUANTILE: u32 = 3;
        pub(crate) const CREATED: u32 = 4;
    }
    pub(crate) mod quantile {
        pub(crate) const QUANTILE: u32 = 1;
        pub(crate) const VALUE: u32 = 2;
    }
    pub(crate) mod histogram {
        pub(crate) const COUNT: u32 = 1;
        pub(crate) const SUM: u32 = 2;
        pub(crate) const BUCKET: u32 = 3;
        pub(crate) const COUNT_FLOAT: u32 = 4;
        pub(crate) const SCHEMA: u32 = 5;
        pub(crate) const ZERO_THRESHOLD: u32 = 6;
        pub(crate) const ZERO_COUNT: u32 = 7;
        pub(crate) const ZERO_COUNT_FLOAT: u32 = 8;
        pub(crate) const NEGATIVE_SPAN: u32 = 9;
        pub(crate) const NEGATIVE_DELTA: u32 = 10;
        pub(crate) const NEGATIVE_COUNT: u32 = 11;
        pub(crate) const POSITIVE_SPAN: u32 = 12;
        pub(crate) const POSITIVE_DELTA: u32 = 13;
        pub(crate) const POSITIVE_COUNT: u32 = 14;
        pub(crate) const CREATED: u32 = 15;
        pub(crate) const EXEMPLARS: u32 = 16;
    }
    pub(crate) mod bucket {
        pub(crate) const COUNT: u32 = 1;
        pub(crate) const BOUND: u32 = 2;
        pub(crate) const EXEMPLAR: u32 = 3;
        pub(crate) const COUNT_FLOAT: u32 = 4;
    }
    pub(crate) mod span {
        pub(crate) const OFFSET: u32 = 1;
        pub(crate) const LENGTH: u32 = 2;
    }
    pub(crate) mod exemplar {
        pub(crate) const LABEL: u32 = 1;
        pub(crate) const VALUE: u32 = 2;
        pub(crate) const TIMESTAMP: u32 = 3;
    }
    pub(crate) mod timestamp {
        pub(crate) const SECONDS: u32 = 1;
        pub(crate) const NANOS: u32 = 2;
    }
}

/// A name as escaped inside quotes.
pub(crate) fn escaped(name: &[u8]) -> Cow<'_, [u8]> {
    if crate::byte_scan::find_special(name, 0) == name.len() {
        return name.into();
    }
    let mut out = Vec::with_capacity(name.len() + 8);
    put_escaped(name, &mut out);
    out.into()
}

/// Appends a metric to those of a family of gauges.
pub fn put_gauge(labels: &[(&str, &str)], value: f64, out: &mut Vec<u8>) {
    let mut metric = Vec::with_capacity(64 + 64 * labels.len());
    let mut inside = Vec::with_capacity(64);
    for (name, value) in labels {
        inside.clear();
        wire::put_bytes(field::label::NAME, name.as_bytes(), &mut inside);
        wire::put_bytes(field::label::VALUE, value.as_bytes(), &mut inside);
        wire::put_bytes(field::metric::LABEL, &inside, &mut metric);
    }
    inside.clear();
    wire::put_double(field::scalar::VALUE, value, &mut inside);
    wire::put_bytes(field::metric::GAUGE, &inside, &mut metric);
    wire::put_bytes(field::family::METRIC, &metric, out);
}

/// Appends the beginning of a family of gauges, up to its metrics. They follow, in `metric_bytes` bytes that [`put_gauge`] wrote.
pub fn put_gauge_family(name: &str, help: &str, metric_bytes: usize, out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(name.len() + help.len() + 16);
    wire::put_bytes(field::family::NAME, name.as_bytes(), &mut head);
    wire::put_bytes(field::family::HELP, help.as_bytes(), &mut head);
    wire::put_number(field::family::TYPE, MessageType::Gauge as u64, &mut head);
    wire::put_varint((head.len() + metric_bytes) as u64, out);
    out.extend_from_slice(&head);
}

/// The type of a family in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum MessageType {
    /// A value that only grows.
    Counter = 0,
    /// A value that goes up and down.
    Gauge = 1,
    /// Quantiles, a sum and a count.
    Summary = 2,
    /// A value of unknown type.
    Untyped = 3,
    /// Buckets, classic or native or both, a sum and a count.
    Histogram = 4,
    /// A histogram with buckets that may shrink.
    GaugeHistogram = 5,
}

impl MessageType {
    /// All types, each at its number.
    pub(crate) const ALL: [Self; 6] = [
        Self::Counter,
        Self::Gauge,
        Self::Summary,
        Self::Untyped,
        Self::Histogram,
        Self::GaugeHistogram,
    ];

    /// The type of a family with messages of this type.
    pub(crate) const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Summary => MetricType::Summary,
            Self::Untyped => MetricType::Unknown,
            Self::Histogram => MetricType::Histogram,
            Self::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }

    /// The type with this number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests;
