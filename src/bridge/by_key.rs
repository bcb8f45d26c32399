//! The part for proxies that are found by their keys: they register over HyperDHT, and are dialled when they are scraped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::registry::{Claim, Registry};
use crate::peer::{Callers, PublicKey, Registrant, RegistrationHandler, RegistrationServer};
use crate::supervise::Part;
use crate::wire::hyperdht::{AliasReply, AliasRequest};

/// How often to look for connections that nobody uses.
const SWEEP: Duration = Duration::from_secs(60);

/// Receives proxies over HyperDHT, and looks after the connections over which they are scraped.
pub(super) struct ByKey {
    pub(super) registrations: RegistrationServer,
    pub(super) callers: Callers,
    pub(super) registry: Arc<Registry>,
}

impl Part for ByKey {
    fn name(&self) -> &str {
        "links over HyperDHT"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self {
            registrations,
            callers,
            registry,
        } = *self;
        Box::pin(async move {
            let handler = Registering {
                registry,
                callers: callers.clone(),
            };
            let receiving = registrations.run(Arc::new(handler), stop);
            tokio::pin!(receiving);
            let mut sweeps = interval(SWEEP);
            sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ended = &mut receiving => {
                        callers.close().await;
                        return ended;
                    }
                    now = sweeps.tick() => callers.sweep(now).await,
                }
            }
        })
    }
}

struct Registering {
    registry: Arc<Registry>,
    callers: Callers,
}

impl RegistrationHandler for Registering {
    fn register(&self, registrant: Registrant, request: &AliasRequest) -> AliasReply {
        let key = PublicKey::new(request.target);
        let claim = Claim {
            from: (registrant.key, registrant.address),
            key,
            alias: &request.alias,
            hostname: &request.hostname,
            service: &request.service,
            link: None,
        };
        match self.registry.judge(&claim, |secret| secret.is(&request.secret)) {
            Ok(updated) => {
                // It may have been started anew, and then the last run's connection is dead.
                self.callers.renew(key);
                AliasReply::Registered { updated }
            }
            Err(refusal) => AliasReply::Refused(refusal.to_string()),
        }
    }
}
