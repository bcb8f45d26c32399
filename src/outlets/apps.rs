//! `/apps`: who has pushed what, for people and for programs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use http::header::{ACCEPT, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;

use super::table::Present;
use super::{table, unknown_app};
use crate::http::reply;
use crate::model::Clock;
use crate::store::View;
use crate::supervise::Notes;

/// What the endpoints about applications need.
#[derive(Debug)]
pub struct Listing {
    view: View,
    clock: Clock,
    notes: Arc<Notes>,
}

impl Listing {
    /// Endpoints over this view. The notes stand below the table.
    #[must_use]
    pub fn new(view: View, clock: Clock, notes: Arc<Notes>) -> Self {
        Self { view, clock, notes }
    }
}

/// How somebody wants to see it.
#[derive(Debug, Deserialize)]
pub(super) struct Wishes {
    format: Option<String>,
}

impl Wishes {
    /// Whether JSON is wanted: `?format=` decides, else whether `Accept` names JSON.
    pub(super) fn json(&self, headers: &HeaderMap) -> bool {
        match self.format.as_deref() {
            Some(format) => format.eq_ignore_ascii_case("json"),
            None => accepts(headers, "application/json"),
        }
    }
}

/// Whether an `Accept` header names this media type.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        range
            .split(';')
            .next()
            .is_some_and(|name| name.trim().eq_ignore_ascii_case(media_type))
    })
}

/// `GET /apps`
pub(super) async fn all(State(listing): State<Arc<Listing>>, Query(wishes): Query<Wishes>, headers: HeaderMap) -> Response<Body> {
    let present = Present::of(&listing.view, listing.clock);
    let apps = table::sorted(listing.view.apps());
    if wishes.json(&headers) {
        reply::json(StatusCode::OK, &table::list(&apps, present, &listing.notes.lines()))
    } else {
        reply::text(StatusCode::OK, table::draw(&apps, present, &listing.notes.lines()))
    }
}

/// `GET /apps/NAME`
pub(super) async fn one(
    State(listing): State<Arc<Listing>>,
    Path(name): Path<String>,
    Query(wishes): Query<Wishes>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(app) = listing.view.app(&name) else {
        return unknown_app(&name);
    };
    let present = Present::of(&listing.view, listing.clock);
    if wishes.json(&headers) {
        reply::json(StatusCode::OK, &table::all_facts(&app, present))
    } else {
        reply::text(StatusCode::OK, table::describe(&app, present))
    }
}
