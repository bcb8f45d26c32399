//! Dialing by key: finds a peer in the network, exchanges the handshake through a relay, and connects.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::announce::closest;
use crate::dht::Dht;
use crate::engine::Call;
use crate::hash::hash;
use crate::key::{KeyPair, PublicKey};
use crate::messages::{Firewall, Handshake, HandshakeMode, HandshakePayload, PeerRecord, UdxInfo, command};
use crate::mutex::lock;
use crate::nat::{NatStatus, is_private};
use crate::noise::{Initiator, Session};
use crate::relay_cache::RelayCache;
use crate::request_table::Attempts;
use crate::secret_stream::{SecretStream, SecretStreamError};
use crate::udx::MAX_RECEIVE_BYTES;
use crate::udx_stream::{PUNCH_INTERVAL, PendingStream};

/// Number of nodes queried for a key: all that HyperDHT considers close.
const MAX_RELAYS: usize = 20;
/// Delay before the next relay is tried in parallel; the first reply counts.
const STAGGER: Duration = Duration::from_millis(250);
/// Limit on dials that query the network at the same time: each sends a few dozen packets, and overloaded nodes drop some.
const MAX_CONCURRENT_DIALS: usize = 16;
/// Retries of a handshake through the same relay.
const HANDSHAKE_ATTEMPTS: Attempts = Attempts {
    timeout: Duration::from_millis(700),
    retries: 2,
};
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

/// The dialing part of a node, shared by all its dials.
pub(crate) struct DialContext {
    dht: Dht,
    relays: Mutex<RelayCache>,
    /// Limits dials that query the network.
    permits: Semaphore,
}

impl DialContext {
    pub(crate) fn new(dht: Dht) -> Arc<Self> {
        Arc::new(Self {
            dht,
            relays: Mutex::default(),
            permits: Semaphore::new(MAX_CONCURRENT_DIALS),
        })
    }

    /// Dials a peer within `wait`.
    pub(crate) async fn dial(&self, pair: &KeyPair, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
        let dialer = async {
            // Without the network no node could be queried, and our address would be unknown.
            self.dht.bootstrapped().await;
            let nat = self.dht.nat_status();
            Dialer {
                context: self,
                pair,
                to,
                nat,
            }
            .run()
            .await
        };
        timeout(wait, dialer).await.unwrap_or(Err(DialError::Timeout(wait)))
    }
}

struct Dialer<'a> {
    context: &'a DialContext,
    pair: &'a KeyPair,
    to: PublicKey,
    nat: NatStatus,
}

/// A reply to our handshake.
struct HandshakeReply {
    payload: HandshakePayload,
    session: Session,
    /// The peer's id of the stream.
    remote: u32,
    /// The address of the peer as seen by the relay.
    server: SocketAddrV4,
}

impl Dialer<'_> {
    async fn run(&self) -> Result<SecretStream, DialError> {
        // A peer that reads "open" sends to our address as seen by the relay, which works behind a consistent NAT. A peer that reads
        // "unknown" waits for our first packet, from any address. The likelier claim is tried first, then the other.
        let claims = if self.nat.is_consistent_nat() {
            [Firewall::OPEN, Firewall::UNKNOWN]
        } else {
            [Firewall::UNKNOWN, Firewall::OPEN]
        };
        let mut failed = DialError::NoReply;
        for claim in claims {
            // The first packet may arrive before the reply, which takes a longer path.
            let expected = PendingStream::new(self.context.dht.socket())?;
            let reply = self.exchange_handshake(expected.id(), claim).await?;
            let connected = if claim == Firewall::OPEN && self.peer_sends_first(&reply) {
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
    async fn exchange_handshake(&self, own: u32, claim: Firewall) -> Result<HandshakeReply, DialError> {
        let _turn = self.context.permits.acquire().await;
        let known = lock(&self.context.relays).get(&self.to);
        let handshake = self.start_handshake(own, claim)?;
        if let Some(reply) = handshake.via(&known).await? {
            return Ok(reply);
        }
        let relays = self.relays().await?;
        match handshake.via(&relays).await? {
            Some(reply) => {
                lock(&self.context.relays).remember(self.to, &relays);
                Ok(reply)
            }
            None if relays.is_empty() => Err(DialError::NotAnnounced),
            None => Err(DialError::NoReply),
        }
    }

    /// Returns the relays of a peer: the nodes with its record, and those named in the record.
    async fn relays(&self) -> Result<Vec<SocketAddrV4>, DialError> {
        let found = closest(&self.context.dht, hash(&[self.to.as_bytes()])).await;
        if found.is_empty() {
            return Err(DialError::NoNetwork);
        }
        let mut relays = Vec::new();
        let mut named = Vec::new();
        for node in found {
            let record = node.value.and_then(|value| PeerRecord::decode(value).ok());
            if let Some(record) = record.filter(|record| record.public_key == *self.to.as_bytes()) {
                relays.push(node.from);
                named.extend(record.relays);
            }
        }
        for relay in named {
            if relays.len() < MAX_RELAYS && !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        Ok(relays)
    }

    /// Writes the message of a handshake, identical through every relay.
    fn start_handshake(&self, own: u32, claim: Firewall) -> Result<OutgoingHandshake<'_>, DialError> {
        let payload = HandshakePayload {
            version: 1,
            error: 0,
            firewall: claim,
            holepunch: None,
            addresses: self.nat.addresses(),
            udx: Some(UdxInfo {
                version: 1,
                reusable_socket: false,
                id: own.into(),
                seq: 0,
            }),
            secret_stream: Some(1),
            relay_through: false,
        };
        let started = Initiator::start(self.pair, KeyPair::random()?, self.to, &payload.encode());
        let (initiator, noise) = started.ok_or_else(|| DialError::Refused("its key is not valid".to_owned()))?;
        let message = Handshake {
            mode: HandshakeMode::FromClient,
            noise: noise.into(),
            peer_address: None,
            relay_address: None,
        };
        Ok(OutgoingHandshake {
            dialer: self,
            initiator,
            message: message.encode().into(),
        })
    }

    /// Returns true if the peer sends the first packet after our claim "open". Its source may differ from the address seen by the relay,
    /// so it is unknown until then.
    fn peer_sends_first(&self, reply: &HandshakeReply) -> bool {
        reply.payload.firewall != Firewall::OPEN && self.peer_address(reply) == reply.server
    }

    /// Opens a connection after the first packet of the peer.
    async fn wait_for_peer(&self, mut expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let punched = expected.punch_until_first_packet(reply.server, &PUNCH_TIMES);
        let Ok(first_packet) = timeout(PEER_START_TIMEOUT, punched).await else {
            return Err(DialError::Unreachable(reply.server.into()));
        };
        self.open(expected, &reply, first_packet?).await
    }

    /// Opens a connection by sending the first packet.
    async fn connect(&self, expected: PendingStream, reply: HandshakeReply) -> Result<SecretStream, DialError> {
        let address = self.peer_address(&reply);
        self.open(expected, &reply, address).await
    }

    /// Opens the stream to an address, and waits for the stream header of the peer.
    async fn open(&self, expected: PendingStream, reply: &HandshakeReply, address: SocketAddrV4) -> Result<SecretStream, DialError> {
        let (source, sink) = expected.open(reply.remote, address, MAX_RECEIVE_BYTES);
        let mut stream = SecretStream::new(&reply.session, true, address.into(), source, sink)?;
        match timeout(HEADER_TIMEOUT, stream.reader.read_header()).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(DialError::Unreachable(address.into())),
        }
    }

    /// Returns the destination of the first packet.
    fn peer_address(&self, reply: &HandshakeReply) -> SocketAddrV4 {
        let theirs = &reply.payload.addresses;
        if reply.payload.firewall == Firewall::OPEN {
            let public = theirs.iter().find(|address| !is_private(*address.ip()));
            return public.copied().unwrap_or(reply.server);
        }
        // Behind the same NAT its external address often does not work, and the local network is shorter.
        let neighbor = !self.nat.has_no_nat() && self.nat.address.is_some_and(|own| own.ip() == reply.server.ip());
        let private: Vec<_> = theirs.iter().filter(|address| is_private(*address.ip())).copied().collect();
        let near = self.nat.nearest(&private).filter(|_| neighbor);
        near.unwrap_or(reply.server)
    }
}

/// A handshake, identical through every relay.
struct OutgoingHandshake<'a> {
    dialer: &'a Dialer<'a>,
    initiator: Initiator,
    message: Bytes,
}

impl OutgoingHandshake<'_> {
    /// Sends the handshake through the relays; returns the first reply.
    async fn via(&self, relays: &[SocketAddrV4]) -> Result<Option<HandshakeReply>, DialError> {
        let mut waiting = relays.iter();
        let mut asked = FuturesUnordered::new();
        loop {
            let answer = match waiting.next() {
                Some(relay) => {
                    asked.push(self.exchange_via(*relay));
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
    async fn exchange_via(&self, relay: SocketAddrV4) -> Option<Result<HandshakeReply, String>> {
        let Dialer { context, to, .. } = self.dialer;
        let request = Call {
            value: Some(self.message.clone()),
            attempts: HANDSHAKE_ATTEMPTS,
            ..Call::new(command::PEER_HANDSHAKE, hash(&[to.as_bytes()]))
        };
        let reply = context.dht.call(relay, request).await?;
        let message = Handshake::decode(reply.value?).ok()?;
        if message.mode != HandshakeMode::Reply || reply.error != 0 {
            return None;
        }
        // Decrypts only if the peer has written it.
        let (payload, session) = self.initiator.finish(&message.noise)?;
        let payload = HandshakePayload::decode(payload.into()).ok()?;
        Some(stream_id_of(&payload).map(|remote| HandshakeReply {
            payload,
            session,
            remote,
            server: message.peer_address.unwrap_or(relay),
        }))
    }
}

/// Returns the stream id of the peer if its payload is supported.
fn stream_id_of(payload: &HandshakePayload) -> Result<u32, String> {
    if payload.version != 1 {
        return Err(format!(
            "it uses version {} of the handshake, which is not supported",
            payload.version
        ));
    }
    if payload.error != 0 {
        return Err(format!("it replied with error {}", payload.error));
    }
    if payload.relay_through {
        return Err("it requires a data relay, which is not supported".to_owned());
    }
    let udx = payload.udx.as_ref().ok_or("its reply has no stream id")?;
    u32::try_from(udx.id).map_err(|_| format!("{} is not a valid stream id", udx.id))
}
