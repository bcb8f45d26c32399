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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::{Client, Event, EventId, LabelSet, ScraperId, Timestamp};

    fn event(id: u64, kind: &str, value: f64, stamp: i64) -> Arc<StoredEvent> {
        let labels = if kind.is_empty() {
            vec![]
        } else {
            vec![("kind".into(), kind.into())]
        };
        let labels = LabelSet::new(labels).unwrap();
        let (at, stamp) = (Timestamp::from_millis(stamp), Timestamp::from_millis(stamp));
        Arc::new(StoredEvent {
            id: EventId(id),
            event: Event { labels, value },
            at,
            stamp,
        })
    }

    fn counts(label_by: LabelScrapersBy, pending: &[(&str, Option<&str>, u64)]) -> Counts {
        let pending = pending.iter().map(|&(scraper, from, events)| PendingEvents {
            scraper: ScraperId::new(scraper).unwrap(),
            from: from.map(|address| Client::Ip(address.parse().unwrap())),
            events,
        });
        Counts::new((3, pending.collect()), label_by)
    }

    #[test]
    fn scrapers_of_one_address_share_its_label_where_that_is_asked_for() {
        let scrapers = [
            ("10.0.0.1 Prometheus", Some("10.0.0.1"), 2),
            ("10.0.0.1 vmagent", Some("10.0.0.1"), 3),
            ("prom-a", None, 4),
        ];
        let shown = |label_by| counts(label_by, &scrapers).families();
        let text = shown(LabelScrapersBy::Address);
        assert!(
            text.ends_with("_counts{scraper=\"10.0.0.1\"} 5\nevents_to_metrics_scraper_counts{scraper=\"prom-a\"} 4\n"),
            "{text}"
        );
        assert!(shown(LabelScrapersBy::Identity).contains("{scraper=\"10.0.0.1 vmagent\"} 3\n"));
    }

    #[test]
    fn events_are_samples_of_one_gauge() {
        let events = vec![event(1, "b\"", 1.5, 7), event(2, "", f64::NEG_INFINITY, 8), event(3, "a", 1e300, 9)];
        let counts = counts(LabelScrapersBy::Identity, &[("p\\q", None, 2)]);
        let text = family("deploys", events, false) + &counts.families();
        let (head, rest) = text.split_once("deploys{").unwrap();
        assert!(
            head.starts_with("# HELP deploys ") && head.ends_with("# TYPE deploys gauge\n"),
            "{text}"
        );
        assert!(
            rest.starts_with("kind=\"b\\\"\"} 1.5\ndeploys -Inf\ndeploys{kind=\"a\"} 1e300\n"),
            "{text}"
        );
        assert!(
            text.contains("\n# TYPE events_to_metrics_event_count counter\nevents_to_metrics_event_count 3\n"),
            "{text}"
        );
        assert!(text.ends_with("events_to_metrics_scraper_counts{scraper=\"p\\\\q\"} 2\n"), "{text}");
    }

    #[test]
    fn with_timestamps_a_series_stands_together() {
        let events = vec![event(1, "a", 1.0, 5), event(2, "b", 2.0, 5), event(3, "a", 3.0, 6)];
        let text = family("e", events, true) + &counts(LabelScrapersBy::Identity, &[]).families();
        assert!(text.contains("e{kind=\"a\"} 1 5\ne{kind=\"a\"} 3 6\ne{kind=\"b\"} 2 5\n"), "{text}");
        assert!(!text.contains("scraper_counts"), "{text}");
    }

    #[test]
    fn numbers_are_spelt_as_prometheus_reads_them() {
        let spelt = |value| {
            let mut out = String::new();
            number(&mut out, value);
            out
        };
        let values = [0.0, 3.0, -0.25, 1e15, 1.5e-7, 123_456_789.0, f64::NAN];
        assert_eq!(values.map(spelt), ["0", "3", "-0.25", "1e15", "1.5e-7", "123456789", "NaN"]);
    }
}
