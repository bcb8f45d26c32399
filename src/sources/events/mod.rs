//! `POST /event`: one-shot events come in.

mod post_rate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;
use tokio::sync::watch;

pub use post_rate::PostRate;

use super::receiver::{Budget, Limits};
use crate::http::{BodyError, BodyLimit, Connection, drain_body, may_post_events, read_body, reply};
use crate::model::{Client, Clock, EventError, IdempotencyKey, Topic};
use crate::store::{EmitError, Inlet, Notification};
use crate::telemetry::{Rejection, Telemetry};
use crate::wire::event_form;

/// The source of refused events, as the `source` label names it.
const SOURCE: &str = "event";

/// The header by which a producer makes a retry safe (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The form that is read.
const FORM: &str = "application/x-www-form-urlencoded";

/// The other form that browsers and curl send. Its labels would be lost if it were ignored as other bodies are.
const OTHER_FORM: &str = "multipart/form-data";

/// A form of the largest labels that an event may have, each of their bytes escaped, and some room.
const BODY: BodyLimit = BodyLimit {
    bytes: 64 << 10,
    key: "the program (not the configuration)",
};

/// When a disk that took no event may take one again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// When there may be a place again beside the events of others: most scrapers come every 15 s.
const CROWD_RETRY: Duration = Duration::from_secs(15);

/// What posting events needs.
#[derive(Debug)]
pub struct Posting {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
    rate: Arc<PostRate>,
    /// The family that events are samples of, for those who follow what happens.
    metric: Arc<str>,
}

/// Why an event was not taken, as its producer is told.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    label: Option<String>,
    /// The time after which the same request may be taken.
    retry_after: Option<Duration>,
}

impl Posting {
    /// Posts into this store, as samples of the family `metric`; bodies share the receivers' limits and budget, and no client posts more
    /// often than `rate` allows.
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

    async fn take(&self, client: &Client, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response<Body>, Refusal> {
        self.rate.admit(client, Instant::now()).map_err(|wait| {
            let per_second = self.rate.per_second();
            let detail = format!("{client} posts more than {per_second} events a second (events.post_rate)");
            Refusal::retry(StatusCode::TOO_MANY_REQUESTS, "too_fast", detail, wait)
        })?;
        let key = idempotency_key(headers)?;
        let mut hold = self.budget.hold();
        let body = match media_type(headers) {
            None => read_body(headers, body, BODY, &mut hold).await?,
            Some(name) if name.eq_ignore_ascii_case(FORM) => read_body(headers, body, BODY, &mut hold).await?,
            Some(name) if name.eq_ignore_ascii_case(OTHER_FORM) => return Err(other_form()),
            Some(_) => {
                // What a webhook tells of itself in JSON, say. The event is what its URL says.
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
            .has_subscribers(Topic::OneShot)
            .then(|| Notification::one_shot(&self.metric, &event, now));
        let accepted = self.inlet.emit(event, key, client, now).await?;
        if let Some(change) = change.filter(|_| !accepted.repeated) {
            self.inlet.publish(&change);
        }
        let answer = json!({ "id": accepted.id.0, "scrapers": accepted.scrapers });
        Ok(reply::json(StatusCode::OK, &answer))
    }
}

impl Refusal {
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

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), "bad_body", error.to_string())
    }
}

impl From<EventError> for Refusal {
    fn from(error: EventError) -> Self {
        Self {
            label: Some(error.label().to_owned()),
            ..Self::new(StatusCode::BAD_REQUEST, "bad_event", error.to_string())
        }
    }
}

impl From<EmitError> for Refusal {
    fn from(error: EmitError) -> Self {
        let detail = error.to_string();
        match error {
            EmitError::NotDurable(_) => Self::retry(StatusCode::SERVICE_UNAVAILABLE, "not_durable", detail, DISK_RETRY),
            EmitError::KeyReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail),
            EmitError::Crowded => Self::retry(StatusCode::TOO_MANY_REQUESTS, "crowded", detail, CROWD_RETRY),
        }
    }
}

/// The key of a request, if it has one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let bad = |why: &str| Refusal::new(StatusCode::BAD_REQUEST, "bad_key", format!("Idempotency-Key: {why}"));
    let key = std::str::from_utf8(key.as_bytes()).map_err(|_| bad("not UTF-8"))?;
    IdempotencyKey::new(key).map(Some).map_err(|error| bad(&error.to_string()))
}

/// What a body says that it is, without parameters; `None` where it does not say.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(CONTENT_TYPE)?.to_str().unwrap_or_default();
    given.split(';').next().map(str::trim).filter(|name| !name.is_empty())
}

fn other_form() -> Refusal {
    let detail = format!("a form of the type {OTHER_FORM} is not read: post the labels in the query, or as {FORM} (with curl -d)");
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_body", detail)
}

/// The route that takes events.
pub fn routes(posting: Posting) -> Router {
    Router::new().route("/event", post(emit)).with_state(Arc::new(posting))
}

/// `POST /event`
async fn emit(
    State(posting): State<Arc<Posting>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    if let Err(answer) = may_post_events(&connection, &headers) {
        return answer;
    }
    let client = connection.client(&headers);
    let Refusal {
        status,
        reason,
        detail,
        label,
        retry_after,
    } = match posting.take(&client, &uri, &headers, body).await {
        Ok(answer) => return answer,
        Err(refusal) => refusal,
    };
    posting.telemetry.reject(Rejection {
        source: SOURCE,
        peer: &client.to_string(),
        reason,
        detail: &detail,
    });
    let told = match label {
        Some(label) => json!({ "error": detail, "label": label }),
        None => json!({ "error": detail }),
    };
    let mut answer = reply::json(status, &told);
    if let Some(wait) = retry_after {
        // The header has whole seconds; less would be too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
