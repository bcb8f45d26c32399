//! Events as exposition text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::exposition::render::Chunk;
use crate::model::Syntax;
use crate::store::{PendingEvents, StoredEvent};
use crate::telemetry::{header, push_label, sample};

/// The counter of accepted events. Its name is the one that dashboards know, whatever the events are called.
const COUNT: &str = "events_to_metrics_event_count";

/// The gauge of what each scraper has not got yet.
const PENDING: &str = "events_to_metrics_scraper_counts";

/// Limit on the length of a sample besides its name and labels: braces, a value, a timestamp.
const SAMPLE_OVERHEAD: usize = 64;

/// Whole numbers up to here are written without an exponent; beyond it the digits say more than a float knows.
const PLAIN_UP_TO: f64 = 1e15;

/// The value of the label `scraper` in the counts of pending events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelScrapersBy {
    /// The whole identity.
    Identity,
    /// The address that the scraper came from last, with the sum of all scrapers there; the identity where that is not known.
    Address,
}

/// Counts of events: how many were accepted, and how many are pending under each label.
#[derive(Debug)]
pub(super) struct Counts {
    accepted: u64,
    pending: BTreeMap<String, u64>,
}

impl Counts {
    pub(super) fn new((accepted, scrapers): (u64, Vec<PendingEvents>), label_by: LabelScrapersBy) -> Self {
        let mut pending = BTreeMap::new();
        for PendingEvents { scraper, from, events } in scrapers {
            let address = from.filter(|_| label_by == LabelScrapersBy::Address);
            let label = address.map_or_else(|| scraper.to_string(), |address| address.to_string());
            *pending.entry(label).or_default() += events;
        }
        Self { accepted, pending }
    }
}

/// The family of these events under `name` in the text format.
pub(super) fn family(name: &str, mut events: Vec<Arc<StoredEvent>>, timestamps: bool) -> String {
    if events.is_empty() {
        return String::new();
    }
    let stamps = timestamps.then_some(Syntax::Text);
    if timestamps {
        sort_for_stamps(&mut events);
    }
    head(name) + &samples(name, &events, stamps)
}

impl Counts {
    /// The number of events, and of pending events of each scraper, in the text format.
    pub(super) fn families(&self) -> String {
        let mut out = String::new();
        header(&mut out, COUNT, "counter", "One-shot events accepted so far.");
        sample(&mut out, COUNT, "", self.accepted);
        if !self.pending.is_empty() {
            header(&mut out, PENDING, "gauge", "One-shot events that a scraper has not received yet.");
        }
        for (who, pending) in &self.pending {
            let mut labels = String::new();
            push_label(&mut labels, "scraper", who);
            sample(&mut out, PENDING, &labels, pending);
        }
        out
    }
}

/// The lines that begin the family of events.
pub(super) fn head(name: &str) -> String {
    let mut out = String::new();
    header(&mut out, name, "gauge", "One-shot events, each shown to every scraper once.");
    out
}

/// Puts the samples of each series together, in the order of their times, as OpenMetrics demands.
pub(super) fn sort_for_stamps(events: &mut [Arc<StoredEvent>]) {
    events.sort_by(|a, b| a.event.labels.cmp(&b.event.labels).then(a.stamp.cmp(&b.stamp)));
}

/// Bytes that the samples of these events have at most.
pub(super) fn size(name: &str, events: &[Arc<StoredEvent>]) -> usize {
    events
        .iter()
        .map(|event| name.len() + SAMPLE_OVERHEAD + event.event.labels.as_str().len())
        .sum()
}

/// The samples of events, with timestamps as a syntax has them where it is given.
pub(super) fn samples(name: &str, events: &[Arc<StoredEvent>], stamps: Option<Syntax>) -> String {
    let mut out = String::with_capacity(size(name, events));
    for record in events {
        let labels = record.event.labels.as_str();
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = write!(out, "{name}{open}{labels}{close} ");
        number(&mut out, record.event.value);
        let millis = record.stamp.as_millis();
        let _ = match stamps {
            None => Ok(()),
            Some(Syntax::Text) => write!(out, " {millis}"),
            Some(Syntax::OpenMetrics) => {
                let sign = if millis < 0 { "-" } else { "" };
                let millis = millis.unsigned_abs();
                write!(out, " {sign}{}.{:03}", millis / 1_000, millis % 1_000)
            }
        };
        out.push('\n');
    }
    out
}

/// Text that is kept and shared.
pub(super) fn chunk(text: String) -> Chunk {
    Chunk::new(vec![text.into_boxed_str().into_boxed_bytes().into()])
}

/// Appends a value as the formats spell it.
fn number(out: &mut String, value: f64) {
    let _ = if value.is_nan() {
        write!(out, "NaN")
    } else if value.is_infinite() {
        write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else if value == 0.0 || (1e-5..PLAIN_UP_TO).contains(&value.abs()) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
}

#[cfg(test)]
mod tests;
