//! One bridge of a proxy: register there, again and again, each time over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::default_route::route_changed;
use super::node::Node;
use super::rpc_client::RpcClient;
use crate::peer::backoff::{Backoff, REFUSAL_DELAYS};
use crate::peer::link_event::{ConnectionUid, LinkEvent, LinkEvents};
use crate::peer::{HyperdhtError, Identity, PublicKey, Registration};
use crate::wire::hyperdht::{AliasReply, AliasRequest, REGISTER_METHOD, REGISTER_PROTOCOL};

/// The least wait after a failed registration, whatever may have changed for the better meanwhile.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long finding and reaching a bridge may take: a search through the network, and a way through translators of addresses.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a bridge may take to answer a registration.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy's relation to one bridge.
pub(super) struct Registrar {
    pub(super) node: Node,
    /// Who dials: not who is registered.
    pub(super) dial_identity: Identity,
    /// Under which key we are to be scraped.
    pub(super) key: PublicKey,
    pub(super) bridge: PublicKey,
    pub(super) registration: Arc<Registration>,
    pub(super) events: Arc<LinkEvents>,
    /// Rung when the bridge has reached us, so that we can reach it, too.
    pub(super) reachable: Arc<Notify>,
}

/// Why a registration has not come about.
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
                () = self.wait_for_change(), if failed => {}
            }
        }
    }

    /// Resolves once there is reason to believe that the bridge can be reached again.
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
            Err(RegistrationFailure::Refused(why)) => LinkEvent::RegistrationRefused { peer, alias, why },
            Err(RegistrationFailure::Unreachable(why)) => LinkEvent::Unreachable { peer, why },
        });
    }

    /// Registers once, and says whether the bridge has learned something new.
    async fn register(&self) -> Result<bool, RegistrationFailure> {
        let dialed = self.node.dial(&self.dial_identity, self.bridge, DIAL_TIMEOUT).await;
        let stream = dialed.map_err(|e| RegistrationFailure::Unreachable(e.to_string()))?;
        let open = self.events.opened(stream.peer, stream.address, ConnectionUid::random());
        // How the connection ends otherwise shows in the answer.
        let client = RpcClient::new(stream, REGISTER_PROTOCOL, |_| {});
        let answer = client.call(REGISTER_METHOD, &self.request().encode(), RESPONSE_TIMEOUT).await;
        client.close().await;
        open.report_end(match &answer {
            Err(error @ (HyperdhtError::Lost(_) | HyperdhtError::Timeout(_))) => (false, error.to_string()),
            _ => (true, "the registration is over".to_owned()),
        });
        let answer = answer.map_err(|error| match error {
            HyperdhtError::Failed(why) => RegistrationFailure::Refused(why),
            error => RegistrationFailure::Unreachable(error.to_string()),
        })?;
        match AliasReply::decode(answer) {
            Ok(AliasReply::Registered { updated }) => Ok(updated),
            Ok(AliasReply::Refused(why)) => Err(RegistrationFailure::Refused(why)),
            Err(fault) => Err(RegistrationFailure::Refused(format!("its answer is broken: {fault}"))),
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
