//! `POST /-/reload` and `POST /-/quit`, for those who switched them on.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reload::Request;
use crate::http::{Access, Body, Connection, reply};

/// What steers the program over HTTP.
pub(super) struct Lifecycle {
    enabled: bool,
    reload: mpsc::Sender<Request>,
    stop: CancellationToken,
    access: Access,
}

impl Lifecycle {
    pub(super) fn new(enabled: bool, reload: mpsc::Sender<Request>, stop: CancellationToken, access: Access) -> Self {
        Self { enabled, reload, stop, access }
    }

    /// Why this request may not steer anything, if so.
    fn refusal(&self, connection: &Connection, headers: &HeaderMap) -> Option<Response<Body>> {
        if !self.enabled {
            let text = "steering over HTTP is switched off (http.enable_lifecycle = true switches it on)\n";
            return Some(reply::status(StatusCode::FORBIDDEN, text.to_owned()));
        }
        self.access.refuse_write(connection, headers)
    }
}

pub(super) fn routes(lifecycle: Lifecycle) -> Router {
    Router::new().route("/-/reload", post(reload).put(reload)).route("/-/quit", post(quit).put(quit)).with_state(Arc::new(lifecycle))
}

async fn reload(State(lifecycle): State<Arc<Lifecycle>>, Extension(connection): Extension<Connection>, headers: HeaderMap) -> Response<Body> {
    if let Some(refusal) = lifecycle.refusal(&connection, &headers) {
        return refusal;
    }
    let (answer, outcome) = oneshot::channel();
    let gone = || reply::status(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping\n".to_owned());
    if lifecycle.reload.send(answer).await.is_err() {
        return gone();
    }
    match outcome.await {
        Ok(Ok(())) => reply::text("reloaded\n".to_owned()),
        Ok(Err(faults)) => reply::status(StatusCode::INTERNAL_SERVER_ERROR, format!("the earlier configuration stays in force:\n{faults}\n")),
        Err(_) => gone(),
    }
}

async fn quit(State(lifecycle): State<Arc<Lifecycle>>, Extension(connection): Extension<Connection>, headers: HeaderMap) -> Response<Body> {
    if let Some(refusal) = lifecycle.refusal(&connection, &headers) {
        return refusal;
    }
    lifecycle.stop.cancel();
    reply::text("stopping\n".to_owned())
}
