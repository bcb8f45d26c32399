//! QUIC settings of links: timeouts, limits, and resets after a restart.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, ServerConfig,
    TokioRuntime, TransportConfig, TransportErrorCode, VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use super::tls;
use crate::peer::identity::Identity;
use crate::peer::link_event::{ConnectionUid, LinkEnd};
use crate::supervise::service_manager;

/// Interval of the heartbeats of the dialing end. NAT mappings for UDP last at least 30 s; a shorter interval detects a new port or a
/// restored network quickly, because QUIC's own probes back off.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Idle timeout of a link. It starts with the first unanswered packet, which is at the latest the next heartbeat, so a loss is detected
/// within 15 s.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(12);

/// Timeout of a handshake: three attempts of the first packet.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit on the wait for a close to be sent before the program ends.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Limit on the streams that the peer has open: one for each scrape, open until its delivery outcome is known.
pub(crate) const MAX_STREAMS: u32 = 128;

/// Flow control window of a stream, which limits the buffered part of a body with a slow reader.
const STREAM_WINDOW: u32 = 1 << 20;

/// Flow control window of all streams of a link.
const LINK_WINDOW: u32 = 16 << 20;

/// The same before the peer has registered: four times the longest control message.
const UNREGISTERED_WINDOW: u32 = 64 << 10;

/// Limit on the unacknowledged bytes of a link.
const SEND_WINDOW: u64 = 4 << 20;

/// Buffer for received heartbeats, which are never read. A heartbeat has one byte; the buffer holds a few, overhead included.
const HEARTBEAT_BUFFER: usize = 1_024;

/// Limit on connections waiting to be accepted, and on the bytes kept of their first packets.
const MAX_INCOMING: usize = 1_024;
const INCOMING_BYTES: u64 = 8 << 10;
const ALL_INCOMING_BYTES: u64 = 2 << 20;

/// The server name in the handshake. Keys identify the peers, so any valid name will do.
pub(crate) const SERVER_NAME: &str = "exporter-proxy";

/// The close code of a graceful close.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);

fn transport(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(LINK_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(HEARTBEAT_BUFFER))
        .datagram_send_buffer_size(HEARTBEAT_BUFFER);
    transport
}

/// Returns the settings of a dialing end. `streams` limits the streams that the peer may open. A scraper sends no heartbeats; QUIC's
/// keep-alive takes their place.
pub(crate) fn client_config(crypto: Arc<QuicClientConfig>, streams: u32, protocol: tls::Protocol) -> ClientConfig {
    let mut transport = transport(streams);
    if protocol == tls::Protocol::Scrape {
        transport.keep_alive_interval(Some(HEARTBEAT_INTERVAL));
    }
    let mut config = ClientConfig::new(crypto);
    config.transport_config(Arc::new(transport));
    config
}

/// Returns the settings of a listening end. `streams` limits the streams that the peer may open. Every key may connect to a listener for
/// registrations, so that its links begin with a small window, see [`widen_window`].
pub(crate) fn server_config(crypto: Arc<QuicServerConfig>, streams: u32, protocol: tls::Protocol) -> ServerConfig {
    let mut transport = transport(streams);
    if protocol == tls::Protocol::Register {
        transport.receive_window(UNREGISTERED_WINDOW.into());
    }
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(Arc::new(transport))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    config
}

/// Widens the window of a link for responses, once its peer has registered.
pub(crate) fn widen_window(connection: &Connection) {
    connection.set_receive_window(LINK_WINDOW.into());
}

/// Bytes of a connection id: not guessable, and little overhead in each packet.
const ID_BYTES: usize = 8;

/// Generates random connection ids. Quinn's default ids identify the run, and packets for an earlier run are dropped; packets with these
/// ids are answered with a stateless reset.
#[derive(Default)]
struct RandomConnectionIds {
    count: u64,
}

impl ConnectionIdGenerator for RandomConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.count += 1;
        // Without randomness the ids are guessable, but still unique.
        let mut id = self.count.to_le_bytes();
        let _ = SystemRandom::new().fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Creates an endpoint with a key for stateless resets derived from the identity: after a restart it resets the connections of the last
/// run, so that the peers dial again immediately instead of after [`IDLE_TIMEOUT`].
fn endpoint(identity: &Identity, socket: UdpSocket, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &identity.derive("stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomConnectionIds::default()));
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// Creates a listening endpoint, on a socket that the service manager has passed for the address or on a new one.
pub(crate) fn listening_endpoint(identity: &Identity, address: SocketAddr, server: ServerConfig) -> io::Result<Endpoint> {
    let socket = match service_manager::udp(address) {
        Some(passed) => passed,
        None => bind(address)?,
    };
    endpoint(identity, socket, Some(server))
}

/// Creates an endpoint for one dial, on a port of its own, with the address family of the target.
pub(crate) fn dialing_endpoint(identity: &Identity, target: SocketAddr) -> io::Result<Endpoint> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    endpoint(identity, bind(any)?, None)
}

/// Size of the socket buffers: fits a thousand links that send at the same moment. The kernel may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A smaller buffer loses packets under load, which QUIC retransmits.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The TLS exporter label of the connection number (RFC 5705).
const UID_LABEL: &[u8] = b"EXPORTER-exporter-proxy connection/1";

/// Returns the number of a connection, the same at both ends.
pub(crate) fn connection_uid(connection: &Connection) -> ConnectionUid {
    let mut bytes = [0; 8];
    match connection.export_keying_material(&mut bytes, UID_LABEL, b"") {
        Ok(()) => ConnectionUid(u64::from_be_bytes(bytes)),
        // Exporting succeeds once the handshake is complete.
        Err(_) => ConnectionUid::random(),
    }
}

/// Sends a heartbeat. Errors are ignored; the idle timeout ends the link.
pub(crate) fn send_heartbeat(connection: &Connection) {
    let _ = connection.send_datagram(Bytes::from_static(b"."));
}

/// Returns the end of a connection.
pub(crate) fn link_end(error: &ConnectionError) -> LinkEnd {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            LinkEnd::graceful(format!("closed by the peer: {}", String::from_utf8_lossy(&close.reason)))
        }
        ConnectionError::LocallyClosed => LinkEnd::closed_here(),
        ConnectionError::TimedOut => LinkEnd::lost(format!("no packets received for {} s", IDLE_TIMEOUT.as_secs())),
        ConnectionError::Reset => LinkEnd::lost("the peer was restarted"),
        ConnectionError::TransportError(error) => LinkEnd::lost(error_reason(&error.reason, &error.code)),
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            LinkEnd::lost(format!("closed by the peer: {}", error_reason(&reason, &close.error_code)))
        }
        other => LinkEnd::lost(other.to_string()),
    }
}

/// Returns the reason of an error without the prefix added by TLS, or its code.
fn error_reason(reason: &str, code: &TransportErrorCode) -> String {
    match reason.strip_prefix("unexpected error: ").unwrap_or(reason) {
        "" => code.to_string(),
        reason => reason.to_owned(),
    }
}
