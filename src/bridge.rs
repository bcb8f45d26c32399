//! The bridge: proxies register with it, and Prometheus scrapes them through it.
//!
//! `QuicRegistration` accepts proxies over QUIC, `HyperdhtRegistration` those over HyperDHT. `RegistrationPolicy` checks both and adds
//! them to the `ProxyRegistry`. `ScrapeForwarder` forwards scrapes and streams the responses back. `TargetsFileWriter` writes the targets
//! file. The bridge stores no metrics. It reads a response body from its link as fast as the link delivers it and buffers it for a slow
//! reader, so that a slow reader does not block others.

mod alias_table;
mod discovery;
mod forward;
mod hyperdht_registration;
mod pages;
mod proxy_registry;
mod quic_registration;
mod read_ahead;
mod registration_policy;
mod targets_file;
mod targets_file_writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use axum::routing::{delete, get};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

pub use alias_table::AliasPolicy;

use self::alias_table::AliasTable;
use self::discovery::Discovery;
use self::forward::ScrapeForwarder;
use self::hyperdht_registration::HyperdhtRegistration;
use self::pages::Pages;
use self::proxy_registry::ProxyRegistry;
use self::quic_registration::QuicRegistration;
use self::registration_policy::RegistrationPolicy;
use self::targets_file_writer::{Readiness, TargetsFileWriter};
use crate::http::{Access, HttpService, HttpStats, Server, WebConfigReload, WebPolicy};
use crate::model::Clock;
use crate::peer::{HyperdhtError, Identity, LinkEvent, LinkEvents, Network, PublicKey, QuicListener, REGISTER_INTERVAL, SharedSecret};
use crate::supervise::files::FileLock;
use crate::supervise::service_manager::Watchdog;
use crate::supervise::{ConnectionSlots, DRAIN, Listener, MallocTrim, Notes, Report, Stop, Supervisor};
use crate::telemetry::{BridgeTelemetry, Process};

/// The endpoints of the bridge, with descriptions.
const ENDPOINTS: &[(&str, &str)] = &[
    ("GET /scrape/ALIAS/metrics", "the metrics of a proxy, scraped now"),
    ("GET /scrape/ALIAS/apps/NAME/metrics", "the metrics of one app of a proxy"),
    (
        "GET /sd",
        "targets for Prometheus's http_sd_configs; ?apps=false: one for each proxy, with all of its apps",
    ),
    ("GET /aliases", "the registered proxies; JSON with ?format=json"),
    ("DELETE /aliases/NAME", "forget an alias"),
    ("GET /metrics", "the bridge's own metrics"),
    ("GET /healthz", "200 while the bridge runs"),
    ("GET /readyz", "200 if the bridge is ready, otherwise the reason"),
];

/// Time after the start of a bridge in which its proxies reconnect over QUIC: they dial every 8 s, with a handshake timeout of 5 s. Over
/// HyperDHT a proxy registers every [`REGISTER_INTERVAL`].
const RECONNECT_TIME: Duration = Duration::from_secs(20);

/// Characters that are not percent-encoded in a path segment.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns a name percent-encoded as a path segment.
fn segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// Settings of a bridge.
#[derive(Debug)]
pub struct BridgeSettings {
    /// The key of the bridge.
    pub identity: Identity,
    /// The lock on the key file, held until the bridge stops.
    pub key_lock: Option<FileLock>,
    /// The secret shared with the proxies.
    pub secret: SharedSecret,
    /// `HOST:PORT` for Prometheus.
    pub http_listen: String,
    /// `HOST:PORT` over UDP for registration of proxies; none: QUIC is off.
    pub quic_listen: Option<String>,
    /// Settings of HyperDHT, if proxies can register over it.
    pub hyperdht: Option<HyperdhtSettings>,
    /// The targets file.
    pub targets_file: PathBuf,
    /// Time after the last registration at which an alias expires.
    pub entry_expiry: Duration,
    /// Interval between searches for expired aliases.
    pub check_expired_interval: Duration,
    /// Limit on the duration of a scrape, unless the scraper's timeout is shorter.
    pub request_timeout: Duration,
    /// The policy for taking over an alias.
    pub alias_policy: AliasPolicy,
    /// Limit on concurrent connections of scrapers.
    pub connections: usize,
    /// The proxies trusted to set X-Forwarded-For, and the clients allowed to write.
    pub access: Access,
    /// The wall clock.
    pub clock: Clock,
    /// Counters of HTTP.
    pub http_stats: Arc<HttpStats>,
    /// Problems that are shown with the readiness.
    pub notes: Arc<Notes>,
    /// TLS, users, headers and the rate limit of the HTTP port, and the service that follows their file.
    pub web: Option<(Arc<WebPolicy>, WebConfigReload)>,
}

/// Settings for joining HyperDHT.
#[derive(Debug, Clone, Default)]
pub struct HyperdhtSettings {
    /// The bootstrap nodes, `HOST:PORT` each; empty: the public ones.
    pub bootstrap: Vec<String>,
    /// The UDP port of the node; 0: any.
    pub port: u16,
}

/// A bridge with all its sockets bound, ready to run.
pub struct Bridge {
    supervisor: Supervisor,
    readiness: Arc<Readiness>,
    stop: Stop,
    key_lock: Option<FileLock>,
    /// The bound HTTP address.
    pub http: Option<SocketAddr>,
    /// True if it is encrypted.
    pub https: bool,
    /// The bound address for registration over QUIC.
    pub quic: Option<SocketAddr>,
    /// True if proxies can register over HyperDHT.
    pub hyperdht: bool,
    /// The public key of the bridge.
    pub key: PublicKey,
}

impl Bridge {
    /// Reads the targets file of the last run and binds all sockets; no service runs yet.
    ///
    /// # Errors
    ///
    /// If a socket cannot be bound, or the targets file exists and cannot be read.
    pub async fn bind(mut settings: BridgeSettings) -> anyhow::Result<Self> {
        let telemetry = Arc::new(BridgeTelemetry::default());
        let (counting, notes) = (telemetry.clone(), settings.notes.clone());
        let noting = notes.clone();
        let events = Arc::new(LinkEvents::new(move |event| {
            count(&counting, event);
            note(&noting, event);
        }));
        let reconnect_time = if settings.hyperdht.is_some() {
            REGISTER_INTERVAL
        } else {
            RECONNECT_TIME
        };
        let aliases = AliasTable::new(settings.alias_policy, settings.entry_expiry, Instant::now(), reconnect_time);
        let registry = Arc::new(ProxyRegistry::new(aliases, events.clone(), telemetry, settings.clock));
        let readiness = Arc::new(Readiness::default());
        let mut supervisor = Supervisor::new();

        let writer = TargetsFileWriter::open(
            registry.clone(),
            settings.targets_file.clone(),
            settings.check_expired_interval,
            readiness.clone(),
        )?;
        let listener = Listener::tcp(&settings.http_listen).await.context("bridge.http_listen")?;
        let http = listener.local_addr();
        let key = settings.identity.public_key();
        let policy = Arc::new(RegistrationPolicy::new(registry.clone(), settings.secret.clone()));
        let mut pool = None;
        if let Some(hyperdht) = &settings.hyperdht {
            let hyperdht_registration = hyperdht_registration(&settings.identity, hyperdht, policy.clone())
                .await
                .context("bridge.hyperdht")?;
            pool = Some(hyperdht_registration.pool.clone());
            supervisor.add(hyperdht_registration);
        }
        let mut quic = None;
        if let Some(address) = &settings.quic_listen {
            let listener = QuicListener::for_registration(&settings.identity, address, events)
                .await
                .context("bridge.quic_listen")?;
            quic = listener.local_addr();
            supervisor.add(QuicRegistration::new(listener, policy, key));
        }
        let forwarder = ScrapeForwarder {
            registry: registry.clone(),
            pool,
            request_timeout: settings.request_timeout,
        };
        let (web, web_reload) = settings.web.take().unzip();
        let https = web.as_ref().is_some_and(|web| web.is_tls());
        let service = http_service(&settings, forwarder, readiness.clone(), notes, key).with_web(web);
        if let Some(reload) = web_reload {
            supervisor.add(reload);
        }
        supervisor.add(Server::new(
            listener,
            ConnectionSlots::with_address_limit(settings.connections),
            service,
        ));
        supervisor.add(writer);
        supervisor.add(MallocTrim);
        if let Some(watchdog) = Watchdog::from_environment() {
            supervisor.add(watchdog);
        }
        Ok(Self {
            supervisor,
            readiness,
            stop: Stop::default(),
            key_lock: settings.key_lock,
            http,
            https,
            quic,
            hyperdht: settings.hyperdht.is_some(),
            key,
        })
    }

    /// The handle that stops the bridge.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs until it is stopped or a service fails.
    pub async fn run(self) -> Report {
        let Self {
            supervisor,
            readiness,
            stop,
            key_lock: _locked,
            ..
        } = self;
        let graceful = stop.graceful.clone();
        let announce = async {
            graceful.cancelled().await;
            readiness.set(Some("program: stopping".to_owned()));
            std::future::pending().await
        };
        tokio::select! {
            report = supervisor.run(stop, DRAIN) => report,
            never = announce => never,
        }
    }
}

/// Joins HyperDHT and announces the key.
async fn hyperdht_registration(
    identity: &Identity,
    hyperdht: &HyperdhtSettings,
    policy: Arc<RegistrationPolicy>,
) -> Result<HyperdhtRegistration, HyperdhtError> {
    let events = &policy.registry.events;
    let network = Network::join(&hyperdht.bootstrap, hyperdht.port).await?;
    Ok(HyperdhtRegistration {
        registrations: network.registration_server(identity, events.clone()).await?,
        pool: network.connection_pool(identity, events.clone()),
        policy,
    })
}

fn http_service(
    settings: &BridgeSettings,
    forwarder: ScrapeForwarder,
    readiness: Arc<Readiness>,
    notes: Arc<Notes>,
    key: PublicKey,
) -> HttpService {
    let (http, registry) = (settings.http_stats.clone(), forwarder.registry.clone());
    let discovery = Discovery {
        registry: registry.clone(),
        address: settings.http_listen.clone(),
    };
    let pages = Pages {
        registry,
        readiness,
        notes,
        http: http.clone(),
        process: Process::new(SystemTime::now()),
        key,
    };
    let scrapes = Router::new()
        .route("/scrape/{alias}/metrics", get(forward::whole))
        .route("/scrape/{alias}/apps/{app}/metrics", get(forward::one_app))
        .with_state(Arc::new(forwarder));
    let discovery = Router::new().route("/sd", get(discovery::targets)).with_state(Arc::new(discovery));
    let pages = Router::new()
        .route("/", get(pages::index))
        .route("/aliases", get(pages::aliases))
        .route("/aliases/{alias}", delete(pages::forget))
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::alive))
        .route("/-/healthy", get(pages::alive))
        .route("/readyz", get(pages::ready))
        .route("/-/ready", get(pages::ready))
        .with_state(Arc::new(pages));
    let endpoints: Vec<&str> = ENDPOINTS.iter().map(|(request, _)| *request).collect();
    let access = Arc::new(ArcSwap::from_pointee(settings.access.clone()));
    HttpService::new(scrapes.merge(discovery).merge(pages), &endpoints, access, http)
}

/// The subject of the note about the announcement in HyperDHT.
const ABOUT_HYPERDHT: &str = "HyperDHT (bridge.hyperdht)";

/// Updates the note about the announcement in HyperDHT.
fn note(notes: &Notes, event: &LinkEvent) {
    match event {
        LinkEvent::Announced { .. } => notes.clear(ABOUT_HYPERDHT),
        LinkEvent::Unannounced { why, .. } => notes.set(ABOUT_HYPERDHT, format!("proxies cannot find this bridge by its key: {why}")),
        _ => {}
    }
}

/// Counts link events.
fn count(telemetry: &BridgeTelemetry, event: &LinkEvent) {
    let link = |what: &str| telemetry.bridge_links_total.with([what]).inc();
    let registration = |what: &str| telemetry.bridge_registrations_total.with([what]).inc();
    match event {
        LinkEvent::Registered { updated: true, .. } => registration("updated"),
        LinkEvent::Registered { updated: false, .. } => registration("unchanged"),
        LinkEvent::RegistrationRefused { .. } => registration("refused"),
        LinkEvent::Opened { .. } => link("opened"),
        LinkEvent::Closed { .. } => link("closed"),
        LinkEvent::Lost { .. } => link("lost"),
        LinkEvent::HandshakeRejected { .. } => link("rejected"),
        LinkEvent::Unreachable { .. } => link("unreachable"),
        LinkEvent::Announced { .. } | LinkEvent::Unannounced { .. } => {}
        // Scrapes are counted with their delivery outcome.
        LinkEvent::ScrapeStarted { .. } | LinkEvent::ScrapeAnswered { .. } | LinkEvent::ScrapeFailed { .. } => {}
        // Counted where the table changes, or only logged.
        LinkEvent::Replaced { .. } | LinkEvent::Restored { .. } | LinkEvent::Renamed { .. } | LinkEvent::KeyShared { .. } => {}
        // Events of proxies.
        LinkEvent::AliasLost { .. } | LinkEvent::AliasReturned { .. } => {}
    }
}
