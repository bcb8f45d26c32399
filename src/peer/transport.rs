//! QUIC as links use it: how long silence may last, how much may be under way, how an end is found again after a restart.

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

use super::{ConnectionUid, Identity};

/// How often the end that dialled sends a sign of life. A translator of addresses (NAT) keeps a UDP mapping for 30 s at least; the rest
/// is so that a new port or a cable that is back is noticed at once: QUIC's own probes come ever more rarely.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Silence after which a link is lost. It counts from the first packet that stays unanswered, which is a beat at the latest, so a loss is
/// noticed within 15 s.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a handshake may take: three tries of the first packet.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a close may take to go out before the program ends without.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Streams that the other end may have open at once: one a scrape, kept until its reader has shown that it has the answer.
pub(super) const MAX_STREAMS: u32 = 128;

/// Bytes of one stream that may arrive before they are taken: the most that is buffered of a body whose reader is slow.
const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes of all streams of a link that may arrive before they are taken.
const LINK_WINDOW: u32 = 16 << 20;

/// Bytes of a link that are kept until they are acknowledged.
const SEND_WINDOW: u64 = 4 << 20;

/// Signs of life carry one byte, and nobody takes them out: this many bytes, bookkeeping included, hold a few.
const HEARTBEAT_BUFFER: usize = 1_024;

/// Connections that may wait to be accepted, and what of their first packets is kept meanwhile.
const MAX_INCOMING: usize = 1_024;
const INCOMING_BYTES: u64 = 8 << 10;
const ALL_INCOMING_BYTES: u64 = 2 << 20;

/// The name in the handshake: keys say who is who, so it only has to be one.
pub(super) const SERVER_NAME: &str = "exporter-proxy";

/// The code of a close on purpose.
pub(super) const CLOSED: VarInt = VarInt::from_u32(0);

/// The code of a stream that is given up: what it carried has not reached its reader.
pub(super) const RESET: VarInt = VarInt::from_u32(1);

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

/// The dialling end's settings; the other end may open so many streams. A scraper has nobody to send beats, so QUIC keeps its link alive.
pub(super) fn client_config(crypto: Arc<QuicClientConfig>, streams: u32, protocol: super::tls::Protocol) -> ClientConfig {
    let mut transport = transport(streams);
    if protocol == super::tls::Protocol::Scrape {
        transport.keep_alive_interval(Some(HEARTBEAT_INTERVAL));
    }
    let mut config = ClientConfig::new(crypto);
    config.transport_config(Arc::new(transport));
    config
}

/// The listening end's settings; the other end may open so many streams.
pub(super) fn server_config(crypto: Arc<QuicServerConfig>, streams: u32) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(Arc::new(transport(streams)))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    config
}

/// Bytes of a connection id: enough that nobody guesses one, little in each packet.
const ID_BYTES: usize = 8;

/// Connection ids that say nothing. QUIC's usual ones show which run they are from, and packets for an earlier run are dropped in
/// silence; these are answered with a reset.
#[derive(Default)]
struct RandomConnectionIds {
    count: u64,
}

impl ConnectionIdGenerator for RandomConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.count += 1;
        // Without randomness ids are guessable, but still not given twice.
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

/// An endpoint whose key for resets follows from the identity: after a restart it can tell whoever still talks to the last run that those
/// connections are gone, and they dial anew at once instead of after [`IDLE_TIMEOUT`].
fn endpoint(identity: &Identity, socket: UdpSocket, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &identity.derive("stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomConnectionIds::default()));
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// An endpoint that listens.
pub(super) fn listening_endpoint(identity: &Identity, address: SocketAddr, server: ServerConfig) -> io::Result<Endpoint> {
    endpoint(identity, bind(address)?, Some(server))
}

/// An endpoint for one dial, of the address family of its target, on a port of its own.
pub(super) fn dialing_endpoint(identity: &Identity, target: SocketAddr) -> io::Result<Endpoint> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    endpoint(identity, bind(any)?, None)
}

/// Bytes of datagrams that the kernel may hold for us, in either direction: a thousand links that talk at the same moment fit. The kernel
/// gives less where its own limit is lower.
const SOCKET_BUFFER: usize = 4 << 20;

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A smaller buffer loses packets under load, which QUIC sends again.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The label under which the number of a connection is taken out of TLS (RFC 5705).
const UID_LABEL: &[u8] = b"EXPORTER-exporter-proxy connection/1";

/// The number of a connection, the same at both ends.
pub(super) fn connection_uid(connection: &Connection) -> ConnectionUid {
    let mut bytes = [0; 8];
    match connection.export_keying_material(&mut bytes, UID_LABEL, b"") {
        Ok(()) => ConnectionUid(u64::from_be_bytes(bytes)),
        // TLS gives it once the handshake is complete, as it is here.
        Err(_) => ConnectionUid::random(),
    }
}

/// Sends a sign of life. One that cannot be sent is no matter: silence is what ends a link.
pub(super) fn send_heartbeat(connection: &Connection) {
    let _ = connection.send_datagram(Bytes::from_static(b"."));
}

/// Whether an end of a connection was meant, and the reason as a person would say it.
pub(super) fn close_reason(error: &ConnectionError) -> (bool, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => (true, format!("the other end says: {}", String::from_utf8_lossy(&close.reason))),
        ConnectionError::LocallyClosed => (true, "closed here".to_owned()),
        ConnectionError::TimedOut => (false, format!("nothing heard for {} s", IDLE_TIMEOUT.as_secs())),
        ConnectionError::Reset => (false, "the other end has been restarted".to_owned()),
        ConnectionError::TransportError(error) => (false, error_reason(&error.reason, &error.code)),
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            (false, format!("the other end says: {}", error_reason(&reason, &close.error_code)))
        }
        other => (false, other.to_string()),
    }
}

/// What an error says of itself, without the words that TLS puts before what we say ourselves; else its code.
fn error_reason(reason: &str, code: &TransportErrorCode) -> String {
    match reason.strip_prefix("unexpected error: ").unwrap_or(reason) {
        "" => code.to_string(),
        reason => reason.to_owned(),
    }
}
