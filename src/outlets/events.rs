//! One-shot events on their way out: for scrapers, each of which gets each event once, and for people, who take none.

mod blocks;
mod identity;
mod page;
mod text;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use identity::IdentifyBy;
pub use text::LabelScrapersBy;

use blocks::Blocks;
use text::Counts;

use super::metrics::{MetricsHandler, SelfMetricsBody, finish, source_encoding};
use super::query::Query;
use crate::exposition::catalog::Selection;
use crate::exposition::negotiate::{ContentEncoding, Format};
use crate::http::{Connection, Delivery, DeliveryOutcome, Role, Routes, Sender, is_from_browser, reply};
use crate::model::{Clock, ScraperId};
use crate::page::RenderQueue;
use crate::store::{Lease, LeaseId, RenderedExposition, ScraperStatus, StoredEvent, View};
use crate::supervise::{Service, blocking};
use crate::telemetry::Telemetry;

/// Settings of the event endpoints.
#[derive(Debug, Clone)]
pub struct EventOutletSettings {
    /// The identities of scrapers (`events.scraper_identity`).
    pub identify_by: IdentifyBy,
    /// The only scrapers that get events (`events.scrapers_only`); none: all.
    pub only: Option<HashSet<ScraperId>>,
    /// The names of scrapers in the counts (`events.scraper_label`).
    pub label_by: LabelScrapersBy,
    /// The name of the family (`events.metric_name`).
    pub name: Box<str>,
    /// True if `/metrics` contains events (`events.expose_in_metrics`).
    pub in_metrics: bool,
    /// True at a replica of a cluster: what a scraper's kernel has acknowledged it has received, as [`ArrivedResponses`] says.
    pub in_cluster: bool,
}

/// State of the event endpoints.
#[derive(Debug)]
pub struct EventOutlet {
    view: View,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    identify_by: IdentifyBy,
    /// The only scrapers that get events (`events.scrapers_only`); none: all.
    only: Option<HashSet<ScraperId>>,
    label_by: LabelScrapersBy,
    /// The name of the family (`events.metric_name`).
    name: Box<str>,
    /// True if `/metrics` contains events (`events.expose_in_metrics`).
    in_metrics: bool,
    /// True at a replica of a cluster.
    in_cluster: bool,
    /// The response that carries each scraper's lease. At most one for each scraper; settled ones are replaced.
    in_flight: Mutex<HashMap<ScraperId, (LeaseId, Delivery)>>,
    blocks: Blocks,
    /// With a thousand scrapers that have not got any event `/events` has megabytes, so one is rendered at a time.
    pages: RenderQueue,
}

/// Events on their way into a response.
#[derive(Debug)]
pub(super) struct ScrapedEvents {
    events: Vec<Arc<StoredEvent>>,
    counts: Option<Counts>,
}

/// A scrape: its client and its options.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScrapeRequest<'a> {
    pub(super) connection: &'a Connection,
    pub(super) sender: &'a Sender,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// True if events are shown without being consumed.
    pub(super) peek: bool,
    /// True if the counts of events are included.
    pub(super) counts: bool,
}

impl EventOutlet {
    /// An outlet of this view's events.
    #[must_use]
    pub fn new(view: View, clock: Clock, telemetry: Arc<Telemetry>, settings: EventOutletSettings) -> Self {
        let EventOutletSettings {
            identify_by,
            only,
            label_by,
            name,
            in_metrics,
            in_cluster,
        } = settings;
        Self {
            view,
            clock,
            telemetry,
            identify_by,
            only,
            label_by,
            name,
            in_metrics,
            in_cluster,
            in_flight: Mutex::default(),
            blocks: Blocks::default(),
            pages: RenderQueue::default(),
        }
    }

    /// Leases the events for a scrape of `/metrics`, with the counts of all scrapers. Call it when nothing but the transmission of the
    /// response can still fail: the delivery outcome settles the lease.
    pub(super) async fn scrape_events(&self, visit: ScrapeRequest<'_>) -> Option<ScrapedEvents> {
        match self.in_metrics {
            true => Some(self.take(visit).await),
            false => None,
        }
    }

    async fn take(&self, visit: ScrapeRequest<'_>) -> ScrapedEvents {
        let who = self.identify_by.scraper(visit);
        let is_refused = self.only.as_ref().is_some_and(|only| !only.contains(&who));
        // A page of any site can make a browser send this request, also with the parameter of another scraper.
        let events = if is_refused {
            Vec::new()
        } else if visit.peek || visit.method == Method::HEAD || is_from_browser(visit.headers) {
            self.view.peek(&who)
        } else {
            self.lease(&who, visit).await
        };
        let counts = visit.counts.then(|| Counts::new(self.view.event_counts(), self.label_by));
        ScrapedEvents { events, counts }
    }

    /// Appends events to the self metrics of a response: few as text, many as chunks that other scrapes share, unless applications have
    /// samples under the same names, with which they must be merged.
    pub(super) async fn append_events(
        self: &Arc<Self>,
        body: &mut SelfMetricsBody,
        scraped: ScrapedEvents,
        exposed: &RenderedExposition,
        format: Format,
        encoding: ContentEncoding,
    ) {
        let ScrapedEvents { events, counts } = scraped;
        let timestamps = self.view.explicit_timestamps();
        if exposed.mixes() || text::size(&self.name, &events) < SHARED_FROM {
            body.push_text(text::family(&self.name, events, timestamps));
        } else {
            let outlet = Arc::clone(self);
            let stamps = timestamps.then_some(format.syntax());
            let render = move || outlet.blocks.render(&outlet.name, events, stamps, encoding);
            body.push_chunks(blocking(render).await);
        }
        if let Some(counts) = counts {
            body.push_text(counts.families());
        }
    }

    /// Leases the events of a scraper to the response.
    async fn lease(&self, who: &ScraperId, visit: ScrapeRequest<'_>) -> Vec<Arc<StoredEvent>> {
        self.settle_earlier(who);
        let scrape = self.view.scrape_shared(who, &visit.sender.client, (self.clock)()).await;
        if scrape.status == ScraperStatus::Untracked {
            self.telemetry.untracked_scraper(who);
        }
        if let Some(lease) = scrape.lease {
            let id = lease.id();
            let delivery = visit.connection.on_delivery(move |outcome| settle(lease, outcome));
            if self.in_cluster {
                delivery.allow_reset();
            }
            self.in_flight().insert(who.clone(), (id, delivery));
        }
        scrape.events
    }

    /// Settles the earlier lease of a scraper, unless its response is still being written.
    fn settle_earlier(&self, who: &ScraperId) {
        let Some(lease) = self.view.active_lease(who) else { return };
        let earlier = self
            .in_flight()
            .get(who)
            .filter(|(id, _)| *id == lease)
            .map(|(_, delivery)| delivery.clone());
        // The callback that this runs settles the lease; no lock of ours is held.
        let _ = earlier.map(|delivery| delivery.settle_now());
    }

    /// Acks the leases of responses that have arrived, as far as the kernels know.
    fn settle_arrived(&self) {
        let open: Vec<_> = {
            let mut in_flight = self.in_flight();
            in_flight.retain(|_, (_, delivery)| delivery.outcome().is_none());
            in_flight.values().map(|(_, delivery)| delivery.clone()).collect()
        };
        // The callbacks settle leases; no lock of ours is held.
        open.iter().for_each(Delivery::settle_if_acked);
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashMap<ScraperId, (LeaseId, Delivery)>> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if in_flight.len() > crate::store::MAX_SCRAPERS {
            in_flight.retain(|_, (_, delivery)| delivery.outcome().is_none());
        }
        in_flight
    }
}

/// The interval of looking after responses in flight at a replica of a cluster: short against the interval of scrapes, as the next one may go to
/// another replica, which gives no events until the lease has ended.
const SETTLE_EVERY: Duration = Duration::from_millis(100);

/// The service that ends the leases of a replica of a cluster as soon as their responses have arrived, since the scraper's next request may go to
/// another replica.
#[derive(Debug)]
pub struct ArrivedResponses(Arc<EventOutlet>);

impl ArrivedResponses {
    /// The service for the responses of this outlet.
    #[must_use]
    pub fn new(outlet: Arc<EventOutlet>) -> Self {
        Self(outlet)
    }
}

impl Service for ArrivedResponses {
    fn name(&self) -> &str {
        "event-deliveries"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut ticks = tokio::time::interval(SETTLE_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                self.0.settle_arrived();
            }
            Ok(())
        })
    }
}

fn settle(lease: Lease, outcome: DeliveryOutcome) {
    match outcome {
        DeliveryOutcome::Acked => lease.ack(),
        DeliveryOutcome::Unacked => drop(lease),
    }
}

/// The routes of events for those who read.
pub(super) fn routes(handler: Arc<MetricsHandler>, outlet: Arc<EventOutlet>) -> Routes {
    let alone = Routes::new()
        .route("/event/metrics", Role::Scrape, get(alone))
        .with_state((handler, Arc::clone(&outlet)));
    let page = Routes::new().route("/events", Role::Read, get(page)).with_state(outlet);
    alone.merge(page)
}

/// Bytes of events from which on they are rendered in shared parts: less is not worth a place among those.
const SHARED_FROM: usize = 16 << 10;

#[derive(Debug, Deserialize)]
struct QueryParams {
    #[serde(default)]
    peek: bool,
}

/// `GET /event/metrics`: the events alone.
async fn alone(
    State((handler, outlet)): State<(Arc<MetricsHandler>, Arc<EventOutlet>)>,
    Query(params): Query<QueryParams>,
    Extension(connection): Extension<Connection>,
    Extension(sender): Extension<Sender>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let began = Instant::now();
    let format = handler.format(&headers);
    let encoding = handler.content_encoding(&headers);
    let source = source_encoding(format, encoding);
    let nothing = finish(handler.prepare(format, Selection::Nothing), source).await;
    let visit = ScrapeRequest {
        connection: &connection,
        sender: &sender,
        method: &method,
        uri: &uri,
        headers: &headers,
        peek: params.peek,
        counts: true,
    };
    let mut body = SelfMetricsBody::default();
    outlet
        .append_events(&mut body, outlet.take(visit).await, &nothing, format, source)
        .await;
    let answer = handler.answer((format, encoding), &nothing, body, None).await;
    handler.observe(began);
    handler.record((&connection, &uri, &headers), (format, encoding), &answer, began);
    answer
}

/// `GET /events`: pending and recent events, taking none.
async fn page(
    State(outlet): State<Arc<EventOutlet>>,
    Query(params): Query<super::apps::QueryParams>,
    headers: HeaderMap,
) -> Response<Body> {
    let (view, now, as_json) = (outlet.view.clone(), (outlet.clock)(), params.json(&headers));
    let render = move || {
        let overview = view.events();
        match as_json {
            true => reply::rendered_json(StatusCode::OK, &page::json(&overview, now)),
            false => reply::rendered_text(StatusCode::OK, page::draw(&overview, now)),
        }
    };
    outlet.pages.respond(&headers, render).await
}
