//! The reading part of Pushgateway's API: `GET /api/v1/metrics` and `/api/v1/status`.

mod group_writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::json;

use self::group_writer::GroupWriter;
use super::table::rfc3339;
use crate::exposition::{Exposition, Sample};
use crate::http::{Role, Routes, reply};
use crate::model::{AppName, Timestamp};
use crate::page::{PieceQueue, PieceWriter};
use crate::store::{App, Text, View};
use crate::supervise::blocking;
use crate::wire::pushgateway::{PUSH_FAILURE_TIME, PUSH_TIME, SOURCE};

/// The type of the answers.
const JSON: &str = "application/json";

/// Handler of the endpoints about Pushgateway groups.
#[derive(Debug)]
pub struct PushgatewayOutlet {
    view: View,
    started: Timestamp,
    flags: BTreeMap<&'static str, String>,
    prefix: Arc<str>,
    /// A listing may be some times as large as what is stored.
    pieces: Arc<PieceQueue>,
}

impl PushgatewayOutlet {
    /// Endpoints below `prefix` over this view of a program that started at this time. `flags` are the flags of Pushgateway with the values
    /// that correspond to the configuration.
    #[must_use]
    pub fn new(view: View, started: Timestamp, flags: BTreeMap<&'static str, String>, prefix: Arc<str>) -> Self {
        Self {
            view,
            started,
            flags,
            prefix,
            pieces: Arc::default(),
        }
    }

    /// The start of the paths; empty for none.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// The routes of the endpoints.
pub(super) fn routes(outlet: Arc<PushgatewayOutlet>) -> Routes {
    let prefix = Arc::clone(&outlet.prefix);
    Routes::new()
        .route(&format!("{prefix}/api/v1/metrics"), Role::Read, get(metrics).fallback(not_allowed))
        .route(&format!("{prefix}/api/v1/status"), Role::Read, get(status).fallback(not_allowed))
        .with_state(outlet)
}

/// `GET /api/v1/metrics`: all groups with their families. Written piece by piece, of the groups that there are at the start.
async fn metrics(State(outlet): State<Arc<PushgatewayOutlet>>) -> Response<Body> {
    let view = outlet.view.clone();
    let names = blocking(move || {
        let apps = view.apps();
        let groups = apps.iter().filter(|app| &*app.origin.source == SOURCE);
        groups.map(|app| app.name.clone()).collect::<Vec<_>>()
    });
    let listing = Listing::new(outlet.view.clone(), names.await);
    with_headers(outlet.pieces.respond(JSON, listing).await)
}

/// The rest of a listing of all groups.
#[derive(Debug)]
struct Listing {
    view: View,
    /// The groups that are not begun yet.
    names: vec::IntoIter<AppName>,
    /// Bytes of the list of all names.
    names_bytes: u64,
    /// The group in work.
    group: Option<GroupWriter>,
    /// True once the beginning was written, and a group.
    begun: bool,
    has_groups: bool,
}

impl Listing {
    fn new(view: View, names: Vec<AppName>) -> Self {
        Self {
            view,
            names_bytes: size_of_val(&*names) as u64,
            names: names.into_iter(),
            group: None,
            begun: false,
            has_groups: false,
        }
    }
}

impl PieceWriter for Listing {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(br#"{"status":"success","data":["#);
        }
        while out.len() < enough {
            if let Some(group) = &mut self.group {
                if !group.write(out, enough) {
                    self.group = None;
                }
                continue;
            }
            let Some(name) = self.names.next() else {
                out.extend_from_slice(b"]}");
                return false;
            };
            // It may be gone.
            let Some(app) = self.view.app(name.as_str()) else { continue };
            if std::mem::replace(&mut self.has_groups, true) {
                out.push(b',');
            }
            self.group = Some(GroupWriter::new(&app));
        }
        true
    }

    fn memory(&self) -> u64 {
        self.names_bytes + self.group.as_ref().map_or(0, GroupWriter::memory)
    }
}

/// `GET /api/v1/status`: settings, start and version.
async fn status(State(outlet): State<Arc<PushgatewayOutlet>>) -> Response<Body> {
    let data = json!({
        "flags": outlet.flags,
        "start_time": rfc3339(outlet.started),
        "build_information": {
            "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "",
            "version": concat!("exporter-proxy ", env!("CARGO_PKG_VERSION")),
        },
    });
    with_headers(Response::new(Body::from(json!({ "status": "success", "data": data }).to_string())))
}

/// Other methods: what Pushgateway answers.
async fn not_allowed(method: Method) -> Response<Body> {
    if method == Method::OPTIONS {
        return Response::new(Body::empty());
    }
    let mut response = reply::go_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, OPTIONS"));
    response
}

fn with_headers(mut response: Response<Body>) -> Response<Body> {
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, "no-cache, no-store, must-revalidate")];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The times of the last pushes to a group that succeeded and failed.
pub(super) fn push_times(app: &App) -> (Option<Timestamp>, Option<Timestamp>) {
    // They are the same in both syntaxes.
    let text = parsed(app);
    (push_time(&text, PUSH_TIME.0), push_time(&text, PUSH_FAILURE_TIME.0))
}

/// The time in one of the gauges; `None` for one that has not come.
fn push_time(text: &Exposition, name: &str) -> Option<Timestamp> {
    let seconds = gauge(text, name).and_then(|sample| number(&sample))?;
    let millis = (seconds * 1_000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 are few, and a cast saturates")]
    (millis > 0.0).then_some(Timestamp::from_millis(millis as i64))
}

/// The parsed text of a group.
fn parsed(app: &App) -> Arc<Exposition> {
    match &app.text {
        Text::Read(text) => Arc::clone(text),
        Text::Raw(body, syntax) => Arc::new(Exposition::parse(body.clone(), *syntax)),
    }
}

/// The only sample of one of the gauges about pushes, which stand at the end.
fn gauge<'a>(text: &'a Exposition, name: &str) -> Option<Sample<'a>> {
    let mut families = text.families().iter().rev();
    let family = families.find(|family| text.text(family.name) == name.as_bytes())?;
    text.samples(family).next()
}

fn number(sample: &Sample<'_>) -> Option<f64> {
    float(sample.value)
}

/// A number that was checked when the text was parsed: the standard library has the same grammar.
fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
