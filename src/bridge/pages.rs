//! The pages of a bridge: aliases, self metrics, health, readiness, and an HTML overview.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use tabled::builder::Builder;
use tabled::settings::Style;

use super::ENDPOINTS;
use super::alias_table::Transport;
use super::proxy_registry::{AliasListing, ProxyRegistry};
use crate::http::{ServerMetrics, reply};
use crate::model::{Timestamp, printable};
use crate::page::{self, Plain, span};
use crate::peer::PublicKey;
use crate::supervise::{Notes, Readiness};
use crate::telemetry::RecentRefusal;

/// Limit on the aliases of the HTML overview; `/aliases` lists all of them.
const MAX_ROWS: usize = 1_000;

/// State of the page handlers.
pub(super) struct Pages {
    pub(super) registry: Arc<ProxyRegistry>,
    pub(super) notes: Arc<Notes>,
    pub(super) metrics: ServerMetrics,
    pub(super) key: PublicKey,
    pub(super) readiness: Arc<Readiness>,
    pub(super) quic_port: Option<u16>,
    pub(super) hyperdht: bool,
    pub(super) started: tokio::time::Instant,
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

/// `GET /api/status`
pub(super) async fn status(State(pages): State<Arc<Pages>>) -> Response<Body> {
    let (now, list) = (Instant::now(), pages.registry.list());
    let obstacles = pages.readiness.obstacles();
    let age = |at: Instant| now.saturating_duration_since(at).as_secs();
    let fault = |fault: &RecentRefusal| {
        json!({
            "source": fault.source, "client": fault.client, "reason": fault.reason, "detail": fault.detail,
            "count": fault.count, "age_seconds": age(fault.last),
        })
    };
    let value = json!({
        "role": "bridge",
        "version": env!("CARGO_PKG_VERSION"),
        "time": time((pages.registry.clock)()),
        "uptime_seconds": pages.started.elapsed().as_secs(),
        "ready": obstacles.is_none(),
        "not_ready_because": obstacles.as_deref().map(|lines| lines.lines().collect::<Vec<_>>()),
        "notes": pages.notes.lines(),
        "key": pages.key.to_string(),
        "aliases": { "total": list.len(), "connected": list.iter().filter(|listed| listed.link.is_some()).count() },
        "faults": pages.registry.telemetry.recent_link_faults().iter().map(fault).collect::<Vec<_>>(),
    });
    reply::json(StatusCode::OK, &value)
}

/// `GET /`
pub(super) async fn index(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response<Body> {
    if page::is_wanted(&headers) {
        return page::page("exporter-proxy bridge", "", &overview(&pages, &headers));
    }
    let width = ENDPOINTS.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
    let mut text = format!("exporter-proxy {}, a bridge: {}\n\n", env!("CARGO_PKG_VERSION"), pages.key);
    for (request, gives) in ENDPOINTS {
        let _ = writeln!(text, "  {request:width$}  {gives}");
    }
    reply::text(StatusCode::OK, text)
}

impl Pages {
    /// A number that changes with the aliases, their links and the faults of links.
    pub(super) fn version(&self) -> u64 {
        let list = self.registry.list();
        let connected = list.iter().filter(|listed| listed.link.is_some()).count() as u64;
        let faults: u64 = self.registry.telemetry.recent_link_faults().iter().map(|fault| fault.count).sum();
        [list.len() as u64, connected, faults]
            .into_iter()
            .fold(0, |version: u64, part| version.wrapping_mul(1_000_003).wrapping_add(part))
    }

    /// The lines for the configuration of a proxy that is to register here. The host is the one that the browser has used.
    fn proxy_configuration(&self, headers: &HeaderMap) -> String {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host
            .parse::<Authority>()
            .map_or_else(|_| "HOST".to_owned(), |authority| authority.host().to_owned());
        let quic = self.quic_port.map(|port| format!("\"quic://{}@{host}:{port}\"", self.key));
        let hyperdht = self.hyperdht.then(|| format!("\"hyperdht://{}\"", self.key));
        let mut lines = String::from("[p2p]\nenabled = true\n");
        for (n, bridge) in quic.into_iter().chain(hyperdht).enumerate() {
            // One is enough; the other way is a comment.
            let _ = writeln!(lines, "{}bridges = [{bridge}]", if n == 0 { "" } else { "# or: " });
        }
        lines.push_str("secret_file = \"/etc/exporter-proxy/secret\"  # the secret of this bridge\n");
        lines
    }
}

fn overview(pages: &Pages, headers: &HeaderMap) -> Markup {
    let (list, now) = (pages.registry.list(), Instant::now());
    let connected = list.iter().filter(|listed| listed.link.is_some()).count();
    let faults = pages.registry.telemetry.recent_link_faults();
    html! {
        header {
            h1 { "exporter-proxy " (env!("CARGO_PKG_VERSION")) ": bridge" }
            p.soft { "up " (span(pages.started.elapsed().as_secs())) ", page " span #live role="status" { "as of when it was loaded" } }
        }
        main {
            div #state data-part {
                @match pages.readiness.obstacles() {
                    None => { p.ok { "ready" } },
                    Some(lines) => { @for line in lines.lines() { p.fault { "not ready: " (Plain(line)) } } },
                }
                @for note in pages.notes.lines() { p.stale { "note: " (Plain(&note)) } }
                ul.facts { li { b { (list.len()) } (if list.len() == 1 { " alias" } else { " aliases" }) } li { b { (connected) } " connected" } }
            }
            section #aliases data-part { h2 { "Aliases" } (alias_table(&list)) }
            section #faults data-part { h2 { "Recent faults of links" } (fault_table(&faults, now)) }
            section {
                h2 { "Configuration of a new proxy" }
                pre #config { (pages.proxy_configuration(headers)) }
                button type="button" data-copy="config" { "Copy" }
            }
            section { h2 { "Endpoints" } (endpoint_table()) }
        }
    }
}

fn alias_table(list: &[AliasListing]) -> Markup {
    if list.is_empty() {
        return html! { p.soft { "No proxy has registered yet." } };
    }
    let row = |listed: &AliasListing| {
        let [alias, hostname, service, key, registered, expires, state] = columns(listed);
        let path = super::segment(listed.entry.alias.as_str());
        html! { tr {
            td.name { a href=(format!("scrape/{path}/metrics")) { (alias) } }
            td.(if listed.link.is_some() { "ok" } else { "stale" }) { (state) }
            td { (hostname) } td { (service) } td { code { (key) } } td { (registered) } td { (expires) }
            td { button type="button" data-delete=(format!("aliases/{path}")) data-name=(alias) { "Forget" } }
        } }
    };
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                @for head in ["Alias", "State", "Hostname", "Service", "Key", "Registered", "Expires"] { th scope="col" { (head) } }
                th scope="col" { span.hidden { "Action" } }
            } }
            tbody { @for listed in list.iter().take(MAX_ROWS) { (row(listed)) } }
        } }
        @if list.len() > MAX_ROWS { p.soft { "and " (list.len() - MAX_ROWS) " more: see " a href="aliases" { "/aliases" } } }
    }
}

fn fault_table(faults: &[RecentRefusal], now: Instant) -> Markup {
    if faults.is_empty() {
        return html! { p.soft { "None." } };
    }
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Last" } th scope="col" { "Client" } th scope="col" { "Of" } th scope="col" { "Why" } th.n scope="col" { "Times" } } }
            tbody { @for fault in faults { tr {
                td.fixed { (span(now.saturating_duration_since(fault.last).as_secs())) " ago" } td { (Plain(&fault.client)) } td { (fault.source) }
                td.text.fault { (Plain(&fault.detail)) } td.n { (fault.count) }
            } } }
        } }
    }
}

fn endpoint_table() -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "Request" } th scope="col" { "Result" } } }
            tbody { @for (request, gives) in ENDPOINTS { tr { td { code { (request) } } td.text { (gives) } } } }
        } }
    }
}
