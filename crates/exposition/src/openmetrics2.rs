//! OpenMetrics 2.0 (release candidate 0): a line for each metric. The one of a histogram or summary has a composite value.
//!
//! The format is translated where it leaves and arrives, so that it takes neither forms of families nor caches of its own: [`Writer`] makes it
//! from a rendered protobuf response, and [`parse`] makes of it what protobuf and OpenMetrics 1.0 become.

mod histogram;
mod message;
mod plan;
mod read;
mod write;

use std::collections::HashMap;

use crate::family::MetricType;

pub use read::{TextTooLong, parse};
pub use write::Writer;

/// Types of families that messages show as gauges, by their names in messages: [`MetricType::Info`] and [`MetricType::StateSet`], which protobuf
/// does not have, and [`MetricType::GaugeHistogram`] by the name of the buckets.
pub type UnstatedTypes = HashMap<Box<[u8]>, MetricType>;

/// True if a body with this `Content-Type` is one of OpenMetrics 2.0: its version is exactly this one.
#[must_use]
pub fn is_content_type(content_type: &str) -> bool {
    let mut fields = content_type.split(';').map(str::trim);
    let media = fields.next().unwrap_or_default();
    media.eq_ignore_ascii_case("application/openmetrics-text")
        && fields.filter_map(|field| field.split_once('=')).any(|(name, value)| {
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("version") && value == "2.0.0"
        })
}
