//! The composition root: the one room that knows all others and puts them together.

mod lifecycle;
mod receivers;
mod reload;
mod routes;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use tokio::sync::watch;

pub use self::routes::ENDPOINTS;

use self::lifecycle::Lifecycle;
use self::reload::{Live, Reloader};
use crate::config::{Environment, Loaded, Settings};
use crate::http::{Access, Door, HttpStats, Server};
use crate::model::{Clock, Timestamp};
use crate::outlets::{self, Connections, Deflating, Index, Listing, Outlets, Own, Readiness, Scraping};
use crate::sources::polls::Polls;
use crate::sources::push::{self, Pushing};
use crate::store::{self, Expiry, Inlet, View};
use crate::supervise::{DRAIN, Listener, Report, Seats, Stop, Supervisor, limits};
use crate::telemetry::{Process, Telemetry};

/// The proxy with all its sockets bound, ready to run.
pub struct Daemon {
    supervisor: Supervisor,
    addresses: Addresses,
    readiness: Arc<Readiness>,
    stop: Stop,
}

/// What listens where.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The HTTP addresses.
    pub http: Vec<SocketAddr>,
    /// The TCP receiver.
    pub tcp: Option<SocketAddr>,
    /// The Unix receiver.
    pub unix: Option<PathBuf>,
}

/// How the configuration is found again on a reload.
pub struct Reread {
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

/// What all parts share.
struct Ground {
    inlet: Inlet,
    view: View,
    telemetry: Arc<Telemetry>,
    readiness: Arc<Readiness>,
    access: Arc<ArcSwap<Access>>,
    http_stats: Arc<HttpStats>,
    clock: Clock,
    stop: Stop,
}

impl Daemon {
    /// Binds every socket of the configuration; nothing runs yet.
    ///
    /// # Errors
    /// When a socket cannot be bound; the error names the key and the address.
    pub async fn bind(loaded: Loaded, reread: Reread) -> anyhow::Result<Self> {
        let settings = loaded.settings;
        let (inlet, view) = store::open(settings::store(&settings), settings::mode(&settings));
        let ground = Ground {
            inlet,
            view,
            telemetry: Arc::default(),
            readiness: Arc::default(),
            access: Arc::new(ArcSwap::from_pointee(settings::access(&settings))),
            http_stats: Arc::default(),
            clock: system_clock,
            stop: Stop::default(),
        };
        let mut supervisor = Supervisor::new();
        let receivers = receivers::bind(&settings, &ground).await?;
        let scraped = bind_http(&settings).await?;
        let addresses = Addresses {
            http: scraped.iter().filter_map(Listener::local_addr).collect(),
            tcp: receivers.tcp.as_ref().and_then(Listener::local_addr),
            unix: receivers.unix.as_ref().map(|listener| PathBuf::from(&**listener.place())),
        };
        let connections: Connections = receivers
            .listeners()
            .chain(&scraped)
            .map(|listener| (Arc::clone(listener.place()), Arc::clone(listener.stats())))
            .collect();

        let polls = watch::Sender::new(Arc::new(settings::polls(&settings)));
        supervisor.add(Polls::new(
            polls.subscribe(),
            ground.inlet.clone(),
            Arc::clone(&ground.telemetry),
            ground.clock,
        ));
        let live = Live {
            polls,
            exposition: settings.exposition.clone(),
            inlet: ground.inlet.clone(),
            receiver_limits: receivers.limits.clone(),
            budget: Arc::clone(&receivers.budget),
            access: Arc::clone(&ground.access),
        };
        let (reloader, requests) = Reloader::new(settings.clone(), reread, live, Arc::clone(&ground.telemetry))?;
        let lifecycle = Lifecycle::new(settings.http.enable_lifecycle, requests, ground.stop.gently.clone());
        let own = Own::new(
            Arc::clone(&ground.telemetry),
            Process::new(SystemTime::now()),
            connections,
            Arc::clone(&ground.http_stats),
        );
        let deflating = Deflating::default();
        supervisor.add(deflating.part());
        let (view, telemetry) = (ground.view.clone(), Arc::clone(&ground.telemetry));
        let scraping = Scraping::new(view, own, telemetry, deflating, settings.exposition.compression);
        let routes = router(&ground, scraping, receivers.pushing(&ground), lifecycle);
        let door = Door::new(
            routes,
            &routes::requests(),
            Arc::clone(&ground.access),
            Arc::clone(&ground.http_stats),
        );
        let listeners = receivers.listeners().count() + scraped.len();
        let seats = limits::seats(limits::open_files(), listeners, settings.exporter.concurrent_requests);
        receivers.start(seats, &mut supervisor);
        for listener in scraped {
            supervisor.add(Server::new(listener, Seats::new(seats), door.clone()));
        }
        supervisor.add(reloader);
        supervisor.add(expiry(&ground));
        Ok(Self {
            supervisor,
            addresses,
            readiness: ground.readiness,
            stop: ground.stop,
        })
    }

    /// What listens where, with the real port where port 0 was asked for.
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
            supervisor,
            readiness,
            stop,
            ..
        } = self;
        let gently = stop.gently.clone();
        let announce = async {
            gently.cancelled().await;
            readiness.obstruct("program", "stopping".to_owned());
            std::future::pending().await
        };
        tokio::select! {
            report = supervisor.run(stop, DRAIN) => report,
            never = announce => never,
        }
    }
}

async fn bind_http(settings: &Settings) -> anyhow::Result<Vec<Listener>> {
    let mut bound = Vec::new();
    for address in &settings.exporter.scrape_addresses {
        bound.push(
            Listener::tcp(&address.to_string())
                .await
                .context("exporter.scrape_expose_endpoint")?,
        );
    }
    Ok(bound)
}

/// All routes of the port: those that read, those that write, and those that steer the program.
fn router(ground: &Ground, scraping: Scraping, pushing: Pushing, lifecycle: Lifecycle) -> Router {
    let (view, clock) = (&ground.view, ground.clock);
    let readers = outlets::routes(Outlets {
        view: view.clone(),
        scraping: Arc::new(scraping),
        listing: Arc::new(Listing::new(view.clone(), clock)),
        index: Arc::new(Index::new(view.clone(), clock, ENDPOINTS)),
        readiness: Arc::clone(&ground.readiness),
    });
    readers.merge(push::routes(pushing)).merge(lifecycle::routes(lifecycle))
}

fn expiry(ground: &Ground) -> Expiry {
    let telemetry = Arc::clone(&ground.telemetry);
    Expiry::new(ground.inlet.clone(), ground.clock, move |app| {
        telemetry.expired_total.inc();
        tracing::info!(app = app.as_str(), "forgotten: no update within store.expire_after");
    })
}
