//! `POST /event`: one-shot events come in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;
use tokio::sync::watch;

use super::receiver::{Budget, Limits};
use crate::http::{BodyError, BodyLimit, Connection, drain_body, may_post_events, read_body, reply};
use crate::model::{Clock, EventError, IdempotencyKey, Topic};
use crate::store::{Change, EmitError, Inlet};
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

/// What posting events needs.
#[derive(Debug)]
pub struct Posting {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
    /// The family that events are samples of, for those who follow what happens.
    metric: Arc<str>,
}

/// Why an event was not taken, as its producer is told.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    label: Option<String>,
}

impl Posting {
    /// Posts into this store, as samples of the family `metric`; bodies share the receivers' limits and budget.
    #[must_use]
    pub fn new(
        inlet: Inlet,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        limits: watch::Receiver<Limits>,
        budget: Arc<Budget>,
        metric: &str,
    ) -> Self {
        Self {
            inlet,
            telemetry,
            clock,
            limits,
            budget,
            metric: metric.into(),
        }
    }

    async fn take(&self, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response<Body>, Refusal> {
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
            .is_followed(Topic::OneShot)
            .then(|| Change::one_shot(&self.metric, &event, now));
        let accepted = self.inlet.emit(event, key, now).await?;
        if let Some(change) = change.filter(|_| !accepted.repeated) {
            self.inlet.tell(&change);
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
        let (status, reason) = match error {
            EmitError::NotDurable(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_durable"),
            EmitError::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "key_reused"),
        };
        Self::new(status, reason, error.to_string())
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
    let Refusal {
        status,
        reason,
        detail,
        label,
    } = match posting.take(&uri, &headers, body).await {
        Ok(answer) => return answer,
        Err(refusal) => refusal,
    };
    posting.telemetry.reject(Rejection {
        source: SOURCE,
        peer: &connection.client(&headers).to_string(),
        reason,
        detail: &detail,
    });
    let told = match label {
        Some(label) => json!({ "error": detail, "label": label }),
        None => json!({ "error": detail }),
    };
    let mut answer = reply::json(status, &told);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
