//! The composition root: creates all modules and connects them.

mod access;
#[cfg(feature = "bitswap")]
mod bitswap;
mod bridge;
#[cfg(feature = "cluster")]
mod cluster;
mod events;
mod health;
mod lifecycle;
mod links;
#[cfg(test)]
mod panic_tests;
mod preflight;
mod program;
mod pushgateway;
mod receivers;
mod reload;
mod routes;
mod secrets;
mod sockets;
mod streams;
mod usual_sockets;
mod web;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use http::StatusCode;
use tokio::sync::watch;

pub use self::routes::ENDPOINTS;

pub use bridge::{BridgeAddresses, bind_bridge};
pub use preflight::{bridge_warning, preflight};
pub use program::Daemon;
pub use secrets::check_secrets;
pub use usual_sockets::usual_sockets;

#[cfg(test)]
pub(crate) use bridge::{BridgeKeys, assemble as assemble_bridge};

use self::program::Program;
use self::reload::Reloadable;
use self::sockets::Sockets;
use crate::config::{Environment, ExpositionConfig, Loaded, ProgramKind, Settings};
use crate::http::{Connections, OnRefused, Routes};
use crate::model::{AppName, Clock, Timestamp};
use crate::outlets::{
    self, AppsHandler, ArrivedResponses, CompressionQueue, EventOutlet, IndexHandler, ListingCache, MetricsHandler, Outlets, SelfMetrics,
    StatusSources, monitoring_api,
};
use crate::page::{self, LiveUpdates};
use crate::peer::PublicKey;
use crate::peer_samples::PeerSamples;
use crate::sources::events::PostRate;
use crate::sources::polls::{PollSettings, Polls};
use crate::sources::push;
use crate::sources::receiver::{Budget, Limits};
use crate::store::{Dropped, Housekeeping, Inlet, View};
use crate::telemetry::{Gauge, Rejection, RemovalReason, Telemetry};

/// The addresses of all listeners of a proxy.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The HTTP addresses.
    pub http: Vec<SocketAddr>,
    /// The Unix socket for HTTP.
    pub http_unix: Option<PathBuf>,
    /// True if the HTTP addresses are encrypted.
    pub https: bool,
    /// True if a client of this machine may push without credentials.
    pub can_push: bool,
    /// The TCP receiver.
    pub tcp: Option<SocketAddr>,
    /// True if it takes TLS.
    pub tls: bool,
    /// The Unix receiver.
    pub unix: Option<PathBuf>,
    /// The key that we show on links.
    pub key: Option<PublicKey>,
    /// The UDP address for scrapers over links.
    pub links: Option<SocketAddr>,
    /// The monitoring stream.
    pub stream: Vec<SocketAddr>,
    /// The Bitswap monitor, with its peer id.
    pub bitswap: Vec<String>,
}

/// Location of the configuration for a reload.
#[derive(Default)]
pub struct ConfigSource {
    /// The file that the start has read; `None` for the built-in defaults.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
}

/// The time of day by the system's clock.
#[must_use]
pub fn system_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Shared state of the services of a proxy.
struct Context {
    inlet: Inlet,
    peer_samples: PeerSamples,
    view: View,
    telemetry: Arc<Telemetry>,
    post_rate: Arc<PostRate>,
    clock: Clock,
    /// True while this process does the work that one replica of a cluster does for all. Without a cluster it is always true.
    lease: watch::Receiver<bool>,
}

impl Context {
    fn new(settings: &Settings, inlet: Inlet, view: View) -> Self {
        Self {
            inlet,
            peer_samples: PeerSamples::default(),
            view,
            telemetry: Arc::default(),
            post_rate: Arc::new(PostRate::new(settings.events.post_rate.per_second())),
            clock: system_clock,
            lease: watch::Sender::new(true).subscribe(),
        }
    }
}

impl Daemon<Addresses> {
    /// Opens the store and binds every socket of a proxy's configuration; nothing is served yet.
    ///
    /// # Errors
    /// When a socket cannot be bound, and when what `store.path` keeps cannot be read; the error names the key and the address or file.
    pub async fn bind(loaded: Loaded, config_source: ConfigSource) -> anyhow::Result<Self> {
        let settings = loaded.settings;
        let mut program = Program::new(&settings)?;
        let (inlet, view, persistence) = events::open_store(&settings)?;
        let mut context = Context::new(&settings, inlet, view);
        let sockets = Sockets::bind(&settings, &context).await?;
        let mut addresses = sockets.addresses(&settings);
        let web = web::open(&settings, &mut program).await?;
        addresses.https = web.as_ref().is_some_and(|web| web.is_tls());
        let replica_routes = replica(&settings, &mut context, &addresses, &mut program).await?;

        let polls = polls(&settings, &context, &mut program);
        let reloadable = ReloadableProxy::new(&settings, polls, &sockets, &context);
        let lifecycle = program.reload(&settings, config_source, reloadable, refusals(&context))?;
        let events = settings.events.enabled.then(|| events::outlet(&settings, &context));
        if let Some(events) = events.as_ref().filter(|_| settings.cluster.is_some()) {
            program.add(ArrivedResponses::new(Arc::clone(events)));
        }
        let handler = metrics_handler(&settings, &context, sockets.connections(), events.clone(), &mut program);
        let read_routes = read_routes(&settings, &context, handler, events, &sockets, &program);
        if let Some(p2p) = &settings.p2p {
            let service = program.http_service(read_routes.clone(), &routes::reads(routes::Parts::of(&settings)));
            let (telemetry, notes) = (Arc::clone(&context.telemetry), Arc::clone(&program.notes));
            let (client, lock) = links::client(p2p, &settings, service, telemetry, notes).await?;
            (addresses.key, addresses.links) = (Some(client.public_key()), client.listen_addr());
            program.add(client);
            program.hold(lock);
        }
        #[cfg(feature = "bitswap")]
        if let Some(bitswap) = &settings.bitswap {
            let (monitor, lock) = bitswap::monitor(bitswap, &settings, &context).await?;
            addresses.bitswap = monitor.addresses();
            program.add(monitor);
            program.hold(lock);
        }
        let routes = read_routes
            .merge(write_routes(&settings, &context, &sockets, lifecycle))
            .merge(replica_routes);
        access::open(&settings, web.as_deref(), &mut program).await?;
        addresses.can_push = access::can_push(&settings, web.as_deref());
        let receiver_tls = web::receiver_tls(&settings, web.as_ref())?;
        let service = program
            .http_service(routes, &routes::requests(routes::Parts::of(&settings)))
            .with_web(web)
            .with_refusals(refusals(&context));
        sockets.start(&settings, &context, (&service, receiver_tls), &mut program);
        program.add(housekeeping(&context));
        let persistence = persistence.map(|persistence| events::start(persistence, Arc::clone(&program.readiness)));
        let persistence = persistence.transpose().context("cannot start to write to store.path")?;
        Ok(program.finish(addresses, persistence))
    }
}

/// Makes the program a replica of a cluster, if one is configured, and returns the routes of that.
#[cfg(feature = "cluster")]
async fn replica(settings: &Settings, context: &mut Context, addresses: &Addresses, program: &mut Program) -> anyhow::Result<Routes> {
    cluster::join(settings, context, addresses, program).await
}

/// The configuration has no cluster.
#[cfg(not(feature = "cluster"))]
async fn replica(_: &Settings, _: &mut Context, _: &Addresses, _: &mut Program) -> anyhow::Result<Routes> {
    Ok(Routes::new())
}

/// Adds the poller; the sender replaces its settings.
fn polls(settings: &Settings, context: &Context, program: &mut Program) -> watch::Sender<Arc<PollSettings>> {
    let polls = watch::Sender::new(Arc::new(settings.polls.clone()));
    program.add(Polls::new(
        polls.subscribe(),
        context.lease.clone(),
        context.inlet.clone(),
        context.peer_samples.clone(),
        Arc::clone(&context.telemetry),
        context.clock,
    ));
    polls
}

/// The services of a proxy that take new settings at run time.
struct ReloadableProxy {
    inlet: Inlet,
    /// The rules in force, since merging everything again is expensive.
    exposition: ExpositionConfig,
    receiver_limits: watch::Sender<Limits>,
    budget: Arc<Budget>,
    polls: watch::Sender<Arc<PollSettings>>,
    post_rate: Arc<PostRate>,
    telemetry: Arc<Telemetry>,
}

impl ReloadableProxy {
    fn new(settings: &Settings, polls: watch::Sender<Arc<PollSettings>>, sockets: &Sockets, context: &Context) -> Self {
        Self {
            inlet: context.inlet.clone(),
            exposition: settings.exposition.clone(),
            receiver_limits: sockets.receivers.limits.clone(),
            budget: Arc::clone(&sockets.receivers.budget),
            polls,
            post_rate: Arc::clone(&context.post_rate),
            telemetry: Arc::clone(&context.telemetry),
        }
    }
}

impl Reloadable for ReloadableProxy {
    const PROGRAM: ProgramKind = ProgramKind::Proxy;

    fn successful(&self) -> &Gauge {
        &self.telemetry.config_last_reload_successful
    }

    fn apply(&mut self, settings: &Settings) {
        self.inlet.set_limits(settings.store.limits.clone());
        if self.exposition != settings.exposition {
            self.inlet.set_mode(settings.exposition.store_mode(&settings.events.metric_name));
            self.exposition = settings.exposition.clone();
        }
        // A disabled service has no receiver.
        let _ = self.receiver_limits.send(settings.receiver.limits.clone());
        let _ = self.polls.send(Arc::new(settings.polls.clone()));
        self.budget.set_limit(settings.receiver.max_inflight_bytes);
        self.post_rate.set(settings.events.post_rate.per_second());
    }
}

/// Creates the handler of scrapes: apps, self metrics and events.
fn metrics_handler(
    settings: &Settings,
    context: &Context,
    connections: Connections,
    events: Option<Arc<EventOutlet>>,
    program: &mut Program,
) -> MetricsHandler {
    let own = SelfMetrics::new(Arc::clone(&context.telemetry), program.metrics(connections));
    let compression_queue = CompressionQueue::default();
    program.add(compression_queue.service());
    let (view, telemetry) = (context.view.clone(), Arc::clone(&context.telemetry));
    MetricsHandler::new(view, own, telemetry, compression_queue, settings.exposition.compression, events)
}

/// The routes that are on the port alone: pushing, events, lifecycle, and the addresses of the stream.
fn write_routes(settings: &Settings, context: &Context, sockets: &Sockets, lifecycle: Routes) -> Routes {
    let routes = monitoring_api::routes(sockets.streams.api(context))
        .merge(push::routes(sockets.receivers.push_handler(context)))
        .merge(pushgateway::routes(settings, context, &sockets.receivers))
        .merge(lifecycle);
    if !settings.events.enabled {
        return routes;
    }
    routes.merge(events::routes(settings, context, &sockets.receivers))
}

/// The routes that read: all that there is over links, and a part of what is on the port.
fn read_routes(
    settings: &Settings,
    context: &Context,
    metrics: MetricsHandler,
    events: Option<Arc<EventOutlet>>,
    sockets: &Sockets,
    program: &Program,
) -> Routes {
    let listings = Arc::new(ListingCache::new(context.view.clone(), context.clock));
    let metrics = Arc::new(metrics);
    let status = Arc::new(StatusSources {
        view: context.view.clone(),
        telemetry: Arc::clone(&context.telemetry),
        notes: Arc::clone(&program.notes),
        readiness: Arc::clone(&program.readiness),
        connections: sockets.connections(),
        max_connections: sockets.slots(settings),
        listings: Arc::clone(&listings),
        metrics: Arc::clone(&metrics),
        events: events.clone(),
        started: Instant::now(),
    });
    let watched = Arc::clone(&status);
    let live = LiveUpdates::new(Arc::new(move || watched.version()), program.stop.graceful.clone());
    let outlets = Outlets {
        listings: Arc::clone(&listings),
        metrics,
        events,
        pushgateway: pushgateway::outlet(settings, context),
        listing: Arc::new(AppsHandler::new(
            context.view.clone(),
            Arc::clone(&listings),
            Arc::clone(&program.notes),
            Arc::clone(&context.telemetry),
        )),
        index: Arc::new(IndexHandler::new(
            Arc::clone(&status),
            routes::endpoints(routes::Parts::of(settings)),
        )),
        status,
    };
    outlets::routes(outlets).merge(page::routes(live)).merge(program.health_routes())
}

/// Counts, logs and shows requests that were refused because their senders lack a role, as everything else that is refused.
fn refusals(context: &Context) -> OnRefused {
    let telemetry = Arc::clone(&context.telemetry);
    Arc::new(move |client, status, detail| {
        telemetry.reject(Rejection {
            source: "http",
            peer: &client.to_string(),
            reason: if status == StatusCode::UNAUTHORIZED {
                "unauthorized"
            } else {
                "forbidden"
            },
            detail,
        });
    })
}

fn housekeeping(context: &Context) -> Housekeeping {
    let telemetry = Arc::clone(&context.telemetry);
    let forgotten = move |app: &AppName| {
        telemetry.expired_total.inc();
        telemetry.app_removed(app, RemovalReason::Expired);
        if let Some(suppressed) = telemetry.admit_line(&format!("expired {app}")) {
            tracing::info!(
                app = app.as_str(),
                suppressed,
                "expired: no update within X-Expire-After or store.expire_after"
            );
        }
    };
    let telemetry = Arc::clone(&context.telemetry);
    let dropped = move |dropped: &Dropped| telemetry.events_dropped(dropped.reason.as_str(), dropped.scraper.as_ref(), dropped.events);
    Housekeeping::new(context.inlet.clone(), context.clock, forgotten, dropped)
}
