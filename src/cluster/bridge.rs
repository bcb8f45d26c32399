//! The service that makes a bridge one of several that share their aliases.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::bridge_session::BridgeReplica;
use super::redis::{random_bytes, random_id};
use super::service::EngineService;
use super::settings::ClusterSettings;
use crate::bridge::{ForwardKey, SharedRegistry};
use crate::supervise::{Notes, Readiness, Service};
use crate::telemetry::BridgeTelemetry;

/// The name of the service.
const NAME: &str = "cluster";

/// The end of the prefix of the keys of bridges: proxies with the same prefix are a cluster of their own.
const PREFIX_END: &str = "/bridge";

/// The identity of a bridge among the others, another one for each run.
#[derive(Debug, Clone)]
pub struct BridgeIdentity {
    /// The id in its records.
    pub id: String,
    /// The key by which other bridges may forward scrapes to it.
    pub forward_key: ForwardKey,
}

impl BridgeIdentity {
    /// A random identity.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> anyhow::Result<Self> {
        Ok(Self {
            id: random_id()?,
            forward_key: ForwardKey::new(random_bytes()?),
        })
    }
}

/// The parts of the program that a cluster of bridges needs.
pub struct BridgeClusterContext {
    /// The registry, shared under the id of the identity.
    pub registry: SharedRegistry,
    /// Counters, members.
    pub telemetry: Arc<BridgeTelemetry>,
    /// Reasons not to be ready.
    pub readiness: Arc<Readiness>,
    /// Notes about what does not work.
    pub notes: Arc<Notes>,
}

impl std::fmt::Debug for BridgeClusterContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BridgeClusterContext").finish_non_exhaustive()
    }
}

/// The service of a bridge.
#[derive(Debug)]
pub struct BridgeCluster(EngineService<BridgeReplica>);

impl BridgeCluster {
    /// Creates the service. The program is not ready until all aliases are loaded.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(mut settings: ClusterSettings, identity: BridgeIdentity, context: BridgeClusterContext) -> anyhow::Result<Self> {
        settings.prefix.push_str(PREFIX_END);
        let replica = BridgeReplica {
            engine: settings.url.to_string().into(),
            id: identity.id,
            epoch_candidate: random_id()?,
            forward_key: identity.forward_key,
            registry: context.registry,
            telemetry: context.telemetry,
            epoch: Mutex::default(),
            time: Mutex::default(),
        };
        Ok(Self(EngineService::new(settings, replica, context.readiness, context.notes)))
    }

    /// True while the engine is connected, for [`routes`](super::routes).
    #[must_use]
    pub fn connected(&self) -> Arc<AtomicBool> {
        self.0.connected()
    }
}

impl Service for BridgeCluster {
    fn name(&self) -> &str {
        NAME
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.0.work(stop))
    }
}
