//! `GET /events`: pending and recent events as a table and as JSON.

use serde_json::{Map, Value, json};
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

/// `{"time":..., "accepted":..., "scrapers":[...], "events":[...]}`, the newest event first.
pub(super) fn json(overview: &EventsOverview, now: Timestamp) -> Value {
    let scrapers: Vec<_> = overview.scrapers.iter().map(scraper).collect();
    let events: Vec<_> = overview.recent.iter().rev().map(|record| event(overview, record)).collect();
    json!({ "time": rfc3339(now), "accepted": overview.accepted, "scrapers": scrapers, "events": events })
}

fn scraper(scraper: &ScraperOverview) -> Value {
    let ids: Vec<u64> = scraper.pending_ids.iter().map(|id| id.0).collect();
    json!({
        "scraper": scraper.scraper.as_str(),
        "pending": scraper.pending,
        "pending_ids": ids,
        "in_flight": scraper.in_flight,
        "lost": scraper.lost,
        "last_scrape": scraper.last_scrape.and_then(rfc3339),
        "declared": scraper.declared,
    })
}

fn event(overview: &EventsOverview, record: &StoredEvent) -> Value {
    let labels: Map<_, _> = record
        .event
        .labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    // JSON has no infinities and no NaN.
    let value = serde_json::Number::from_f64(record.event.value).map_or_else(|| record.event.value.to_string().into(), Value::from);
    json!({
        "id": record.id.0,
        "time": rfc3339(record.at),
        "labels": labels,
        "value": value,
        "pending_for": pending_for(overview, record),
    })
}

/// The scrapers that have not got an event, as far as they are listed with it.
fn pending_for<'a>(overview: &'a EventsOverview, record: &StoredEvent) -> Vec<&'a str> {
    let waiting = overview.scrapers.iter().filter(|scraper| scraper.is_waiting_for(record.id));
    waiting.map(|scraper| scraper.scraper.as_str()).collect()
}

#[cfg(test)]
mod tests;
