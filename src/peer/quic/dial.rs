//! Dialing over QUIC: connects to an address and verifies the key of the peer.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, TransportErrorCode};
use tokio::time::timeout;

use super::tls::{self, Protocol};
use super::transport::{self, CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, SERVER_NAME, link_end};
use crate::peer::identity::{Identity, PublicKey, QuicAddress};

/// The TLS alert of a listener for another protocol (RFC 7301).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// The error of a dial.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host name does not resolve.
    #[error("{0} does not resolve: {1}")]
    Resolve(String, std::io::Error),
    /// Creating the socket failed.
    #[error("cannot open a UDP socket for {0}: {1}")]
    Socket(SocketAddr, std::io::Error),
    /// The peer at the address has another key.
    #[error("{address} has the wrong key: expected {expected}, found {found}")]
    WrongKey {
        /// The dialed address.
        address: SocketAddr,
        /// The expected key.
        expected: PublicKey,
        /// The key of the peer.
        found: PublicKey,
    },
    /// The handshake timed out.
    #[error("{0} (udp) does not answer within {1:?}: is it running, and does the firewall let UDP pass?")]
    Silent(SocketAddr, Duration),
    /// The handshake failed, for instance because the peer does not admit our key.
    #[error("{0}: {1}")]
    Refused(SocketAddr, String),
    /// The address listens for the other protocol of links.
    #[error("{0}: {1}")]
    WrongPort(SocketAddr, &'static str),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection and the endpoint that it uses alone.
pub(crate) struct DialedConnection {
    pub(crate) connection: Connection,
    endpoint: Endpoint,
}

impl DialedConnection {
    /// Waits until the peer has received the close, with a timeout.
    pub(crate) async fn wait_closed(&self) {
        // A peer that does not receive the close runs into its idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

/// Dials each address of the host in turn. `streams` limits the streams that the peer may open.
pub(crate) async fn dial(identity: &Identity, to: &QuicAddress, protocol: Protocol, streams: u32) -> Result<DialedConnection, DialError> {
    let addresses = to.resolve().await.map_err(|e| DialError::Resolve(to.host_port.to_string(), e))?;
    let mut last = None;
    for address in addresses {
        match dial_one(identity, to.key, address, protocol, streams).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| DialError::Resolve(to.host_port.to_string(), std::io::ErrorKind::NotFound.into())))
}

async fn dial_one(
    identity: &Identity,
    expected: PublicKey,
    address: SocketAddr,
    protocol: Protocol,
    streams: u32,
) -> Result<DialedConnection, DialError> {
    let socket = |e| DialError::Socket(address, e);
    // A new socket for each dial, because the NAT mapping of the previous one may be stale.
    let endpoint = transport::dialing_endpoint(identity, address).map_err(socket)?;
    let (crypto, unexpected) = tls::client_config(identity, expected, protocol)?;
    let config = transport::client_config(crypto, streams, protocol);
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|e| socket(std::io::Error::other(e)))?;
    let outcome = timeout(HANDSHAKE_TIMEOUT, connecting)
        .await
        .map_err(|_| DialError::Silent(address, HANDSHAKE_TIMEOUT))?;
    let found = *unexpected.lock().unwrap_or_else(PoisonError::into_inner);
    match (outcome, found) {
        (_, Some(found)) => Err(DialError::WrongKey { address, expected, found }),
        (Ok(connection), None) => Ok(DialedConnection { connection, endpoint }),
        (Err(ConnectionError::TimedOut), None) => Err(DialError::Silent(address, HANDSHAKE_TIMEOUT)),
        (Err(ConnectionError::ConnectionClosed(close)), None)
            if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
        {
            Err(DialError::WrongPort(address, protocol.wrong_port()))
        }
        (Err(error), None) => Err(DialError::Refused(address, link_end(&error).why)),
    }
}
