//! The state of the proxy: what is wrong, who was refused, what is pending, who scrapes, how full the limits are. One report for the page,
//! for `/api/status` and for commands.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::app_filter::{AppFilter, State as StateOfApp};
use super::events::EventOutlet;
use super::listing_cache::{ListingCache, Selection};
use super::metrics::MetricsHandler;
use super::recent_scrapers::Scraper;
use super::table;
use crate::http::{Connections, reply};
use crate::store::{EventsOverview, View};
use crate::supervise::{Notes, Readiness};
use crate::telemetry::{ClusterMember, ClusterState, LinkState, RecentRefusal, Removal, RemovalReason, Telemetry};

/// Apps with faults that the report lists; `/apps?state=fault` lists all.
pub(super) const MAX_FAULTS: usize = 100;
/// Labels of pending events that the report lists for a scraper.
pub(super) const MAX_PENDING: usize = 5;

/// The parts of the program that the report is about.
#[derive(Debug)]
pub struct StatusSources {
    /// The stored apps and events.
    pub view: View,
    /// Refusals, removals, links.
    pub telemetry: Arc<Telemetry>,
    /// Notes about what does not work.
    pub notes: Arc<Notes>,
    /// Reasons that the program is not ready.
    pub readiness: Arc<Readiness>,
    /// The connections of each listener, and the most that one may have.
    pub connections: Connections,
    /// The most connections of a listener.
    pub max_connections: usize,
    /// The listings of apps.
    pub listings: Arc<ListingCache>,
    /// The scrapers.
    pub metrics: Arc<MetricsHandler>,
    /// The events, where they are accepted.
    pub events: Option<Arc<EventOutlet>>,
    /// The time at which the program started.
    pub started: Instant,
}

/// A bound and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    /// The key in the configuration.
    pub(super) key: &'static str,
    /// The thing that is bounded, where the key is about several.
    pub(super) of: Option<Arc<str>>,
    pub(super) used: u64,
    pub(super) limit: u64,
    /// `bytes`, or what is counted.
    pub(super) unit: &'static str,
}

/// The state at one moment.
pub(super) struct Report {
    pub(super) now: Instant,
    pub(super) uptime_seconds: u64,
    pub(super) notes: Vec<String>,
    pub(super) obstacles: Option<String>,
    pub(super) refusals: Vec<RecentRefusal>,
    pub(super) removals: Vec<Removal>,
    pub(super) events: Option<EventsOverview>,
    pub(super) scrapers: Vec<Scraper>,
    pub(super) links: Vec<(String, LinkState)>,
    /// `None` without a cluster.
    pub(super) cluster: Option<ClusterState>,
    pub(super) usage: Vec<Usage>,
}

impl Report {
    /// Seconds since a moment.
    pub(super) fn age(&self, at: Instant) -> u64 {
        self.now.saturating_duration_since(at).as_secs()
    }
}

impl StatusSources {
    /// The report, without apps.
    pub(super) fn report(&self) -> Report {
        let now = Instant::now();
        Report {
            now,
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            notes: self.notes.lines(),
            obstacles: self.readiness.obstacles(),
            refusals: self.telemetry.recent_refusals(),
            removals: self.telemetry.recent_removals(),
            events: self.events.as_ref().map(|_| self.view.events()),
            scrapers: self.metrics.scrapers(),
            links: self.telemetry.links().list(),
            cluster: Some(self.telemetry.cluster().get()).filter(|cluster| !cluster.engine.is_empty()),
            usage: self.usage(),
        }
    }

    fn usage(&self) -> Vec<Usage> {
        let (limits, totals) = (self.view.limits(), self.view.totals());
        let usage = |key, used: u64, limit: u64, unit| Usage {
            key,
            of: None,
            used,
            limit,
            unit,
        };
        let mut all = vec![
            usage("store.max_apps", totals.apps as u64, limits.max_apps as u64, "apps"),
            usage("store.max_memory", self.view.memory(), limits.max_memory, "bytes"),
        ];
        if self.events.is_some() {
            let (kept, most) = self.view.kept_events();
            all.push(usage("events.max_pending", kept as u64, most as u64, "events"));
        }
        all.extend(self.connections.iter().map(|(place, stats)| Usage {
            of: Some(Arc::clone(place)),
            ..usage(
                "exporter.concurrent_requests",
                stats.open.load(std::sync::atomic::Ordering::Relaxed),
                self.max_connections as u64,
                "connections",
            )
        }));
        all
    }

    /// A number that changes with what the report is about.
    #[must_use]
    pub fn version(&self) -> u64 {
        let refused: u64 = self.telemetry.recent_refusals().iter().map(|refusal| refusal.count).sum();
        let (accepted, pending) = self.view.event_counts();
        let pending: u64 = pending.iter().map(|scraper| scraper.events).sum();
        let removed = self.telemetry.recent_removals().len() as u64;
        [refused, accepted, pending, removed]
            .into_iter()
            .fold(self.view.generation(), |version, part| version.wrapping_mul(31).wrapping_add(part))
    }
}

/// `GET /api/status`
pub(super) async fn status(State(sources): State<Arc<StatusSources>>, headers: HeaderMap) -> Response<Body> {
    let selection = sources.listings.select(AppFilter::default(), MAX_FAULTS).await;
    let rendered = Arc::clone(&sources);
    let render = move || reply::rendered_json(StatusCode::OK, &document(&rendered, &selection, &rendered.report()));
    sources.listings.pages.respond(&headers, render).await
}

/// The report for JSON, as docs/http.md describes it. Members have the order of their names.
#[derive(Debug, Serialize)]
struct Document<'a> {
    apps: Value,
    cluster: Option<Value>,
    events: Option<EventFacts<'a>>,
    faults: Vec<Value>,
    limits: Vec<Value>,
    links: Vec<Value>,
    not_ready_because: Option<Vec<&'a str>>,
    notes: &'a [String],
    ready: bool,
    refused: Vec<Value>,
    removed: Vec<Value>,
    role: &'static str,
    scrapers: Vec<Value>,
    time: Option<String>,
    uptime_seconds: u64,
    version: &'static str,
}

/// Events, of which a thousand scrapers may have the same long ones to get: their labels are not copied.
#[derive(Debug, Serialize)]
struct EventFacts<'a> {
    accepted: u64,
    scrapers: Vec<PendingFacts<'a>>,
}

#[derive(Debug, Serialize)]
struct PendingFacts<'a> {
    declared: bool,
    in_flight: usize,
    last_scrape: Option<String>,
    lost: u64,
    pending: u64,
    pending_labels: Vec<&'a str>,
    scraper: &'a str,
}

fn document<'a>(sources: &StatusSources, selection: &Selection, report: &'a Report) -> Document<'a> {
    let counts = selection.counts;
    let faults = selection
        .listed
        .iter()
        .filter(|(_, status)| StateOfApp::of(status) != StateOfApp::Ok);
    let faults = faults.take(MAX_FAULTS);
    Document {
        apps: json!({
            "total": counts.apps(), "ok": counts.ok, "stale": counts.stale, "fault": counts.fault,
            "series": counts.series, "bytes": counts.bytes,
        }),
        cluster: report.cluster.as_ref().map(cluster),
        events: report.events.as_ref().map(events),
        faults: faults.map(|(app, status)| table::facts(app, status)).collect(),
        limits: report.usage.iter().map(limit).collect(),
        links: report.links.iter().map(|(bridge, state)| link(report, bridge, state)).collect(),
        not_ready_because: report.obstacles.as_deref().map(|lines| lines.lines().collect()),
        notes: &report.notes,
        ready: report.obstacles.is_none(),
        refused: report.refusals.iter().map(|refusal| refused(report, refusal)).collect(),
        removed: report.removals.iter().map(|removal| removed(report, removal)).collect(),
        role: "proxy",
        scrapers: report.scrapers.iter().map(|scraper| self::scraper(report, scraper)).collect(),
        time: table::rfc3339((sources.listings.clock)()),
        uptime_seconds: report.uptime_seconds,
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn refused(report: &Report, refusal: &RecentRefusal) -> Value {
    json!({
        "source": refusal.source, "client": refusal.client, "reason": refusal.reason, "detail": refusal.detail,
        "count": refusal.count, "age_seconds": report.age(refusal.last),
    })
}

fn removed(report: &Report, removal: &Removal) -> Value {
    let (reason, by) = match &removal.reason {
        RemovalReason::Expired => ("expired", None),
        RemovalReason::Deleted(by) => ("deleted", Some(by)),
    };
    json!({ "app": removal.app.as_str(), "reason": reason, "by": by, "age_seconds": report.age(removal.at) })
}

/// The labels of the first events that a scraper has still to get.
pub(super) fn pending_labels<'a>(overview: &'a EventsOverview, ids: &'a [crate::model::EventId]) -> impl Iterator<Item = &'a str> {
    let labels = |id: &crate::model::EventId| {
        let place = overview.recent.binary_search_by_key(id, |record| record.id).ok()?;
        Some(overview.recent[place].event.labels.as_str())
    };
    ids.iter().filter_map(labels).take(MAX_PENDING)
}

fn events(overview: &EventsOverview) -> EventFacts<'_> {
    let scrapers = overview.scrapers.iter().map(|scraper| PendingFacts {
        declared: scraper.declared,
        in_flight: scraper.in_flight,
        last_scrape: scraper.last_scrape.and_then(table::rfc3339),
        lost: scraper.lost,
        pending: scraper.pending,
        pending_labels: pending_labels(overview, &scraper.pending_ids).collect(),
        scraper: scraper.scraper.as_str(),
    });
    EventFacts {
        accepted: overview.accepted,
        scrapers: scrapers.collect(),
    }
}

fn scraper(report: &Report, scraper: &Scraper) -> Value {
    json!({
        "client": scraper.client.to_string(), "agent": scraper.agent, "request": scraper.request,
        "content_type": scraper.format.content_type(), "encoding": table::encoding(scraper.encoding), "bytes": scraper.bytes,
        "seconds": scraper.took.as_secs_f64(), "count": scraper.count,
        "interval_seconds": scraper.interval.map(|interval| interval.as_secs_f64()), "age_seconds": report.age(scraper.last),
    })
}

fn link(report: &Report, bridge: &str, state: &LinkState) -> Value {
    let age = |at: Option<Instant>| at.map(|at| report.age(at));
    json!({
        "bridge": bridge, "registered": state.registered_since.is_some(), "registered_seconds": age(state.registered_since),
        "last_scrape_age_seconds": age(state.last_scrape),
        "last_error": state.last_error.as_ref().map(|(_, text)| text),
        "last_error_age_seconds": age(state.last_error.as_ref().map(|(at, _)| *at)),
    })
}

fn cluster(state: &ClusterState) -> Value {
    let member = |member: &ClusterMember| {
        json!({
            "id": member.id, "name": member.name, "http": member.http, "version": member.version, "apps": member.apps,
            "polls": member.has_lease,
        })
    };
    json!({
        "engine": state.engine, "connected": state.connected, "pending": state.pending,
        "pending_events": state.pending_events,
        "members": state.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn limit(usage: &Usage) -> Value {
    json!({ "key": usage.key, "of": usage.of.as_deref(), "used": usage.used, "limit": usage.limit, "unit": usage.unit })
}

#[cfg(test)]
mod tests;
