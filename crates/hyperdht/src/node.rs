//! A node of the network: one UDP socket for any number of served keys and dialed peers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libudx::{UdxRuntime, UdxSocket};
use peeroxide_dht::hyperdht::DEFAULT_BOOTSTRAP;
use peeroxide_dht::hyperdht_messages::{
    FIREWALL_CONSISTENT, FIREWALL_OPEN, FIREWALL_RANDOM, FIREWALL_UNKNOWN, PEER_HANDSHAKE, PEER_HOLEPUNCH,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::rpc::{self, DhtConfig, DhtHandle, UserRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{self, DialError, MAX_CONCURRENT_DIALS, RelayCache};
use crate::key::{KeyPair, PublicKey};
use crate::listener::{self, KeyAdmission, KeyListener};
use crate::secret_stream::SecretStream;

/// The error of a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A bootstrap node is not `host:port`.
    #[error("bootstrap node {0:?}: expected HOST:PORT")]
    Bootstrap(String),
    /// The socket cannot be bound.
    #[error("cannot join HyperDHT{}: {why}", on(*.port))]
    Join {
        /// The requested UDP port.
        port: u16,
        /// The error of the system.
        why: String,
    },
    /// This node already serves the key.
    #[error("this node already serves the key")]
    AlreadyServed,
}

/// The queues of requests for served keys, by the hash of the key.
type Targets = Arc<Mutex<HashMap<[u8; 32], mpsc::Sender<UserRequest>>>>;

/// A node of the network: one UDP socket for any number of served keys and dialed peers. A clone is a handle to the same node; dropping the last one leaves the network and closes all connections
/// through it.
#[derive(Clone)]
pub struct Node {
    pub(crate) dht: DhtHandle,
    /// Carries all packets, so that peers see one address.
    pub(crate) socket: UdxSocket,
    /// Connects the relay streams with our own streams, see [`crate::udx_stream`].
    pub(crate) relay_socket: UdxSocket,
    pub(crate) udx: Arc<UdxRuntime>,
    pub(crate) relay_cache: Arc<Mutex<RelayCache>>,
    /// Limits dials that query the network.
    pub(crate) dial_permits: Arc<Semaphore>,
    targets: Targets,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

impl Node {
    /// Joins the network through these bootstrap nodes, `host:port` each; empty: the public ones. `port` is the UDP port, 0 for any.
    ///
    /// # Errors
    ///
    /// If a bootstrap node is malformed, or the socket cannot be bound. Nodes that do not respond are not an error; they are retried.
    pub async fn open(bootstrap: &[String], port: u16) -> Result<Self, NodeError> {
        let mut config = DhtConfig::default();
        config.port = port;
        config.bootstrap = match bootstrap {
            [] => DEFAULT_BOOTSTRAP.map(str::to_owned).into(),
            given => given.iter().map(|text| check_host_port(text)).collect::<Result<_, _>>()?,
        };
        // Our node stores no records of others, because it may be short-lived or unreachable.
        config.ephemeral = Some(true);
        let join = |e: &dyn ToString| NodeError::Join { port, why: e.to_string() };
        let udx = UdxRuntime::new().map_err(|e| join(&e))?;
        let (running, dht) = rpc::spawn(&udx, config).await.map_err(|e| join(&e))?;
        let running = AbortOnDropHandle::new(running);
        let requests = dht.subscribe_requests().await.ok_or_else(|| join(&"it stopped at once"))?;
        let socket = dht.server_socket().await.map_err(|e| join(&e))?;
        let relay_socket = udx.create_socket().await.map_err(|e| join(&e))?;
        relay_socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(|e| join(&e))?;
        let targets = Targets::default();
        let tasks = [
            AbortOnDropHandle::new(tokio::spawn(async move {
                // It ends only by an error or a panic, after which every handle fails.
                let _ = running.await;
            })),
            AbortOnDropHandle::new(tokio::spawn(route(requests, targets.clone()))),
        ];
        Ok(Self {
            dht,
            socket: socket.ok_or_else(|| join(&"there is no socket"))?,
            relay_socket,
            udx: Arc::new(udx),
            relay_cache: Arc::default(),
            dial_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_DIALS)),
            targets,
            _tasks: Arc::new(tasks),
        })
    }

    /// Dials a peer by its key, with the key pair `own`.
    ///
    /// # Errors
    ///
    /// If the peer is not found, does not respond, does not admit our key, or cannot be reached within `wait`.
    pub async fn dial(&self, own: &KeyPair, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
        dial::dial(self, own.noise(), to, wait).await
    }

    /// Announces the key of `own` and accepts connections to it until the listener is closed or dropped. `admit` returns the admission of
    /// a peer's key: `true` for [`KeyAdmission::Known`], `false` for [`KeyAdmission::Refused`].
    ///
    /// # Errors
    ///
    /// If this node already serves the key.
    pub async fn listen<A: Into<KeyAdmission>>(
        &self,
        own: &KeyPair,
        admit: impl Fn(PublicKey) -> A + Send + Sync + 'static,
    ) -> Result<KeyListener, NodeError> {
        let admit = move |key| admit(key).into();
        listener::listen(self, own.noise().clone(), Box::new(admit)).ok_or(NodeError::AlreadyServed)
    }

    /// Routes requests for `target` to `inbox`; `false` if they are routed already.
    pub(crate) fn register_target(&self, target: [u8; 32], inbox: mpsc::Sender<UserRequest>) -> bool {
        let mut targets = lock(&self.targets);
        targets.retain(|_, inbox| !inbox.is_closed());
        let free = !targets.contains_key(&target);
        if free {
            targets.insert(target, inbox);
        }
        free
    }

    /// Returns the NAT status as reported by other nodes.
    pub(crate) async fn nat_status(&self) -> NatStatus {
        let firewall = self.dht.firewalled().await.unwrap_or(FIREWALL_UNKNOWN);
        let port = self.socket.local_addr().await.map_or(0, |address| address.port());
        // Behind a symmetric NAT there is no external port; the JavaScript implementation fails on port 0.
        let mut address = self.dht.remote_address().await.ok().flatten();
        if let Some(seen) = address.as_mut().filter(|seen| seen.port == 0) {
            seen.port = port;
        }
        let local = peeroxide_dht::holepuncher::Holepuncher::local_addresses(port);
        NatStatus { address, firewall, local }
    }
}

/// Our addresses and the kind of NAT in front of them.
pub(crate) struct NatStatus {
    /// The external address seen by the network.
    pub(crate) address: Option<Ipv4Peer>,
    /// The kind of NAT, as a constant of HyperDHT.
    firewall: u64,
    /// The addresses of this machine.
    pub(crate) local: Vec<Ipv4Peer>,
}

impl NatStatus {
    /// Returns true if the NAT mapping does not depend on the destination: a packet to the address seen by one peer reaches us from
    /// another peer to which we have sent a packet.
    pub(crate) fn is_consistent_nat(&self) -> bool {
        self.firewall == FIREWALL_OPEN || self.firewall == FIREWALL_CONSISTENT || self.has_no_nat()
    }

    /// Returns true if the external port depends on the destination, so that no address can be given to peers.
    pub(crate) fn is_symmetric_nat(&self) -> bool {
        self.firewall == FIREWALL_RANDOM && !self.has_no_nat()
    }

    /// Returns true if the external address is an address of this machine.
    pub(crate) fn has_no_nat(&self) -> bool {
        self.address.as_ref().is_some_and(|seen| {
            let loopback = seen.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            loopback || self.local.iter().any(|local| local.host == seen.host)
        })
    }

    /// Returns the addresses to send to peers, the external one first, because older programs use the first only.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Peer> {
        self.address.iter().chain(&self.local).cloned().collect()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn socket_address(peer: &Ipv4Peer) -> Option<SocketAddr> {
    Some(SocketAddr::new(peer.host.parse().ok()?, peer.port))
}

/// Formats the port of a bind error.
fn on(port: u16) -> String {
    match port {
        0 => String::new(),
        port => format!(" on udp port {port}"),
    }
}

fn check_host_port(text: &str) -> Result<String, NodeError> {
    let sound = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    sound.then(|| text.to_owned()).ok_or_else(|| NodeError::Bootstrap(text.to_owned()))
}

/// Routes requests to the served keys. A handshake for another key is dropped silently; an unknown command returns an error.
async fn route(mut requests: mpsc::UnboundedReceiver<UserRequest>, targets: Targets) {
    while let Some(mut request) = requests.recv().await {
        if request.command == PEER_HANDSHAKE {
            let server = request.target.and_then(|target| lock(&targets).get(&target).cloned());
            match server.as_ref().and_then(|server| server.try_reserve().ok()) {
                Some(slot) => slot.send(request),
                None => request.release(),
            }
        } else if request.command == PEER_HOLEPUNCH {
            request.release();
        }
    }
}

#[cfg(test)]
mod tests;
