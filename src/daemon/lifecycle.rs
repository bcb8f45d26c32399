//! `POST /-/reload` and `POST /-/quit` (`http.enable_lifecycle`).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reload::Request;
use crate::http::{Connection, OnRefused, Role, Routes, reply};

/// State of the lifecycle endpoints.
pub(super) struct Lifecycle {
    enabled: bool,
    reload: mpsc::Sender<Request>,
    stop: CancellationToken,
    on_refused: OnRefused,
}

impl Lifecycle {
    pub(super) fn new(enabled: bool, reload: mpsc::Sender<Request>, stop: CancellationToken, on_refused: OnRefused) -> Self {
        Self {
            enabled,
            reload,
            stop,
            on_refused,
        }
    }

    /// The refusal of this request, counted and logged, where lifecycle endpoints are disabled.
    fn refusal(&self, connection: &Connection, headers: &HeaderMap) -> Option<Response<Body>> {
        if self.enabled {
            return None;
        }
        let why = "lifecycle endpoints are disabled (http.enable_lifecycle)";
        (self.on_refused)(&connection.client(headers), StatusCode::FORBIDDEN, why);
        let text = "lifecycle endpoints are disabled; set http.enable_lifecycle = true\n";
        Some(reply::text(StatusCode::FORBIDDEN, text))
    }
}

pub(super) fn routes(lifecycle: Lifecycle) -> Routes {
    Routes::new()
        .route("/-/reload", Role::Admin, post(reload).put(reload))
        .route("/-/quit", Role::Admin, post(quit).put(quit))
        .with_state(Arc::new(lifecycle))
}

async fn reload(
    State(lifecycle): State<Arc<Lifecycle>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Response<Body> {
    if let Some(refusal) = lifecycle.refusal(&connection, &headers) {
        return refusal;
    }
    let (answer, outcome) = oneshot::channel();
    let gone = || reply::text(StatusCode::SERVICE_UNAVAILABLE, "the program is shutting down");
    if lifecycle.reload.send(answer).await.is_err() {
        return gone();
    }
    match outcome.await {
        Ok(Ok(())) => reply::text(StatusCode::OK, "reloaded"),
        Ok(Err(faults)) => reply::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format_args!("not reloaded, the previous configuration stays in force:\n{faults}"),
        ),
        Err(_) => gone(),
    }
}

async fn quit(State(lifecycle): State<Arc<Lifecycle>>, Extension(connection): Extension<Connection>, headers: HeaderMap) -> Response<Body> {
    if let Some(refusal) = lifecycle.refusal(&connection, &headers) {
        return refusal;
    }
    lifecycle.stop.cancel();
    reply::text(StatusCode::OK, "stopping")
}
