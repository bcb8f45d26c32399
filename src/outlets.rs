//! The readers: each hands out what the store remembers in its own way, and none can change it.

mod app_filter;
mod app_metrics;
mod apps;
mod compression_queue;
mod discovery;
mod events;
mod index;
mod listing_cache;
mod metrics;
pub mod monitoring_api;
mod query;
mod recent_scrapers;
mod self_metrics;
mod status;
pub mod stream;
mod table;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Response, StatusCode};

pub use apps::AppsHandler;
pub use compression_queue::CompressionQueue;
pub use events::{EventOutlet, IdentifyBy, LabelScrapersBy};
pub use index::IndexHandler;
pub use listing_cache::ListingCache;
pub use metrics::MetricsHandler;
pub use self_metrics::SelfMetrics;
pub use status::StatusSources;

use crate::http::reply;

/// State of the reading routes.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// For `/sd`.
    pub listings: Arc<ListingCache>,
    /// For `/metrics` and its kin.
    pub metrics: Arc<MetricsHandler>,
    /// For `/event/metrics` and `/events`, where events are taken.
    pub events: Option<Arc<EventOutlet>>,
    /// For `/apps`.
    pub listing: Arc<AppsHandler>,
    /// For `/`.
    pub index: Arc<IndexHandler>,
    /// For `/api/status`.
    pub status: Arc<StatusSources>,
}

/// The routes that read.
pub fn routes(outlets: Outlets) -> Router {
    let Outlets {
        listings,
        metrics: handler,
        events,
        listing,
        index,
        status,
    } = outlets;
    let events = events.map_or_else(Router::new, |outlet| events::routes(Arc::clone(&handler), outlet));
    let scrapes = Router::new()
        .route("/metrics", get(metrics::all))
        .route("/apps/{name}/metrics", get(metrics::one))
        .with_state(handler);
    let lists = Router::new()
        .route("/apps", get(apps::all))
        .route("/apps/{name}", get(apps::one))
        .with_state(listing);
    let discovery = Router::new().route("/sd", get(discovery::targets)).with_state(listings);
    let index = Router::new().route("/", get(index::index)).with_state(index);
    let status = Router::new().route("/api/status", get(status::status)).with_state(status);
    scrapes.merge(events).merge(lists).merge(discovery).merge(index).merge(status)
}

/// 404 for an unknown app.
fn unknown_app(name: &str) -> Response<Body> {
    reply::text(StatusCode::NOT_FOUND, format_args!("no app {name:?}; see GET /apps"))
}
