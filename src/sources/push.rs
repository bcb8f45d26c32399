//! Pushing and forgetting over HTTP: `PUT` and `POST /apps/NAME/metrics`, `DELETE /apps/NAME`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{delete, put};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::watch;

use super::LARGE_BYTES;
use super::receiver::{Budget, Limits};
use crate::http::{BodyLimit, Connection, may_write, read_body, reply};
use crate::model::{AppName, Clock, Format, Origin, Syntax, Update};
use crate::store::{Inlet, Receipt, Refused};
use crate::telemetry::{Counter, Rejection, Telemetry};

/// The source of what is pushed over HTTP, as `/apps` and the `source` label name it.
const SOURCE: &str = "http";

/// What pushing needs.
#[derive(Debug)]
pub struct Pushing {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    accepted: Arc<Counter>,
    origin: Origin,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
}

impl Pushing {
    /// Pushes into this store; a body is a message, so the receivers' limits and their budget hold for it.
    #[must_use]
    pub fn new(inlet: Inlet, telemetry: Arc<Telemetry>, clock: Clock, limits: watch::Receiver<Limits>, budget: Arc<Budget>) -> Self {
        let accepted = telemetry.updates_total.with([SOURCE, Format::Push.as_str()]);
        let origin = Origin {
            source: SOURCE.into(),
            format: Format::Push,
        };
        Self {
            inlet,
            telemetry,
            accepted,
            origin,
            clock,
            limits,
            budget,
        }
    }

    /// Counts and logs a refusal and makes it an answer.
    fn refuse(
        &self,
        connection: &Connection,
        headers: &HeaderMap,
        status: StatusCode,
        reason: &'static str,
        detail: &str,
    ) -> Response<Body> {
        let peer = connection.client(headers).to_string();
        self.telemetry.reject(Rejection {
            source: SOURCE,
            peer: &peer,
            reason,
            detail,
        });
        reply::text(status, detail)
    }
}

/// The routes that push and forget.
pub fn routes(pushing: Pushing) -> Router {
    Router::new()
        .route("/apps/{name}/metrics", put(push).post(push))
        .route("/apps/{name}", delete(forget))
        .with_state(Arc::new(pushing))
}

/// `PUT` and `POST /apps/NAME/metrics`: all or nothing.
async fn push(
    State(pushing): State<Arc<Pushing>>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let refuse = |status, reason, detail: &str| pushing.refuse(&connection, &headers, status, reason, detail);
    if let Err(answer) = may_write(&connection, &headers) {
        return answer;
    }
    let app = match AppName::new(&name) {
        Ok(app) => app,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_app_name", &error.to_string()),
    };
    let limit = BodyLimit {
        bytes: pushing.limits.borrow().max_message_bytes,
        key: "receiver.max_message_bytes",
    };
    // Held until the text is stored, so that many large bodies wait for each other as messages on sockets do.
    let mut hold = pushing.budget.hold();
    let body = match read_body(&headers, body, limit, &mut hold).await {
        Ok(body) => body,
        Err(error) => return refuse(error.status(), "bad_body", &format!("app {app}: {error}")),
    };
    if let Err(error) = std::str::from_utf8(&body) {
        let detail = format!("app {app}: the text is not UTF-8 (byte {})", error.valid_up_to());
        return refuse(StatusCode::BAD_REQUEST, "bad_utf8", &detail);
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // What the body was collected in may be larger than the text, and the text stays.
    let body = Bytes::copy_from_slice(&body);
    let origin = pushing.origin.clone();
    let update = Update {
        app: app.clone(),
        body,
        syntax: content_type.and_then(Syntax::named_by),
        labels: [].into(),
        origin,
        at: (pushing.clock)(),
    };
    let stored = if update.body.len() > LARGE_BYTES {
        let inlet = pushing.inlet.clone();
        let put = tokio::task::spawn_blocking(move || inlet.put_whole(update));
        // Storing does not panic; were it dropped with the runtime, nobody would be left to read the answer.
        let Ok(stored) = put.await else {
            return Response::new(Body::empty());
        };
        stored
    } else {
        pushing.inlet.put_whole(update)
    };
    match stored {
        Ok(receipt) => {
            pushing.accepted.inc();
            reply::text(StatusCode::OK, Stored(&app, &receipt))
        }
        Err(refused) => refuse(status(&refused), refused.reason(), &format!("app {app}: {refused}")),
    }
}

/// `DELETE /apps/NAME`
async fn forget(
    State(pushing): State<Arc<Pushing>>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if let Err(answer) = may_write(&connection, &headers) {
        return answer;
    }
    match AppName::new(&name) {
        Ok(app) if pushing.inlet.remove(&app, (pushing.clock)()) => {
            tracing::info!(app = app.as_str(), client = %connection.client(&headers), "forgotten by request");
            reply::text(StatusCode::ACCEPTED, format_args!("forgot {app}"))
        }
        _ => reply::text(
            StatusCode::NOT_FOUND,
            format_args!("there is no app {name:?}; GET /apps lists those that there are"),
        ),
    }
}

/// The answer to a push that was stored: its size, and a line for each conflict.
struct Stored<'a>(&'a AppName, &'a Receipt);

impl std::fmt::Display for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(app, receipt) = self;
        match receipt.families.zip(receipt.series) {
            Some((families, series)) => {
                let families = Counted(families, "family", "families");
                write!(f, "stored {app}: {families}, {}", Counted(series, "series", "series"))?;
            }
            None => write!(f, "stored {app}: {}", Counted(receipt.bytes, "byte", "bytes"))?,
        }
        for conflict in &receipt.conflicts.listed {
            write!(f, "\nwarning: {conflict}")?;
        }
        match receipt.conflicts.total - receipt.conflicts.listed.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\nwarning: {more} more conflicts; see GET /apps/{app}"),
        }
    }
}

/// A number with its noun.
struct Counted(u64, &'static str, &'static str);

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { self.1 } else { self.2 })
    }
}

/// The status code that tells a pusher whose limit it met.
fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::TooManyApps { .. } | Refused::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refused::TooManySeries { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Invalid(..) | Refused::SameNames(_) => StatusCode::BAD_REQUEST,
    }
}
