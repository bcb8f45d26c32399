//! The service that drives the swarm.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use libp2p_core::transport::{ListenerId, TransportError};
use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::{Keypair, PeerId, ed25519};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{ConnectionId, DialError, ListenError, NetworkBehaviour, Swarm, SwarmEvent};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::behaviour::{Bitswap, Denied, FromPeer, without_peer};
use super::dialer::{Dial, Dialer};
use super::handler::Received;
use super::observer::Observer;
use super::peers::Peers;
use super::render::{Numbers, render};
use crate::bus::Notification;
use crate::model::{AppName, AppNameError, Clock, Format, Origin, Syntax, Topic, Update};
use crate::peer_samples::PeerSamples;
use crate::store::{Inlet, PutOptions};
use crate::supervise::Service;
use crate::telemetry::{Rejection, SharedTelemetry};
use crate::wire::node_address::{NodeAddress, NodeHost, NodeTransport};

/// Interval of dialing, and of storing changed counts: well below any scrape interval.
const TICK: Duration = Duration::from_secs(1);
/// Interval of storing unchanged counts, so that a monitor without peers does not become stale.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);
/// Interval of sampling the peers, as for polled nodes.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Timeout of learning the addresses of a listener.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of a connection that are negotiated at the same time.
const MAX_NEGOTIATIONS: usize = 16;

/// Settings of the monitor.
#[derive(Debug, Clone)]
pub struct BitswapSettings {
    /// The name in events and labels.
    pub monitor: String,
    /// The seed of the Ed25519 key, which is its identity.
    pub seed: [u8; 32],
    /// Addresses to listen on.
    pub listen: Vec<NodeAddress>,
    /// Peers to keep connected, with their ids.
    pub peers: Vec<NodeAddress>,
    /// Limit of connections, besides those to `peers`.
    pub max_peers: usize,
    /// True if multiaddresses are converted for the original client.
    pub legacy_addresses: bool,
}

/// Dependencies of the monitor.
#[derive(Debug, Clone)]
pub struct BitswapContext {
    /// The store of its counts.
    pub inlet: Inlet,
    /// The samples of its peers.
    pub peer_samples: PeerSamples,
    /// The counter and the log of refusals.
    pub telemetry: SharedTelemetry,
    /// The time.
    pub clock: Clock,
}

/// Error of starting the monitor.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The name of the monitor is invalid.
    #[error("the name of the monitor: {0}")]
    Name(#[from] AppNameError),
    /// The key cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// An address cannot be listened on.
    #[error("cannot bind {address}: {why}")]
    Listen {
        /// The address.
        address: Box<NodeAddress>,
        /// The error.
        why: String,
    },
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    bitswap: Bitswap,
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
}

/// The monitor, which listens.
pub struct Monitor {
    swarm: Swarm<Behaviour>,
    observer: Arc<Observer>,
    app: AppName,
    origin: Origin,
    context: BitswapContext,
    dialer: Dialer,
    peers: Peers,
    numbers: Numbers,
    stored: Option<(Numbers, Instant)>,
    sampled: Option<Instant>,
}

impl Monitor {
    /// Binds the addresses.
    ///
    /// # Errors
    /// If the key cannot be used, or an address cannot be listened on.
    pub async fn bind(settings: BitswapSettings, context: BitswapContext) -> Result<Self, BindError> {
        let source: Arc<str> = format!("bitswap: {}", settings.monitor).into();
        let app = AppName::new(&source)?;
        let key = |why: &dyn std::fmt::Display| BindError::Key(why.to_string());
        let mut seed = settings.seed;
        let pair = ed25519::Keypair::from(ed25519::SecretKey::try_from_bytes(&mut seed).map_err(|e| key(&e))?);
        let pair = Keypair::from(pair);
        let observer = Arc::new(Observer {
            monitor: settings.monitor.as_str().into(),
            legacy_addresses: settings.legacy_addresses,
            clock: context.clock,
            bus: context.inlet.bus().clone(),
        });
        let dialer = Dialer::new(&settings.peers);
        let behaviour = behaviour(&pair, Arc::clone(&observer), settings.max_peers, dialer.peers().collect());
        let config = libp2p_swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(MAX_NEGOTIATIONS);
        let transport = super::transport::transport(&pair).map_err(|e| key(&e))?;
        let mut swarm = Swarm::new(transport, behaviour, pair.public().to_peer_id(), config);
        for address in &settings.listen {
            let listen = listen(&mut swarm, address).await;
            listen.map_err(|why| BindError::Listen {
                address: Box::new(address.clone()),
                why,
            })?;
        }
        Ok(Self {
            swarm,
            observer,
            app,
            origin: Origin {
                source,
                format: Format::Stream,
            },
            context,
            dialer,
            peers: Peers::default(),
            numbers: Numbers::default(),
            stored: None,
            sampled: None,
        })
    }

    /// The addresses, each with the peer id.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let peer = self.swarm.local_peer_id();
        let mut addresses: Vec<String> = self.swarm.listeners().map(|address| format!("{address}/p2p/{peer}")).collect();
        addresses.sort();
        addresses
    }

    async fn work(mut self, stop: CancellationToken) {
        let Self { app, origin, context, .. } = &self;
        if let Err(refused) = context.inlet.register(app.clone(), origin.clone(), (context.clock)()) {
            tracing::warn!("cannot add the Bitswap monitor: {refused}");
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.tick(),
                dial = self.dialer.next() => self.dial(dial),
                event = self.swarm.select_next_some() => self.handle(event),
            }
        }
    }

    fn tick(&mut self) {
        self.dialer.start(std::time::Instant::now());
        self.numbers.senders = self.peers.senders();
        self.numbers.peers = self.peers.len();
        self.numbers.connections = self.peers.connections();
        self.store_counts();
        let now = Instant::now();
        if self.sampled.is_none_or(|sampled| now - sampled >= SAMPLE_EVERY) {
            self.sampled = Some(now);
            let sample = self.peers.sample((self.context.clock)());
            self.context.peer_samples.put(&self.app, Some(sample));
        }
    }

    fn dial(&mut self, dial: Dial) {
        let Dial { peer, addresses } = dial;
        if addresses.is_empty() {
            return self.lost(peer, &"no address could be resolved");
        }
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(options)
            && !self.dialer.is_connected(peer)
        {
            self.lost(peer, &error);
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Bitswap(from)) => self.received(from),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(libp2p_identify::Event::Received { peer_id, info, .. })) => {
                self.identified(peer_id, &info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(libp2p_ping::Event {
                peer, result: Ok(latency), ..
            })) => self.peers.measured(peer, latency),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.connected(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                cause,
            } => {
                self.disconnected(peer_id, connection_id, &endpoint);
                if num_established == 0 {
                    let cause = cause.map_or_else(|| "it was closed".to_owned(), |cause| cause.to_string());
                    self.lost(peer_id, &cause);
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } if !self.dialer.is_connected(peer) => self.lost(peer, &dial_error(&error)),
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error: ListenError::Denied { cause },
                ..
            } => {
                if let Some(denied) = cause.downcast_ref::<Denied>() {
                    self.refuse(&without_peer(&send_back_addr), "too_many_connections", &denied.to_string());
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!("the Bitswap monitor cannot accept connections: {error}"),
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let remote = without_peer(remote(endpoint));
        let id = self.peers.connected(peer, connection, &remote);
        self.numbers.tally.connected += 1;
        let event = self.observer.connection(&id, &remote, true);
        self.publish(event);
        if self.dialer.connected(peer) {
            tracing::info!(peer = &*id, "connected to {remote}/p2p/{id} (bitswap.peers)");
        }
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let remote = without_peer(remote(endpoint));
        if let Some(id) = self.peers.disconnected(peer, connection) {
            self.numbers.tally.disconnected += 1;
            let event = self.observer.connection(&id, &remote, false);
            self.publish(event);
        }
    }

    fn received(&mut self, from: FromPeer) {
        match from.received {
            Received::Message(observed) => {
                self.numbers.tally += observed.tally;
                self.peers.sent(from.peer);
                self.publish(observed.event);
            }
            Received::Fault(fault) => {
                if let Some(reason) = fault.reason() {
                    let peer = self.peers.id(from.peer).map_or_else(|| from.peer.to_string(), ToString::to_string);
                    self.refuse(&peer, reason, &fault.to_string());
                }
            }
        }
    }

    fn identified(&mut self, peer: PeerId, info: &libp2p_identify::Info) {
        let addresses = info.listen_addrs.iter().map(ToString::to_string);
        let protocols = info.protocols.iter().map(AsRef::as_ref);
        let Some(newer) = self.peers.identified(peer, &info.agent_version, addresses, protocols) else {
            return;
        };
        self.numbers.newer += 1;
        if let Some(suppressed) = self.context.telemetry.admit_line("bitswap newer protocol") {
            tracing::warn!(
                %peer,
                agent = info.agent_version,
                protocol = newer,
                suppressed,
                "a peer offers a version of Bitswap that the monitor does not read; it uses an older one for this peer"
            );
        }
    }

    /// Counts an event, and gives it to the stream if that has subscribers.
    fn publish(&mut self, event: Option<Bytes>) {
        let Some(event) = event else {
            self.numbers.events += 1;
            return;
        };
        let (topic, bytes) = (Topic::Bitswap, event.len() as u64);
        if self.observer.bus.publish(&Notification::Relayed { topic, event }) {
            self.numbers.events += 1;
            self.numbers.sent_bytes += bytes;
        } else {
            self.numbers.dropped += 1;
        }
    }

    /// Handles a configured peer that is not connected; other peers come back by themselves.
    fn lost(&mut self, peer: PeerId, why: &dyn std::fmt::Display) {
        if self.dialer.failed(peer, std::time::Instant::now()) {
            tracing::warn!(%peer, "no connection to the peer {peer} (bitswap.peers): {why}; it is dialed again");
        }
    }

    fn refuse(&self, peer: &str, reason: &'static str, detail: &str) {
        self.context.telemetry.reject(Rejection {
            source: &self.origin.source,
            peer,
            reason,
            detail,
        });
    }

    /// Stores the counts if they changed or are old.
    fn store_counts(&mut self) {
        let now = Instant::now();
        let unchanged = |(numbers, since): &(Numbers, Instant)| *numbers == self.numbers && now - *since < CONFIRM_EVERY;
        if self.stored.as_ref().is_some_and(unchanged) {
            return;
        }
        let BitswapContext {
            inlet, telemetry, clock, ..
        } = &self.context;
        let text = render(&self.observer.monitor, &self.numbers).into_bytes().into_boxed_slice();
        let update = Update {
            app: self.app.clone(),
            body: Bytes::from(text),
            syntax: Some(Syntax::Text),
            records: Bytes::new(),
            read: None,
            labels: [].into(),
            origin: self.origin.clone(),
            at: clock(),
        };
        match inlet.put(update, PutOptions::POLLED) {
            Ok(_) => {
                telemetry.updates_total.with([&self.origin.source, Format::Stream.as_str()]).inc();
                self.stored = Some((self.numbers, now));
            }
            Err(refused) => self.refuse("-", refused.reason(), &refused.to_string()),
        }
    }
}

impl Service for Monitor {
    fn name(&self) -> &str {
        "bitswap monitor"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            self.work(stop).await;
            Ok(())
        })
    }
}

fn behaviour(key: &Keypair, observer: Arc<Observer>, max_peers: usize, protected: HashSet<PeerId>) -> Behaviour {
    let identify = libp2p_identify::Config::new("ipfs/0.1.0".to_owned(), key.public())
        .with_agent_version(concat!("exporter-proxy/", env!("CARGO_PKG_VERSION")).to_owned())
        // Addresses of peers are not needed for dialing: only configured peers are dialed.
        .with_cache_size(0);
    Behaviour {
        bitswap: Bitswap::new(observer, max_peers, protected),
        identify: libp2p_identify::Behaviour::new(identify),
        ping: libp2p_ping::Behaviour::default(),
    }
}

/// Listens on an address, and waits until the addresses of its interfaces are known.
async fn listen(swarm: &mut Swarm<Behaviour>, address: &NodeAddress) -> Result<(), String> {
    if let (NodeTransport::Tcp, NodeHost::Ip(ip), 1..) = (address.transport, &address.host, address.port) {
        is_free(*ip, address.port).map_err(|why| shown(&why))?;
    }
    let multiaddr: Multiaddr = address.to_string().parse().map_err(|_| "not a multiaddress".to_owned())?;
    let listener = swarm.listen_on(multiaddr).map_err(|error| match error {
        TransportError::Other(why) => shown(&why),
        TransportError::MultiaddrNotSupported(_) => "this address cannot be listened on; give an IP address".to_owned(),
    })?;
    match timeout(LISTEN_TIMEOUT, bound(swarm, listener)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no address became known within {LISTEN_TIMEOUT:?}")),
    }
}

async fn bound(swarm: &mut Swarm<Behaviour>, wanted: ListenerId) -> Result<(), String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == wanted => return Ok(()),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason: Err(why),
                ..
            } if listener_id == wanted => return Err(shown(&why)),
            SwarmEvent::ListenerError { listener_id, error } if listener_id == wanted => return Err(shown(&error)),
            _ => {}
        }
    }
}

/// Fails if another process listens on the port. The library would share it, with Kubo too: each would get a part of the connections.
fn is_free(ip: IpAddr, port: u16) -> io::Result<()> {
    TcpListener::bind((ip, port)).map(drop)
}

fn shown(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        _ => why.to_string(),
    }
}

/// The reason of a failed attempt, without the list of its addresses.
fn dial_error(error: &DialError) -> String {
    match error {
        DialError::Transport(errors) => errors
            .iter()
            .map(|(address, why)| format!("{address}: {why}"))
            .collect::<Vec<_>>()
            .join("; "),
        DialError::WrongPeerId { obtained, .. } => format!("the peer there is {obtained}"),
        other => other.to_string(),
    }
}

fn remote(endpoint: &ConnectedPoint) -> &Multiaddr {
    match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
    }
}
