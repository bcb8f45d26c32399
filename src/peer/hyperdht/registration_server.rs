//! The server for registrations: one RPC method, on a connection for each registration.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use exporter_proxy_hyperdht::wire::{RpcError, RpcErrorCode};
use exporter_proxy_hyperdht::{IncomingConnection, KeyListener, Node, RpcMethod, RpcReply, SecretStream, serve};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::announcement::report;
use super::api::{Registrant, RegistrationHandler};
use crate::peer::identity::PublicKey;
use crate::peer::link_event::{ConnectionPurpose, ConnectionUid, LinkEnd, LinkEvent, LinkEvents, log_panic};
use crate::telemetry::Throttle;
use crate::wire::hyperdht::{AliasReply, AliasRequest, REGISTER_METHOD, REGISTER_PROTOCOL};

/// Limit on connections of clients that have registered before. A client needs one for a second each hour; beyond the limit connections
/// are dropped, and the client retries.
const MAX_KNOWN: usize = 512;

/// Limit on connections of other clients. Beyond it the oldest is dropped: a client registers immediately.
const MAX_UNKNOWN: usize = 512;

/// Limit on known keys, 1 MB. Beyond it those with the oldest registrations are removed.
const MAX_KEYS: usize = 16_384;

/// Limit on the requests of a connection: a client needs one and the opening of the channel. Until it has proved the secret, the address
/// that replies go to may be made up.
const MAX_REQUESTS: usize = 16;

/// Idle timeout of a connection: a client registers immediately and closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit on the duration of a connection, regardless of its traffic.
const MAX_DURATION: Duration = Duration::from_secs(120);

/// Limit on removing the announcement.
const UNANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts registrations.
pub(crate) struct RegistrationServer {
    /// Connections end with the last handle to the node.
    node: Node,
    key: PublicKey,
    listener: KeyListener,
    known: Arc<KnownKeys>,
    events: Arc<LinkEvents>,
}

impl RegistrationServer {
    pub(super) fn new(node: Node, key: PublicKey, listener: KeyListener, known: Arc<KnownKeys>, events: Arc<LinkEvents>) -> Self {
        Self {
            node,
            key,
            listener,
            known,
            events,
        }
    }

    /// Passes registrations to `handler` until `stop`.
    ///
    /// # Errors
    ///
    /// If the node is closed.
    pub(crate) async fn run(self, handler: Arc<dyn RegistrationHandler>, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            node: _node,
            key,
            mut listener,
            known,
            events,
        } = self;
        let _reporting = AbortOnDropHandle::new(tokio::spawn(report(listener.announcement(), key, events.clone())));
        // Bounded by MAX_KNOWN and MAX_UNKNOWN.
        let mut clients = JoinSet::new();
        let mut unknown: VecDeque<AbortHandle> = VecDeque::new();
        let throttle = Throttle::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = clients.join_next() => log_end(ended),
                incoming = listener.accept() => match incoming {
                    None => anyhow::bail!("the HyperDHT node is closed"),
                    Some(IncomingConnection::Admitted(stream)) => {
                        let is_known = known.contains(stream.peer.into());
                        unknown.retain(|task| !task.is_finished());
                        if is_known && clients.len() - unknown.len().min(clients.len()) >= MAX_KNOWN {
                            if let Some(suppressed) = throttle.admit("known clients", Instant::now()) {
                                let suppressed = (suppressed > 0).then_some(suppressed);
                                tracing::warn!(peer = %PublicKey::from(stream.peer), suppressed, "more than {MAX_KNOWN} clients register at the same time: connection dropped");
                            }
                            continue;
                        }
                        let serving = serve_client(stream, handler.clone(), known.clone(), events.clone(), stop.clone());
                        let task = clients.spawn(serving);
                        if !is_known {
                            if unknown.len() >= MAX_UNKNOWN
                                && let Some(oldest) = unknown.pop_front()
                            {
                                oldest.abort();
                            }
                            unknown.push_back(task);
                        }
                    }
                    Some(IncomingConnection::Refused { key, address }) => {
                        let key = PublicKey::from(key);
                        events.emit(LinkEvent::HandshakeRejected { key: Some(key), address, why: format!("its key {key} is not admitted") });
                    }
                },
            }
        }
        // If the nodes do not respond, the record expires.
        let _ = timeout(UNANNOUNCE_TIMEOUT, listener.close()).await;
        while let Some(ended) = clients.join_next().await {
            log_end(ended);
        }
        Ok(())
    }
}

async fn serve_client(
    stream: SecretStream,
    handler: Arc<dyn RegistrationHandler>,
    known: Arc<KnownKeys>,
    events: Arc<LinkEvents>,
    stop: CancellationToken,
) {
    let (key, address) = (stream.peer.into(), stream.address);
    let open = events.opened_for(ConnectionPurpose::Registration, key, address, ConnectionUid::random());
    let registrant = Registrant { key, address };
    let serving = serve(
        stream,
        Arc::new(RegistrationMethod {
            handler,
            known,
            registrant,
        }),
        IDLE_TIMEOUT,
        stop,
    );
    let ended = timeout(MAX_DURATION, serving).await;
    open.report_end(match ended {
        Ok(end) => end.into(),
        Err(_) => LinkEnd::lost(format!("open for more than {MAX_DURATION:?}")),
    });
}

/// The RPC method for one client.
struct RegistrationMethod {
    handler: Arc<dyn RegistrationHandler>,
    known: Arc<KnownKeys>,
    registrant: Registrant,
}

impl RpcMethod for RegistrationMethod {
    const PROTOCOL: &'static str = REGISTER_PROTOCOL;
    const METHOD: &'static str = REGISTER_METHOD;
    const MAX_REQUESTS: usize = MAX_REQUESTS;

    async fn call(&self, value: Bytes) -> RpcReply {
        match AliasRequest::decode(value) {
            Ok(request) => {
                let reply = self.handler.register(self.registrant, &request);
                if matches!(reply, AliasReply::Registered { .. }) {
                    self.known.add(self.registrant.key);
                }
                RpcReply::untracked(reply.encode())
            }
            Err(fault) => RpcReply {
                outcome: Err(RpcError {
                    message: fault.to_string(),
                    code: Some(RpcErrorCode::Decode),
                }),
                on_acked: None,
            },
        }
    }
}

/// Logs the panic of a connection's task. A task cancelled for another connection is not an error.
fn log_end(ended: Result<(), JoinError>) {
    if !ended.as_ref().is_err_and(JoinError::is_cancelled) {
        log_panic(ended);
    }
}

/// The keys of clients that have registered. A limit of their own protects them from other clients.
#[derive(Debug, Default)]
pub(super) struct KnownKeys(Mutex<KeyAges>);

#[derive(Debug, Default)]
struct KeyAges {
    /// The number of the last addition of each key. Bounded by [`MAX_KEYS`].
    added: HashMap<PublicKey, u64>,
    additions: u64,
}

impl KnownKeys {
    pub(super) fn contains(&self, key: PublicKey) -> bool {
        self.lock().added.contains_key(&key)
    }

    fn lock(&self) -> MutexGuard<'_, KeyAges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: PublicKey) {
        let mut keys = self.lock();
        keys.additions += 1;
        let now = keys.additions;
        keys.added.insert(key, now);
        if keys.added.len() > MAX_KEYS {
            // Removes half of the entries, so that this does not run for each addition.
            let oldest = now.saturating_sub(MAX_KEYS as u64 / 2);
            keys.added.retain(|_, added| *added > oldest);
        }
    }
}

#[cfg(test)]
mod tests;
