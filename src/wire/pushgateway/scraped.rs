//! The groups of a running Pushgateway: `/api/v1/metrics` says which series each group has, and a scrape in protobuf has all of each series.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value as Json;

use super::saved::field;
use super::{Group, JOB, SavedGroup};
use crate::wire::protobuf::{Fields, ProtobufError, Value, push_bytes};

/// The fault of one of the two responses.
#[derive(Debug, thiserror::Error)]
pub enum ScrapedError {
    /// The list of groups is not that of Pushgateway.
    #[error("/api/v1/metrics is not that of Pushgateway: {0}")]
    Api(#[from] serde_json::Error),
    /// A group has no job.
    #[error("a group in /api/v1/metrics has no label \"job\"")]
    NoJob,
    /// The scrape is not protobuf.
    #[error("/metrics is not the protobuf that was asked for: {0}")]
    Scrape(#[from] ProtobufError),
}

#[derive(Deserialize)]
struct Api {
    data: Vec<ApiGroup>,
}

#[derive(Deserialize)]
struct ApiGroup {
    labels: BTreeMap<String, String>,
    #[serde(flatten)]
    families: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct ApiFamily {
    metrics: Vec<ApiMetric>,
}

#[derive(Deserialize)]
struct ApiMetric {
    labels: BTreeMap<String, String>,
}

/// The groups of a Pushgateway, and the number of series that were gone when it was scraped after the list was made.
///
/// # Errors
/// If one of the responses cannot be read.
pub fn groups_of_scrape(api: &[u8], scrape: &[u8]) -> Result<(Vec<SavedGroup>, usize), ScrapedError> {
    let api: Api = serde_json::from_slice(api)?;
    let (mut groups, mut series) = (Vec::with_capacity(api.data.len()), HashMap::new());
    for ApiGroup { mut labels, families } in api.data {
        let job = labels.remove(JOB).ok_or(ScrapedError::NoJob)?;
        for (name, family) in families.into_iter().filter(|(_, family)| family.is_object()) {
            let family: ApiFamily = serde_json::from_value(family)?;
            for mut metric in family.metrics {
                // An empty label is none, and not every program writes those.
                metric.labels.retain(|_, value| !value.is_empty());
                series.insert((name.clone(), metric.labels), groups.len());
            }
        }
        groups.push(SavedGroup::new(Group::new(job, labels)));
    }
    let mut delimited = scrape;
    while !delimited.is_empty() {
        let family = next_message(&mut delimited)?;
        take_family(family, &mut series, &mut groups)?;
    }
    Ok((groups, series.len()))
}

/// Takes a message with its length before it.
fn next_message<'a>(delimited: &mut &'a [u8]) -> Result<&'a [u8], ProtobufError> {
    let mut fields = Fields(delimited);
    let message = fields.delimited()?;
    *delimited = fields.0;
    Ok(message)
}

/// Divides a family among the groups that have series of it.
fn take_family(
    family: &[u8],
    series: &mut HashMap<(String, BTreeMap<String, String>), usize>,
    groups: &mut [SavedGroup],
) -> Result<(), ScrapedError> {
    let (mut name, mut head, mut parts) = (String::new(), Vec::new(), BTreeMap::<usize, Vec<u8>>::new());
    let mut fields = Fields(family);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (field::FAMILY_METRIC, _) => continue,
            (field::FAMILY_NAME, Value::Bytes(bytes)) => name = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
        value.write(number, &mut head);
    }
    let mut fields = Fields(family);
    while let Some((number, value)) = fields.next()? {
        if number != field::FAMILY_METRIC {
            continue;
        }
        let metric = value.bytes(number)?;
        // A series of Pushgateway itself is in no group.
        if let Some(group) = series.remove(&(name.clone(), labels(metric)?)) {
            push_bytes(parts.entry(group).or_insert_with(|| head.clone()), number, metric);
        }
    }
    for (group, family) in parts {
        groups[group].add(&name, &family)?;
    }
    Ok(())
}

/// The labels of a metric that are not empty.
fn labels(metric: &[u8]) -> Result<BTreeMap<String, String>, ProtobufError> {
    let (mut labels, mut fields) = (BTreeMap::new(), Fields(metric));
    while let Some((number, value)) = fields.next()? {
        if number != field::METRIC_LABEL {
            continue;
        }
        let (mut name, mut text, mut pair) = (String::new(), String::new(), Fields(value.bytes(number)?));
        while let Some((number, value)) = pair.next()? {
            match number {
                field::LABEL_NAME => name = String::from_utf8_lossy(value.bytes(number)?).into_owned(),
                field::LABEL_VALUE => text = String::from_utf8_lossy(value.bytes(number)?).into_owned(),
                _ => {}
            }
        }
        if !text.is_empty() {
            labels.insert(name, text);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests;
