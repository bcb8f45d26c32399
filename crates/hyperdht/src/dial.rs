//! Dialing by key: finds a peer in the network, exchanges the handshake through a relay, and connects.

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

use crate::announce::{closest, request};
use crate::key::PublicKey;
use crate::node::{NatStatus, Node, lock, socket_address};
use crate::secret_stream::{SecretStream, SecretStreamError, SessionKeys};
use crate::udx_stream::{PUNCH_INTERVAL, PendingStream, stream_id};

/// Number of nodes queried for a key: all that HyperDHT considers close.
const MAX_RELAYS: usize = 20;
/// Delay before the next relay is tried in parallel; the first reply counts.
const STAGGER: Duration = Duration::from_millis(250);
/// Limit on dials that query the network at the same time: each sends a few dozen packets, and overloaded nodes drop some.
pub(crate) const MAX_CONCURRENT_DIALS: usize = 16;
/// Timeout before a handshake is sent again, in milliseconds.
const RESEND_MS: u64 = 700;
/// Number of retries through the same relay.
const RESENDS: u32 = 2;
/// Limit on the wait for the peer's stream header after its reply, before the other firewall claim is tried.
const HEADER_TIMEOUT: Duration = Duration::from_secs(4);
/// Limit on the wait for a first packet of the peer: a lost packet is sent again after a second.
const PEER_START_TIMEOUT: Duration = Duration::from_secs(2);
/// Times of hole punching packets within [`PEER_START_TIMEOUT`].
const PUNCH_TIMES: [Duration; 7] = [
    Duration::ZERO,
    PUNCH_INTERVAL,
    Duration::from_millis(600),
    Duration::from_millis(900),
    Duration::from_millis(1_200),
    Duration::from_millis(1_500),
    Duration::from_millis(1_800),
];
/// Limit on peers with cached relays, more than the proxies of a typical bridge.
const MAX_CACHED_PEERS: usize = 4096;

/// The error of a dial.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No node of the network responds: the network is unreachable, or the bootstrap nodes are wrong.
    #[error("no HyperDHT node responds; check the bootstrap nodes and whether the firewall lets UDP pass")]
    NoNetwork,
    /// No node knows the key.
    #[error("not announced in HyperDHT")]
    NotAnnounced,
    /// The dial timed out.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The key is announced, but no reply came through any node: the peer is gone or does not admit our key, which cannot be distinguished.
    #[error("announced in HyperDHT but does not respond: it has stopped, or does not admit this key")]
    NoReply,
    /// The peer refused, or requires an unsupported feature.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer replied, but none of its packets arrives.
    #[error("responded to the handshake, but no packets arrive from {0}: a firewall or symmetric NAT drops them")]
    Unreachable(SocketAddr),
    /// The connection was lost while it was opened.
    #[error(transparent)]
    Stream(#[from] SecretStreamError),
    /// The local transport failed.
    #[error("cannot open a stream: {0}")]
    Transport(#[from] io::Error),
}

/// The relays through which each peer was last reached.
#[derive(Default)]
pub(crate) struct RelayCache(HashMap<PublicKey, Vec<Ipv4Peer>>);

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

/// Dials a peer within `wait`.
pub(crate) async fn dial(node: &Node, pair: &Keypair, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
    let dialer = async {
        // Without the network no node could be queried, and our address would be unknown. A closed node makes the next request fail.
        let _ = node.dht.bootstrapped().await;
        let nat = node.nat_status().await;
        Dialer { node, pair, to, nat }.run().await
    };
    timeout(wait, dialer).await.unwrap_or(Err(DialError::Timeout(wait)))
}

struct Dialer<'a> {
    node: &'a Node,
    pair: &'a Keypair,
    to: PublicKey,
    nat: NatStatus,
}

/// A reply to our handshake.
struct HandshakeReply {
    payload: NoisePayload,
    keys: SessionKeys,
    remote: u32,
    /// The address of the peer as seen by the relay.
    server: Ipv4Peer,
}

impl Dialer<'_> {
    async fn run(&self) -> Result<SecretStream, DialError> {
        // A peer that reads "open" sends to our address as seen by the relay, which works behind a consistent NAT. A peer that reads
        // "unknown" waits for our first packet, from any address. The likelier claim is tried first, then the other.
        let claims = if self.nat.is_consistent_nat() {
            [FIREWALL_OPEN, FIREWALL_UNKNOWN]
        } else {
            [FIREWALL_UNKNOWN, FIREWALL_OPEN]
        };
        let mut failed = DialError::NoReply;
        for claim in claims {
            // The first packet may arrive before the reply, which takes a longer path.
            let own = stream_id()?;
            let expected = PendingStream::new(self.node, own).await?;
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

    /// Sends our handshake through a relay and waits for the reply.
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
            None if relays.is_empty() => Err(DialError::NotAnnounced),
            None => Err(DialError::NoReply),
        }
    }

    /// Returns the relays of a peer: the nodes with its record, and those named in the record.
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

    /// Returns true if the peer sends the first packet after our claim "open". Its source may differ from the address seen by the relay,
    /// so it is unknown until then.
    fn peer_sends_first(&self, reply: &HandshakeReply) -> bool {
        reply.payload.firewall != FIREWALL_OPEN && self.peer_address(reply) == reply.server
    }

    /// Opens a connection after the first packet of the peer.
    async fn wait_for_peer(&self, mut expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let server = socket_address(&reply.server).ok_or_else(|| DialError::Refused("its reply has no address".to_owned()))?;
        let Ok(first_packet) = timeout(
            PEER_START_TIMEOUT,
            expected.punch_until_first_packet(&self.node.socket, server, &PUNCH_TIMES),
        )
        .await
        else {
            return Err(DialError::Unreachable(server));
        };
        let address = first_packet?;
        let (source, sink) = expected.open(reply.remote, address).await?;
        self.read_header(SecretStream::new(self.to, address, reply.keys, source, sink), address)
            .await
    }

    /// Waits for the stream header of the peer.
    async fn read_header(&self, mut stream: SecretStream, address: SocketAddr) -> Result<SecretStream, DialError> {
        match timeout(HEADER_TIMEOUT, stream.reader.read_header()).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(DialError::Unreachable(address)),
        }
    }

    /// Opens a connection by sending the first packet.
    async fn connect(&self, expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let server = socket_address(&self.peer_address(&reply)).ok_or_else(|| DialError::Refused("its reply has no address".to_owned()))?;
        let (source, sink) = expected.open(reply.remote, server).await?;
        self.read_header(SecretStream::new(self.to, server, reply.keys, source, sink), server)
            .await
    }

    /// Returns the destination of the first packet.
    fn peer_address(&self, reply: &HandshakeReply) -> Ipv4Peer {
        let (theirs, payload) = (&reply.payload.addresses4, &reply.payload);
        if payload.firewall == FIREWALL_OPEN {
            let public = theirs.iter().find(|address| !is_private(&address.host));
            return public.unwrap_or(&reply.server).clone();
        }
        // Behind the same NAT its external address often does not work, and the local network is shorter.
        let neighbor = !self.nat.has_no_nat() && self.nat.address.as_ref().is_some_and(|own| own.host == reply.server.host);
        let private: Vec<_> = theirs.iter().filter(|address| is_private(&address.host)).cloned().collect();
        let near = match_address(&self.nat.local, &private).filter(|_| neighbor);
        near.unwrap_or_else(|| reply.server.clone())
    }
}

/// A handshake, identical through every relay.
struct OutgoingHandshake<'a> {
    dialer: &'a Dialer<'a>,
    ephemeral: Keypair,
    own: u32,
    claim: u64,
}

impl OutgoingHandshake<'_> {
    /// Sends the handshake through the relays; returns the first reply.
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
                Some(Some(Err(why))) => return Err(DialError::Refused(why)),
                Some(None) => {}
                None if waiting.len() == 0 && asked.is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    /// Sends the handshake through one relay; `None` without a valid reply of the peer.
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
        // Decrypts only if the peer has written it.
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

/// Returns the stream id of the peer if its payload is supported.
fn stream_id_of(payload: &NoisePayload) -> Result<u32, String> {
    if payload.version != 1 {
        return Err(format!(
            "it uses version {} of the handshake, which is not supported",
            payload.version
        ));
    }
    if payload.error != 0 {
        return Err(format!("it replied with error {}", payload.error));
    }
    if payload.relay_through.is_some() {
        return Err("it requires a data relay, which is not supported".to_owned());
    }
    let udx = payload.udx.as_ref().ok_or("its reply has no stream id")?;
    u32::try_from(udx.id).map_err(|_| format!("{} is not a valid stream id", udx.id))
}

/// Returns true for addresses that are not globally reachable (RFC 6890).
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
mod tests;
