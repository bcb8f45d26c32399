//! Listener for connections to a key: answers handshakes and waits for the first packet of each peer.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::announce::{KeyAnnouncer, relays};
use crate::dht::Dht;
use crate::engine::IncomingRequest;
use crate::handshake_reply_cache::HandshakeReplyCache;
use crate::hash::hash;
use crate::key::{KeyPair, PublicKey};
use crate::messages::{Firewall, Handshake, HandshakeMode, HandshakePayload, HolepunchInfo, UdxInfo};
use crate::nat::NatStatus;
use crate::noise::{Responder, Session};
use crate::punch_limiter::PunchLimiter;
use crate::secret_stream::SecretStream;
use crate::udx_stream::{PUNCH_INTERVAL, PendingStream};

/// Limit on queued handshakes. Beyond it they are dropped; the peer retries after a second.
const HANDSHAKE_QUEUE: usize = 256;
/// Limit on pending connections with unknown keys; each holds a stream and its first packets until the peer's first packet or
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
    holders: watch::Receiver<Vec<SocketAddrV4>>,
    announcement: KeyAnnouncer,
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
pub struct AnnouncementWatch(watch::Receiver<Vec<SocketAddrV4>>);

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

/// Starts accepting connections to a key, with a limit on what the peer of each can have buffered; `None` if the node already does.
pub(crate) fn listen(dht: &Dht, pair: KeyPair, receive_bytes: usize, admit: AdmitFn) -> Option<KeyListener> {
    let target = hash(&[pair.public_key().as_bytes()]);
    let (inbox, requests) = mpsc::channel(HANDSHAKE_QUEUE);
    if !dht.register_target(target, inbox) {
        return None;
    }
    let (sender, incoming) = mpsc::channel(INCOMING_QUEUE);
    let (holding, holders) = watch::channel(Vec::new());
    let announcement = || KeyAnnouncer {
        dht: dht.clone(),
        pair: pair.clone(),
        target,
    };
    let server = HandshakeServer {
        dht: dht.clone(),
        pair: pair.clone(),
        receive_bytes,
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
    dht: Dht,
    pair: KeyPair,
    receive_bytes: usize,
    admit: AdmitFn,
    replies: HandshakeReplyCache,
    sender: mpsc::Sender<IncomingConnection>,
    holders: watch::Receiver<Vec<SocketAddrV4>>,
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
    async fn run(mut self, mut requests: mpsc::Receiver<IncomingRequest>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    // A request without a reply is dropped silently.
                    Some(request) => _ = self.answer(&request),
                    None => return,
                },
                Some(_) = self.pending.join_next() => {}
            }
        }
    }

    /// Sends the reply along the path of the handshake.
    fn answer(&mut self, request: &IncomingRequest) -> Option<()> {
        let message = Handshake::decode(request.value.clone()).ok()?;
        let back = match message.mode {
            HandshakeMode::FromClient => None,
            HandshakeMode::FromRelay => Some(request.from),
            HandshakeMode::FromSecondRelay => Some(message.relay_address?),
            HandshakeMode::FromServer | HandshakeMode::Reply => return None,
        };
        let client = message.peer_address.unwrap_or(request.from);
        // Copies of a handshake through other relays must receive the same reply.
        let now = Instant::now();
        let noise = match self.replies.get(&message.noise, now) {
            Some(answer) => answer,
            None => {
                let answer = self.build_reply(&message.noise, client);
                self.replies.insert(message.noise.to_vec(), answer.clone(), now);
                answer
            }
        }?;
        let reply = Handshake {
            mode: if back.is_some() {
                HandshakeMode::FromServer
            } else {
                HandshakeMode::Reply
            },
            noise: noise.into(),
            peer_address: back.is_some().then_some(client),
            relay_address: None,
        };
        let reply = Bytes::from(reply.encode());
        match back {
            None => self.dht.reply(request, reply),
            Some(relay) => self.dht.relay(relay, request, reply),
        }
        Some(())
    }

    /// Decrypts a handshake and builds the reply; `None` for no reply.
    fn build_reply(&mut self, noise: &[u8], client: SocketAddrV4) -> Option<Vec<u8>> {
        let (handshake, asked) = Responder::start(&self.pair, noise)?;
        let asked = HandshakePayload::decode(asked.into()).ok()?;
        let key = handshake.remote;
        let admission = (self.admit)(key);
        if asked.version != 1 || asked.error != 0 || admission == KeyAdmission::Refused {
            let address = client.into();
            // The report is dropped if the queue is full.
            let _ = self.sender.try_send(IncomingConnection::Refused { key, address });
            return None;
        }
        let remote = u32::try_from(asked.udx.as_ref()?.id).ok()?;
        let nat = self.nat_status();
        let may_send = admission == KeyAdmission::Known || self.punches.allows(IpAddr::V4(*client.ip()), Instant::now());
        let first_packet = match nat.is_symmetric_nat() && asked.firewall == Firewall::OPEN {
            true if may_send => FirstPacket::FromUs,
            true => return None,
            false => FirstPacket::FromPeer { may_send },
        };
        let expected = PendingStream::new(self.dht.socket()).ok()?;
        let payload = self.payload(expected.id(), client, &nat);
        let (reply, session) = handshake.finish(&KeyPair::random().ok()?, &payload.encode())?;
        let pending = PendingConnection {
            expected,
            remote,
            receive_bytes: self.receive_bytes,
            first_packet,
            session,
            sender: self.sender.clone(),
        };
        let task = self.pending.spawn(pending.run(client));
        match admission {
            KeyAdmission::Known => self.known.add(task),
            KeyAdmission::Unknown | KeyAdmission::Refused => self.unknown.add(task),
        }
        Some(reply)
    }

    /// Returns the NAT status, cached because determining it takes longer than the rest of a handshake.
    fn nat_status(&mut self) -> Arc<NatStatus> {
        let now = Instant::now();
        match &self.nat {
            Some((since, nat)) if now.duration_since(*since) < NAT_STATUS_TTL => Arc::clone(nat),
            _ => {
                let nat = Arc::new(self.dht.nat_status());
                self.nat = Some((now, Arc::clone(&nat)));
                nat
            }
        }
    }

    /// Returns the payload of our reply, with the addresses for the peer's first packet.
    fn payload(&self, own: u32, client: SocketAddrV4, nat: &NatStatus) -> HandshakePayload {
        let waits = self.holepunch_info(nat, client);
        HandshakePayload {
            version: 1,
            error: 0,
            // "Open" makes the peer send to our address as seen by the network immediately, while we punch a hole from our side.
            firewall: if waits.is_some() { Firewall::UNKNOWN } else { Firewall::OPEN },
            holepunch: waits,
            addresses: nat.addresses(),
            udx: Some(UdxInfo {
                version: 1,
                reusable_socket: false,
                id: own.into(),
                seq: 0,
            }),
            secret_stream: Some(1),
            relay_through: false,
        }
    }

    /// Returns the relays for hole punching, in two cases in which the peer must not send to our external address: a peer behind the same
    /// NAT uses our local addresses, and behind a symmetric NAT the peer waits for our packet.
    fn holepunch_info(&self, nat: &NatStatus, client: SocketAddrV4) -> Option<HolepunchInfo> {
        let seen = nat.address.filter(|_| !nat.has_no_nat())?;
        (seen.ip() == client.ip() || nat.is_symmetric_nat()).then(|| HolepunchInfo {
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
    receive_bytes: usize,
    first_packet: FirstPacket,
    session: Session,
    sender: mpsc::Sender<IncomingConnection>,
}

impl PendingConnection {
    /// Waits for the peer while punching a hole, or sends the first packet.
    async fn run(mut self, client: SocketAddrV4) {
        let address = match self.first_packet {
            FirstPacket::FromPeer { may_send } => {
                let punches = if may_send { &PUNCH_TIMES[..] } else { &[] };
                timeout(FIRST_PACKET_TIMEOUT, self.expected.punch_until_first_packet(client, punches)).await
            }
            FirstPacket::FromUs => {
                // A packet that arrives before our reply, which takes a longer path, may be lost.
                sleep(PUNCH_INTERVAL).await;
                Ok(Ok(client))
            }
        };
        let Ok(Ok(address)) = address else { return };
        let (source, sink) = self.expected.open(self.remote, address, self.receive_bytes);
        let Ok(mut stream) = SecretStream::new(&self.session, false, address.into(), source, sink) else {
            return;
        };
        if let Ok(Ok(())) = timeout(FIRST_PACKET_TIMEOUT, stream.reader.read_header()).await {
            // If the listener is dropped, the stream closes itself.
            let _ = self.sender.send(IncomingConnection::Admitted(stream)).await;
        }
    }
}
