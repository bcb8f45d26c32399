//! The service for proxies on HyperDHT: accepts registrations and owns the connections for scrapes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::registration_policy::{RegistrationAttempt, RegistrationPolicy};
use crate::peer::{ConnectionPool, PublicKey, Registrant, RegistrationHandler, RegistrationServer};
use crate::supervise::Service;
use crate::wire::hyperdht::{AliasReply, AliasRequest};

/// Interval between searches for idle connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Accepts registrations over HyperDHT and closes idle connections to proxies.
pub(super) struct HyperdhtRegistration {
    pub(super) registrations: RegistrationServer,
    pub(super) pool: ConnectionPool,
    pub(super) policy: Arc<RegistrationPolicy>,
}

impl Service for HyperdhtRegistration {
    fn name(&self) -> &str {
        "links over HyperDHT"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self {
            registrations,
            pool,
            policy,
        } = *self;
        Box::pin(async move {
            let handler = PolicyAdapter {
                policy,
                pool: pool.clone(),
            };
            let receiving = registrations.run(Arc::new(handler), stop);
            tokio::pin!(receiving);
            let mut sweeps = interval(SWEEP_INTERVAL);
            sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ended = &mut receiving => {
                        pool.close().await;
                        return ended;
                    }
                    now = sweeps.tick() => pool.sweep(now).await,
                }
            }
        })
    }
}

struct PolicyAdapter {
    policy: Arc<RegistrationPolicy>,
    pool: ConnectionPool,
}

impl RegistrationHandler for PolicyAdapter {
    fn register(&self, registrant: Registrant, request: &AliasRequest) -> AliasReply {
        let key = PublicKey::new(request.target);
        let attempt = RegistrationAttempt {
            from: (registrant.key, registrant.address),
            key,
            alias: &request.alias,
            hostname: &request.hostname,
            service: &request.service,
            link: None,
        };
        match self.policy.register(&attempt, |secret| secret.is(&request.secret)) {
            Ok(updated) => {
                // The proxy may have been restarted, which leaves the pooled connection dead.
                self.pool.invalidate(key);
                AliasReply::Registered { updated }
            }
            Err(refusal) => AliasReply::Refused(refusal.to_string()),
        }
    }
}
