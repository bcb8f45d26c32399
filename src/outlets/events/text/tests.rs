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
