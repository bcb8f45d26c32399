//! The list of endpoints, for the index page and for 404 responses.

use crate::config::Settings;

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
        "PUT /metrics/job/JOB/LABEL/VALUE",
        "push a group as to Pushgateway; POST replaces families, DELETE forgets it (pushgateway.enabled)",
    ),
    ("GET /api/v1/metrics", "the pushed groups as JSON; /api/v1/status the settings"),
    ("PUT /api/v1/admin/wipe", "forget all pushed groups"),
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

/// The endpoints that are there only where the API of Pushgateway is served.
const OF_PUSHGATEWAY: &[&str] = &["PUT /metrics/job/JOB/LABEL/VALUE", "GET /api/v1/metrics", "PUT /api/v1/admin/wipe"];

/// The optional parts of the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// `events.enabled`.
    pub(super) events: bool,
    /// `pushgateway.enabled`.
    pub(super) pushgateway: bool,
}

impl Parts {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            events: settings.events.enabled,
            pushgateway: settings.pushgateway.enabled,
        }
    }

    fn serves(self, request: &str) -> bool {
        (self.events || !OF_EVENTS.contains(&request)) && (self.pushgateway || !OF_PUSHGATEWAY.contains(&request))
    }
}

/// The requests and their results, without those of parts that are not served.
pub(super) fn endpoints(parts: Parts) -> Vec<(&'static str, &'static str)> {
    ENDPOINTS.iter().filter(|(request, _)| parts.serves(request)).copied().collect()
}

/// The requests that change nothing.
pub(super) fn reads(parts: Parts) -> Vec<&'static str> {
    requests(parts).into_iter().filter(|request| request.starts_with("GET ")).collect()
}

/// The requests alone.
pub(super) fn requests(parts: Parts) -> Vec<&'static str> {
    endpoints(parts).into_iter().map(|(request, _)| request).collect()
}

#[cfg(test)]
mod tests;
