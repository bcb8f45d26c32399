//! `/sd`: each application as a target of its own, in the format of Prometheus's HTTP service discovery.

use axum::body::Body;
use axum::extract::State;
use http::header::HOST;
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::table::sorted;
use crate::http::reply;
use crate::store::View;

/// `GET /sd`: one target for each application and one for the proxy itself, which is there even when there is no application, so that
/// the list is never empty.
///
/// Source of the format: Prometheus's documentation of `http_sd_config`, a list of `{"targets": [...], "labels": {...}}`.
pub(super) async fn targets(State(view): State<View>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(|it| it.as_str()));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return reply::text(
            StatusCode::BAD_REQUEST,
            "targets point at the address that the list is asked under, and the request names none (Host)",
        );
    };
    let own = json!({ "targets": [host], "labels": { "__metrics_path__": "/metrics", "__param_only": "own" } });
    let apps = sorted(view.apps());
    let targets: Vec<Value> = apps
        .iter()
        .map(|app| target(host, app.name.as_str(), &app.origin.source))
        .chain([own])
        .collect();
    reply::json(StatusCode::OK, &targets.into())
}

fn target(host: &str, app: &str, source: &str) -> Value {
    json!({
        "targets": [host],
        "labels": { "__metrics_path__": "/metrics", "__param_app": app, "__param_own": "false", "app": app, "source": source },
    })
}
