//! `/apps`: who has pushed what, for people and for programs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::app_filter::{AppFilter, Order, State as AppState, none_if_empty};
use super::listing_cache::{ListingCache, ListingFormat};
use super::query::Query;
use super::table::Present;
use super::{index, table, unknown_app};
use crate::exposition::gzip::{self, Piece};
use crate::exposition::negotiate::ContentEncoding;
use crate::http::{SharedBody, Slices, accepts, reply};
use crate::page::{self, MIN_GZIP_BYTES};
use crate::store::View;
use crate::supervise::Notes;
use crate::telemetry::Telemetry;

/// Handler of the endpoints about apps.
#[derive(Debug)]
pub struct AppsHandler {
    view: View,
    listings: Arc<ListingCache>,
    notes: Arc<Notes>,
    telemetry: Arc<Telemetry>,
}

impl AppsHandler {
    /// Endpoints over this view, and its listings. The notes stand below the table; the telemetry has the latest updates of each app.
    #[must_use]
    pub fn new(view: View, listings: Arc<ListingCache>, notes: Arc<Notes>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            view,
            listings,
            notes,
            telemetry,
        }
    }
}

/// Query parameters of `/apps/NAME` and `/events`.
#[derive(Debug, Deserialize)]
pub(super) struct QueryParams {
    format: Option<String>,
}

impl QueryParams {
    /// Returns true for JSON: `?format=` decides, otherwise `Accept`.
    pub(super) fn json(&self, headers: &HeaderMap) -> bool {
        match self.format.as_deref() {
            Some(format) => format.eq_ignore_ascii_case("json"),
            None => accepts(headers, "application/json"),
        }
    }
}

/// The format of the list of all apps.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListFormat {
    #[serde(alias = "text")]
    Table,
    Wide,
    Json,
    Csv,
}

/// Query parameters of `/apps`.
#[derive(Debug, Deserialize)]
pub(super) struct ListParams {
    #[serde(default, deserialize_with = "none_if_empty")]
    format: Option<ListFormat>,
    q: Option<String>,
    #[serde(default, deserialize_with = "none_if_empty")]
    state: Option<AppState>,
    #[serde(default, deserialize_with = "none_if_empty")]
    sort: Option<Order>,
}

/// `GET /apps`
pub(super) async fn all(State(listing): State<Arc<AppsHandler>>, Query(params): Query<ListParams>, headers: HeaderMap) -> Response<Body> {
    let now = (listing.listings.clock)();
    let ListParams { format, q, state, sort } = params;
    let by_header = || match accepts(&headers, "application/json") {
        true => ListFormat::Json,
        false => ListFormat::Table,
    };
    let (form, content_type) = match format.unwrap_or_else(by_header) {
        ListFormat::Table => (ListingFormat::Table, "text/plain; charset=utf-8"),
        ListFormat::Wide => (ListingFormat::Wide, "text/plain; charset=utf-8"),
        ListFormat::Json => (ListingFormat::Json, "application/json"),
        ListFormat::Csv => (ListingFormat::Csv, "text/csv; charset=utf-8"),
    };
    let prepared = listing.listings.filtered(form, AppFilter { q, state, sort }).await;
    let notes = listing.notes.lines();
    let (head, end) = match form {
        ListingFormat::Json => {
            let (notes, time) = (Value::from(notes), Value::from(table::rfc3339(now)));
            ("{\"apps\":[".to_owned(), format!("],\"notes\":{notes},\"time\":{time}}}\n"))
        }
        ListingFormat::Table | ListingFormat::Wide => (
            table::draw_head(prepared.width, now, prepared.counts),
            table::draw_end(prepared.width, &notes),
        ),
        ListingFormat::Csv | ListingFormat::Targets => (String::new(), String::new()),
    };
    let encoding = match prepared.len() >= MIN_GZIP_BYTES {
        true => page::encoding(&headers),
        false => ContentEncoding::Identity,
    };
    let rows = match encoding {
        ContentEncoding::Identity => {
            let own = |text: String| Slices::new(vec![text.into()]);
            vec![own(head), Arc::clone(&prepared.row), own(end)]
        }
        ContentEncoding::Gzip => {
            let listed = listing.listings.compressed(&prepared).await;
            let [head, end] = [head, end].map(|text| Piece::stored(&[text.into()]));
            gzip::join([&head, &listed, &end])
        }
    };
    let mut response = SharedBody::new(rows).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    page::set_encoding(response.headers_mut(), encoding);
    response
}

/// `GET /apps/NAME`
pub(super) async fn one(
    State(listing): State<Arc<AppsHandler>>,
    Path(name): Path<String>,
    Query(params): Query<QueryParams>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(app) = listing.view.app(&name) else {
        return unknown_app(&name);
    };
    let present = Present::of(&listing.view, listing.listings.clock);
    let updates = listing.telemetry.recent_updates(&app.name);
    let queue = &listing.listings.pages;
    if params.format.is_none() && page::is_wanted(&headers) {
        // The text of a large app takes a moment.
        return queue.respond(&headers, move || index::app_page(&app, present, &updates)).await;
    }
    let rendered = match params.json(&headers) {
        true => reply::rendered_json(StatusCode::OK, &table::all_facts(&app, present, &updates)),
        false => reply::rendered_text(StatusCode::OK, table::describe(&app, present)),
    };
    queue.compressed(&headers, rendered).await
}
