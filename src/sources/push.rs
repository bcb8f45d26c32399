//! HTTP push: `PUT` and `POST /apps/NAME/metrics`, `DELETE /apps/NAME`.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::{delete, put};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::watch;
use url::form_urlencoded;

use super::receiver::{Budget, Limits};
use super::{LARGE_BYTES, TEXT_A_BYTE, decode_protobuf, read_openmetrics2};
use crate::exposition::openmetrics2;
use crate::exposition::protobuf::{self, DecodeErrorKind};
use crate::http::{BodyLimit, Connection, Role, Routes, read_kept_body, reply};
use crate::model::units::parse_duration;
use crate::model::{AppName, Clock, Format, Origin, Syntax, Update};
use crate::store::{Inlet, PutOptions, Receipt, Refused};
use crate::supervise::blocking;
use crate::telemetry::{Counter, Rejection, RemovalReason, Telemetry, UpdateOutcome};
use crate::wire::ForeignFormat;
use crate::wire::pushgateway::{EXPIRE_AFTER_HEADER, EXPIRE_AFTER_PARAMETER};

/// The ages at which an app may expire, as for `store.expire_after`: sooner it would be forgotten between two updates, and later is never.
const EXPIRY_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 86_400);

/// The source of HTTP pushes in `/apps` and in the `source` label.
const SOURCE: &str = "http";

/// Handler of HTTP pushes and deletions.
#[derive(Debug)]
pub struct PushHandler {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    accepted: Arc<Counter>,
    origin: Origin,
    clock: Clock,
    limits: watch::Receiver<Limits>,
    budget: Arc<Budget>,
}

impl PushHandler {
    /// Creates a handler that writes into `inlet`. The receivers' limits and memory budget also apply to pushed bodies.
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

    /// Counts and logs a refusal and returns it as a response.
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

/// The routes for pushing and deleting.
pub fn routes(handler: PushHandler) -> Routes {
    Routes::new()
        .route("/apps/{name}/metrics", Role::Push.of_path("name"), put(push).post(push))
        .route("/apps/{name}", Role::Admin.of_path("name"), delete(remove))
        .with_state(Arc::new(handler))
}

/// `PUT` and `POST /apps/NAME/metrics`. A body with an invalid line is refused as a whole.
async fn push(
    State(handler): State<Arc<PushHandler>>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    // Taken apart rather than extracted: an extracted header map is a copy.
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let refuse = |status, reason, detail: &str| handler.refuse(&connection, headers, status, reason, detail);
    let app = match AppName::new(&name) {
        Ok(app) => app,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_app_name", &error.to_string()),
    };
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        let detail = format!("{app}: a push needs a Content-Length or chunked encoding, so that a lost body is not taken as an empty one");
        return refuse(StatusCode::LENGTH_REQUIRED, "no_length", &detail);
    }
    let expire_after = match Expiry::of(&head) {
        Ok(expiry) => expiry.and_then(Expiry::after),
        Err(why) => return refuse(StatusCode::BAD_REQUEST, "bad_expiry", &format!("{app}: {why}")),
    };
    let limit = BodyLimit {
        bytes: handler.limits.borrow().max_message_bytes,
        key: "receiver.max_message_bytes",
    };
    // Reserved until the text is stored, so that many large bodies wait for memory as messages on sockets do.
    let mut reservation = handler.budget.reservation();
    // An unknown encoding, such as utf-8, usually precedes plain text, which parsing confirms.
    let coded = without_unknown_encoding(headers);
    let body = match read_kept_body(&coded, body, limit, &mut reservation).await {
        Ok(body) => body,
        Err(error) => return refuse(error.status(), "bad_body", &format!("{app}: {error}")),
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let sent = Sent {
        coding: unknown_encoding(headers),
        content_type,
        body: &body,
    };
    let protobuf = match content_type.map_or(Ok(false), protobuf::is_content_type) {
        Ok(protobuf) => protobuf && !is_text(&body),
        Err(error) => return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_metrics", &format!("{app}: {error}")),
    };
    let is_openmetrics2 = content_type.is_some_and(openmetrics2::is_content_type);
    let read = if protobuf {
        reservation.reserve(body.len() + limit.bytes.min(TEXT_A_BYTE * body.len())).await;
        match decode_protobuf(body.clone(), limit.bytes).await {
            Ok(read) => {
                reservation.shrink_to(body.len() + read.body().len());
                Some(Box::new(read))
            }
            Err(error) => {
                let (status, reason) = match error.kind {
                    DecodeErrorKind::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "bad_body"),
                    _ => (StatusCode::BAD_REQUEST, "invalid"),
                };
                return refuse(status, reason, &format!("{app}: {error}"));
            }
        }
    } else if is_openmetrics2 {
        match read_openmetrics2(body.clone(), limit.bytes, &mut reservation).await {
            Ok(read) => Some(Box::new(read)),
            Err(error) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "bad_body", &format!("{app}: {error}")),
        }
    } else {
        None
    };
    // Looking for bytes beyond ASCII takes a third of the time of validation.
    if !protobuf
        && !body.is_ascii()
        && let Err(error) = std::str::from_utf8(&body)
    {
        let otherwise = format!("the text is not UTF-8 (byte {})", error.valid_up_to());
        let (status, reason, why) = sent.unreadable(StatusCode::BAD_REQUEST, "bad_utf8", otherwise);
        return refuse(status, reason, &format!("{app}: {why}"));
    }
    let origin = handler.origin.clone();
    let update = Update {
        app: app.clone(),
        body: read.as_ref().map_or_else(|| body.clone(), |read| read.body().clone()),
        syntax: if read.is_some() {
            Some(Syntax::OpenMetrics)
        } else {
            content_type.and_then(Syntax::from_content_type)
        },
        records: read.as_ref().map_or_else(Bytes::new, |read| read.record_bytes()),
        read,
        labels: [].into(),
        origin,
        at: (handler.clock)(),
    };
    let options = PutOptions {
        expire_after,
        ..PutOptions::WHOLE
    };
    let stored = if update.body.len() > LARGE_BYTES {
        let inlet = handler.inlet.clone();
        blocking(move || inlet.put(update, options)).await
    } else {
        handler.inlet.put(update, options)
    };
    handler.telemetry.app_updated(
        &app,
        UpdateOutcome {
            source: &handler.origin.source,
            client: Some(&connection.client(headers)),
            bytes: body.len(),
            refused: stored.as_ref().err().map(Refused::reason),
        },
    );
    match stored {
        Ok(receipt) => {
            handler.accepted.inc();
            tracing::debug!(app = app.as_str(), peer = %connection.client(headers), bytes = body.len(), "update pushed");
            let shared = handler.inlet.shared(&app).await;
            reply::text(
                StatusCode::OK,
                Stored {
                    app: &app,
                    receipt: &receipt,
                    shared,
                },
            )
        }
        Err(Refused::Invalid(faults, total)) if protobuf => {
            let why = faults.first().map_or_else(String::new, ToString::to_string);
            let more = if total > 1 {
                format!(" (and {} more)", total - 1)
            } else {
                String::new()
            };
            refuse(StatusCode::BAD_REQUEST, "invalid", &format!("{app}: {why}{more}"))
        }
        Err(refused @ Refused::Invalid(..)) => {
            let (status, reason, why) = sent.unreadable(refusal_status(&refused), refused.reason(), refused.to_string());
            refuse(status, reason, &format!("{app}: {why}"))
        }
        Err(refused) => refuse(refusal_status(&refused), refused.reason(), &format!("{app}: {refused}")),
    }
}

/// Returns true for a body without control characters that text lacks. Messages with a metric have them: the tag of their type, or that of
/// a counter.
fn is_text(body: &[u8]) -> bool {
    !body.is_empty() && !body.iter().any(|byte| byte.is_ascii_control() && !b"\t\n\r".contains(byte))
}

/// The Content-Encoding of a body, if it is unknown.
fn unknown_encoding(headers: &HeaderMap) -> Option<String> {
    let known = [&b""[..], b"identity", b"gzip", b"x-gzip", b"snappy"];
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes)?;
    let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(coding));
    (!is_known).then(|| String::from_utf8_lossy(coding).into_owned())
}

/// The headers without an unknown Content-Encoding, such as utf-8: plain text usually follows.
pub(super) fn without_unknown_encoding(headers: &HeaderMap) -> Cow<'_, HeaderMap> {
    if unknown_encoding(headers).is_none() {
        return Cow::Borrowed(headers);
    }
    let mut plain = headers.clone();
    plain.remove(CONTENT_ENCODING);
    Cow::Owned(plain)
}

/// The age of its update at which an app expires, as the sender wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// That of `store.expire_after`.
    Usual,
    /// This one.
    After(Duration),
}

impl Expiry {
    /// The header or parameter of a request, if it has one.
    ///
    /// # Errors
    /// A value that is no duration, or out of range.
    pub(super) fn of(head: &Parts) -> Result<Option<Self>, String> {
        let query = head.uri.query().unwrap_or_default();
        let parameter = || {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(name, value)| (name == EXPIRE_AFTER_PARAMETER).then_some(value))
        };
        let given = match head.headers.get(EXPIRE_AFTER_HEADER) {
            Some(value) => Some(String::from_utf8_lossy(value.as_bytes())),
            None => parameter(),
        };
        let Some(given) = given else { return Ok(None) };
        let seconds = given.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
        match seconds.or_else(|| parse_duration(&given)) {
            Some(Duration::ZERO) => Ok(Some(Self::Usual)),
            Some(span) if EXPIRY_RANGE.contains(&span) => Ok(Some(Self::After(span))),
            Some(_) => Err(format!("X-Expire-After: {given} is out of range (1s to 3650d)")),
            None => Err(format!(
                "X-Expire-After: {given:?} is not a duration such as 90s, 5m or 1h30m; 0: that of store.expire_after"
            )),
        }
    }

    /// The age; `None` for the usual one.
    pub(super) const fn after(self) -> Option<Duration> {
        match self {
            Self::Usual => None,
            Self::After(span) => Some(span),
        }
    }
}

/// The parts of a push that may explain an unreadable body.
struct Sent<'a> {
    /// Its Content-Encoding, if it is unknown.
    coding: Option<String>,
    content_type: Option<&'a str>,
    body: &'a Bytes,
}

impl Sent<'_> {
    /// Status, reason and message for an unreadable body: 415 if it has another format or an unknown encoding.
    fn unreadable(&self, status: StatusCode, reason: &'static str, otherwise: String) -> (StatusCode, &'static str, String) {
        if let Some(coding) = &self.coding {
            let why = format!("unknown Content-Encoding \"{coding}\" (gzip and snappy are supported); as plain text: {otherwise}");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_metrics", why);
        }
        match ForeignFormat::of(self.body) {
            Some(foreign) => {
                let why = format!("this is {foreign}, not metrics in a text format{}", advice(foreign));
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_metrics", why)
            }
            None if self.is_joined() => (
                status,
                reason,
                format!("{otherwise}; curl -d joins the lines of a file: send it with --data-binary"),
            ),
            None => (status, reason, otherwise),
        }
    }

    /// Returns true for a body that `curl -d` seems to have sent: a form without line breaks.
    fn is_joined(&self) -> bool {
        let is_form = |given: &str| given.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
        self.content_type.is_some_and(is_form) && !self.body.contains(&b'\n')
    }
}

/// Advice for the sender of another format.
const fn advice(foreign: ForeignFormat) -> &'static str {
    match foreign {
        ForeignFormat::Gzip => "; add the header Content-Encoding: gzip",
        ForeignFormat::Multipart => "; send only the text (curl --data-binary @FILE)",
        ForeignFormat::Utf16 => "; send UTF-8",
        ForeignFormat::Json | ForeignFormat::Capnp => "; send it to a receiver (receiver.receiver_tcp_socket)",
        ForeignFormat::Protobuf => {
            "; length-delimited MetricFamily messages need the header Content-Type: application/vnd.google.protobuf; \
             proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
        ForeignFormat::PackedCapnp | ForeignFormat::Zstd | ForeignFormat::Markup | ForeignFormat::Binary => "",
    }
}

/// Response to a stored push: its size, and a line for each conflict and remark.
struct Stored<'a> {
    app: &'a AppName,
    receipt: &'a Receipt,
    /// False if the other replicas of a cluster do not get it now.
    shared: bool,
}

impl fmt::Display for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, receipt, shared } = self;
        match receipt.families.zip(receipt.series) {
            Some((families, series)) => {
                let ies = if families == 1 { "y" } else { "ies" };
                write!(f, "stored {app}: {families} famil{ies}, {series} series")?;
            }
            None => write!(f, "stored {app}: {} bytes, not parsed (exposition.mode)", receipt.bytes)?,
        }
        if !shared {
            write!(
                f,
                "\nwarning: stored by this replica only, because the engine is away (cluster.url)"
            )?;
        }
        for remark in &receipt.remarks {
            write!(f, "\nwarning: {remark}")?;
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

/// `DELETE /apps/NAME`
async fn remove(
    State(handler): State<Arc<PushHandler>>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    match AppName::new(&name) {
        Ok(app) if handler.inlet.remove(&app, (handler.clock)()) => {
            note_deletion(&handler.telemetry, &app, connection.client(&headers).to_string());
            handler.inlet.shared(&app).await;
            reply::text(StatusCode::ACCEPTED, format_args!("deleted {app}"))
        }
        _ => reply::text(StatusCode::NOT_FOUND, format_args!("no app {name:?}; see GET /apps")),
    }
}

/// Records and logs that a client has deleted an app.
pub(super) fn note_deletion(telemetry: &Telemetry, app: &AppName, client: String) {
    telemetry.app_removed(app, RemovalReason::Deleted(client.clone().into()));
    if let Some(suppressed) = telemetry.admit_line(&format!("delete {app}")) {
        tracing::info!(app = app.as_str(), client, suppressed, "deleted by request");
    }
}

/// The status code of a refusal.
pub(super) fn refusal_status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::TooManyApps { .. } | Refused::Full { .. } | Refused::NearlyFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refused::TooManySeries { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Invalid(..) | Refused::SameNames(_) | Refused::Inconsistent(..) => StatusCode::BAD_REQUEST,
    }
}
