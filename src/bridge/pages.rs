//! The pages of a bridge: aliases, self metrics, health, readiness, and an HTML overview.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ENDPOINTS;
use super::alias_list::{AliasJsonWriter, AliasTableWriter, columns, time};
use super::alias_moves::AliasMove;
use super::proxy_registry::{AliasListing, ProxyRegistry};
use crate::http::{ServerMetrics, accepts, path_segment, reply};
use crate::page::{self, PieceQueue, Plain, RenderQueue, section, span};
use crate::peer::PublicKey;
use crate::supervise::{Notes, Readiness, blocking};
use crate::telemetry::{ClusterMember, ClusterState, RecentRefusal};

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
    pub(super) queue: RenderQueue,
    pub(super) pieces: Arc<PieceQueue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AliasesParams {
    format: Option<String>,
}

/// `GET /aliases`
pub(super) async fn aliases(State(pages): State<Arc<Pages>>, Query(params): Query<AliasesParams>, headers: HeaderMap) -> Response<Body> {
    let as_json = params
        .format
        .as_deref()
        .map_or_else(|| accepts(&headers, "application/json"), |format| format == "json");
    let registry = Arc::clone(&pages.registry);
    let list = blocking(move || registry.list()).await;
    if as_json {
        return pages
            .pieces
            .respond_encoded(&headers, "application/json", AliasJsonWriter::new(list))
            .await;
    }
    let table = AliasTableWriter::new(list, pages.notes.text());
    pages.pieces.respond_encoded(&headers, "text/plain; charset=utf-8", table).await
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
pub(super) async fn status(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response<Body> {
    let rendered = Arc::clone(&pages);
    let render = move || reply::rendered_json(StatusCode::OK, &document(&rendered));
    pages.queue.respond(&headers, render).await
}

/// The state as JSON, as docs/p2p.md describes it.
fn document(pages: &Pages) -> Value {
    let (now, list) = (Instant::now(), pages.registry.list());
    let obstacles = pages.readiness.obstacles();
    let age = |at: Instant| now.saturating_duration_since(at).as_secs();
    let fault = |fault: &RecentRefusal| {
        json!({
            "source": fault.source, "client": fault.client, "reason": fault.reason, "detail": fault.detail,
            "count": fault.count, "age_seconds": age(fault.last),
        })
    };
    json!({
        "role": "bridge",
        "version": env!("CARGO_PKG_VERSION"),
        "time": time((pages.registry.clock)()),
        "uptime_seconds": pages.started.elapsed().as_secs(),
        "ready": obstacles.is_none(),
        "not_ready_because": obstacles.as_deref().map(|lines| lines.lines().collect::<Vec<_>>()),
        "notes": pages.notes.lines(),
        "key": pages.key.to_string(),
        "cluster": Some(pages.registry.telemetry.cluster().get()).filter(|cluster| !cluster.engine.is_empty()).map(|cluster| cluster_facts(&cluster)),
        "aliases": { "total": list.len(), "connected": list.iter().filter(|listed| listed.is_connected()).count() },
        "moves": pages.registry.moves.list().iter().map(|moved| json!({
            "alias": moved.alias, "from": moved.from.map(|key| key.to_string()), "to": moved.to.to_string(),
            "address": moved.address.map(|address| address.to_string()), "count": moved.count, "age_seconds": age(moved.last),
        })).collect::<Vec<_>>(),
        "faults": pages.registry.telemetry.recent_link_faults().iter().map(fault).collect::<Vec<_>>(),
    })
}

/// The bridges of the cluster, as the status of a proxy lists replicas.
fn cluster_facts(cluster: &ClusterState) -> Value {
    let members = cluster.members.iter().map(|member| {
        json!({
            "id": member.id, "name": member.name, "http": member.http, "version": member.version, "aliases": member.apps,
        })
    });
    json!({
        "engine": cluster.engine, "connected": cluster.connected, "pending": cluster.pending, "members": members.collect::<Vec<_>>(),
    })
}

/// `GET /`
pub(super) async fn index(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response<Body> {
    if page::is_wanted(&headers) {
        let (rendered, asked) = (Arc::clone(&pages), headers.clone());
        let render = move || page::page("exporter-proxy bridge", "", &overview(&rendered, &asked));
        return pages.queue.respond(&headers, render).await;
    }
    let width = ENDPOINTS.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
    let mut text = format!("exporter-proxy {}, a bridge: {}\n\n", env!("CARGO_PKG_VERSION"), pages.key);
    for (request, gives) in ENDPOINTS {
        let _ = writeln!(text, "  {request:width$}  {gives}");
    }
    reply::text(StatusCode::OK, text)
}

impl Pages {
    /// A number that changes with the aliases, their moves, their links and the faults of links.
    pub(super) fn version(&self) -> u64 {
        let list = self.registry.list();
        let connected = list.iter().filter(|listed| listed.is_connected()).count() as u64;
        let faults: u64 = self.registry.telemetry.recent_link_faults().iter().map(|fault| fault.count).sum();
        let moves: u64 = self.registry.moves.list().iter().map(|moved| moved.count).sum();
        [list.len() as u64, connected, faults, moves]
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
    let connected = list.iter().filter(|listed| listed.is_connected()).count();
    let faults = pages.registry.telemetry.recent_link_faults();
    let cluster = pages.registry.telemetry.cluster().get();
    html! {
        (page::header(concat!("exporter-proxy ", env!("CARGO_PKG_VERSION"), ": bridge"), pages.started.elapsed().as_secs()))
        main {
            div #state data-part {
                (page::readiness(pages.readiness.obstacles().as_deref(), &pages.notes.lines()))
                ul.facts { li { b { (list.len()) } (if list.len() == 1 { " alias" } else { " aliases" }) } li { b { (connected) } " connected" } }
            }
            section #aliases data-part { (alias_table(&list)) }
            @if !cluster.engine.is_empty() { section #cluster data-part { (cluster_table(&cluster)) } }
            section #moves data-part { (move_table(&pages.registry.moves.list(), now)) }
            section #faults data-part { (fault_table(&faults, now)) }
            section {
                h2 { "Configuration of a new proxy" }
                pre #config { (pages.proxy_configuration(headers)) }
                button type="button" data-copy="config" { "Copy" }
            }
            section { (endpoint_table()) }
        }
    }
}

fn alias_table(list: &[AliasListing]) -> Markup {
    let row = |listed: &AliasListing| {
        let [alias, hostname, service, key, registered, expires, state] = columns(listed);
        let path = path_segment(listed.entry.alias.as_str());
        html! {
            td.name { a href=(format!("scrape/{path}/metrics")) { (alias) } }
            td.(if listed.is_connected() { "ok" } else { "stale" }) { (state) }
            td { (hostname) } td { (service) } td { code { (key) } } td { (registered) } td { (expires) }
            td { button type="button" data-delete=(format!("aliases/{path}")) data-name=(alias) { "Forget" } }
        }
    };
    let rows: Vec<_> = list.iter().take(MAX_ROWS).map(row).collect();
    let head = ["Alias", "State", "Hostname", "Service", "Key", "Registered", "Expires", ""];
    html! {
        (section("Aliases", &head, &rows, "No proxy has registered yet."))
        @if list.len() > MAX_ROWS { p.soft { "and " (list.len() - MAX_ROWS) " more: see " a href="aliases" { "/aliases" } } }
    }
}

fn cluster_table(cluster: &ClusterState) -> Markup {
    let row = |member: &ClusterMember| {
        let http = member.http.map_or_else(|| "-".to_owned(), |http| http.to_string());
        html! { td.name { (Plain(&member.name)) } td { (http) } td { (Plain(&member.version)) } td.n { (member.apps) } }
    };
    let rows: Vec<_> = cluster.members.iter().map(row).collect();
    section(
        "Bridges",
        &["Name", "HTTP", "Version", "#Aliases"],
        &rows,
        "The engine is not connected yet.",
    )
}

fn move_table(moves: &[AliasMove], now: Instant) -> Markup {
    let row = |moved: &AliasMove| {
        let from = moved.from.map_or_else(|| "a proxy that has left".to_owned(), |key| key.to_string());
        html! {
            td.fixed { (span(now.saturating_duration_since(moved.last).as_secs())) " ago" } td.name { (Plain(&moved.alias)) }
            td { code { (from) } } td { code { (moved.to) } }
            td { (moved.address.map_or_else(|| "-".to_owned(), |address| address.to_string())) } td.n { (moved.count) }
        }
    };
    let rows: Vec<_> = moves.iter().map(row).collect();
    let head = ["Last", "Alias", "From", "To", "Registered by", "#Times"];
    section("Moved aliases", &head, &rows, "No alias has moved from one key to another.")
}

fn fault_table(faults: &[RecentRefusal], now: Instant) -> Markup {
    let row = |fault: &RecentRefusal| {
        html! {
            td.fixed { (span(now.saturating_duration_since(fault.last).as_secs())) " ago" } td { (Plain(&fault.client)) } td { (fault.source) }
            td.text.fault { (Plain(&fault.detail)) } td.n { (fault.count) }
        }
    };
    let rows: Vec<_> = faults.iter().map(row).collect();
    section("Recent faults of links", &["Last", "Client", "Of", "Why", "#Times"], &rows, "None.")
}

fn endpoint_table() -> Markup {
    let rows: Vec<_> = ENDPOINTS
        .iter()
        .map(|(request, gives)| html! { td { code { (request) } } td.text { (gives) } })
        .collect();
    section("Endpoints", &["Request", "Result"], &rows, "")
}
