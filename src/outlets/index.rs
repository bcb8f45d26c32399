//! `/`: a status page for browsers, the list of endpoints for other clients.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode};

use super::apps::accepts;
use super::listing_cache::{Listing, ListingCache, ListingFormat};
use super::table::{self, Present};
use crate::http::Slices;
use crate::http::reply::{self, escape};
use crate::store::{App, Status};

/// The most applications shown on the page; beyond that `/apps` is the better tool.
const MAX_ROWS: usize = 1_000;

/// State of the page.
#[derive(Debug)]
pub struct IndexHandler {
    listings: Arc<ListingCache>,
    endpoints: Vec<(&'static str, &'static str)>,
}

impl IndexHandler {
    /// A page over these listings with this list of endpoints: what to request, and what it gives.
    #[must_use]
    pub fn new(listings: Arc<ListingCache>, endpoints: Vec<(&'static str, &'static str)>) -> Self {
        Self { listings, endpoints }
    }
}

/// The endpoints as lines of text.
fn list(endpoints: &[(&str, &str)]) -> String {
    let width = endpoints.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
    endpoints.iter().fold(String::new(), |mut lines, (request, gives)| {
        let _ = writeln!(lines, "  {request:width$}  {gives}");
        lines
    })
}

/// `GET /`
pub(super) async fn index(State(index): State<Arc<IndexHandler>>, headers: HeaderMap) -> Response<Body> {
    if accepts(&headers, "text/html") {
        let prepared = index.listings.get(ListingFormat::Page).await;
        return reply::html(page(&index, &prepared));
    }
    reply::text(
        StatusCode::OK,
        format!(
            "exporter-proxy {}: one port for the metrics of many applications\n\n{}",
            env!("CARGO_PKG_VERSION"),
            list(&index.endpoints)
        ),
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}\
td.n,th.n{text-align:right}code{background:#f3f3f3;padding:.1rem .3rem}.ok{color:#17692f}.stale{color:#8a5a00}.fault{color:#a3111f}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}code{background:#262626}a{color:#8ab4f8}\
.ok{color:#7bd394}.stale{color:#e2b65c}.fault{color:#ff8a94}}";

fn page(index: &IndexHandler, prepared: &Listing) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>exporter-proxy</title><style>{STYLE}</style></head><body>\n<h1>exporter-proxy {}</h1>\n<p>{}. {} applications.</p>\n",
        env!("CARGO_PKG_VERSION"),
        table::clock_time((index.listings.clock)()),
        prepared.apps,
    );
    page.push_str(
        "<table><tr><th>App Name</th><th>Last Update Time (UTC)</th><th>Source</th><th class=\"n\">Series</th><th class=\"n\">Bytes</th><th>Status</th></tr>\n",
    );
    prepared.row.iter().for_each(|rows| page.push_str(&String::from_utf8_lossy(rows)));
    page.push_str("</table>\n");
    if prepared.apps > MAX_ROWS {
        let _ = writeln!(page, "<p>and {} more: see <a href=\"apps\">/apps</a></p>", prepared.apps - MAX_ROWS);
    }
    page.push_str("<h2>Endpoints</h2>\n<table>\n");
    for (request, gives) in &index.endpoints {
        let _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", link(request), escape(gives));
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

/// The rows of the table of applications, the first of them where they are very many.
pub(super) fn rows(apps: &[Arc<App>], present: Present) -> Slices {
    let mut rows = String::new();
    for app in apps.iter().take(MAX_ROWS) {
        let _ = writeln!(rows, "{}", row(app, &present.status(app)));
    }
    Arc::new(vec![rows.into()])
}

fn row(app: &App, status: &Status) -> String {
    let class = match status {
        Status::Ok | Status::Noted(_) => "ok",
        Status::Stale(..) => "stale",
        Status::Fault(_) => "fault",
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"{class}\">{}</td></tr>",
        escape(app.name.as_str()),
        app.updated.map_or_else(|| "never".into(), table::clock_time),
        escape(&app.origin.source),
        table::series(app),
        app.text.body().len(),
        escape(&status.to_string()),
    )
}

/// A request as code, with a link where a browser can follow it.
fn link(request: &str) -> String {
    let shown = format!("<code>{}</code>", escape(request));
    match request.strip_prefix("GET ") {
        // Relative, so that it holds behind a reverse proxy that removes a prefix of the path.
        Some(path) if !path.contains(|c: char| c.is_ascii_uppercase()) && !path.ends_with("...") => {
            format!("<a href=\"{}\">{shown}</a>", escape(path.trim_start_matches('/')))
        }
        _ => shown,
    }
}

#[cfg(test)]
mod tests;
