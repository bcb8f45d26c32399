//! Being reached: from a handshake that came through the network to a connection.

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

use super::announce::{Record, relays};
use super::answers::Answers;
use super::node::{Node, Outside, socket_address};
use super::openings::Openings;
use super::secret_stream::{SecretStream, SessionKeys};
use super::stream::{Expected, OPENING, stream_id};
use crate::peer::PublicKey;
use crate::peer::link_event::{LinkEvent, LinkEvents};

/// Handshakes that may wait for us; whoever finds no room tries again after a second.
const QUEUE: usize = 256;
/// Connections in the making at once with keys that are not known; each holds some streams and a socket until the peer's first packet, or
/// [`PATIENCE`]. Beyond it the oldest goes: a peer that means it sends its first packet within a second.
const STRANGERS: usize = 384;
/// The same with keys that are known, such as those of registered proxies. Others do not take their room.
const KNOWN: usize = 128;
/// How long what is known of our own address is used before the node and the system are asked again.
const OUTSIDE_STANDS: Duration = Duration::from_secs(1);
/// When packets go out that open the way for a peer's first one. Its address is what a relay says, so it may be that of somebody who knows
/// nothing of us: three packets get through nearly always, and more of them would be a nuisance.
const OPENINGS: [Duration; 3] = [Duration::ZERO, OPENING, Duration::from_millis(900)];
/// Arrivals that nobody has taken yet.
const ARRIVALS: usize = 64;
/// How long after our answer the peer's first packet may come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that the announcement may take before a warning: a few times as long as it takes where all is well.
pub(super) const ANNOUNCE: Duration = Duration::from_secs(10);
/// The likely reasons for an announcement that no node takes.
const UNANNOUNCED: &str =
    "no node of the network has taken the announcement for 10 s; check hyperdht.bootstrap and whether UDP passes the firewall";
/// How long the network has to forget us.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a key may do that asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It gets no answer.
    Refused,
    /// It may connect, within the limits on keys that are not known.
    Stranger,
    /// It may connect, and has room of its own.
    Known,
}

impl From<bool> for Admission {
    /// For those who list the keys that may connect.
    fn from(listed: bool) -> Self {
        if listed { Self::Known } else { Self::Refused }
    }
}

/// Who may connect.
type Admit = Box<dyn Fn(PublicKey) -> Admission + Send + Sync>;

/// Somebody asked for a connection.
pub(super) enum Arrival {
    /// They were let in.
    Admitted(SecretStream),
    /// They were not, and got no answer.
    Refused {
        /// Who they are.
        key: PublicKey,
        /// Where they are, as far as the network says.
        address: SocketAddr,
    },
}

/// An identity that can be reached. Dropped it cannot be any more, but only closed it also leaves the network's memory.
pub(super) struct Listener {
    arrivals: mpsc::Receiver<Arrival>,
    holders: watch::Receiver<Vec<Ipv4Peer>>,
    record: Record,
    _serving: AbortOnDropHandle<()>,
    keeping: AbortOnDropHandle<()>,
}

impl Listener {
    /// The next who asks; `None` where the node is gone. May be dropped at any time and called again.
    pub(super) async fn accept(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Waits until the network knows us, and says how many of its nodes do. May be dropped at any time and called again.
    pub(super) async fn announced(&mut self) -> usize {
        self.holders
            .wait_for(|holders| !holders.is_empty())
            .await
            .map_or(0, |holders| holders.len())
    }

    /// Reports when the network has not known us for [`ANNOUNCE`], and when it does, until the listener is gone.
    pub(super) fn report(&self, key: PublicKey, events: Arc<LinkEvents>) -> impl Future<Output = ()> + Send + use<> {
        let mut holders = self.holders.clone();
        async move {
            loop {
                let known = async |holders: &mut watch::Receiver<Vec<_>>| holders.wait_for(|all: &Vec<_>| !all.is_empty()).await.map(drop);
                if timeout(ANNOUNCE, known(&mut holders)).await.is_err() {
                    let why = UNANNOUNCED.to_owned();
                    events.emit(LinkEvent::Unannounced { key, why });
                    if known(&mut holders).await.is_err() {
                        return;
                    }
                }
                events.emit(LinkEvent::Announced { key });
                if holders.wait_for(Vec::is_empty).await.map(drop).is_err() {
                    return;
                }
            }
        }
    }

    /// Takes our announcement back, so that nobody looks for us in vain.
    pub(super) async fn close(self) {
        self.keeping.abort();
        let holders = self.holders.borrow().clone();
        // A network that does not listen forgets us by itself.
        let _ = timeout(FAREWELL, self.record.withdraw(&holders)).await;
    }
}

/// Serves the identity; `None` where the node does already.
pub(super) fn listen(node: &Node, pair: Keypair, admit: Admit) -> Option<Listener> {
    let target = hash(&pair.public_key);
    let (inbox, requests) = mpsc::channel(QUEUE);
    if !node.serve(target, inbox) {
        return None;
    }
    let (arriving, arrivals) = mpsc::channel(ARRIVALS);
    let (holding, holders) = watch::channel(Vec::new());
    let record = || Record {
        node: node.clone(),
        pair: pair.clone(),
        target,
    };
    let serving = Serving {
        node: node.clone(),
        pair: pair.clone(),
        target,
        admit,
        answers: Answers::default(),
        arriving,
        holders: holders.clone(),
        outside: None,
        openings: Openings::default(),
        making: JoinSet::new(),
        strangers: InMaking::new(STRANGERS),
        known: InMaking::new(KNOWN),
    };
    Some(Listener {
        arrivals,
        holders,
        record: record(),
        _serving: AbortOnDropHandle::new(tokio::spawn(serving.run(requests))),
        keeping: AbortOnDropHandle::new(tokio::spawn(record().keep(holding))),
    })
}

/// The task that answers handshakes.
struct Serving {
    node: Node,
    pair: Keypair,
    target: [u8; 32],
    admit: Admit,
    answers: Answers,
    arriving: mpsc::Sender<Arrival>,
    holders: watch::Receiver<Vec<Ipv4Peer>>,
    /// How others see us, and when that was found out.
    outside: Option<(Instant, Arc<Outside>)>,
    openings: Openings,
    /// Bounded by [`STRANGERS`] and [`KNOWN`].
    making: JoinSet<()>,
    strangers: InMaking,
    known: InMaking,
}

/// Connections in the making of one kind, the oldest first.
struct InMaking {
    most: usize,
    tasks: VecDeque<AbortHandle>,
}

impl InMaking {
    fn new(most: usize) -> Self {
        Self {
            most,
            tasks: VecDeque::new(),
        }
    }

    /// Adds one, and gives up the oldest where there are too many.
    fn add(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.most {
            self.tasks.retain(|task| !task.is_finished());
        }
        if self.tasks.len() >= self.most
            && let Some(oldest) = self.tasks.pop_front()
        {
            oldest.abort();
        }
        self.tasks.push_back(task);
    }
}

impl Serving {
    async fn run(mut self, mut requests: mpsc::Receiver<UserRequest>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(mut request) => {
                        self.answer(&mut request).await;
                        // Whatever was not answered gets no answer at all.
                        request.release();
                    }
                    None => return,
                },
                Some(_) = self.making.join_next() => {}
            }
        }
    }

    /// Answers by the way that the handshake came.
    async fn answer(&mut self, request: &mut UserRequest) -> Option<()> {
        let message = decode_handshake_from_bytes(request.value.as_deref()?).ok()?;
        let back = match message.mode {
            MODE_FROM_CLIENT => None,
            MODE_FROM_RELAY => Some(request.from.clone()),
            MODE_FROM_SECOND_RELAY => Some(message.relay_address?),
            _ => return None,
        };
        let client = message.peer_address.clone().unwrap_or_else(|| request.from.clone());
        // The same handshake comes through several relays, and each of them has to be told the same.
        let now = Instant::now();
        let noise = match self.answers.find(&message.noise, now) {
            Some(answer) => answer,
            None => {
                let answer = self.decide(&message.noise, &client).await;
                self.answers.keep(message.noise, answer.clone(), now);
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

    /// Reads a handshake and makes what we say to it; `None`: nothing.
    async fn decide(&mut self, noise: &[u8], client: &Ipv4Peer) -> Option<Vec<u8>> {
        let mut handshake = NoiseWrap::new_responder(self.pair.clone());
        let asked = handshake.recv(noise).ok()?;
        let remote = u32::try_from(asked.udx.as_ref()?.id).ok()?;
        let own = stream_id().ok()?;
        let outside = self.outside().await;
        let answer = handshake.send(&self.payload(own, client, &outside)).ok()?;
        let shared = handshake.finalize().ok()?;
        let key = PublicKey::new(shared.remote_public_key);
        let address = socket_address(client)?;
        let admission = (self.admit)(key);
        if asked.version != 1 || asked.error != 0 || admission == Admission::Refused {
            // Who does not take arrivals in time misses this one; it is only told.
            let _ = self.arriving.try_send(Arrival::Refused { key, address });
            return None;
        }
        let may_send = admission == Admission::Known || self.openings.may_open(address.ip(), Instant::now());
        let opening = match outside.scattered() && asked.firewall == FIREWALL_OPEN {
            true if may_send => Opening::Ours,
            true => return None,
            false => Opening::Theirs { may_send },
        };
        let making = Making {
            expected: Expected::new(&self.node, own).await.ok()?,
            remote,
            opening,
            key,
            keys: SessionKeys {
                initiator: false,
                tx: shared.tx,
                rx: shared.rx,
                hash: shared.handshake_hash,
            },
            arriving: self.arriving.clone(),
        };
        let task = self.making.spawn(making.run(self.node.clone(), address));
        match admission {
            Admission::Known => self.known.add(task),
            Admission::Stranger | Admission::Refused => self.strangers.add(task),
        }
        Some(answer)
    }

    /// How others see us: asking the node and the system takes longer than all the rest of a handshake.
    async fn outside(&mut self) -> Arc<Outside> {
        let now = Instant::now();
        match &self.outside {
            Some((since, outside)) if now.duration_since(*since) < OUTSIDE_STANDS => Arc::clone(outside),
            _ => {
                let outside = Arc::new(self.node.outside().await);
                self.outside = Some((now, Arc::clone(&outside)));
                outside
            }
        }
    }

    /// What the peer has to know to send us its first packet.
    fn payload(&self, own: u32, client: &Ipv4Peer, outside: &Outside) -> NoisePayload {
        let waits = self.waits(outside, client);
        NoisePayload {
            version: 1,
            error: 0,
            // "Open" has the peer send to where the network sees us at once, while we open the way from our side.
            firewall: if waits.is_some() { FIREWALL_UNKNOWN } else { FIREWALL_OPEN },
            holepunch: waits,
            addresses4: outside.addresses(),
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

    /// Who passes on what it takes to meet, where the peer must not send to where the network sees us: a neighbour behind the same translator
    /// of addresses looks for us by the addresses that we have there, and where each peer sees another port of ours it waits for us.
    fn waits(&self, outside: &Outside, client: &Ipv4Peer) -> Option<HolepunchInfo> {
        let seen = outside.address.as_ref().filter(|_| !outside.untranslated())?;
        (seen.host == client.host || outside.scattered()).then(|| HolepunchInfo {
            id: 0,
            relays: relays(&self.holders.borrow(), seen),
        })
    }
}

/// Who sends the first packet.
enum Opening {
    /// The peer does.
    Theirs {
        /// Whether we may send packets that open the way for it.
        may_send: bool,
    },
    /// We do: the peer can be reached, and we cannot.
    Ours,
}

/// A connection in the making.
struct Making {
    expected: Expected,
    /// What the peer calls the stream.
    remote: u32,
    opening: Opening,
    key: PublicKey,
    keys: SessionKeys,
    arriving: mpsc::Sender<Arrival>,
}

impl Making {
    /// Waits for the peer while opening the way for it, or sends it the first packet.
    async fn run(mut self, node: Node, client: SocketAddr) {
        let address = match self.opening {
            Opening::Theirs { may_send } => {
                let openings = if may_send { &OPENINGS[..] } else { &[] };
                timeout(PATIENCE, self.expected.heard_from(&node.socket, client, openings)).await
            }
            Opening::Ours => {
                // A packet that is there before our answer, which goes a longer way, may be lost.
                sleep(OPENING).await;
                Ok(Ok(client))
            }
        };
        let Ok(Ok(address)) = address else { return };
        let Ok((source, sink)) = self.expected.open(self.remote, address).await else {
            return;
        };
        let mut stream = SecretStream::new(self.key, address, self.keys, source, sink);
        if let Ok(Ok(())) = timeout(PATIENCE, stream.reader.read_header()).await {
            // Nobody takes arrivals any more: the pipe closes itself.
            let _ = self.arriving.send(Arrival::Admitted(stream)).await;
        }
    }
}
