//! The API of Pushgateway: `PUT`, `POST` and `DELETE /metrics/job/JOB{/LABEL/VALUE}`, and `PUT /api/v1/admin/wipe`.
//!
//! A group is an app with a text that has the labels of the group in every sample, and the gauges of its last pushes. So a push costs what its own
//! group costs, whatever other groups have.

mod body;
mod group_text;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::put;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use self::body::{BodyFault, PushedText, of_openmetrics2, parse, parse_protobuf};
use self::group_text::{Draft, GroupText, PushTimes};
use super::push::{Expiry, refusal_status, without_unknown_encoding};
use super::receiver::{Budget, Limits, Reservation};
use super::{LARGE_BYTES, TEXT_A_BYTE, push, read_openmetrics2};
use crate::exposition::{openmetrics2, protobuf};
use crate::http::{BodyLimit, Connection, Role, Routes, read_kept_body, reply};
use crate::model::{AppName, Clock, Format, Origin, Timestamp, Update};
use crate::store::{App, Inlet, PutOptions, Receipt, Refused};
use crate::supervise::blocking;
use crate::telemetry::{Counter, Rejection, RemovalReason, Telemetry, UpdateOutcome};
use crate::wire::pushgateway::{Group, PathError, SOURCE, app_of_path};

/// Pushes to groups of one of these are stored, and groups deleted, one after another, so that none is lost of two pushes that replace families
/// of one group, and a push does not bring back what is deleted meanwhile: enough that different groups rarely wait for each other.
const QUEUES: usize = 256;

/// The text of a group may be this many times as long as a message (`receiver.max_message_bytes`): its labels stand in every sample, and pushes
/// of several jobs may make up one group.
const MAX_GROWTH: usize = 4;

/// The start of refusals that Pushgateway gives for its check of consistency.
const INCONSISTENT: &str = "pushed metrics are invalid or inconsistent with existing metrics: ";

/// The treatment of pushed timestamps (`pushgateway.timestamps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampRule {
    /// A push with timestamps is refused, as Pushgateway does.
    Reject,
    /// They are left out.
    Strip,
    /// They are kept.
    Keep,
}

/// The settings of `[pushgateway]` that concern pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushgatewayRules {
    /// A push that contradicts other apps, or has series of theirs, is refused.
    pub strict: bool,
    /// Timestamps of samples.
    pub timestamps: TimestampRule,
    /// The start of all paths; empty, or from a slash on and without one at its end.
    pub route_prefix: Arc<str>,
}

/// Handler of requests to groups.
#[derive(Debug)]
pub struct GroupHandler {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    accepted: Arc<Counter>,
    origin: Origin,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
    rules: PushgatewayRules,
    queues: [Arc<Mutex<()>>; QUEUES],
}

/// A refused request.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    detail: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, detail: impl ToString) -> Self {
        let detail = detail.to_string();
        Self { status, reason, detail }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_path", error)
    }
}

/// A push with its body, on its way into the store.
struct Push {
    app: AppName,
    group: Group,
    replaces: bool,
    text: PushedText,
    expiry: Option<Expiry>,
    times: PushTimes,
    at: Timestamp,
}

/// The failure of a push: the refusal, and whether the group gets the time of it, as at Pushgateway.
struct Failure {
    refusal: Refusal,
    noted: bool,
}

impl Failure {
    /// The text is consistent neither with itself nor with others.
    fn inconsistent(why: impl std::fmt::Display) -> Self {
        Self {
            refusal: Refusal::new(StatusCode::BAD_REQUEST, "inconsistent", format!("{INCONSISTENT}{why}")),
            noted: true,
        }
    }
}

impl GroupHandler {
    /// Creates a handler that writes groups into `inlet`. The receivers' limits and memory budget also apply to pushed bodies.
    #[must_use]
    pub fn new(
        inlet: Inlet,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        limits: watch::Receiver<Limits>,
        budget: Arc<Budget>,
        rules: PushgatewayRules,
    ) -> Self {
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
            rules,
            queues: std::array::from_fn(|_| Arc::default()),
        }
    }

    /// The group that the path of a request names.
    fn group(&self, head: &Parts) -> Result<Group, PathError> {
        let path = head.uri.path();
        Group::from_path(path.strip_prefix(&*self.rules.route_prefix).unwrap_or(path))
    }

    async fn take(self: &Arc<Self>, connection: &Connection, head: &Parts, body: Body) -> Result<(), Refusal> {
        let group = self.group(head)?;
        let app = group.app_name();
        let bad = |reason, detail| Refusal::new(StatusCode::BAD_REQUEST, reason, detail);
        let expiry = Expiry::of(head).map_err(|why| bad("bad_expiry", why))?;
        let times = PushTimes::of(&head.headers).map_err(|why| bad("bad_time", why))?;
        let limit = BodyLimit {
            bytes: self.limits.borrow().max_message_bytes,
            key: "receiver.max_message_bytes",
        };
        // Reserved until the text is stored, so that many large bodies wait for memory as messages on sockets do.
        let mut reservation = self.budget.reservation();
        let coded = without_unknown_encoding(&head.headers);
        let body = read_kept_body(&coded, body, limit, &mut reservation).await;
        let body = body.map_err(|error| Refusal::new(error.status(), "bad_body", error))?;
        let bytes = body.len();
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let most = limit.bytes.saturating_mul(MAX_GROWTH);
        let text = self.read(&group, body, content_type, most, &mut reservation).await?;
        let grown = bytes.saturating_add(text.samples().saturating_mul(text.added_bytes(&group)));
        if grown > most {
            let detail = format!(
                "with the labels of the group the text has {grown} bytes, more than {MAX_GROWTH} times {}",
                limit.key
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
        }
        let held = self.inlet.current(&app).map_or(0, |app| app.text.body().len());
        reservation.reserve(bytes + grown + held).await;
        let at = (self.clock)();
        let push = Push {
            app: app.clone(),
            group,
            replaces: head.method == Method::PUT,
            text,
            expiry,
            times,
            at,
        };
        let stored = self.store(push, grown, most).await;
        self.telemetry.app_updated(
            &app,
            UpdateOutcome {
                source: &self.origin.source,
                client: Some(&connection.client(&head.headers)),
                bytes,
                refused: stored.as_ref().err().map(|refusal| refusal.reason),
            },
        );
        // A failed push has changed its group as well.
        self.inlet.shared(&app).await;
        stored?;
        self.accepted.inc();
        tracing::debug!(app = app.as_str(), peer = %connection.client(&head.headers), bytes, "group pushed");
        Ok(())
    }

    /// Reads the body of a push, on a blocking thread if it is large.
    async fn read(
        &self,
        group: &Group,
        body: Bytes,
        content_type: Option<&str>,
        most: usize,
        reservation: &mut Reservation,
    ) -> Result<PushedText, Refusal> {
        let bad = |why: String| Refusal::new(StatusCode::BAD_REQUEST, "invalid", why);
        let too_large = |why: String| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why);
        let refusal = |fault| match fault {
            BodyFault::Invalid(why) => bad(why),
            BodyFault::TooLong(why) => too_large(why),
        };
        let (bytes, content_type) = (body.len(), content_type.map(str::to_owned));
        let strips = self.rules.timestamps == TimestampRule::Strip;
        if content_type.as_deref().is_some_and(openmetrics2::is_content_type) {
            let read = read_openmetrics2(body.clone(), most, reservation).await;
            let read = read.map_err(|error| too_large(error.to_string()))?;
            let (group, is_large) = (group.clone(), read.record_bytes().len() > LARGE_BYTES);
            let work = move || of_openmetrics2(&body, read, &group, strips, most);
            let text = if is_large { blocking(work).await } else { work() };
            return text.map_err(refusal);
        }
        // Protobuf of another message or encoding is read as text, as at Pushgateway.
        if !content_type
            .as_deref()
            .is_some_and(|given| matches!(protobuf::is_content_type(given), Ok(true)))
        {
            let work = move || parse(body, content_type.as_deref());
            let text = if bytes > LARGE_BYTES { blocking(work).await } else { work() };
            return text.map_err(bad);
        }
        reservation.reserve(bytes + most.min(TEXT_A_BYTE * bytes)).await;
        let group = group.clone();
        let work = move || parse_protobuf(&body, &group, strips, most);
        let text = if bytes > LARGE_BYTES / TEXT_A_BYTE {
            blocking(work).await
        } else {
            work()
        };
        text.map_err(refusal)
    }

    /// Stores a push once earlier ones of its group are stored. `bytes` is its length with the labels of the group.
    async fn store(self: &Arc<Self>, push: Push, bytes: usize, most: usize) -> Result<(), Refusal> {
        let turn = self.turn(&push.app).await;
        // What the group has already is written and read again.
        let held = self.inlet.current(&push.app).map_or(0, |app| app.text.body().len());
        let is_large = bytes.saturating_add(held) > LARGE_BYTES;
        let handler = Arc::clone(self);
        let work = move || {
            // To the end of the work, which goes on without the request once it has begun.
            let _turn = turn;
            handler.store_now(&push, most)
        };
        if is_large { blocking(work).await } else { work() }
    }

    /// Waits for the earlier pushes and deletions of a group. The next one may begin when the result is dropped.
    async fn turn(&self, group: &AppName) -> OwnedMutexGuard<()> {
        Arc::clone(&self.queues[queue_of(group)]).lock_owned().await
    }

    /// Forgets a group once earlier pushes of it are stored. Returns false if it is not known.
    async fn remove(&self, group: &AppName, now: Timestamp) -> bool {
        let _turn = self.turn(group).await;
        self.inlet.remove(group, now)
    }

    fn store_now(&self, push: &Push, most: usize) -> Result<(), Refusal> {
        let current = self.inlet.current(&push.app);
        self.put(push, current.as_deref(), most).map(drop).map_err(|failure| {
            if failure.noted {
                self.note_failure(push, current.as_deref(), &failure.refusal.detail);
            }
            failure.refusal
        })
    }

    fn put(&self, push: &Push, current: Option<&App>, most: usize) -> Result<Receipt, Failure> {
        let keeps = self.rules.timestamps;
        push.text.check(keeps == TimestampRule::Reject).map_err(Failure::inconsistent)?;
        let draft = Draft::of(current);
        let text = draft.pushed(
            &push.group,
            &push.text,
            push.replaces,
            keeps == TimestampRule::Keep,
            push.times,
            push.at,
        );
        let bytes = text.body.len();
        if bytes > most {
            let detail = format!("the group has {bytes} bytes with this push, more than {MAX_GROWTH} times receiver.max_message_bytes");
            return Err(Failure {
                refusal: Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail),
                noted: false,
            });
        }
        let expire_after = match push.expiry {
            Some(expiry) => expiry.after(),
            None if push.replaces => None,
            None => current.and_then(|app| app.expire_after),
        };
        let options = PutOptions {
            expire_after,
            consistent: self.rules.strict,
            ..PutOptions::WHOLE
        };
        self.inlet.put(self.update(push, text), options).map_err(|refused| match refused {
            // Lines and columns are those of the text with the labels of the group.
            Refused::Invalid(faults, _) => {
                Failure::inconsistent(faults.first().map_or_else(String::new, |fault| fault.reason.clone().into_owned()))
            }
            refused @ (Refused::SameNames(_) | Refused::Inconsistent(..)) => Failure::inconsistent(refused),
            refused => Failure {
                refusal: Refusal::new(refusal_status(&refused), refused.reason(), &refused),
                noted: false,
            },
        })
    }

    fn update(&self, push: &Push, text: GroupText) -> Update {
        Update {
            app: push.app.clone(),
            body: text.body.into_boxed_slice().into(),
            syntax: Some(text.syntax),
            records: text.records.into_boxed_slice().into(),
            read: None,
            labels: [].into(),
            origin: self.origin.clone(),
            at: push.at,
        }
    }

    /// Notes in the group that a push has failed, which makes its data no younger: it expires by its last push that succeeded, and so that an
    /// alert on its age fires. A group that is not there comes to be.
    fn note_failure(&self, push: &Push, current: Option<&App>, why: &str) {
        let text = Draft::of(current).failed(&push.group, push.at);
        let options = PutOptions {
            expire_after: current
                .and_then(|app| app.expire_after)
                .or(push.expiry.and_then(|expiry| expiry.after())),
            keeps_age: true,
            ..PutOptions::PUSHED
        };
        // Without room for the time of the failure, its reason is in the log all the same.
        if self.inlet.put(self.update(push, text), options).is_ok() {
            self.inlet.fault(&push.app, &format!("the last push failed: {why}"));
        }
    }

    /// Counts and logs a refusal and returns it as a response.
    fn refuse(&self, connection: &Connection, headers: &HeaderMap, group: Option<AppName>, refusal: &Refusal) -> Response<Body> {
        let peer = connection.client(headers).to_string();
        let of = group.map_or_else(String::new, |app| format!("{app}: "));
        self.telemetry.reject(Rejection {
            source: SOURCE,
            peer: &peer,
            reason: refusal.reason,
            detail: &format!("{of}{}", refusal.detail),
        });
        reply::go_error(refusal.status, &refusal.detail)
    }
}

/// The queue of a group, by a hash of its name.
fn queue_of(group: &AppName) -> usize {
    use std::hash::BuildHasher as _;
    let hash = foldhash::fast::FixedState::default().hash_one(group);
    usize::try_from(hash % QUEUES as u64).unwrap_or(0)
}

/// The routes for pushing and deleting groups.
pub fn routes(handler: GroupHandler) -> Routes {
    let prefix = Arc::clone(&handler.rules.route_prefix);
    let needs = Role::Push.of_whole_path(app_of_path);
    let mut routes = Routes::new();
    for job in ["job", "job@base64"] {
        let methods = put(push_group).post(push_group).delete(delete_group);
        let methods = methods.fallback(|request: Request| not_allowed(request, "DELETE, OPTIONS, POST, PUT"));
        routes = routes.route(&format!("{prefix}/metrics/{job}/{{*labels}}"), needs, methods);
    }
    let wipe = put(wipe).fallback(|request: Request| not_allowed(request, "OPTIONS, PUT"));
    routes
        .route(&format!("{prefix}/api/v1/admin/wipe"), Role::Admin, wipe)
        .with_state(Arc::new(handler))
}

/// `PUT` replaces a group, `POST` the families of a group that the body has.
async fn push_group(
    State(handler): State<Arc<GroupHandler>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    match handler.take(&connection, &head, body).await {
        Ok(()) => Response::new(Body::empty()),
        Err(refusal) => {
            let group = handler.group(&head).ok().map(|group| group.app_name());
            handler.refuse(&connection, &head.headers, group, &refusal)
        }
    }
}

/// `DELETE` forgets a group. One that is not known is no fault, as at Pushgateway.
async fn delete_group(
    State(handler): State<Arc<GroupHandler>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    let app = match handler.group(&head) {
        Ok(group) => group.app_name(),
        Err(error) => return handler.refuse(&connection, &head.headers, None, &error.into()),
    };
    if handler.remove(&app, (handler.clock)()).await {
        let client = connection.client(&head.headers).to_string();
        push::note_deletion(&handler.telemetry, &app, client);
        handler.inlet.shared(&app).await;
    }
    accepted()
}

/// `PUT /api/v1/admin/wipe` forgets all groups.
async fn wipe(
    State(handler): State<Arc<GroupHandler>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Response<Body> {
    let (now, client) = ((handler.clock)(), connection.client(&headers).to_string());
    let (mut from, mut groups) = (Some(0), 0_usize);
    while let Some(position) = from {
        let (names, next) = handler.inlet.of_source(SOURCE, position);
        for app in &names {
            if handler.remove(app, now).await {
                handler.telemetry.app_removed(app, RemovalReason::Deleted(client.clone().into()));
                groups += 1;
            }
        }
        from = next;
        // Others have their turn.
        tokio::task::yield_now().await;
    }
    tracing::info!(client, groups, "all Pushgateway groups deleted by request");
    accepted()
}

/// Other methods: what Pushgateway answers.
async fn not_allowed(request: Request, allowed: &'static str) -> Response<Body> {
    let mut response = match *request.method() {
        Method::OPTIONS => Response::new(Body::empty()),
        _ => reply::go_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
    };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The response to a deletion.
fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

#[cfg(test)]
mod tests;
