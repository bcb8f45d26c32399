//! `/sd`: each application as a target of its own, in the format of Prometheus's HTTP service discovery.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;

use super::app_filter::Listed;
use super::listing_cache::{ListingCache, ListingFormat};
use crate::http::{Connection, PublicUrl, SharedBody, Slices, reply};

/// `GET /sd`: one target for each application and one for the proxy itself, which is there even when there is no application, so that
/// the list is never empty.
///
/// Source of the format: Prometheus's documentation of `http_sd_config`, a list of `{"targets": [...], "labels": {...}}`.
pub(super) async fn targets(
    State(listings): State<Arc<ListingCache>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(url) = connection.public_url(&uri, &headers) else {
        return reply::text(
            StatusCode::BAD_REQUEST,
            "the request has no Host header; the targets need its address",
        );
    };
    let prepared = listings.get(ListingFormat::Targets).await;
    let joint = address_of_target(&url).into();
    let mut response = SharedBody::joined_by(Slices::clone(&prepared.row), joint).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The part of a target that depends on the request: its address, and the labels that say the path and the scheme.
fn address_of_target(url: &PublicUrl) -> String {
    let (authority, path) = (json!(url.authority.as_str()), json!(format!("{}/metrics", url.prefix)));
    let scheme = url.scheme.map(|scheme| format!(",\"__scheme__\":\"{}\"", scheme.as_str()));
    let scheme = scheme.unwrap_or_default();
    format!("{authority}],\"labels\":{{\"__metrics_path__\":{path}{scheme}")
}

/// The list in fragments, between each two of which [`address_of_target`] stands.
pub(super) fn fragments(listed: &[Listed]) -> Slices {
    let own = json!({ "__param_only": "own" });
    let apps = listed.iter().map(|(app, _)| {
        let (app, source) = (app.name.as_str(), &*app.origin.source);
        json!({ "__param_app": app, "__param_own": "false", "app": app, "source": source })
    });
    let (mut text, mut ends) = (String::from("[{\"targets\":["), Vec::new());
    for labels in apps.chain([own]) {
        if !ends.is_empty() {
            text.push_str("}},{\"targets\":[");
        }
        ends.push(text.len());
        let labels = labels.to_string();
        let _ = write!(text, ",{}", &labels[1..labels.len() - 1]);
    }
    text.push_str("}}]\n");
    ends.push(text.len());
    let text = Bytes::from(text.into_boxed_str().into_boxed_bytes());
    let mut start = 0;
    let fragments = ends.into_iter().map(|end| text.slice(std::mem::replace(&mut start, end)..end));
    Arc::new(fragments.collect())
}
