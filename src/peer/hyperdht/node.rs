//! Our place in the network: one node, one UDP socket, however many identities are served and peers dialled.

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
use peeroxide_dht::noise::{Keypair, keypair_from_seed};
use peeroxide_dht::rpc::{self, DhtConfig, DhtHandle, UserRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::dial::{self, DialError, MAX_CONCURRENT_DIALS, RelayCache};
use super::listener::{self, KeyAdmission, KeyListener};
use super::secret_stream::SecretStream;
use crate::peer::{Identity, PublicKey};

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    /// A bootstrap node is no `host:port`.
    #[error("the bootstrap node {0:?}: expected host:port")]
    Bootstrap(String),
    /// The socket cannot be bound.
    #[error("cannot join HyperDHT{}: {why}", on(*.port))]
    Join {
        /// The UDP port that was asked for.
        port: u16,
        /// What the system says.
        why: String,
    },
    /// The identity is served by this node already.
    #[error("{0} is served already")]
    AlreadyServed(PublicKey),
}

/// Which of our identities a request is for, by where the network looks for it.
type Targets = Arc<Mutex<HashMap<[u8; 32], mpsc::Sender<UserRequest>>>>;

/// A node of the network. Cloning clones a handle; the node leaves with the last, and so do the connections made through it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) dht: DhtHandle,
    /// Carries everything: what it shows to the outside is the one address under which we are known.
    pub(super) socket: UdxSocket,
    /// Where our streams pass packets on to ours, see [`super::udx_stream`].
    pub(super) relay_socket: UdxSocket,
    pub(super) udx: Arc<UdxRuntime>,
    pub(super) relay_cache: Arc<Mutex<RelayCache>>,
    /// Turns at asking the network.
    pub(super) dial_permits: Arc<Semaphore>,
    targets: Targets,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

impl Node {
    /// Joins the network through these nodes, `host:port` each; through the public ones where there are none. `port` is the UDP port,
    /// 0 for any.
    ///
    /// # Errors
    ///
    /// Where a node's name is malformed or the socket cannot be had. Nodes that do not answer are no error: they are asked again.
    pub(super) async fn open(bootstrap: &[String], port: u16) -> Result<Self, NodeError> {
        let mut config = DhtConfig::default();
        config.port = port;
        config.bootstrap = match bootstrap {
            [] => DEFAULT_BOOTSTRAP.map(str::to_owned).into(),
            given => given.iter().map(|text| check_host_port(text)).collect::<Result<_, _>>()?,
        };
        // We keep nothing for others: we come and go, and may be unreachable for them.
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
                // It ends by error or panic alone, and then every handle says so.
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

    /// Reaches a peer by its key, showing `own`.
    ///
    /// # Errors
    ///
    /// Where it is not found, does not answer, does not let us in, or cannot be reached within `wait`.
    pub(super) async fn dial(&self, own: &Identity, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
        dial::dial(self, &key_pair(own), to, wait).await
    }

    /// Can be reached under this identity until the listener is closed or dropped. `admit` says who gets any answer at all.
    ///
    /// # Errors
    ///
    /// Where this node serves the identity already.
    pub(super) async fn listen<A: Into<KeyAdmission>>(
        &self,
        own: &Identity,
        admit: impl Fn(PublicKey) -> A + Send + Sync + 'static,
    ) -> Result<KeyListener, NodeError> {
        let admit = move |key| admit(key).into();
        listener::listen(self, key_pair(own), Box::new(admit)).ok_or_else(|| NodeError::AlreadyServed(own.public_key()))
    }

    /// Has requests for `target` sent to `inbox`; `false` where somebody has them already.
    pub(super) fn register_target(&self, target: [u8; 32], inbox: mpsc::Sender<UserRequest>) -> bool {
        let mut targets = lock(&self.targets);
        targets.retain(|_, inbox| !inbox.is_closed());
        let free = !targets.contains_key(&target);
        if free {
            targets.insert(target, inbox);
        }
        free
    }

    /// How others see us, as far as enough of them agree.
    pub(super) async fn nat_status(&self) -> NatStatus {
        let firewall = self.dht.firewalled().await.unwrap_or(FIREWALL_UNKNOWN);
        let port = self.socket.local_addr().await.map_or(0, |address| address.port());
        // Where each peer sees another port there is none to name; the JavaScript side falls over a port of 0.
        let mut address = self.dht.remote_address().await.ok().flatten();
        if let Some(seen) = address.as_mut().filter(|seen| seen.port == 0) {
            seen.port = port;
        }
        let local = peeroxide_dht::holepuncher::Holepuncher::local_addresses(port);
        NatStatus { address, firewall, local }
    }
}

/// Where we are for others.
pub(super) struct NatStatus {
    /// The address that the network sees.
    pub(super) address: Option<Ipv4Peer>,
    /// What kind of translator of addresses stands before us, in HyperDHT's numbers.
    firewall: u64,
    /// The addresses of this machine.
    pub(super) local: Vec<Ipv4Peer>,
}

impl NatStatus {
    /// Whether packets to the address that one peer sees reach us when another sends them, once we have sent that one some.
    pub(super) fn is_consistent_nat(&self) -> bool {
        self.firewall == FIREWALL_OPEN || self.firewall == FIREWALL_CONSISTENT || self.has_no_nat()
    }

    /// Whether each peer sees another port of ours, so that nobody can be told where we are.
    pub(super) fn is_symmetric_nat(&self) -> bool {
        self.firewall == FIREWALL_RANDOM && !self.has_no_nat()
    }

    /// Whether others see an address that this machine has.
    pub(super) fn has_no_nat(&self) -> bool {
        self.address.as_ref().is_some_and(|seen| {
            let loopback = seen.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            loopback || self.local.iter().any(|local| local.host == seen.host)
        })
    }

    /// What we say of where we are: what others see first, as older programs look no further.
    pub(super) fn addresses(&self) -> Vec<Ipv4Peer> {
        self.address.iter().chain(&self.local).cloned().collect()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn socket_address(peer: &Ipv4Peer) -> Option<SocketAddr> {
    Some(SocketAddr::new(peer.host.parse().ok()?, peer.port))
}

/// Where a socket was to be bound, for an error.
fn on(port: u16) -> String {
    match port {
        0 => String::new(),
        port => format!(" on udp port {port}"),
    }
}

fn key_pair(own: &Identity) -> Keypair {
    keypair_from_seed(&own.seed())
}

fn check_host_port(text: &str) -> Result<String, NodeError> {
    let sound = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    sound.then(|| text.to_owned()).ok_or_else(|| NodeError::Bootstrap(text.to_owned()))
}

/// Hands requests to those who serve. What is for nobody here gets no answer, as if we were not there; a strange command gets an error.
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
mod tests {
    use super::*;

    #[test]
    fn bootstrap_nodes_have_a_host_and_a_port() {
        for good in ["a:1", "127.0.0.1:49737", "88.99.3.86@node1.hyperdht.org:49737"] {
            assert!(check_host_port(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:b"] {
            assert!(check_host_port(bad).is_err(), "{bad}");
        }
    }
}
