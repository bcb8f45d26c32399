//! Listener for connections to a key: answers handshakes and waits for the first packet of each peer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peeroxide_dht::crypto::hash;
use peeroxide_dht::hyperdht_messages::{
    FIREWALL_OPEN, FIREWALL_UNKNOWN, HandshakeMessage, HolepunchInfo, MODE_FROM_CLIENT, MODE_FROM_RELAY, MODE_FROM_SECOND_RELAY,
    MODE_FROM_SERVER, MODE_REPLY, NoisePayload, PEER_HANDSHAKE, SecretStreamInfo, UdxInfo, decode_handshake_from_bytes,
    encode_handshake_to_bytes,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::noise::Keypair;
use peeroxide_dht::noise_wrap::NoiseWrap;
use peeroxide_dht::rpc::UserRequest;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::announce::{Announcement, relays};
use crate::handshake_reply_cache::HandshakeReplyCache;
use crate::key::PublicKey;
use crate::node::{NatStatus, Node, socket_address};
use crate::punch_limiter::PunchLimiter;
use crate::secret_stream::{SecretStream, SessionKeys};
use crate::udx_stream::{PUNCH_INTERVAL, PendingStream, stream_id};

/// Limit on queued handshakes. Beyond it they are dropped; the peer retries after a second.
const HANDSHAKE_QUEUE: usize = 256;
/// Limit on pending connections with unknown keys; each holds some streams and a socket until the peer's first packet or
/// [`FIRST_PACKET_TIMEOUT`]. Beyond it the oldest is dropped: a real peer sends its first packet within a second.
const MAX_UNKNOWN: usize = 384;
/// The same limit for known keys, such as those of registered proxies. Unknown keys cannot use it up.
const MAX_KNOWN: usize = 128;
/// Lifetime of the cached NAT status.
const NAT_STATUS_TTL: Duration = Duration::from_secs(1);
/// Times of the hole punching packets for a peer. A relay names the address, which may belong to an uninvolved host. Three packets nearly
/// always suffice; more could be abused for flooding.
const PUNCH_TIMES: [Duration; 3] = [Duration::ZERO, PUNCH_INTERVAL, Duration::from_millis(900)];
/// Limit on accepted connections that were not taken yet.
const INCOMING_QUEUE: usize = 64;
/// Limit on the wait for the peer's first packet after our reply.
const FIRST_PACKET_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on removing the announcement.
const UNANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The admission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdmission {
    /// It receives no reply.
    Refused,
    /// It may connect, within the limit for unknown keys.
    Unknown,
    /// It may connect, within the limit for known keys.
    Known,
}

impl From<bool> for KeyAdmission {
    /// The admission of listeners with a list of keys.
    fn from(listed: bool) -> Self {
        if listed { Self::Known } else { Self::Refused }
    }
}

/// Returns the admission of a key.
type AdmitFn = Box<dyn Fn(PublicKey) -> KeyAdmission + Send + Sync>;

/// An incoming connection.
pub enum IncomingConnection {
    /// It was admitted and is open.
    Admitted(SecretStream),
    /// It was refused without a reply.
    Refused {
        /// The key of the peer.
        key: PublicKey,
        /// The address of the peer as reported by the relay.
        address: SocketAddr,
    },
}

/// An announced key that accepts connections. Dropping it stops accepting; only [`KeyListener::close`] also removes the announcement.
pub struct KeyListener {
    incoming: mpsc::Receiver<IncomingConnection>,
    holders: watch::Receiver<Vec<Ipv4Peer>>,
    announcement: Announcement,
    _server: AbortOnDropHandle<()>,
    announcing: AbortOnDropHandle<()>,
}

impl KeyListener {
    /// Returns the next incoming connection; `None` if the node is closed. Cancel-safe.
    pub async fn accept(&mut self) -> Option<IncomingConnection> {
        self.incoming.recv().await
    }

    /// Waits until the key is announced and returns the number of nodes with the record. Cancel-safe.
    pub async fn announced(&mut self) -> usize {
        self.holders
            .wait_for(|holders| !holders.is_empty())
            .await
            .map_or(0, |holders| holders.len())
    }

    /// Returns a watch on the announcement of the key.
    #[must_use]
    pub fn announcement(&self) -> AnnouncementWatch {
        AnnouncementWatch(self.holders.clone())
    }

    /// Removes the announcement, so that no peer tries to connect.
    pub async fn close(self) {
        self.announcing.abort();
        let holders = self.holders.borrow().clone();
        // If the nodes do not respond, the record expires.
        let _ = timeout(UNANNOUNCE_TIMEOUT, self.announcement.unannounce(&holders)).await;
    }
}

/// A watch on the announcement of a key, which outlives neither the listener nor the node.
#[derive(Debug, Clone)]
pub struct AnnouncementWatch(watch::Receiver<Vec<Ipv4Peer>>);

impl AnnouncementWatch {
    /// Waits until a node of the network has the record of the key; `false` if the listener was dropped. Cancel-safe.
    pub async fn announced(&mut self) -> bool {
        self.0.wait_for(|holders| !holders.is_empty()).await.is_ok()
    }

    /// Waits until no node of the network has the record of the key; `false` if the listener was dropped. Cancel-safe.
    pub async fn withdrawn(&mut self) -> bool {
        self.0.wait_for(Vec::is_empty).await.is_ok()
    }
}

/// Starts accepting connections to a key; `None` if the node already does.
pub(crate) fn listen(node: &Node, pair: Keypair, admit: AdmitFn) -> Option<KeyListener> {
    let target = hash(&pair.public_key);
    let (inbox, requests) = mpsc::channel(HANDSHAKE_QUEUE);
    if !node.register_target(target, inbox) {
        return None;
    }
    let (sender, incoming) = mpsc::channel(INCOMING_QUEUE);
    let (holding, holders) = watch::channel(Vec::new());
    let announcement = || Announcement {
        node: node.clone(),
        pair: pair.clone(),
        target,
    };
    let server = HandshakeServer {
        node: node.clone(),
        pair: pair.clone(),
        target,
        admit,
        replies: HandshakeReplyCache::default(),
        sender,
        holders: holders.clone(),
        nat: None,
        punches: PunchLimiter::default(),
        pending: JoinSet::new(),
        unknown: PendingConnections::new(MAX_UNKNOWN),
        known: PendingConnections::new(MAX_KNOWN),
    };
    Some(KeyListener {
        incoming,
        holders,
        announcement: announcement(),
        _server: AbortOnDropHandle::new(tokio::spawn(server.run(requests))),
        announcing: AbortOnDropHandle::new(tokio::spawn(announcement().keep_announced(holding))),
    })
}

/// The task that answers handshakes.
struct HandshakeServer {
    node: Node,
    pair: Keypair,
    target: [u8; 32],
    admit: AdmitFn,
    replies: HandshakeReplyCache,
    sender: mpsc::Sender<IncomingConnection>,
    holders: watch::Receiver<Vec<Ipv4Peer>>,
    /// The cached NAT status and its time.
    nat: Option<(Instant, Arc<NatStatus>)>,
    punches: PunchLimiter,
    /// Bounded by [`MAX_UNKNOWN`] and [`MAX_KNOWN`].
    pending: JoinSet<()>,
    unknown: PendingConnections,
    known: PendingConnections,
}

/// The pending connections of one class, the oldest first.
struct PendingConnections {
    limit: usize,
    tasks: VecDeque<AbortHandle>,
}

impl PendingConnections {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            tasks: VecDeque::new(),
        }
    }

    /// Adds a connection; drops the oldest if the limit is reached.
    fn add(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.limit {
            self.tasks.retain(|task| !task.is_finished());
        }
        if self.tasks.len() >= self.limit
            && let Some(oldest) = self.tasks.pop_front()
        {
            oldest.abort();
        }
        self.tasks.push_back(task);
    }
}

impl HandshakeServer {
    async fn run(mut self, mut requests: mpsc::Receiver<UserRequest>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(mut request) => {
                        self.answer(&mut request).await;
                        // A request without a reply is dropped silently.
                        request.release();
                    }
                    None => return,
                },
                Some(_) = self.pending.join_next() => {}
            }
        }
    }

    /// Sends the reply along the path of the handshake.
    async fn answer(&mut self, request: &mut UserRequest) -> Option<()> {
        let message = decode_handshake_from_bytes(request.value.as_deref()?).ok()?;
        let back = match message.mode {
            MODE_FROM_CLIENT => None,
            MODE_FROM_RELAY => Some(request.from.clone()),
            MODE_FROM_SECOND_RELAY => Some(message.relay_address?),
            _ => return None,
        };
        let client = message.peer_address.clone().unwrap_or_else(|| request.from.clone());
        // Copies of a handshake through other relays must receive the same reply.
        let now = Instant::now();
        let noise = match self.replies.get(&message.noise, now) {
            Some(answer) => answer,
            None => {
                let answer = self.build_reply(&message.noise, &client).await;
                self.replies.insert(message.noise, answer.clone(), now);
                answer
            }
        }?;
        let reply = HandshakeMessage {
            mode: if back.is_some() { MODE_FROM_SERVER } else { MODE_REPLY },
            noise,
            peer_address: back.is_some().then_some(client),
            relay_address: None,
        };
        let reply = Some(encode_handshake_to_bytes(&reply).ok()?);
        match back {
            None => request.reply(reply),
            Some(relay) => self
                .node
                .dht
                .relay_with_tid(PEER_HANDSHAKE, Some(self.target), reply, &relay, request.tid)
                .ok()?,
        }
        Some(())
    }

    /// Decrypts a handshake and builds the reply; `None` for no reply.
    async fn build_reply(&mut self, noise: &[u8], client: &Ipv4Peer) -> Option<Vec<u8>> {
        let mut handshake = NoiseWrap::new_responder(self.pair.clone());
        let asked = handshake.recv(noise).ok()?;
        let remote = u32::try_from(asked.udx.as_ref()?.id).ok()?;
        let own = stream_id().ok()?;
        let nat = self.nat_status().await;
        let answer = handshake.send(&self.payload(own, client, &nat)).ok()?;
        let shared = handshake.finalize().ok()?;
        let key = PublicKey::new(shared.remote_public_key);
        let address = socket_address(client)?;
        let admission = (self.admit)(key);
        if asked.version != 1 || asked.error != 0 || admission == KeyAdmission::Refused {
            // The report is dropped if the queue is full.
            let _ = self.sender.try_send(IncomingConnection::Refused { key, address });
            return None;
        }
        let may_send = admission == KeyAdmission::Known || self.punches.allows(address.ip(), Instant::now());
        let first_packet = match nat.is_symmetric_nat() && asked.firewall == FIREWALL_OPEN {
            true if may_send => FirstPacket::FromUs,
            true => return None,
            false => FirstPacket::FromPeer { may_send },
        };
        let pending = PendingConnection {
            expected: PendingStream::new(&self.node, own).await.ok()?,
            remote,
            first_packet,
            key,
            keys: SessionKeys {
                initiator: false,
                tx: shared.tx,
                rx: shared.rx,
                hash: shared.handshake_hash,
            },
            sender: self.sender.clone(),
        };
        let task = self.pending.spawn(pending.run(self.node.clone(), address));
        match admission {
            KeyAdmission::Known => self.known.add(task),
            KeyAdmission::Unknown | KeyAdmission::Refused => self.unknown.add(task),
        }
        Some(answer)
    }

    /// Returns the NAT status, cached because determining it takes longer than the rest of a handshake.
    async fn nat_status(&mut self) -> Arc<NatStatus> {
        let now = Instant::now();
        match &self.nat {
            Some((since, nat)) if now.duration_since(*since) < NAT_STATUS_TTL => Arc::clone(nat),
            _ => {
                let nat = Arc::new(self.node.nat_status().await);
                self.nat = Some((now, Arc::clone(&nat)));
                nat
            }
        }
    }

    /// Returns the payload of our reply, with the addresses for the peer's first packet.
    fn payload(&self, own: u32, client: &Ipv4Peer, nat: &NatStatus) -> NoisePayload {
        let waits = self.holepunch_info(nat, client);
        NoisePayload {
            version: 1,
            error: 0,
            // "Open" makes the peer send to our address as seen by the network immediately, while we punch a hole from our side.
            firewall: if waits.is_some() { FIREWALL_UNKNOWN } else { FIREWALL_OPEN },
            holepunch: waits,
            addresses4: nat.addresses(),
            addresses6: Vec::new(),
            udx: Some(UdxInfo {
                version: 1,
                reusable_socket: false,
                id: own.into(),
                seq: 0,
            }),
            secret_stream: Some(SecretStreamInfo { version: 1 }),
            relay_through: None,
            relay_addresses: None,
        }
    }

    /// Returns the relays for hole punching, in two cases in which the peer must not send to our external address: a peer behind the same
    /// NAT uses our local addresses, and behind a symmetric NAT the peer waits for our packet.
    fn holepunch_info(&self, nat: &NatStatus, client: &Ipv4Peer) -> Option<HolepunchInfo> {
        let seen = nat.address.as_ref().filter(|_| !nat.has_no_nat())?;
        (seen.host == client.host || nat.is_symmetric_nat()).then(|| HolepunchInfo {
            id: 0,
            relays: relays(&self.holders.borrow(), seen),
        })
    }
}

/// The sender of the first packet.
enum FirstPacket {
    /// The peer.
    FromPeer {
        /// True if we may send hole punching packets.
        may_send: bool,
    },
    /// We, because the peer is reachable and we are not.
    FromUs,
}

/// A connection that waits for its first packet.
struct PendingConnection {
    expected: PendingStream,
    /// The peer's id of the stream.
    remote: u32,
    first_packet: FirstPacket,
    key: PublicKey,
    keys: SessionKeys,
    sender: mpsc::Sender<IncomingConnection>,
}

impl PendingConnection {
    /// Waits for the peer while punching a hole, or sends the first packet.
    async fn run(mut self, node: Node, client: SocketAddr) {
        let address = match self.first_packet {
            FirstPacket::FromPeer { may_send } => {
                let punches = if may_send { &PUNCH_TIMES[..] } else { &[] };
                timeout(
                    FIRST_PACKET_TIMEOUT,
                    self.expected.punch_until_first_packet(&node.socket, client, punches),
                )
                .await
            }
            FirstPacket::FromUs => {
                // A packet that arrives before our reply, which takes a longer path, may be lost.
                sleep(PUNCH_INTERVAL).await;
                Ok(Ok(client))
            }
        };
        let Ok(Ok(address)) = address else { return };
        let Ok((source, sink)) = self.expected.open(self.remote, address).await else {
            return;
        };
        let mut stream = SecretStream::new(self.key, address, self.keys, source, sink);
        if let Ok(Ok(())) = timeout(FIRST_PACKET_TIMEOUT, stream.reader.read_header()).await {
            // If the listener is dropped, the stream closes itself.
            let _ = self.sender.send(IncomingConnection::Admitted(stream)).await;
        }
    }
}
