//! Assembly of a bridge from the settings.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::program::{self, Daemon, Program};
use super::reload::Reloadable;
use super::{ConfigSource, access, links, sockets, system_clock, web};
use crate::bridge::{Bridge, BridgeContext, BridgeSettings, ENDPOINTS, Forwarding, PagesContext};
use crate::config::{BridgeConfig, ProgramKind, Settings};
use crate::http::{OnRefused, Routes};
use crate::model::Clock;
use crate::peer::{ConnectionPool, Identity, LinkEvents, Network, PublicKey, QuicListener, Seed, SharedSecret};
use crate::supervise::files::FileLock;
use crate::supervise::secret_file::FileRule;
use crate::supervise::{ConnectionSlots, Listener};
use crate::telemetry::{BridgeTelemetry, Gauge};

/// The addresses of a bridge.
#[derive(Debug, Clone, Copy)]
pub struct BridgeAddresses {
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

/// The key and the secret of a bridge.
pub(crate) struct BridgeKeys {
    pub(crate) identity: Identity,
    /// The lock on the key file, held until the bridge stops.
    pub(crate) lock: Option<FileLock>,
    /// The secret shared with the proxies.
    pub(crate) secret: SharedSecret,
}

/// Binds a bridge; nothing runs yet.
///
/// # Errors
/// When no transport is enabled, when the secret is missing, when the key or the targets file cannot be read, or when a socket cannot be
/// bound.
pub async fn bind_bridge(all: &Settings, config_source: ConfigSource) -> anyhow::Result<Daemon<BridgeAddresses>> {
    let table = &all.bridge;
    ensure!(has_transport(table), NO_TRANSPORT);
    // Before the key file, which may be waited for: from here on SIGHUP is a reload.
    let program = Program::new(all)?;
    let keys = keys(table, all.secrets.file_rule()).await?;
    assemble_program(program, all, config_source, keys, system_clock).await
}

/// Assembles a bridge with these keys.
#[cfg(test)]
pub(crate) async fn assemble(
    all: &Settings,
    config_source: ConfigSource,
    keys: BridgeKeys,
    clock: Clock,
) -> anyhow::Result<Daemon<BridgeAddresses>> {
    assemble_program(Program::new(all)?, all, config_source, keys, clock).await
}

/// Returns true if proxies can register at the bridge.
pub(super) const fn has_transport(table: &BridgeConfig) -> bool {
    table.quic_listen.is_some() || table.hyperdht.is_some()
}

/// The reason why a bridge without transports does not start.
pub(super) const NO_TRANSPORT: &str = "no proxy can register: set bridge.quic_listen, or bridge.hyperdht = true";

/// The reason why a bridge without a secret does not start.
pub(super) const NO_SECRET: &str = "bridge.secret_file is not set; it must hold the same secret as p2p.secret_file of the proxies";

/// The key that the environment has itself, in errors.
const SEED: &str = "the key of the bridge (KEY_SEED)";

async fn keys(table: &BridgeConfig, rule: FileRule) -> anyhow::Result<BridgeKeys> {
    let (identity, lock) = match &table.key_seed {
        Some(seed) => {
            let seed: Seed = seed.expose().parse().context(SEED)?;
            tracing::warn!("the key comes from a seed, which cannot be locked like a key file: make sure that no other process uses it");
            (Identity::from_seed(&seed).context(SEED)?, None)
        }
        None => links::identity(table.key_file.clone(), "bridge").await?,
    };
    let source = table.secret.as_ref().context(NO_SECRET)?;
    Ok(BridgeKeys {
        identity,
        lock,
        secret: links::secret(source, rule).context("bridge.secret_file")?,
    })
}

/// Reads the targets file of the last run and binds all sockets.
///
/// # Errors
/// When a socket cannot be bound, or the targets file exists and cannot be read.
async fn assemble_program(
    mut program: Program,
    all: &Settings,
    config_source: ConfigSource,
    keys: BridgeKeys,
    clock: Clock,
) -> anyhow::Result<Daemon<BridgeAddresses>> {
    let table = &all.bridge;
    let BridgeKeys { identity, lock, secret } = keys;
    program.hold(lock);
    let telemetry = Arc::new(BridgeTelemetry::default());
    let events = Arc::new(links::bridge_events(Arc::clone(&telemetry), Arc::clone(&program.notes)));
    let context = BridgeContext {
        events: Arc::clone(&events),
        telemetry: Arc::clone(&telemetry),
        readiness: Arc::clone(&program.readiness),
        clock,
    };
    let (bridge, writer) = Bridge::open(table.registry.clone(), secret, table.hyperdht.is_some(), context)?;
    let listener = Listener::tcp(&table.http_listen.to_string()).await.context("bridge.http_listen")?;
    let unix = sockets::http_socket(all).await?;
    let key = identity.public_key();
    let web = web::open(all, &mut program).await?;
    access::open(all, web.as_deref(), &mut program).await?;
    let mut addresses = BridgeAddresses {
        http: listener.local_addr(),
        https: web.as_ref().is_some_and(|web| web.is_tls()),
        quic: None,
        hyperdht: table.hyperdht.is_some(),
        key,
    };
    let mut pool = None;
    if let Some(port) = table.hyperdht {
        let joined = join_hyperdht(all, port, &identity, &events, &bridge, &mut program).await;
        pool = Some(joined.context("bridge.hyperdht")?);
    }
    if let Some(address) = &table.quic_listen {
        let quic = QuicListener::for_registration(&identity, &address.to_string(), events)
            .await
            .context("bridge.quic_listen")?;
        addresses.quic = quic.local_addr();
        program.add(bridge.quic_registration(quic, key));
    }
    let (cluster, forwarding) = shared(all, &bridge, &telemetry, &addresses, &mut program).await?;
    let pages = PagesContext {
        notes: Arc::clone(&program.notes),
        metrics: program.metrics(program::connections([&listener].into_iter().chain(&unix))),
        key,
        address: table.http_listen.to_string(),
        readiness: Arc::clone(&program.readiness),
        quic_port: addresses.quic.map(|address| address.port()),
        hyperdht: table.hyperdht.is_some(),
        stop: program.stop.graceful.clone(),
        forwarding,
    };
    let reloadable = ReloadableBridge {
        settings: bridge.settings(),
        telemetry,
    };
    let lifecycle = program.reload(all, config_source, reloadable, refusals(&program))?;
    let routes = bridge
        .routes(pool, pages)
        .merge(program.health_routes())
        .merge(lifecycle)
        .merge(cluster);
    let endpoints: Vec<&str> = ENDPOINTS.iter().map(|(request, _)| *request).collect();
    let service = program.http_service(routes, &endpoints).with_web(web);
    for listener in [listener].into_iter().chain(unix) {
        program.serve(
            listener,
            ConnectionSlots::with_address_limit(all.exporter.concurrent_requests),
            service.clone(),
        );
    }
    program.add(writer);
    Ok(program.finish(addresses, None))
}

/// Makes the program one of the bridges of a cluster, if one is configured. Returns the routes of that, and the settings for scrapes between
/// bridges.
#[cfg(feature = "cluster")]
async fn shared(
    all: &Settings,
    bridge: &Bridge,
    telemetry: &Arc<BridgeTelemetry>,
    addresses: &BridgeAddresses,
    program: &mut Program,
) -> anyhow::Result<(Routes, Option<Forwarding>)> {
    super::cluster::join_bridges(all, bridge, Arc::clone(telemetry), addresses, program).await
}

/// The configuration has no cluster.
#[cfg(not(feature = "cluster"))]
async fn shared(
    _: &Settings,
    _: &Bridge,
    _: &Arc<BridgeTelemetry>,
    _: &BridgeAddresses,
    _: &mut Program,
) -> anyhow::Result<(Routes, Option<Forwarding>)> {
    Ok((Routes::new(), None))
}

/// The services of a bridge that take new settings at run time.
struct ReloadableBridge {
    settings: BridgeSettings,
    telemetry: Arc<BridgeTelemetry>,
}

impl Reloadable for ReloadableBridge {
    const PROGRAM: ProgramKind = ProgramKind::Bridge;

    fn successful(&self) -> &Gauge {
        &self.telemetry.config_last_reload_successful
    }

    fn apply(&mut self, settings: &Settings) {
        self.settings.apply(&settings.bridge.registry);
    }
}

/// Logs refused requests to the lifecycle endpoints, as others that are refused.
fn refusals(program: &Program) -> OnRefused {
    let stats = Arc::clone(&program.http_stats);
    Arc::new(move |client, _, detail| stats.log_refused(client, detail))
}

/// Joins HyperDHT on a UDP port, announces the key, and returns the connections for scrapes.
async fn join_hyperdht(
    all: &Settings,
    port: u16,
    identity: &Identity,
    events: &Arc<LinkEvents>,
    bridge: &Bridge,
    program: &mut Program,
) -> anyhow::Result<ConnectionPool> {
    let network = Network::join(&links::bootstrap(&all.hyperdht), port).await?;
    let registrations = network.registration_server(identity, Arc::clone(events)).await?;
    let pool = network.connection_pool(identity, Arc::clone(events));
    program.add(bridge.hyperdht_registration(registrations, pool.clone()));
    Ok(pool)
}
