//! The pages of a bridge: aliases, self metrics, health, readiness, and an HTML overview.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::ENDPOINTS;
use super::alias_table::Transport;
use super::proxy_registry::{AliasListing, ProxyRegistry};
use crate::http::{ServerMetrics, reply};
use crate::model::{Timestamp, printable};
use crate::peer::PublicKey;
use crate::supervise::Notes;

/// Limit on the aliases of the HTML overview; `/aliases` lists all of them.
const MAX_ROWS: usize = 1_000;

/// State of the page handlers.
pub(super) struct Pages {
    pub(super) registry: Arc<ProxyRegistry>,
    pub(super) notes: Arc<Notes>,
    pub(super) metrics: ServerMetrics,
    pub(super) key: PublicKey,
}

#[derive(Debug, Deserialize)]
pub(super) struct AliasesParams {
    format: Option<String>,
}

fn time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.as_millis())
        .map_or_else(|| "?".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains(kind))
}

/// The table columns of one alias.
fn columns(listed: &AliasListing) -> [String; 7] {
    let AliasListing {
        entry,
        registered,
        expires,
        link,
        ..
    } = listed;
    let state = match link {
        Some(link) => format!("connected, {:.1} ms away", link.rtt().as_secs_f64() * 1_000.0),
        None if entry.transport == Transport::Hyperdht => "dialed over HyperDHT".to_owned(),
        None => "not connected".to_owned(),
    };
    [
        printable(entry.alias.as_str()).into_owned(),
        printable(&entry.hostname).into_owned(),
        printable(&entry.service).into_owned(),
        entry.key.to_string(),
        time(*registered),
        time(*expires),
        state,
    ]
}

const COLUMNS: [&str; 7] = ["Alias", "Hostname", "Service", "Key", "Registered", "Expires", "State"];

/// `GET /aliases`
pub(super) async fn aliases(State(pages): State<Arc<Pages>>, Query(params): Query<AliasesParams>, headers: HeaderMap) -> Response<Body> {
    let list = pages.registry.list();
    let as_json = params
        .format
        .as_deref()
        .map_or_else(|| accepts(&headers, "application/json"), |format| format == "json");
    if as_json {
        let list: Vec<Value> = list.iter().map(facts).collect();
        return reply::json(StatusCode::OK, &Value::Array(list));
    }
    let mut rows = Builder::default();
    rows.push_record(COLUMNS);
    for listed in &list {
        rows.push_record(columns(listed));
    }
    let table = rows.build().with(Style::ascii()).to_string();
    reply::text(StatusCode::OK, format_args!("{table}\n{}", pages.notes.text()))
}

fn facts(listed: &AliasListing) -> Value {
    let AliasListing {
        entry,
        registered,
        expires,
        link,
        ..
    } = listed;
    json!({
        "alias": entry.alias.as_str(),
        "hostname": entry.hostname,
        "service": entry.service,
        "key": entry.key.to_string(),
        "registered": time(*registered),
        "expires": time(*expires),
        "over": match (link, entry.transport) {
            (Some(_), _) | (None, Transport::Quic) => Some("quic"),
            (None, Transport::Hyperdht) => Some("hyperdht"),
            (None, Transport::Unknown) => None,
        },
        "connected": link.is_some(),
        "round_trip_seconds": link.as_ref().map(|link| link.rtt().as_secs_f64()),
    })
}

/// `DELETE /aliases/{alias}`
pub(super) async fn forget(State(pages): State<Arc<Pages>>, Path(alias): Path<String>) -> Response<Body> {
    match pages.registry.forget(&alias) {
        true => reply::text(StatusCode::ACCEPTED, format_args!("forgotten: {alias}")),
        false => reply::text(StatusCode::NOT_FOUND, "Unknown alias"),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(pages): State<Arc<Pages>>) -> Response<Body> {
    let mut out = String::with_capacity(4 * 1024);
    pages.registry.recount();
    pages
        .metrics
        .write(&mut out, Instant::now(), |out| pages.registry.telemetry.write(out));
    let mut response = Response::new(Body::from(out));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// `GET /`
pub(super) async fn index(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response<Body> {
    if accepts(&headers, "text/html") {
        return reply::html(page(&pages));
    }
    let width = ENDPOINTS.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
    let mut text = format!("exporter-proxy {}, a bridge: {}\n\n", env!("CARGO_PKG_VERSION"), pages.key);
    for (request, gives) in ENDPOINTS {
        let _ = writeln!(text, "  {request:width$}  {gives}");
    }
    reply::text(StatusCode::OK, text)
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}\
code{background:#f3f3f3;padding:.1rem .3rem;word-break:break-all}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}code{background:#262626}a{color:#8ab4f8}}";

fn page(pages: &Pages) -> String {
    let list = pages.registry.list();
    let connected = list.iter().filter(|listed| listed.link.is_some()).count();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>exporter-proxy bridge</title><style>{STYLE}</style></head><body>\n<h1>exporter-proxy {}: bridge</h1>\n\
         <p>Public key: <code>{}</code></p>\n<p>{}. {} aliases, {connected} connected.</p>\n<table><tr>",
        env!("CARGO_PKG_VERSION"),
        pages.key,
        time((pages.registry.clock)()),
        list.len(),
    );
    for head in COLUMNS {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr>\n");
    for listed in list.iter().take(MAX_ROWS) {
        let cells = columns(listed);
        page.push_str("<tr>");
        for (at, cell) in cells.iter().enumerate() {
            let cell = reply::escape(cell);
            let _ = match at {
                0 => write!(
                    page,
                    "<td><a href=\"scrape/{}/metrics\">{cell}</a></td>",
                    super::segment(listed.entry.alias.as_str())
                ),
                3 => write!(page, "<td><code>{cell}</code></td>"),
                _ => write!(page, "<td>{cell}</td>"),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    if list.len() > MAX_ROWS {
        let _ = writeln!(
            page,
            "<p>and {} more: see <a href=\"aliases\">/aliases</a></p>",
            list.len() - MAX_ROWS
        );
    }
    page.push_str("<h2>Endpoints</h2>\n<table>\n");
    for (request, gives) in ENDPOINTS {
        let _ = writeln!(page, "<tr><td><code>{request}</code></td><td>{}</td></tr>", reply::escape(gives));
    }
    page.push_str("</table>\n</body></html>\n");
    page
}
