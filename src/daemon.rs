//! The composition root: creates all modules and connects them.

#[cfg(feature = "bitswap")]
mod bitswap;
mod bridge;
mod events;
mod lifecycle;
mod links;
#[cfg(test)]
mod panic_tests;
mod preflight;
mod receivers;
mod reload;
mod routes;
mod settings;
mod sockets;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use ipnet::IpNet;
use tokio::sync::watch;

pub use self::routes::ENDPOINTS;

pub use bridge::bind_bridge;
pub use preflight::preflight;

use self::lifecycle::Lifecycle;
use self::reload::{Reloadable, Reloader};
use self::sockets::Sockets;
use crate::config::{Environment, Loaded, Settings};
use crate::http::{Access, HttpService, HttpStats};
use crate::model::{AppName, Clock, Timestamp};
use crate::outlets::{
    self, AppsHandler, CompressionQueue, Connections, EventOutlet, IndexHandler, ListingCache, MetricsHandler, Outlets, Readiness,
    SelfMetrics, monitoring_api,
};
use crate::peer::PublicKey;
use crate::peer_samples::PeerSamples;
use crate::sources::events::PostRate;
use crate::sources::polls::{PollSettings, Polls};
use crate::sources::push;
use crate::store::{Dropped, Housekeeping, Inlet, PersistenceHandle, View};
use crate::supervise::files::FileLock;
use crate::supervise::service_manager::Watchdog;
use crate::supervise::{DRAIN, MallocTrim, Notes, Report, Stop, Supervisor};
use crate::telemetry::{Process, Telemetry};

/// The proxy with all its sockets bound, ready to run.
pub struct Daemon {
    supervisor: Supervisor,
    persistence: Option<PersistenceHandle>,
    addresses: Addresses,
    readiness: Arc<Readiness>,
    stop: Stop,
    /// The locks on the key files of links and of the Bitswap monitor.
    key_locks: Vec<FileLock>,
}

/// The addresses of all listeners.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The HTTP addresses.
    pub http: Vec<SocketAddr>,
    /// The TCP receiver.
    pub tcp: Option<SocketAddr>,
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
pub struct ConfigSource {
    /// The file named on the command line, if one was.
    pub named: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
}

/// The time of day by the system's clock.
#[must_use]
pub fn system_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Shared state of the services.
struct Context {
    inlet: Inlet,
    peer_samples: PeerSamples,
    view: View,
    telemetry: Arc<Telemetry>,
    readiness: Arc<Readiness>,
    notes: Arc<Notes>,
    access: Arc<ArcSwap<Access>>,
    http_stats: Arc<HttpStats>,
    post_rate: Arc<PostRate>,
    post_from: Arc<ArcSwap<Vec<IpNet>>>,
    clock: Clock,
    stop: Stop,
}

impl Context {
    fn new(settings: &Settings, inlet: Inlet, view: View) -> Self {
        Self {
            inlet,
            peer_samples: PeerSamples::default(),
            view,
            telemetry: Arc::default(),
            readiness: Arc::default(),
            notes: Arc::default(),
            access: Arc::new(ArcSwap::from_pointee(settings::access(settings))),
            http_stats: Arc::default(),
            post_rate: Arc::new(PostRate::new(settings.events.post_rate.per_second())),
            post_from: Arc::new(ArcSwap::from_pointee(settings.events.post_from.clone())),
            clock: system_clock,
            stop: Stop::default(),
        }
    }

    /// A service to these routes.
    fn service(&self, routes: Router, endpoints: &[&str]) -> HttpService {
        HttpService::new(routes, endpoints, Arc::clone(&self.access), Arc::clone(&self.http_stats))
    }
}

impl Daemon {
    /// Opens the store and binds every socket of the configuration; nothing is served yet.
    ///
    /// # Errors
    /// When a socket cannot be bound, and when what `store.path` keeps cannot be read; the error names the key and the address or file.
    pub async fn bind(loaded: Loaded, config_source: ConfigSource) -> anyhow::Result<Self> {
        let settings = loaded.settings;
        let (inlet, view, persistence) = events::open_store(&settings)?;
        let context = Context::new(&settings, inlet, view);
        let mut supervisor = Supervisor::new();
        let sockets = Sockets::bind(&settings, &context).await?;
        let mut addresses = sockets.addresses();

        let polls = polls(&settings, &context, &mut supervisor);
        let (reloader, lifecycle) = reload_parts(&settings, config_source, polls, &sockets, &context)?;
        let events = settings.events.enabled.then(|| events::outlet(&settings, &context));
        let handler = metrics_handler(&settings, &context, sockets.connections(), events.clone(), &mut supervisor);
        let read_routes = read_routes(&settings, &context, handler, events);
        let mut key_locks = Vec::new();
        if let Some(p2p) = &settings.p2p {
            let service = context.service(read_routes.clone(), &routes::reads(settings.events.enabled));
            let (telemetry, notes) = (Arc::clone(&context.telemetry), Arc::clone(&context.notes));
            let (client, lock) = links::client(p2p, &settings.hyperdht, service, telemetry, notes).await?;
            (addresses.key, addresses.links) = (Some(client.public_key()), client.listen_addr());
            supervisor.add(client);
            key_locks.extend(lock);
        }
        #[cfg(feature = "bitswap")]
        if let Some(bitswap) = &settings.bitswap {
            let (monitor, lock) = bitswap::monitor(bitswap, &settings, &context).await?;
            addresses.bitswap = monitor.addresses();
            supervisor.add(monitor);
            key_locks.extend(lock);
        }
        let routes = read_routes.merge(write_routes(&settings, &context, &sockets, lifecycle));
        let service = context.service(routes, &routes::requests(settings.events.enabled));
        sockets.start(&settings, &context, &service, &mut supervisor);
        supervisor.add(reloader);
        supervisor.add(housekeeping(&context));
        supervisor.add(MallocTrim);
        if let Some(watchdog) = Watchdog::from_environment() {
            supervisor.add(watchdog);
        }
        let persistence = persistence.map(|persistence| events::start(persistence, Arc::clone(&context.readiness)));
        Ok(Self {
            supervisor,
            persistence: persistence.transpose().context("cannot start to write to store.path")?,
            addresses,
            readiness: context.readiness,
            stop: context.stop,
            key_locks,
        })
    }

    /// The addresses of all listeners, with the assigned port in place of port 0.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The handle that stops the daemon.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs until it is stopped or a part falls, and says how it ended.
    pub async fn run(self) -> Report {
        let Self {
            mut supervisor,
            persistence,
            readiness,
            stop,
            key_locks: _locked,
            ..
        } = self;
        if let Some(persistence) = &persistence {
            supervisor.add(persistence.watch());
        }
        let graceful = stop.graceful.clone();
        let announce = async {
            graceful.cancelled().await;
            readiness.obstruct("program", "stopping".to_owned());
            std::future::pending().await
        };
        let report = tokio::select! {
            report = supervisor.run(stop, DRAIN) => report,
            never = announce => never,
        };
        // From here on no task writes to the store or settles a lease.
        if let Some(persistence) = persistence
            && tokio::time::timeout(DRAIN, persistence.finish()).await.is_err()
        {
            tracing::error!("could not write state to store.path before shutdown; up to 5 s may be lost");
        }
        report
    }
}

/// Adds the poller; the sender replaces its settings.
fn polls(settings: &Settings, context: &Context, supervisor: &mut Supervisor) -> watch::Sender<Arc<PollSettings>> {
    let polls = watch::Sender::new(Arc::new(settings::polls(settings)));
    supervisor.add(Polls::new(
        polls.subscribe(),
        context.inlet.clone(),
        context.peer_samples.clone(),
        Arc::clone(&context.telemetry),
        context.clock,
    ));
    polls
}

/// Creates the reloader and the lifecycle endpoints that use it.
fn reload_parts(
    settings: &Settings,
    config_source: ConfigSource,
    polls: watch::Sender<Arc<PollSettings>>,
    sockets: &Sockets,
    context: &Context,
) -> anyhow::Result<(Reloader, Lifecycle)> {
    let reloadable = Reloadable {
        polls,
        exposition: settings.exposition.clone(),
        inlet: context.inlet.clone(),
        receiver_limits: sockets.receivers.limits.clone(),
        budget: Arc::clone(&sockets.receivers.budget),
        access: Arc::clone(&context.access),
        post_rate: Arc::clone(&context.post_rate),
        post_from: Arc::clone(&context.post_from),
    };
    let (reloader, requests) = Reloader::new(settings.clone(), config_source, reloadable, Arc::clone(&context.telemetry))?;
    let stop = context.stop.graceful.clone();
    let lifecycle = Lifecycle::new(settings.http.enable_lifecycle, requests, stop, Arc::clone(&context.telemetry));
    Ok((reloader, lifecycle))
}

/// Creates the handler of scrapes: apps, self metrics and events.
fn metrics_handler(
    settings: &Settings,
    context: &Context,
    connections: Connections,
    events: Option<Arc<EventOutlet>>,
    supervisor: &mut Supervisor,
) -> MetricsHandler {
    let own = SelfMetrics::new(
        Arc::clone(&context.telemetry),
        Process::new(SystemTime::now()),
        connections,
        Arc::clone(&context.http_stats),
    );
    let compression_queue = CompressionQueue::default();
    supervisor.add(compression_queue.service());
    let (view, telemetry) = (context.view.clone(), Arc::clone(&context.telemetry));
    MetricsHandler::new(view, own, telemetry, compression_queue, settings.exposition.compression, events)
}

/// The routes that are on the port alone: pushing, events, lifecycle, and the addresses of the stream.
fn write_routes(settings: &Settings, context: &Context, sockets: &Sockets, lifecycle: Lifecycle) -> Router {
    let routes = monitoring_api::routes(sockets.streams.api(context))
        .merge(push::routes(sockets.receivers.push_handler(context)))
        .merge(lifecycle::routes(lifecycle));
    if !settings.events.enabled {
        return routes;
    }
    routes.merge(events::routes(settings, context, &sockets.receivers))
}

/// The routes that read: all that there is over links, and a part of what is on the port.
fn read_routes(settings: &Settings, context: &Context, metrics: MetricsHandler, events: Option<Arc<EventOutlet>>) -> Router {
    let listings = Arc::new(ListingCache::new(context.view.clone(), context.clock));
    outlets::routes(Outlets {
        listings: Arc::clone(&listings),
        metrics: Arc::new(metrics),
        events,
        listing: Arc::new(AppsHandler::new(
            context.view.clone(),
            Arc::clone(&listings),
            Arc::clone(&context.notes),
        )),
        index: Arc::new(IndexHandler::new(listings, routes::endpoints(settings.events.enabled))),
        readiness: Arc::clone(&context.readiness),
        notes: Arc::clone(&context.notes),
    })
}

fn housekeeping(context: &Context) -> Housekeeping {
    let telemetry = Arc::clone(&context.telemetry);
    let forgotten = move |app: &AppName| {
        telemetry.expired_total.inc();
        if let Some(suppressed) = telemetry.admit_line(&format!("expired {app}")) {
            tracing::info!(app = app.as_str(), suppressed, "expired: no update within store.expire_after");
        }
    };
    let telemetry = Arc::clone(&context.telemetry);
    let dropped = move |dropped: &Dropped| telemetry.events_dropped(dropped.reason.as_str(), dropped.scraper.as_ref(), dropped.events);
    Housekeeping::new(context.inlet.clone(), context.clock, forgotten, dropped)
}
