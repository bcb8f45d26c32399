//! The reading part of Pushgateway's API: `GET /api/v1/metrics` and `/api/v1/status`.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::table::rfc3339;
use crate::exposition::group::{as_text, unescape};
use crate::exposition::{Exposition, Family, Label, MetricType, Sample, Suffix, go_float};
use crate::http::{ResponseMemory, Role, Routes, reply};
use crate::model::{AppName, Syntax, Timestamp};
use crate::store::{App, Text, View};
use crate::supervise::blocking;
use crate::wire::pushgateway::{INSTANCE, PUSH_FAILURE_TIME, PUSH_TIME, SOURCE};

/// Parts of listings that are made at the same time: the JSON of a group may be some times as large as its text.
const PARTS_AT_ONCE: usize = 1;

/// Bytes after which a part of a listing ends, with the group that it has reached: all groups at once may be some times as large as what is
/// stored.
const PART_BYTES: usize = 256 << 10;

/// Handler of the endpoints about Pushgateway groups.
#[derive(Debug)]
pub struct PushgatewayOutlet {
    view: View,
    started: Timestamp,
    flags: BTreeMap<&'static str, String>,
    prefix: Arc<str>,
    /// For [`PARTS_AT_ONCE`] parts.
    turns: Semaphore,
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
            turns: Semaphore::new(PARTS_AT_ONCE),
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

/// `GET /api/v1/metrics`: all groups with their families. Made in parts as the client takes them, of the groups that there are at the start.
async fn metrics(State(outlet): State<Arc<PushgatewayOutlet>>) -> Response<Body> {
    let view = outlet.view.clone();
    let names = blocking(move || {
        let apps = view.apps();
        let groups = apps.iter().filter(|app| &*app.origin.source == SOURCE);
        groups.map(|app| app.name.clone()).collect::<Vec<_>>()
    });
    let names = names.await;
    // The list of names is there until the last part is made; the part in work is counted as it is sent.
    let held = Arc::new(AtomicU64::new(size_of_val(&*names) as u64));
    let memory = ResponseMemory::changing(Arc::clone(&held));
    let listing = Listing {
        names: names.into_iter(),
        text: br#"{"status":"success","data":["#.to_vec(),
        has_groups: false,
    };
    let parts = stream::unfold(Some(listing), move |listing| {
        let (outlet, held) = (Arc::clone(&outlet), Arc::clone(&held));
        async move {
            // Never closed.
            let _turn = outlet.turns.acquire().await;
            let (view, listing) = (outlet.view.clone(), listing?);
            let (part, rest) = blocking(move || listing.part(&view)).await;
            if rest.is_none() {
                held.store(0, Ordering::Relaxed);
            }
            Some((Ok::<_, Infallible>(part), rest))
        }
    });
    let mut response = with_headers(Response::new(Body::from_stream(parts)));
    response.extensions_mut().insert(memory);
    response
}

/// The rest of a listing of all groups.
struct Listing {
    names: vec::IntoIter<AppName>,
    /// Text that is not sent yet.
    text: Vec<u8>,
    has_groups: bool,
}

impl Listing {
    /// The next part, and what is left; `None` at the end.
    fn part(mut self, view: &View) -> (Bytes, Option<Self>) {
        while self.text.len() < PART_BYTES {
            let Some(name) = self.names.next() else {
                self.text.extend_from_slice(b"]}");
                return (self.text.into_boxed_slice().into(), None);
            };
            // It may be gone.
            let Some(app) = view.app(name.as_str()) else { continue };
            if std::mem::replace(&mut self.has_groups, true) {
                self.text.push(b',');
            }
            self.text.extend_from_slice(group(&app).to_string().as_bytes());
        }
        (std::mem::take(&mut self.text).into_boxed_slice().into(), Some(self))
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
    let headers: [(HeaderName, &str); 2] = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    ];
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

/// The same in the text format, which has the names of Pushgateway's families.
fn parsed_as_text(app: &App) -> Arc<Exposition> {
    let text = parsed(app);
    match text.syntax() {
        Syntax::Text => text,
        Syntax::OpenMetrics => Arc::new(Exposition::parse(as_text(&text).into(), Syntax::Text)),
    }
}

/// A group as JSON: its labels, the outcome of its last push, and its families by name.
fn group(app: &App) -> Value {
    let text = parsed_as_text(app);
    let time = |name: &str| gauge(&text, name).and_then(|sample| number(&sample)).unwrap_or(0.0);
    let mut value = Map::new();
    value.insert("labels".to_owned(), json!(group_labels(app, &text)));
    let succeeded = time(PUSH_FAILURE_TIME.0) <= time(PUSH_TIME.0);
    value.insert("last_push_successful".to_owned(), succeeded.into());
    // As at Pushgateway, a push that failed moves the time of its own gauge alone.
    let failed = push_time(&text, PUSH_FAILURE_TIME.0);
    let (pushed, failed) = (app.updated.and_then(rfc3339), app.updated.max(failed).and_then(rfc3339));
    for family in text.families().iter().filter(|family| family.samples > 0) {
        let mut facts = json!({
            "time_stamp": if text.text(family.name) == PUSH_FAILURE_TIME.0.as_bytes() { &failed } else { &pushed },
            "type": type_word(family.kind),
            "metrics": family_metrics(&text, family),
        });
        if let Some(help) = family.help() {
            facts["help"] = unescape(text.text(help)).into();
        }
        value.insert(unescape(text.text(family.name)), facts);
    }
    Value::Object(value)
}

/// The labels of the group: those of its gauges, without the instance that each sample gets.
fn group_labels(app: &App, text: &Exposition) -> BTreeMap<String, String> {
    let mut labels = gauge(text, PUSH_TIME.0).map_or_else(BTreeMap::new, |sample| labels(&sample, None));
    let is_added = |value: &String| value.is_empty() && !app.name.as_str().contains(&format!(",{INSTANCE}=\"\""));
    if labels.get(INSTANCE).is_some_and(is_added) {
        labels.remove(INSTANCE);
    }
    labels
}

/// The only sample of one of the gauges about pushes, which stand at the end.
fn gauge<'a>(text: &'a Exposition, name: &str) -> Option<Sample<'a>> {
    let mut families = text.families().iter().rev();
    let family = families.find(|family| text.text(family.name) == name.as_bytes())?;
    text.samples(family).next()
}

const fn type_word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "COUNTER",
        MetricType::Gauge => "GAUGE",
        MetricType::Histogram => "HISTOGRAM",
        MetricType::Summary => "SUMMARY",
        MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
        MetricType::Unknown | MetricType::Info | MetricType::StateSet => "UNTYPED",
    }
}

/// The metrics of a family: one for each sample, and of a histogram or summary one for all samples with the same labels.
fn family_metrics(text: &Exposition, family: &Family) -> Vec<Value> {
    let (bound, values) = match family.kind {
        MetricType::Histogram => ("le", "buckets"),
        MetricType::Summary => ("quantile", "quantiles"),
        _ => {
            let metric = |sample: Sample<'_>| {
                let value = number(&sample).map_or_else(String::new, go_float);
                json!({ "labels": labels(&sample, None), "value": value })
            };
            return text.samples(family).map(metric).collect();
        }
    };
    let (mut metrics, mut places) = (Vec::<Value>::new(), HashMap::<BTreeMap<String, String>, usize>::new());
    let name = text.text(family.name);
    for sample in text.samples(family) {
        let labels = labels(&sample, Some(bound));
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            metrics.push(json!({ "labels": labels, "count": "0", "sum": "0", values: {} }));
            metrics.len() - 1
        });
        let Some(value) = number(&sample) else { continue };
        let metric = &mut metrics[place];
        match Suffix::between(name, sample.name) {
            Some(Suffix::Sum) => metric["sum"] = go_float(value).into(),
            Some(Suffix::Count) => metric["count"] = count(value).into(),
            _ => {
                let at = sample.labels.clone().find(|label| label.name == bound.as_bytes());
                let Some(at) = at.and_then(|label| float(label.value)) else {
                    continue;
                };
                let value = if bound == "le" { count(value) } else { go_float(value) };
                metric[values][go_float(at)] = value.into();
            }
        }
    }
    metrics
}

/// The labels of a sample but for one.
fn labels(sample: &Sample<'_>, without: Option<&str>) -> BTreeMap<String, String> {
    let wanted = |label: &Label<'_>| without.is_none_or(|without| label.name != without.as_bytes());
    let pair = |label: Label<'_>| (unescape(label.name), unescape(label.value));
    sample.labels.clone().filter(wanted).map(pair).collect()
}

fn number(sample: &Sample<'_>) -> Option<f64> {
    float(sample.value)
}

/// A number that was checked when the text was parsed: the standard library has the same grammar.
fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A count, which is usually a whole number.
fn count(value: f64) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && (0.0..EXACT).contains(&value) {
        return format!("{value:.0}");
    }
    go_float(value)
}

#[cfg(test)]
mod tests;
