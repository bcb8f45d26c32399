#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::SystemTime;

use super::super::app_filter::AppCounts;
use super::super::{CompressionQueue, SelfMetrics};
use super::*;
use crate::http::ServerMetrics;
use crate::model::Timestamp;
use crate::store::{EventOptions, Inlet, Limits, Mode};
use crate::supervise::ListenerStats;
use crate::telemetry::{Process, Rejection};

#[test]
fn a_version_changes_with_refusals_and_removals() {
    let (_inlet, sources) = sources();
    let before = sources.version();
    sources.telemetry.reject(Rejection {
        source: "http",
        peer: "10.0.0.1:1234",
        reason: "invalid",
        detail: "line 3: no value",
    });
    let refused = sources.version();
    assert_ne!(before, refused);
    let selection = Selection {
        listed: Vec::new(),
        named: 0,
        counts: AppCounts::default(),
    };
    let report = sources.report();
    let document = document(&sources, &selection, &report);
    let text = serde_json::to_string(&document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    // A tree of objects sorts their members.
    assert_eq!(text, document.to_string());
    assert_eq!(document["refused"][0]["client"], "10.0.0.1");
    assert_eq!(document["refused"][0]["detail"], "line 3: no value");
    assert_eq!(document["limits"][0]["key"], "store.max_apps");
    assert_eq!(document["events"], Value::Null);
}

fn sources() -> (Inlet, StatusSources) {
    let (inlet, view) = crate::store::open(Limits::default(), Mode::Raw, EventOptions::default());
    let telemetry: Arc<Telemetry> = Arc::default();
    let listings = Arc::new(ListingCache::new(view.clone(), || Timestamp::from_millis(1)));
    let server = ServerMetrics::new(Process::new(SystemTime::now()), Connections::default(), Arc::default());
    let own = SelfMetrics::new(Arc::clone(&telemetry), server);
    let metrics = MetricsHandler::new(view.clone(), own, Arc::clone(&telemetry), CompressionQueue::default(), false, None);
    let sources = StatusSources {
        view,
        telemetry,
        notes: Arc::default(),
        readiness: Arc::default(),
        connections: vec![("127.0.0.1:6555".into(), Arc::new(ListenerStats::default()))],
        max_connections: 2_048,
        listings,
        metrics: Arc::new(metrics),
        events: None,
        started: Instant::now(),
    };
    (inlet, sources)
}
