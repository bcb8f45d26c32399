//! Registers a proxy with one bridge, each time over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use exporter_proxy_hyperdht::{CallError, Node, RpcClient, resumed};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::conversions::unreachable_reason;
use super::default_route::route_changed;
use crate::peer::identity::{Identity, PublicKey, Registration, explain_refusal};
use crate::peer::limits::{Backoff, REFUSAL_DELAYS};
use crate::peer::link_event::{ConnectionPurpose, ConnectionUid, LinkEnd, LinkEvent, LinkEvents};
use crate::wire::hyperdht::{AliasReply, AliasRequest, REGISTER_METHOD, REGISTER_PROTOCOL};

/// Minimum delay after a failed registration, even if the network has changed.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Timeout of a dial, which includes the search in the network and hole punching.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit on the wait for the response to a registration.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The registration of a proxy with one bridge.
pub(super) struct Registrar {
    pub(super) node: Node,
    /// The key that dials, which is not the registered one.
    pub(super) dial_identity: Identity,
    /// The key under which the proxy is scraped.
    pub(super) key: PublicKey,
    pub(super) bridge: PublicKey,
    pub(super) registration: Arc<Registration>,
    pub(super) events: Arc<LinkEvents>,
    /// Notified when the bridge has connected to us, which means that it is reachable.
    pub(super) reachable: Arc<Notify>,
}

/// The reason of a failed registration.
enum RegistrationFailure {
    Unreachable(String),
    Refused(String),
}

impl Registrar {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(&REFUSAL_DELAYS);
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.register() => outcome,
            };
            let failed = outcome.is_err();
            self.report(outcome);
            let wait = if failed {
                backoff.next()
            } else {
                backoff.reset();
                self.registration.interval
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                // The registration may have expired at the bridge meanwhile.
                () = resumed() => {}
                () = self.wait_for_change(), if failed => {}
            }
        }
    }

    /// Resolves when the bridge may be reachable again.
    async fn wait_for_change(&self) {
        sleep(MIN_RETRY_DELAY).await;
        tokio::select! {
            () = self.reachable.notified() => {}
            () = route_changed() => {}
        }
    }

    fn report(&self, outcome: Result<bool, RegistrationFailure>) {
        let (peer, alias) = (self.bridge, self.registration.alias.to_string());
        self.events.emit(match outcome {
            Ok(updated) => LinkEvent::Registered { peer, alias, updated },
            Err(RegistrationFailure::Refused(why)) => LinkEvent::RegistrationRefused {
                peer,
                alias,
                address: None,
                why: explain_refusal(why),
            },
            Err(RegistrationFailure::Unreachable(why)) => LinkEvent::Unreachable { peer, why },
        });
    }

    /// Registers once; returns true if the registration differs from the previous one.
    async fn register(&self) -> Result<bool, RegistrationFailure> {
        let dialed = self
            .node
            .dial(&(&self.dial_identity).into(), self.bridge.into(), DIAL_TIMEOUT)
            .await;
        let stream = dialed.map_err(|error| RegistrationFailure::Unreachable(unreachable_reason(self.bridge, &error)))?;
        let open = self.events.opened_for(
            ConnectionPurpose::Registration,
            stream.peer.into(),
            stream.address,
            ConnectionUid::random(),
        );
        // The response contains any error of the connection.
        let client = RpcClient::new(stream, REGISTER_PROTOCOL, |_| {});
        let answer = client.call(REGISTER_METHOD, &self.request().encode(), RESPONSE_TIMEOUT).await;
        client.close().await;
        open.report_end(match &answer {
            Err(error @ (CallError::Lost(_) | CallError::Timeout(_))) => LinkEnd::lost(error.to_string()),
            _ => LinkEnd::graceful("the registration is done"),
        });
        let answer = answer.map_err(|error| match error {
            CallError::Failed(why) => RegistrationFailure::Refused(why),
            error => RegistrationFailure::Unreachable(error.to_string()),
        })?;
        match AliasReply::decode(answer) {
            Ok(AliasReply::Registered { updated }) => Ok(updated),
            Ok(AliasReply::Refused(why)) => Err(RegistrationFailure::Refused(why)),
            Err(fault) => Err(RegistrationFailure::Refused(format!("its response is malformed: {fault}"))),
        }
    }

    fn request(&self) -> AliasRequest {
        let Registration {
            alias,
            service,
            hostname,
            secret,
            ..
        } = &*self.registration;
        AliasRequest {
            secret: *secret.expose(),
            alias: alias.to_string(),
            target: *self.key.as_bytes(),
            hostname: hostname.clone(),
            service: service.clone(),
        }
    }
}
