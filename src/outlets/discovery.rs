//! `/sd`: each application as a target of its own, in the format of Prometheus's HTTP service discovery.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::listing_cache::{ListingCache, ListingFormat};
use crate::http::{SharedBody, Slices, reply};
use crate::store::App;

/// `GET /sd`: one target for each application and one for the proxy itself, which is there even when there is no application, so that
/// the list is never empty.
///
/// Source of the format: Prometheus's documentation of `http_sd_config`, a list of `{"targets": [...], "labels": {...}}`.
pub(super) async fn targets(State(listings): State<Arc<ListingCache>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(|it| it.as_str()));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return reply::text(
            StatusCode::BAD_REQUEST,
            "the request has no Host header; the targets need its address",
        );
    };
    let prepared = listings.get(ListingFormat::Targets).await;
    let host = Value::from(host).to_string();
    let mut response = SharedBody::joined_by(Slices::clone(&prepared.row), host.into()).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The list in fragments, between each two of which the address of the target stands.
pub(super) fn fragments(apps: &[Arc<App>]) -> Slices {
    let own = json!({ "__metrics_path__": "/metrics", "__param_only": "own" });
    let apps = apps.iter().map(|app| {
        let (app, source) = (app.name.as_str(), &*app.origin.source);
        json!({ "__metrics_path__": "/metrics", "__param_app": app, "__param_own": "false", "app": app, "source": source })
    });
    let (mut text, mut ends) = (String::from("["), Vec::new());
    for labels in apps.chain([own]) {
        let comma = if ends.is_empty() { "" } else { "]}," };
        let _ = write!(text, "{comma}{{\"labels\":{labels},\"targets\":[");
        ends.push(text.len());
    }
    text.push_str("]}]\n");
    ends.push(text.len());
    let text = Bytes::from(text.into_boxed_str().into_boxed_bytes());
    let mut start = 0;
    let fragments = ends.into_iter().map(|end| text.slice(std::mem::replace(&mut start, end)..end));
    Arc::new(fragments.collect())
}
