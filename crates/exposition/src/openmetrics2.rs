//! OpenMetrics 2.0 (release candidate 0): a line for each metric. The one of a histogram or summary has a composite value.
//!
//! The format is translated where it leaves: [`Writer`] makes it from a rendered protobuf response, so that it takes neither forms of families
//! nor caches of its own.

mod histogram;
mod message;
mod plan;
mod write;

use std::collections::HashMap;

use crate::family::MetricType;

pub use write::Writer;

/// Types of families that messages show as gauges, by their names in messages: [`MetricType::Info`] and [`MetricType::StateSet`], which protobuf
/// does not have, and [`MetricType::GaugeHistogram`] by the name of the buckets.
pub type UnstatedTypes = HashMap<Box<[u8]>, MetricType>;
