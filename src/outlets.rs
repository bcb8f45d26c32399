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
mod pushgateway;
mod query;
mod recent_scrapers;
mod self_metrics;
mod status;
pub mod stream;
mod table;
mod translated_body;

use std::sync::Arc;

use axum::body::Body;
use axum::routing::get;
use http::{Response, StatusCode};

pub use apps::AppsHandler;
pub use compression_queue::CompressionQueue;
pub use events::{ArrivedResponses, EventOutlet, EventOutletSettings, IdentifyBy, LabelScrapersBy};
pub use index::IndexHandler;
pub use listing_cache::ListingCache;
pub use metrics::MetricsHandler;
pub use pushgateway::PushgatewayOutlet;
pub use self_metrics::SelfMetrics;
pub use status::StatusSources;
pub use table::first_columns;

use crate::http::{Role, Routes, reply};
use crate::wire::scrape_query::only_app;

/// State of the reading routes.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// For `/sd`.
    pub listings: Arc<ListingCache>,
    /// For `/metrics` and its kin.
    pub metrics: Arc<MetricsHandler>,
    /// For `/event/metrics` and `/events`, where events are taken.
    pub events: Option<Arc<EventOutlet>>,
    /// For `/api/v1/metrics` and `/api/v1/status`, where the API of Pushgateway is served.
    pub pushgateway: Option<Arc<PushgatewayOutlet>>,
    /// For `/apps`.
    pub listing: Arc<AppsHandler>,
    /// For `/`.
    pub index: Arc<IndexHandler>,
    /// For `/api/status`.
    pub status: Arc<StatusSources>,
}

/// The routes that read.
pub fn routes(outlets: Outlets) -> Routes {
    let Outlets {
        listings,
        metrics: handler,
        events,
        pushgateway,
        listing,
        index,
        status,
    } = outlets;
    let prefix = pushgateway.as_ref().map_or("", |outlet| outlet.prefix()).to_owned();
    let groups = pushgateway.map_or_else(Routes::new, pushgateway::routes);
    let events = events.map_or_else(Routes::new, |outlet| events::routes(Arc::clone(&handler), outlet));
    let mut scrapes = Routes::new()
        .route("/metrics", Role::Scrape.of_query(only_app), get(metrics::all))
        .route("/apps/{name}/metrics", Role::Scrape.of_path("name"), get(metrics::one));
    if !prefix.is_empty() {
        // Those who scraped Pushgateway there change the address alone.
        scrapes = scrapes.route(&format!("{prefix}/metrics"), Role::Scrape.of_query(only_app), get(metrics::all));
    }
    let scrapes = scrapes.with_state(handler);
    let lists = Routes::new()
        .route("/apps", Role::Read, get(apps::all))
        .route("/apps/{name}", Role::Read.of_path("name"), get(apps::one))
        .with_state(listing);
    let discovery = Routes::new().route("/sd", Role::Read, get(discovery::targets)).with_state(listings);
    let index = Routes::new().route("/", Role::Read, get(index::index)).with_state(index);
    let status = Routes::new()
        .route("/api/status", Role::Read, get(status::status))
        .with_state(status);
    scrapes
        .merge(events)
        .merge(groups)
        .merge(lists)
        .merge(discovery)
        .merge(index)
        .merge(status)
}

/// 404 for an unknown app.
fn unknown_app(name: &str) -> Response<Body> {
    reply::text(StatusCode::NOT_FOUND, format_args!("no app {name:?}; see GET /apps"))
}
