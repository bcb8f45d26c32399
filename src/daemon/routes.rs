//! The list of endpoints, for people who ask for the wrong one.

/// What can be requested, and what that gives.
pub const ENDPOINTS: &[(&str, &str)] = &[
    (
        "GET /metrics",
        "everything for Prometheus; ?app=NAME keeps one app, ?own=false leaves the proxy's own metrics out, ?only=own all apps",
    ),
    ("GET /apps", "who has pushed what; JSON with ?format=json"),
    ("GET /apps/NAME", "one app: source, times, bytes, state"),
    ("GET /apps/NAME/metrics", "the metrics of one app alone"),
    ("POST /event", "report a one-shot event: ?label=value&...&value=1 (events.enabled)"),
    ("GET /events", "pending and recent events; JSON with ?format=json"),
    ("GET /event/metrics", "this scraper's events alone; ?peek=true takes none"),
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
    ("GET /healthz", "whether the proxy lives"),
    ("GET /readyz", "whether the proxy is ready, or why not"),
    ("POST /-/reload", "read the configuration again (http.enable_lifecycle)"),
    ("POST /-/quit", "stop gracefully (http.enable_lifecycle)"),
];

/// The requests that change nothing.
pub(super) fn reads() -> Vec<&'static str> {
    requests().into_iter().filter(|request| request.starts_with("GET ")).collect()
}

/// The requests alone.
pub(super) fn requests() -> Vec<&'static str> {
    ENDPOINTS.iter().map(|(request, _)| *request).collect()
}
