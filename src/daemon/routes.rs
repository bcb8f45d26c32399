//! The list of endpoints, for the index page and for 404 responses.

/// Requests with their descriptions.
pub const ENDPOINTS: &[(&str, &str)] = &[
    (
        "GET /metrics",
        "everything for Prometheus; ?app=NAME keeps one app, ?own=false leaves the proxy's own metrics out, ?only=own all apps",
    ),
    (
        "GET /api/status",
        "the state as JSON: faults, refusals, events, scrapers, links, limits",
    ),
    ("GET /apps", "table of applications; JSON with ?format=json"),
    ("GET /apps/NAME", "one app: source, times, bytes, state"),
    ("GET /apps/NAME/metrics", "the metrics of one app alone"),
    ("POST /event", "report a one-shot event: ?label=value&...&value=1 (events.enabled)"),
    ("GET /events", "pending and recent events; JSON with ?format=json"),
    (
        "GET /event/metrics",
        "events of this scraper only; ?peek=true does not consume them",
    ),
    (
        "GET /sd",
        "the apps as targets of their own, for Prometheus's HTTP service discovery",
    ),
    ("PUT /apps/NAME/metrics", "push metrics as text; POST does the same"),
    ("DELETE /apps/NAME", "forget an app"),
    (
        "GET /metric_plugin/v1/...",
        "the IPFS metric exporter's API: ping, monitoring_addresses, sample_peer_metadata",
    ),
    ("GET /healthz", "liveness"),
    ("GET /readyz", "readiness, with the reasons if not ready"),
    ("POST /-/reload", "reload the configuration (http.enable_lifecycle)"),
    ("POST /-/quit", "stop gracefully (http.enable_lifecycle)"),
];

/// The endpoints that are there only where events are taken.
const OF_EVENTS: &[&str] = &["POST /event", "GET /events", "GET /event/metrics"];

/// The requests and their results, without those of events where none are taken (`events.enabled`).
pub(super) fn endpoints(events: bool) -> Vec<(&'static str, &'static str)> {
    let are_there = |(request, _): &&(&str, &str)| events || !OF_EVENTS.contains(request);
    ENDPOINTS.iter().filter(are_there).copied().collect()
}

/// The requests that change nothing.
pub(super) fn reads(events: bool) -> Vec<&'static str> {
    requests(events).into_iter().filter(|request| request.starts_with("GET ")).collect()
}

/// The requests alone.
pub(super) fn requests(events: bool) -> Vec<&'static str> {
    endpoints(events).into_iter().map(|(request, _)| request).collect()
}

#[cfg(test)]
mod tests;
