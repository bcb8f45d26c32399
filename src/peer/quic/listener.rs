//! The QUIC listener: limits handshakes and verifies the keys of clients.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use quinn::{Connection, ConnectionError, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::tls::{self, AdmittedKeys, Protocol};
use super::transport::{self, CLOSE_TIMEOUT, CLOSED, HANDSHAKE_TIMEOUT, link_end};
use crate::peer::identity::{Identity, PublicKey, key_of};
use crate::peer::limits::FailureLimiter;
use crate::peer::link_event::{LinkEvent, LinkEvents, NOT_ADMITTED};
use crate::supervise::lookup::look_up_host_port;

/// Limit on concurrent handshakes: each takes some kilobytes and a signature. Clients beyond it are refused and retry.
const MAX_HANDSHAKES: usize = 512;

/// The error of binding a listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address does not resolve or cannot be bound.
    #[error("cannot listen on udp {0}: {1}")]
    Bind(String, io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection with a completed handshake and a verified key. A clone is a handle to the same connection.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedLink {
    pub(crate) connection: Connection,
    pub(crate) key: PublicKey,
    pub(crate) address: SocketAddr,
}

impl AcceptedLink {
    /// Closes the connection with a reason.
    pub(crate) fn reject(&self, why: &str) {
        self.connection.close(CLOSED, why.as_bytes());
    }
}

/// A bound QUIC listener.
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    /// The settings of handshakes, if keys are restricted: each handshake then has a TLS configuration of its own, which records a
    /// rejected key.
    settings: Option<HandshakeSettings>,
    handshakes: JoinSet<Result<AcceptedLink, RejectedHandshake>>,
    /// Failed handshakes by address.
    failures: FailureLimiter<IpAddr>,
    events: Arc<LinkEvents>,
}

/// The settings of a handshake.
#[derive(Clone)]
struct HandshakeSettings {
    identity: Identity,
    admit: AdmittedKeys,
    protocol: Protocol,
    streams: u32,
}

struct RejectedHandshake {
    key: Option<PublicKey>,
    address: SocketAddr,
    why: ConnectionError,
}

impl QuicListener {
    /// Binds `HOST:PORT`. `streams` limits the streams that the peer of a link may open.
    pub(crate) async fn bind(
        identity: &Identity,
        address: &str,
        (admit, protocol, streams): (AdmittedKeys, Protocol, u32),
        events: Arc<LinkEvents>,
    ) -> Result<Self, ListenError> {
        let failed = |e| ListenError::Bind(address.to_owned(), e);
        let (crypto, _) = tls::server_config(identity, admit.clone(), protocol)?;
        let settings = matches!(admit, AdmittedKeys::Only(_)).then(|| HandshakeSettings {
            identity: identity.clone(),
            admit,
            protocol,
            streams,
        });
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for resolved in look_up_host_port(address).await.map_err(failed)? {
            match transport::listening_endpoint(identity, resolved, transport::server_config(crypto.clone(), streams, protocol)) {
                Ok(endpoint) => {
                    return Ok(Self {
                        endpoint,
                        settings,
                        handshakes: JoinSet::new(),
                        failures: FailureLimiter::default(),
                        events,
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(failed(last))
    }

    /// Binds a listener for registrations, which admits every key.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub(crate) async fn for_registration(identity: &Identity, address: &str, events: Arc<LinkEvents>) -> Result<Self, ListenError> {
        // The proxy opens the control stream only.
        Self::bind(identity, address, (AdmittedKeys::Any, Protocol::Register, 1), events).await
    }

    /// Returns the bound address, with the real port.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Returns the next connection; `None` once the listener is closed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<AcceptedLink> {
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => self.start_handshake(incoming?),
                Some(ended) = self.handshakes.join_next() => match ended {
                    Ok(Ok(accepted)) => return Some(accepted),
                    Ok(Err(rejected)) => self.record_rejection(rejected),
                    Err(lost) => tracing::error!("a handshake ended by a bug (panic), please report it: {lost}"),
                },
            }
        }
    }

    /// Starts the handshake of a packet, or drops, refuses or retries it. Every address must first be validated by a retry, which is
    /// smaller than the packet: source addresses can be spoofed. A handshake with an unvalidated address could send it more than three
    /// times what it sent, because the QUIC library counts whole packets, and could block the real owner of the address. An address with
    /// many failures still gets some handshakes: others behind the same NAT may have the right key.
    fn start_handshake(&mut self, incoming: Incoming) {
        let address = incoming.remote_address();
        if !incoming.remote_address_validated() {
            // Without a retry the packet gets no response.
            let _ = incoming.retry();
        } else if !self.failures.admit(address.ip().to_canonical(), Instant::now()) {
            incoming.ignore();
        } else if self.handshakes.len() >= MAX_HANDSHAKES {
            incoming.refuse();
        } else {
            self.handshakes.spawn(handshake(incoming, address, self.settings.clone()));
        }
    }

    /// Records a rejected handshake. A timeout does not count.
    fn record_rejection(&mut self, rejected: RejectedHandshake) {
        let RejectedHandshake { key, address, why } = rejected;
        if matches!(why, ConnectionError::TimedOut) {
            return;
        }
        self.failures.record_failure(address.ip().to_canonical(), Instant::now());
        let why = match (key, link_end(&why).why) {
            (Some(_), _) => NOT_ADMITTED.to_owned(),
            (None, why) => match why.split_once(tls::EXPECTED_KEY) {
                Some((_, keys)) => format!("it expects another key of this listener ({keys}): correct the key in its configuration"),
                None => why,
            },
        };
        self.events.emit(LinkEvent::HandshakeRejected { key, address, why });
    }

    /// Closes all connections with a reason and waits until the peers have received it, with a timeout.
    pub(crate) async fn close(&self, why: &str) {
        self.endpoint.close(CLOSED, why.as_bytes());
        // A peer that does not receive the close runs into its idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

async fn handshake(
    incoming: Incoming,
    address: SocketAddr,
    settings: Option<HandshakeSettings>,
) -> Result<AcceptedLink, RejectedHandshake> {
    // Cannot fail, because the same configuration was built at bind.
    let per_handshake = settings.and_then(|settings| {
        let (crypto, unexpected) = tls::server_config(&settings.identity, settings.admit, settings.protocol).ok()?;
        Some((
            Arc::new(transport::server_config(crypto, settings.streams, settings.protocol)),
            unexpected,
        ))
    });
    let (config, unexpected) = per_handshake.unzip();
    let rejected = |why| {
        let key = unexpected
            .as_ref()
            .and_then(|key| *key.lock().unwrap_or_else(PoisonError::into_inner));
        RejectedHandshake { key, address, why }
    };
    let connecting = match config {
        Some(config) => incoming.accept_with(config),
        None => incoming.accept(),
    };
    let connecting = connecting.map_err(rejected)?;
    let connection = timeout(HANDSHAKE_TIMEOUT, connecting)
        .await
        .map_err(|_| rejected(ConnectionError::TimedOut))?
        .map_err(rejected)?;
    // Handshakes without a key fail.
    let key = key_of_peer(&connection).ok_or_else(|| rejected(ConnectionError::LocallyClosed))?;
    Ok(AcceptedLink { connection, key, address })
}

/// Returns the verified key of the peer.
fn key_of_peer(connection: &Connection) -> Option<PublicKey> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(shown.first()?)
}
