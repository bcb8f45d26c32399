//! The far end: proxies register here and Prometheus scrapes them through here.
//!
//! The lodge receives proxies over links, those that are found by their keys register over HyperDHT, and the registry enters both into the
//! roster; the forwarding hands scrapes to them and streams the answers back; the keeper writes the targets file. Nothing of a scrape is
//! stored. A body is read as fast as its link brings it, so that a slow reader takes nothing from others, and waits here for its reader.

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
use crate::http::{Access, Door, HttpStats, Server};
use crate::model::Clock;
use crate::peer::{HyperdhtError, Identity, LinkEvent, LinkEvents, Network, PublicKey, QuicListener, REGISTER_INTERVAL, SharedSecret};
use crate::supervise::files::FileLock;
use crate::supervise::{DRAIN, GivingBack, Listener, Notes, Report, Seats, Stop, Supervisor};
use crate::telemetry::{BridgeTelemetry, Process};

/// What can be requested, and what that gives.
const ENDPOINTS: &[(&str, &str)] = &[
    ("GET /scrape/ALIAS/metrics", "the metrics of a proxy, fetched now"),
    ("GET /scrape/ALIAS/apps/NAME/metrics", "the metrics of one app of a proxy"),
    (
        "GET /sd",
        "targets for Prometheus's http_sd_configs; ?apps=false: one for each proxy, with all of its apps",
    ),
    ("GET /aliases", "who is registered; JSON with ?format=json"),
    ("DELETE /aliases/NAME", "forget an alias"),
    ("GET /metrics", "the bridge's own metrics"),
    ("GET /healthz", "whether the bridge lives"),
    ("GET /readyz", "whether the bridge is ready, or why not"),
];

/// How long after the start of a bridge all its proxies have dialled again: they do each 8 s, and wait 5 s for an answer. One over
/// HyperDHT registers each [`REGISTER_INTERVAL`].
const RECONNECT_TIME: Duration = Duration::from_secs(20);

/// What stays as it is in a segment of a path; everything else is percent-encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as a segment of a path.
fn segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// Settings of a bridge.
#[derive(Debug)]
pub struct BridgeSettings {
    /// Who it is.
    pub identity: Identity,
    /// The lock on the identity's file, held as long as the bridge lives.
    pub key_lock: Option<FileLock>,
    /// What it shares with its proxies.
    pub secret: SharedSecret,
    /// `HOST:PORT` for Prometheus.
    pub http_listen: String,
    /// `HOST:PORT` for proxies, over UDP; none: no proxy can register.
    pub quic_listen: Option<String>,
    /// Where HyperDHT is joined, if proxies also register over it.
    pub hyperdht: Option<HyperdhtSettings>,
    /// The targets file.
    pub targets_file: PathBuf,
    /// How long after its last registration an alias is forgotten.
    pub entry_expiry: Duration,
    /// How often to look for such.
    pub check_expired_interval: Duration,
    /// How long a scrape may take, where the scraper says nothing shorter.
    pub request_timeout: Duration,
    /// Who may take an alias.
    pub alias_policy: AliasPolicy,
    /// Connections of scrapers at once.
    pub connections: usize,
    /// Whose X-Forwarded-For is believed.
    pub access: Access,
    /// The time of day.
    pub clock: Clock,
}

/// Where a bridge joins HyperDHT.
#[derive(Debug, Clone, Default)]
pub struct HyperdhtSettings {
    /// The nodes through which it is joined, `HOST:PORT` each; none: the public ones.
    pub bootstrap: Vec<String>,
    /// The UDP port of the bridge's node; 0: any.
    pub port: u16,
}

/// A bridge with all its sockets bound, ready to run.
pub struct Bridge {
    supervisor: Supervisor,
    readiness: Arc<Readiness>,
    stop: Stop,
    key_lock: Option<FileLock>,
    /// Where Prometheus asks.
    pub http: Option<SocketAddr>,
    /// Where proxies register.
    pub quic: Option<SocketAddr>,
    /// Whether they also do over HyperDHT.
    pub hyperdht: bool,
    /// The key under which they do.
    pub key: PublicKey,
}

impl Bridge {
    /// Reads what the last run left and binds every socket; nothing runs yet.
    ///
    /// # Errors
    ///
    /// Where a socket cannot be bound or the targets file is there and cannot be read.
    pub async fn bind(settings: BridgeSettings) -> anyhow::Result<Self> {
        let telemetry = Arc::new(BridgeTelemetry::default());
        let (counting, notes) = (telemetry.clone(), Arc::<Notes>::default());
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
        let service = http_service(&settings, forwarder, readiness.clone(), notes, key);
        supervisor.add(Server::new(listener, Seats::with_address_limit(settings.connections), service));
        supervisor.add(writer);
        supervisor.add(GivingBack);
        Ok(Self {
            supervisor,
            readiness,
            stop: Stop::default(),
            key_lock: settings.key_lock,
            http,
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

    /// Runs until it is stopped or a part falls, and says how it ended.
    pub async fn run(self) -> Report {
        let Self {
            supervisor,
            readiness,
            stop,
            key_lock: _locked,
            ..
        } = self;
        let gently = stop.gently.clone();
        let announce = async {
            gently.cancelled().await;
            readiness.set(Some("program: stopping".to_owned()));
            std::future::pending().await
        };
        tokio::select! {
            report = supervisor.run(stop, DRAIN) => report,
            never = announce => never,
        }
    }
}

/// Joins HyperDHT and can be found there from now on.
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
) -> Door {
    let (http, registry) = (Arc::new(HttpStats::default()), forwarder.registry.clone());
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
    Door::new(scrapes.merge(discovery).merge(pages), &endpoints, access, http)
}

/// The subject of a note about our own announcement in HyperDHT.
const ABOUT_HYPERDHT: &str = "HyperDHT (bridge.hyperdht)";

/// Keeps the note about whether proxies can find this bridge by its key.
fn note(notes: &Notes, event: &LinkEvent) {
    match event {
        LinkEvent::Announced { .. } => notes.clear(ABOUT_HYPERDHT),
        LinkEvent::Unannounced { why, .. } => notes.set(ABOUT_HYPERDHT, format!("proxies cannot find this bridge by its key: {why}")),
        _ => {}
    }
}

/// Counts what happens on links.
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
        LinkEvent::HandshakeRejected { .. } => link("barred"),
        LinkEvent::Unreachable { .. } => link("unreachable"),
        LinkEvent::Announced { .. } | LinkEvent::Unannounced { .. } => {}
        // Scrapes are counted where their outcome is known.
        LinkEvent::ScrapeStarted { .. } | LinkEvent::ScrapeAnswered { .. } | LinkEvent::ScrapeFailed { .. } => {}
        // Counted where the table changes, or shown in the log alone.
        LinkEvent::Replaced { .. } | LinkEvent::Restored { .. } | LinkEvent::Renamed { .. } | LinkEvent::KeyShared { .. } => {}
        // For proxies.
        LinkEvent::AliasLost { .. } | LinkEvent::AliasReturned { .. } => {}
    }
}
