//! `POST /-/reload` and `POST /-/quit` (`http.enable_lifecycle`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reload::Request;
use crate::http::{Connection, may_write, reply};
use crate::telemetry::{Rejection, Telemetry};

/// State of the lifecycle endpoints.
pub(super) struct Lifecycle {
    enabled: bool,
    reload: mpsc::Sender<Request>,
    stop: CancellationToken,
    telemetry: Arc<Telemetry>,
}

impl Lifecycle {
    pub(super) fn new(enabled: bool, reload: mpsc::Sender<Request>, stop: CancellationToken, telemetry: Arc<Telemetry>) -> Self {
        Self {
            enabled,
            reload,
            stop,
            telemetry,
        }
    }

    /// The refusal of this request, counted and logged, if it is not allowed.
    fn refusal(&self, connection: &Connection, headers: &HeaderMap) -> Option<Response<Body>> {
        let (response, detail) = if self.enabled {
            let response = may_write(connection, headers).err()?;
            (response, "lifecycle requests are not allowed (http.write_from)")
        } else {
            let text = "lifecycle endpoints are disabled; set http.enable_lifecycle = true\n";
            let response = reply::text(StatusCode::FORBIDDEN, text);
            (response, "lifecycle endpoints are disabled (http.enable_lifecycle)")
        };
        self.telemetry.reject(Rejection {
            source: "http",
            peer: &connection.client(headers).to_string(),
            reason: "forbidden",
            detail,
        });
        Some(response)
    }
}

pub(super) fn routes(lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/-/reload", post(reload).put(reload))
        .route("/-/quit", post(quit).put(quit))
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
    let gone = || reply::text(StatusCode::SERVICE_UNAVAILABLE, "the proxy is shutting down");
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
