#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::model::{Event, EventId, LabelSet, ScraperId};

fn overview() -> EventsOverview {
    let labels = LabelSet::new(vec![("kind".into(), "x\"".into())]).unwrap();
    let record = |id, value| {
        let (labels, at) = (labels.clone(), Timestamp::from_millis(0));
        Arc::new(StoredEvent {
            id: EventId(id),
            event: Event { labels, value },
            at,
            stamp: at,
        })
    };
    let scraper = ScraperOverview {
        scraper: ScraperId::new("prom").unwrap(),
        pending: 1,
        pending_ids: vec![EventId(2)],
        in_flight: 1,
        lost: 0,
        last_scrape: None,
        declared: true,
    };
    EventsOverview {
        accepted: 2,
        scrapers: vec![scraper],
        recent: vec![record(1, 1.0), record(2, f64::NAN)],
    }
}

#[test]
fn people_and_programs_see_who_waits_for_what() {
    let drawn = draw(&overview(), Timestamp::from_millis(0));
    assert!(drawn.contains("1970-01-01 00:00:00.000 UTC"), "{drawn}");
    assert!(
        drawn.lines().any(|line| line.starts_with("| 2 ") && line.contains("| prom ")),
        "{drawn}"
    );
    assert!(
        drawn.lines().any(|line| line.starts_with("| 1 ") && !line.contains("prom")),
        "{drawn}"
    );
    let overview = overview();
    let listed = json(&overview, Timestamp::from_millis(0));
    let json = serde_json::to_value(&listed).unwrap();
    // A tree of objects sorts their members.
    assert_eq!(serde_json::to_string(&listed).unwrap(), json.to_string());
    assert_eq!(
        json["events"][0],
        json!({"id": 2, "time": "1970-01-01T00:00:00.000Z", "labels": {"kind": "x\""}, "value": "NaN", "pending_for": ["prom"]})
    );
    assert_eq!(json["scrapers"][0]["pending_ids"], json!([2]));
}
