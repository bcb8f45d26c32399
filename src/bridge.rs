//! The bridge: proxies register with it, and Prometheus scrapes them through it.
//!
//! `QuicRegistration` accepts proxies over QUIC, `HyperdhtRegistration` those over HyperDHT. `RegistrationPolicy` checks both and adds
//! them to the `ProxyRegistry`. `ScrapeForwarder` forwards scrapes and streams the responses back. `TargetsFileWriter` writes the targets
//! file. The bridge stores no metrics. It reads a response body from its link as fast as the link delivers it and buffers it for a slow
//! reader, so that a slow reader does not block others.

mod alias_list;
mod alias_moves;
mod alias_table;
mod discovery;
mod forward;
mod hyperdht_registration;
mod pages;
mod proxy_registry;
mod quic_registration;
mod read_ahead;
mod registration_policy;
mod relay;
mod remote_claims;
mod shared_claim;
mod targets_file;
mod targets_file_writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{delete, get, head};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use alias_table::AliasPolicy;
#[cfg(all(test, feature = "cluster"))]
pub(crate) use proxy_registry::fake;
pub use proxy_registry::{ClaimRead, IncomingClaim, OutgoingClaim, SharedRegistry};
pub use relay::ForwardKey;
pub use remote_claims::BridgeMember;
pub use shared_claim::{ClaimOrder, SharedClaim};
pub use targets_file::{CheckedTargets, check_targets, check_targets_file};

use self::alias_table::AliasTable;
use self::discovery::Discovery;
use self::forward::ScrapeForwarder;
use self::hyperdht_registration::HyperdhtRegistration;
use self::pages::Pages;
use self::proxy_registry::ProxyRegistry;
use self::quic_registration::QuicRegistration;
use self::registration_policy::RegistrationPolicy;
use self::relay::Relay;
use self::targets_file_writer::TargetsFileWriter;
use crate::http::{Role, Routes, ServerMetrics};
use crate::model::Clock;
use crate::page::{self, LiveUpdates, PieceQueue};
use crate::peer::{ConnectionPool, LinkEvents, PublicKey, QuicListener, REGISTER_INTERVAL, RegistrationServer, SharedSecret};
use crate::supervise::{Notes, Readiness, Service, limits};
use crate::telemetry::BridgeTelemetry;
use crate::wire::scrape_query::only_app;

/// The endpoints of the bridge, with descriptions.
pub const ENDPOINTS: &[(&str, &str)] = &[
    ("GET /scrape/ALIAS/metrics", "the metrics of a proxy, scraped now"),
    ("GET /scrape/ALIAS/apps/NAME/metrics", "the metrics of one app of a proxy"),
    (
        "GET /sd",
        "targets for Prometheus's http_sd_configs; ?apps=false: one for each proxy, with all of its apps",
    ),
    ("GET /api/status", "the state as JSON: aliases, faults of links"),
    ("GET /aliases", "the registered proxies; JSON with ?format=json"),
    ("DELETE /aliases/NAME", "forget an alias"),
    ("GET /metrics", "the bridge's own metrics"),
    ("GET /healthz", "200 while the bridge runs"),
    ("GET /readyz", "200 if the bridge is ready, otherwise the reason"),
    ("POST /-/reload", "reload the configuration (http.enable_lifecycle)"),
    ("POST /-/quit", "stop gracefully (http.enable_lifecycle)"),
];

/// Time after the start of a bridge in which its proxies reconnect over QUIC: they dial every 8 s, with a handshake timeout of 5 s. Over
/// HyperDHT a proxy registers every [`REGISTER_INTERVAL`].
const RECONNECT_TIME: Duration = Duration::from_secs(20);

/// Settings of the registry of proxies and of scrapes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The targets file.
    pub targets_file: PathBuf,
    /// Time after the last registration at which an alias expires.
    pub entry_expiry: Duration,
    /// Limit on the duration of a scrape, unless the scraper's timeout is shorter.
    pub request_timeout: Duration,
    /// The policy for taking over an alias.
    pub alias_policy: AliasPolicy,
}

/// State shared with the rest of the program.
pub(crate) struct BridgeContext {
    /// Receives the events of links.
    pub(crate) events: Arc<LinkEvents>,
    /// The self metrics.
    pub(crate) telemetry: Arc<BridgeTelemetry>,
    /// Obstructed while the targets file cannot be written.
    pub(crate) readiness: Arc<Readiness>,
    /// The wall clock.
    pub(crate) clock: Clock,
}

/// Parts of the program that the pages of a bridge show.
pub(crate) struct PagesContext {
    /// Notes below the list of aliases.
    pub(crate) notes: Arc<Notes>,
    /// The common self metrics.
    pub(crate) metrics: ServerMetrics,
    /// The public key of the bridge.
    pub(crate) key: PublicKey,
    /// The configured HTTP address.
    pub(crate) address: String,
    /// Reasons that the bridge is not ready.
    pub(crate) readiness: Arc<Readiness>,
    /// The port for registration over QUIC, if proxies can register over it.
    pub(crate) quic_port: Option<u16>,
    /// True if proxies can register over HyperDHT.
    pub(crate) hyperdht: bool,
    /// Cancelled when the bridge stops.
    pub(crate) stop: CancellationToken,
    /// Scrapes between the bridges of a cluster; `None` without one.
    pub(crate) forwarding: Option<Forwarding>,
}

/// Settings for scrapes that bridges of a cluster forward to each other.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding {
    /// The key by which other bridges prove themselves to this one.
    pub(crate) key: ForwardKey,
    /// TLS to other bridges; `None` where they speak plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// The registry of proxies, and its settings.
pub(crate) struct Bridge {
    registry: Arc<ProxyRegistry>,
    policy: Arc<RegistrationPolicy>,
    settings: watch::Sender<Settings>,
}

/// A handle that puts other settings into force. The targets file stays the same one.
pub(crate) struct BridgeSettings {
    registry: Arc<ProxyRegistry>,
    settings: watch::Sender<Settings>,
}

impl BridgeSettings {
    /// Puts settings into force.
    pub(crate) fn apply(&self, settings: &Settings) {
        self.registry.set_policy(settings.alias_policy, settings.entry_expiry);
        self.settings.send_if_modified(|current| {
            let is_new = current != settings;
            if is_new {
                current.clone_from(settings);
            }
            is_new
        });
    }
}

impl Bridge {
    /// Reads the targets file of the last run. Returns the bridge, and the service that writes the file. If proxies can register over
    /// HyperDHT, their aliases are kept for longer before other keys can take them.
    ///
    /// # Errors
    ///
    /// If the targets file exists and cannot be read.
    pub(crate) fn open(
        settings: Settings,
        secret: SharedSecret,
        over_hyperdht: bool,
        context: BridgeContext,
    ) -> anyhow::Result<(Self, impl Service + use<>)> {
        let reconnect_time = if over_hyperdht { REGISTER_INTERVAL } else { RECONNECT_TIME };
        let aliases = AliasTable::new(settings.alias_policy, settings.entry_expiry, Instant::now(), reconnect_time);
        let BridgeContext {
            events,
            telemetry,
            readiness,
            clock,
        } = context;
        let registry = Arc::new(ProxyRegistry::new(aliases, over_hyperdht, events, telemetry, clock));
        let settings = watch::Sender::new(settings);
        let writer = TargetsFileWriter::open(registry.clone(), settings.subscribe(), readiness)?;
        let bridge = Self {
            policy: Arc::new(RegistrationPolicy::new(registry.clone(), secret)),
            registry,
            settings,
        };
        Ok((bridge, writer))
    }

    /// Makes the bridge one of a cluster, with the id of its records there.
    #[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "only a cluster has other bridges"))]
    pub(crate) fn share(&self, id: &str) -> SharedRegistry {
        SharedRegistry::new(self.registry.clone(), id)
    }

    /// The handle for a reload.
    pub(crate) fn settings(&self) -> BridgeSettings {
        BridgeSettings {
            registry: self.registry.clone(),
            settings: self.settings.clone(),
        }
    }

    /// The service for proxies over QUIC.
    pub(crate) fn quic_registration(&self, listener: QuicListener, key: PublicKey) -> impl Service + use<> {
        QuicRegistration::new(listener, self.policy.clone(), key)
    }

    /// The service for proxies over HyperDHT; `pool` holds the connections for scrapes.
    pub(crate) fn hyperdht_registration(&self, registrations: RegistrationServer, pool: ConnectionPool) -> impl Service + use<> {
        HyperdhtRegistration {
            registrations,
            pool,
            policy: self.policy.clone(),
        }
    }

    /// The HTTP routes, without those for health. `pool` holds the connections for scrapes over HyperDHT.
    pub(crate) fn routes(&self, pool: Option<ConnectionPool>, context: PagesContext) -> Routes {
        let PagesContext {
            notes,
            metrics,
            key,
            address,
            readiness,
            quic_port,
            hyperdht,
            stop,
            forwarding,
        } = context;
        let relay = forwarding.map(|forwarding| {
            let relay = Relay::new(forwarding.tls, self.registry.clock, limits::open_files());
            (Arc::new(relay), forwarding.key)
        });
        let forwarder = ScrapeForwarder {
            registry: self.registry.clone(),
            pool,
            settings: self.settings.subscribe(),
            relay: relay.clone(),
        };
        let pieces = Arc::<PieceQueue>::default();
        let discovery = Discovery {
            registry: self.registry.clone(),
            address,
            pieces: Arc::clone(&pieces),
            relay: relay.as_ref().map(|(relay, _)| Arc::clone(relay)),
        };
        let is_shared = relay.is_some();
        let pages = Arc::new(Pages {
            registry: self.registry.clone(),
            notes,
            metrics,
            key,
            readiness,
            quic_port,
            hyperdht,
            started: Instant::now(),
            queue: page::RenderQueue::default(),
            pieces,
        });
        let watched = Arc::clone(&pages);
        let mut scrapes = Routes::new();
        if is_shared {
            // Open to all: the proof of another bridge is checked in place of a user.
            scrapes = scrapes
                .open_route(relay::SCRAPE_PATH, get(forward::relayed))
                .open_route(relay::RECEIVED_PATH, head(forward::received))
                .open_route(relay::APPS_PATH, get(discovery::relayed));
        }
        let scrapes = scrapes
            .route("/scrape/{alias}/metrics", Role::Scrape.of_query(only_app), get(forward::whole))
            .route(
                "/scrape/{alias}/apps/{app}/metrics",
                Role::Scrape.of_path("app"),
                get(forward::one_app),
            )
            .with_state(Arc::new(forwarder));
        let discovery = Routes::new()
            .route("/sd", Role::Read, get(discovery::targets))
            .with_state(Arc::new(discovery));
        let routes = Routes::new()
            .route("/", Role::Read, get(pages::index))
            .route("/aliases", Role::Read, get(pages::aliases))
            .route("/aliases/{alias}", Role::Admin, delete(pages::forget))
            .route("/metrics", Role::Scrape, get(pages::metrics))
            .route("/api/status", Role::Read, get(pages::status))
            .with_state(Arc::clone(&pages));
        let live = LiveUpdates::new(Arc::new(move || watched.version()), stop);
        scrapes.merge(discovery).merge(routes).merge(page::routes(live))
    }
}
