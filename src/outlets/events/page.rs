//! `GET /events`: pending and recent events as a table and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::super::table::{clock_time, rfc3339};
use crate::model::{Timestamp, printable};
use crate::store::{EventsOverview, ScraperOverview, StoredEvent};

/// Two tables: the scrapers, and the newest events.
pub(super) fn draw(overview: &EventsOverview, now: Timestamp) -> String {
    let mut scrapers = Builder::default();
    scrapers.push_record(["Scraper", "Pending", "In Flight", "Lost", "Last Scrape (UTC)"]);
    for scraper in &overview.scrapers {
        scrapers.push_record([
            printable(scraper.scraper.as_str()).into_owned(),
            scraper.pending.to_string(),
            scraper.in_flight.to_string(),
            scraper.lost.to_string(),
            scraper.last_scrape.map_or_else(|| "never".into(), clock_time),
        ]);
    }
    let mut events = Builder::default();
    events.push_record(["Id", "Time (UTC)", "Labels", "Value", "Pending For"]);
    for record in overview.recent.iter().rev() {
        events.push_record([
            record.id.to_string(),
            clock_time(record.at),
            printable(record.event.labels.as_str()).into_owned(),
            record.event.value.to_string(),
            printable(&pending_for(overview, record).join(", ")).into_owned(),
        ]);
    }
    format!(
        "Current time: {}\nEvents accepted: {}\n{}\n{}\n",
        clock_time(now),
        overview.accepted,
        scrapers.build().with(Style::ascii()),
        events.build().with(Style::ascii()),
    )
}

/// Scrapers and events, the newest event first. Members have the order of their names.
#[derive(Debug, Serialize)]
pub(super) struct EventList<'a> {
    accepted: u64,
    events: Vec<ListedEvent<'a>>,
    scrapers: Vec<ListedScraper<'a>>,
    time: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedScraper<'a> {
    declared: bool,
    in_flight: usize,
    last_scrape: Option<String>,
    lost: u64,
    pending: u64,
    pending_ids: Vec<u64>,
    scraper: &'a str,
}

#[derive(Debug, Serialize)]
struct ListedEvent<'a> {
    id: u64,
    labels: BTreeMap<&'a str, String>,
    pending_for: Vec<&'a str>,
    time: Option<String>,
    value: ListedValue,
}

/// A value: JSON has no infinities and no NaN.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ListedValue {
    Finite(f64),
    Other(String),
}

/// The overview for JSON.
pub(super) fn json(overview: &EventsOverview, now: Timestamp) -> EventList<'_> {
    EventList {
        accepted: overview.accepted,
        events: overview.recent.iter().rev().map(|record| event(overview, record)).collect(),
        scrapers: overview.scrapers.iter().map(scraper).collect(),
        time: rfc3339(now),
    }
}

fn scraper(scraper: &ScraperOverview) -> ListedScraper<'_> {
    ListedScraper {
        declared: scraper.declared,
        in_flight: scraper.in_flight,
        last_scrape: scraper.last_scrape.and_then(rfc3339),
        lost: scraper.lost,
        pending: scraper.pending,
        pending_ids: scraper.pending_ids.iter().map(|id| id.0).collect(),
        scraper: scraper.scraper.as_str(),
    }
}

fn event<'a>(overview: &'a EventsOverview, record: &'a StoredEvent) -> ListedEvent<'a> {
    let value = record.event.value;
    ListedEvent {
        id: record.id.0,
        labels: record.event.labels.iter().collect(),
        pending_for: pending_for(overview, record),
        time: rfc3339(record.at),
        value: match value.is_finite() {
            true => ListedValue::Finite(value),
            false => ListedValue::Other(value.to_string()),
        },
    }
}

/// The scrapers that have not got an event, as far as they are listed with it.
fn pending_for<'a>(overview: &'a EventsOverview, record: &StoredEvent) -> Vec<&'a str> {
    let waiting = overview.scrapers.iter().filter(|scraper| scraper.is_waiting_for(record.id));
    waiting.map(|scraper| scraper.scraper.as_str()).collect()
}

#[cfg(test)]
mod tests;
