//! `POST /event`: receives one-shot events.

mod post_rate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;
use tokio::sync::watch;

pub use post_rate::PostRate;

use super::receiver::{Budget, Limits};
use crate::bus::Notification;
use crate::http::{BodyError, BodyLimit, Connection, Role, Routes, drain_body, read_body, reply};
use crate::model::{Client, Clock, EventError, IdempotencyKey, Topic};
use crate::store::{EmitError, Inlet};
use crate::telemetry::{Rejection, Telemetry};
use crate::wire::event_form;

/// The source of refused events in the `source` label.
const SOURCE: &str = "event";

/// The header that makes a producer's retry safe (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Media type of the supported form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Media type of the other form of browsers and curl. It is refused, because its labels would be lost if it were ignored like other bodies.
const OTHER_FORM: &str = "multipart/form-data";

/// Limit of a form: the largest labels of an event with each byte escaped, and some reserve.
const BODY: BodyLimit = BodyLimit {
    bytes: 64 << 10,
    key: "a fixed limit",
};

/// `Retry-After` when the disk did not accept an event.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// `Retry-After` when the engine of the cluster is away: it is tried again each second, and a failover takes some.
const ENGINE_RETRY: Duration = Duration::from_secs(5);

/// `Retry-After` when too many events are pending: most scrapers scrape every 15 s.
const CROWD_RETRY: Duration = Duration::from_secs(15);

/// Handler of posted events.
#[derive(Debug)]
pub struct EventHandler {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
    rate: Arc<PostRate>,
    /// The family of the events' samples, for the stream.
    metric: Arc<str>,
}

/// A refused event: the response to its producer.
struct EventRefusal {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    label: Option<String>,
    /// The time after which a retry may be accepted.
    retry_after: Option<Duration>,
}

impl EventHandler {
    /// Creates a handler that writes events into `inlet` as samples of the family `metric`. The receivers' limits and memory budget also
    /// apply to bodies, and `rate` limits the events per client.
    #[must_use]
    pub fn new(
        inlet: Inlet,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        limits: watch::Receiver<Limits>,
        budget: Arc<Budget>,
        rate: Arc<PostRate>,
        metric: &str,
    ) -> Self {
        Self {
            inlet,
            telemetry,
            clock,
            limits,
            budget,
            rate,
            metric: metric.into(),
        }
    }

    async fn take(&self, client: &Client, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response<Body>, EventRefusal> {
        self.rate.admit(client, Instant::now()).map_err(|wait| {
            let per_second = self.rate.per_second();
            let detail = format!("{client} posts more than {per_second} events per second (events.post_rate)");
            EventRefusal::retry(StatusCode::TOO_MANY_REQUESTS, "too_fast", detail, wait)
        })?;
        let key = idempotency_key(headers)?;
        let mut reservation = self.budget.reservation();
        let body = match media_type(headers) {
            None => read_body(headers, body, BODY, &mut reservation).await?,
            Some(name) if name.eq_ignore_ascii_case(FORM) => read_body(headers, body, BODY, &mut reservation).await?,
            Some(name) if name.eq_ignore_ascii_case(OTHER_FORM) => return Err(other_form()),
            Some(_) => {
                // For example the JSON of a webhook. The event is in the query of the URL.
                let limit = BodyLimit {
                    bytes: self.limits.borrow().max_message_bytes,
                    key: "receiver.max_message_bytes",
                };
                drain_body(headers, body, limit).await?;
                Bytes::new()
            }
        };
        let event = event_form::parse(uri.query().unwrap_or_default().as_bytes(), &body)?;
        let now = (self.clock)();
        let change = self
            .inlet
            .bus()
            .has_subscribers(Topic::OneShot)
            .then(|| Notification::one_shot(&self.metric, &event, now));
        let accepted = self.inlet.emit(event, key, client, now).await?;
        if let Some(change) = change.filter(|_| !accepted.repeated) {
            self.inlet.bus().publish(&change);
        }
        tracing::debug!(id = accepted.id.0, %client, scrapers = accepted.scrapers, repeated = accepted.repeated, "event accepted");
        let mut body = json!({ "id": accepted.id.0, "scrapers": accepted.scrapers });
        if !self.inlet.event_shared(accepted.id).await {
            body["warning"] = "kept by this replica only; scrapers get it once the engine of the cluster is back".into();
        }
        Ok(reply::json(StatusCode::OK, &body))
    }
}

impl EventRefusal {
    fn new(status: StatusCode, reason: &'static str, detail: String) -> Self {
        Self {
            status,
            reason,
            detail,
            label: None,
            retry_after: None,
        }
    }

    fn retry(status: StatusCode, reason: &'static str, detail: String, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(status, reason, detail)
        }
    }
}

impl From<BodyError> for EventRefusal {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), "bad_body", error.to_string())
    }
}

impl From<EventError> for EventRefusal {
    fn from(error: EventError) -> Self {
        Self {
            label: Some(error.label().to_owned()),
            ..Self::new(StatusCode::BAD_REQUEST, "bad_event", error.to_string())
        }
    }
}

impl From<EmitError> for EventRefusal {
    fn from(error: EmitError) -> Self {
        let detail = error.to_string();
        match error {
            EmitError::EngineAway => Self::retry(StatusCode::SERVICE_UNAVAILABLE, "engine_away", detail, ENGINE_RETRY),
            EmitError::NotDurable(_) => Self::retry(StatusCode::SERVICE_UNAVAILABLE, "not_durable", detail, DISK_RETRY),
            EmitError::KeyReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail),
            EmitError::Crowded => Self::retry(StatusCode::TOO_MANY_REQUESTS, "crowded", detail, CROWD_RETRY),
        }
    }
}

/// The idempotency key of a request.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, EventRefusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let bad = |why: &str| EventRefusal::new(StatusCode::BAD_REQUEST, "bad_key", format!("Idempotency-Key: {why}"));
    let key = std::str::from_utf8(key.as_bytes()).map_err(|_| bad("not UTF-8"))?;
    IdempotencyKey::new(key).map(Some).map_err(|error| bad(&error.to_string()))
}

/// Media type of a body, without parameters; `None` if it has none.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(CONTENT_TYPE)?.to_str().unwrap_or_default();
    given.split(';').next().map(str::trim).filter(|name| !name.is_empty())
}

fn other_form() -> EventRefusal {
    let detail = format!("{OTHER_FORM} is not supported; send the labels in the query, or as {FORM} (curl -d)");
    EventRefusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_body", detail)
}

/// The route for posting events.
pub fn routes(handler: EventHandler) -> Routes {
    Routes::new().route("/event", Role::Event, post(emit)).with_state(Arc::new(handler))
}

/// `POST /event`
async fn emit(
    State(handler): State<Arc<EventHandler>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let client = connection.client(&headers);
    let EventRefusal {
        status,
        reason,
        detail,
        label,
        retry_after,
    } = match handler.take(&client, &uri, &headers, body).await {
        Ok(answer) => return answer,
        Err(refusal) => refusal,
    };
    handler.telemetry.reject(Rejection {
        source: SOURCE,
        peer: &client.to_string(),
        reason,
        detail: &detail,
    });
    let body = match label {
        Some(label) => json!({ "error": detail, "label": label }),
        None => json!({ "error": detail }),
    };
    let mut answer = reply::json(status, &body);
    if let Some(wait) = retry_after {
        // The header has whole seconds; rounding down would be too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
