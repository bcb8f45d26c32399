//! Dialling: from a key to a connection whose other end has shown that key.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use peeroxide_dht::crypto::hash;
use peeroxide_dht::holepuncher::match_address;
use peeroxide_dht::hyperdht_messages::{
    FIREWALL_OPEN, FIREWALL_UNKNOWN, HandshakeMessage, MODE_FROM_CLIENT, MODE_REPLY, NoisePayload, PEER_HANDSHAKE, SecretStreamInfo,
    UdxInfo, decode_handshake_from_bytes, decode_hyper_peer_from_bytes, encode_handshake_to_bytes,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::noise::{Keypair, generate_keypair};
use peeroxide_dht::noise_wrap::NoiseWrap;
use tokio::time::timeout;

use super::announce::{closest, request};
use super::node::{NatStatus, Node, lock, socket_address};
use super::secret_stream::{SecretStream, SecretStreamError, SessionKeys};
use super::udx_stream::{PUNCH_INTERVAL, PendingStream, stream_id};
use crate::peer::PublicKey;

/// How many nodes are asked who knows a key: all that HyperDHT considers close.
const MAX_RELAYS: usize = 20;
/// How long a relay has before the next one is tried beside it; the first answer counts.
const STAGGER: Duration = Duration::from_millis(250);
/// Dials that talk to the network at once: each sends a few dozen packets, and nodes that get too many of them drop some.
pub(super) const MAX_CONCURRENT_DIALS: usize = 16;
/// How long an answer may take before the handshake is sent again, in milliseconds.
const RESEND_MS: u64 = 700;
/// How often it is sent again through the same relay.
const RESENDS: u32 = 2;
/// How long the other end may take to be heard after its answer, before it is tried in another way.
const HEADER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a peer that starts the connection has for it: a packet that is lost comes again a second later.
const PEER_START_TIMEOUT: Duration = Duration::from_secs(2);
/// When packets go out within [`PEER_START_TIMEOUT`] that open the way for it.
const PUNCH_TIMES: [Duration; 7] = [
    Duration::ZERO,
    PUNCH_INTERVAL,
    Duration::from_millis(600),
    Duration::from_millis(900),
    Duration::from_millis(1_200),
    Duration::from_millis(1_500),
    Duration::from_millis(1_800),
];
/// Peers whose relays are remembered; a bridge has about as many proxies.
const MAX_CACHED_PEERS: usize = 4096;

/// Why nobody was reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Nobody can be asked: there is no network for us, or not through the nodes that we were told of.
    #[error("no node of HyperDHT answers; look at the bootstrap nodes, and at the firewall for UDP")]
    NoNetwork,
    /// Nobody in the network knows the key.
    #[error("{0} is not announced in HyperDHT")]
    NotAnnounced(PublicKey),
    /// It did not answer in time.
    #[error("{0} did not answer within {1:?}")]
    Timeout(PublicKey, Duration),
    /// The network knows the key, but nothing has come back through any node: it is gone, or does not let us in, which looks the same.
    #[error("{0} is announced in HyperDHT but does not answer: it is gone, or does not let this key in")]
    NoReply(PublicKey),
    /// It answered with a refusal, or with something that we cannot do.
    #[error("{0} refused: {1}")]
    Refused(PublicKey, String),
    /// It answered, but no packet of it arrives.
    #[error("{0} answered, but nothing comes through from {1}; a firewall or a translator of addresses is in the way")]
    Unreachable(PublicKey, SocketAddr),
    /// The connection broke while it was made.
    #[error("{0}: {1}")]
    Stream(PublicKey, SecretStreamError),
    /// The transport failed on our side.
    #[error("{0}: {1}")]
    Transport(PublicKey, io::Error),
}

/// Through whom peers were reached the last time.
#[derive(Default)]
pub(super) struct RelayCache(HashMap<PublicKey, Vec<Ipv4Peer>>);

impl RelayCache {
    fn remember(&mut self, peer: PublicKey, relays: &[Ipv4Peer]) {
        if self.0.len() >= MAX_CACHED_PEERS
            && !self.0.contains_key(&peer)
            && let Some(any) = self.0.keys().next().copied()
        {
            self.0.remove(&any);
        }
        self.0.insert(peer, relays.to_vec());
    }
}

/// Reaches a peer within `wait`.
pub(super) async fn dial(node: &Node, pair: &Keypair, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
    let dialer = async {
        // Before that nobody can be asked, and nobody has said how we are seen. A node that has gone fails what comes next.
        let _ = node.dht.bootstrapped().await;
        let nat = node.nat_status().await;
        Dialer { node, pair, to, nat }.run().await
    };
    timeout(wait, dialer).await.unwrap_or(Err(DialError::Timeout(to, wait)))
}

struct Dialer<'a> {
    node: &'a Node,
    pair: &'a Keypair,
    to: PublicKey,
    nat: NatStatus,
}

/// An answer to our handshake.
struct HandshakeReply {
    payload: NoisePayload,
    keys: SessionKeys,
    remote: u32,
    /// Where the peer is for the relay.
    server: Ipv4Peer,
}

impl Dialer<'_> {
    async fn run(&self) -> Result<SecretStream, DialError> {
        // Who hears "open" sends to where the relay sees us, which gets us through translators of addresses that are consistent; who does
        // not waits for our first packet, wherever it comes from. Where the likelier fails the other may do.
        let claims = if self.nat.is_consistent_nat() {
            [FIREWALL_OPEN, FIREWALL_UNKNOWN]
        } else {
            [FIREWALL_UNKNOWN, FIREWALL_OPEN]
        };
        let mut failed = DialError::NoReply(self.to);
        for claim in claims {
            // The first packet may be faster than the answer, which goes a longer way.
            let own = stream_id().map_err(|e| DialError::Transport(self.to, e))?;
            let expected = PendingStream::new(self.node, own)
                .await
                .map_err(|e| DialError::Transport(self.to, e))?;
            let reply = self.exchange_handshake(own, claim).await?;
            let connected = if claim == FIREWALL_OPEN && self.peer_sends_first(&reply) {
                self.wait_for_peer(expected, reply).await
            } else {
                self.connect(expected, reply).await
            };
            match connected {
                Err(error @ DialError::Unreachable(..)) => failed = error,
                done => return done,
            }
        }
        Err(failed)
    }

    /// Has somebody pass on our handshake, and waits for the answer.
    async fn exchange_handshake(&self, own: u32, claim: u64) -> Result<HandshakeReply, DialError> {
        let _turn = self.node.dial_permits.acquire().await;
        let known = lock(&self.node.relay_cache).0.get(&self.to).cloned().unwrap_or_default();
        let handshake = OutgoingHandshake {
            dialer: self,
            ephemeral: generate_keypair(),
            own,
            claim,
        };
        if let Some(reply) = handshake.via(&known).await? {
            return Ok(reply);
        }
        let relays = self.relays().await?;
        match handshake.via(&relays).await? {
            Some(reply) => {
                lock(&self.node.relay_cache).remember(self.to, &relays);
                Ok(reply)
            }
            None if relays.is_empty() => Err(DialError::NotAnnounced(self.to)),
            None => Err(DialError::NoReply(self.to)),
        }
    }

    /// Who may pass on a handshake: nodes that hold the peer's record, and those that it names.
    async fn relays(&self) -> Result<Vec<Ipv4Peer>, DialError> {
        let replies = closest(&self.node.dht, hash(self.to.as_bytes()), MAX_RELAYS).await;
        if replies.is_empty() {
            return Err(DialError::NoNetwork);
        }
        let mut relays = Vec::new();
        let mut named = Vec::new();
        for reply in replies {
            let record = reply.value.as_deref().and_then(|value| decode_hyper_peer_from_bytes(value).ok());
            if let Some(record) = record.filter(|record| record.public_key == *self.to.as_bytes()) {
                relays.push(reply.from);
                named.extend(record.relay_addresses);
            }
        }
        for relay in named {
            if relays.len() < MAX_RELAYS && !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        Ok(relays)
    }

    /// Whether who has heard "open" from us sends the first packet. It may come from elsewhere than from where the relay sees the peer, so
    /// until then there is nobody to talk to.
    fn peer_sends_first(&self, reply: &HandshakeReply) -> bool {
        reply.payload.firewall != FIREWALL_OPEN && self.peer_address(reply) == reply.server
    }

    /// From an answer to a connection that the peer starts.
    async fn wait_for_peer(&self, mut expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let transport = |e| DialError::Transport(self.to, e);
        let server = socket_address(&reply.server).ok_or_else(|| DialError::Refused(self.to, "it says no address".to_owned()))?;
        let Ok(heard) = timeout(
            PEER_START_TIMEOUT,
            expected.punch_until_first_packet(&self.node.socket, server, &PUNCH_TIMES),
        )
        .await
        else {
            return Err(DialError::Unreachable(self.to, server));
        };
        let address = heard.map_err(transport)?;
        let (source, sink) = expected.open(reply.remote, address).await.map_err(transport)?;
        self.read_header(SecretStream::new(self.to, address, reply.keys, source, sink), address)
            .await
    }

    /// The connection, once the other end has greeted.
    async fn read_header(&self, mut stream: SecretStream, address: SocketAddr) -> Result<SecretStream, DialError> {
        match timeout(HEADER_TIMEOUT, stream.reader.read_header()).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(DialError::Stream(self.to, error)),
            Err(_) => Err(DialError::Unreachable(self.to, address)),
        }
    }

    /// From an answer to a connection.
    async fn connect(&self, expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let server =
            socket_address(&self.peer_address(&reply)).ok_or_else(|| DialError::Refused(self.to, "it says no address".to_owned()))?;
        let transport = expected.open(reply.remote, server).await;
        let (source, sink) = transport.map_err(|e| DialError::Transport(self.to, e))?;
        self.read_header(SecretStream::new(self.to, server, reply.keys, source, sink), server)
            .await
    }

    /// Where to send the first packet.
    fn peer_address(&self, reply: &HandshakeReply) -> Ipv4Peer {
        let (theirs, payload) = (&reply.payload.addresses4, &reply.payload);
        if payload.firewall == FIREWALL_OPEN {
            let public = theirs.iter().find(|address| !is_private(&address.host));
            return public.unwrap_or(&reply.server).clone();
        }
        // Behind the same translator of addresses the way through it is often closed, and there is a shorter one.
        let neighbor = !self.nat.has_no_nat() && self.nat.address.as_ref().is_some_and(|own| own.host == reply.server.host);
        let private: Vec<_> = theirs.iter().filter(|address| is_private(&address.host)).cloned().collect();
        let near = match_address(&self.nat.local, &private).filter(|_| neighbor);
        near.unwrap_or_else(|| reply.server.clone())
    }
}

/// A handshake that is the same through whatever relay it goes.
struct OutgoingHandshake<'a> {
    dialer: &'a Dialer<'a>,
    ephemeral: Keypair,
    own: u32,
    claim: u64,
}

impl OutgoingHandshake<'_> {
    /// The first answer that comes through one of the relays.
    async fn via(&self, relays: &[Ipv4Peer]) -> Result<Option<HandshakeReply>, DialError> {
        let mut waiting = relays.iter();
        let mut asked = FuturesUnordered::new();
        loop {
            let answer = match waiting.next() {
                Some(relay) => {
                    asked.push(self.exchange_via(relay));
                    timeout(STAGGER, asked.next()).await.unwrap_or_default()
                }
                None => asked.next().await,
            };
            match answer {
                Some(Some(Ok(reply))) => return Ok(Some(reply)),
                Some(Some(Err(why))) => return Err(DialError::Refused(self.dialer.to, why)),
                Some(None) => {}
                None if waiting.len() == 0 && asked.is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    /// Through one relay; `None` where it has no answer, or not the peer's.
    async fn exchange_via(&self, relay: &Ipv4Peer) -> Option<Result<HandshakeReply, String>> {
        let Dialer { node, pair, to, nat } = self.dialer;
        let mut noise = NoiseWrap::new_initiator((*pair).clone(), *to.as_bytes());
        noise.set_ephemeral(self.ephemeral.clone());
        let message = HandshakeMessage {
            mode: MODE_FROM_CLIENT,
            noise: noise.send(&self.payload(nat)).ok()?,
            peer_address: None,
            relay_address: None,
        };
        let mut request = request(PEER_HANDSHAKE, hash(to.as_bytes()));
        request.value = Some(encode_handshake_to_bytes(&message).ok()?);
        request.timeout_ms = Some(RESEND_MS);
        request.retries = Some(RESENDS);
        let reply = node.dht.request(request, &relay.host, relay.port).await.ok()?;
        let message = decode_handshake_from_bytes(&reply.value?).ok()?;
        if message.mode != MODE_REPLY || reply.error != 0 {
            return None;
        }
        // Only the peer can have written what this reads.
        let payload = noise.recv(&message.noise).ok()?;
        let shared = noise.finalize().ok()?;
        Some(stream_id_of(&payload).map(|remote| HandshakeReply {
            keys: SessionKeys {
                initiator: true,
                tx: shared.tx,
                rx: shared.rx,
                hash: shared.handshake_hash,
            },
            payload,
            remote,
            server: message.peer_address.unwrap_or_else(|| relay.clone()),
        }))
    }

    fn payload(&self, nat: &NatStatus) -> NoisePayload {
        NoisePayload {
            version: 1,
            error: 0,
            firewall: self.claim,
            holepunch: None,
            addresses4: nat.addresses(),
            addresses6: Vec::new(),
            udx: Some(UdxInfo {
                version: 1,
                reusable_socket: false,
                id: self.own.into(),
                seq: 0,
            }),
            secret_stream: Some(SecretStreamInfo { version: 1 }),
            relay_through: None,
            relay_addresses: None,
        }
    }
}

/// The stream that the peer has for us, if we can use what it offers.
fn stream_id_of(payload: &NoisePayload) -> Result<u32, String> {
    if payload.version != 1 {
        return Err(format!("it speaks version {} of the handshake", payload.version));
    }
    if payload.error != 0 {
        return Err(format!("it answered with error {}", payload.error));
    }
    if payload.relay_through.is_some() {
        return Err("it wants to be reached through a relay of data, which we cannot".to_owned());
    }
    let udx = payload.udx.as_ref().ok_or("it has no stream for us")?;
    u32::try_from(udx.id).map_err(|_| format!("{} names no stream", udx.id))
}

/// Whether an address means something else in every network (RFC 6890).
fn is_private(host: &str) -> bool {
    let Ok(IpAddr::V4(address)) = host.parse() else {
        return true;
    };
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0b1100_0000 == 64;
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_small_networks_are_private() {
        for private in [
            "10.0.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "::1",
            "no address",
        ] {
            assert!(is_private(private), "{private}");
        }
        for public in ["88.99.3.86", "100.128.0.1", "100.63.0.1"] {
            assert!(!is_private(public), "{public}");
        }
    }

    #[test]
    fn routes_are_bounded() {
        let mut relay_cache = RelayCache::default();
        for number in 0..MAX_CACHED_PEERS + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            relay_cache.remember(PublicKey::new(key), &[]);
        }
        assert_eq!(relay_cache.0.len(), MAX_CACHED_PEERS);
    }
}
