//! Health and readiness endpoints of the proxy and of the bridge.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Response, StatusCode};

use crate::http::{Routes, reply};
use crate::supervise::{Notes, Readiness};

pub(super) fn routes(readiness: Arc<Readiness>, notes: Arc<Notes>) -> Routes {
    // Open: what asks is a program that has no credentials, such as a kubelet or a load balancer.
    Routes::new()
        .open_route("/healthz", get(alive))
        .open_route("/-/healthy", get(alive))
        .open_route("/readyz", get(ready))
        .open_route("/-/ready", get(ready))
        .with_state((readiness, notes))
}

/// `GET /healthz`, `GET /-/healthy`: always 200.
async fn alive() -> Response<Body> {
    reply::text(StatusCode::OK, "ok")
}

/// `GET /readyz`, `GET /-/ready`: 200, or 503 and the reasons. Notes do not affect readiness and are in both.
async fn ready(State((readiness, notes)): State<(Arc<Readiness>, Arc<Notes>)>) -> Response<Body> {
    let notes = notes.text();
    match readiness.obstacles() {
        None => reply::text(StatusCode::OK, format_args!("ready\n{notes}")),
        Some(why) => reply::text(StatusCode::SERVICE_UNAVAILABLE, format_args!("{why}{notes}")),
    }
}
