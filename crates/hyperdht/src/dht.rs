//! A running node of the network: an [`Engine`] with its socket and its clock.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::lookup_host;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{Call, Engine, IncomingRequest, NodeRole};
use crate::key::fill_random;
use crate::messages::{Reply, command};
use crate::mutex::lock;
use crate::nat::{NatStatus, local_addresses};
use crate::node_socket::NodeSocket;
use crate::query::Found;
use crate::routing_table::NodeId;

/// Interval at which the names of bootstrap nodes are resolved again while no node responds.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);

/// A bootstrap node: an address, a name, or an address with the name to resolve if no node responds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootstrapNode {
    address: Option<Ipv4Addr>,
    name: Option<String>,
    port: u16,
}

impl BootstrapNode {
    /// Parses `HOST:PORT` or `ADDRESS@NAME:PORT`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let (address, name) = match host.split_once('@') {
            Some((address, name)) => (Some(address.parse().ok()?), Some(name)),
            None => match host.parse() {
                Ok(address) => (Some(address), None),
                Err(_) => (None, Some(host)),
            },
        };
        let has_name = name.is_none_or(|name| !name.is_empty());
        let name = name.map(str::to_owned);
        has_name.then_some(Self { address, name, port })
    }

    /// Returns the known address, or resolves the name if there is none or `renew` is set.
    async fn addresses(&self, renew: bool) -> Vec<SocketAddrV4> {
        let mut found: Vec<SocketAddrV4> = self
            .address
            .map(|address| SocketAddrV4::new(address, self.port))
            .into_iter()
            .collect();
        let Some(name) = self.name.as_ref().filter(|_| renew || found.is_empty()) else {
            return found;
        };
        match lookup_host((name.as_str(), self.port)).await {
            Ok(addresses) => found.extend(addresses.filter_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            })),
            Err(error) => tracing::warn!(node = %name, %error, "DNS resolution failed for bootstrap node"),
        }
        found
    }
}

/// Queues of requests for served keys, by the hash of the key.
type Targets = HashMap<NodeId, mpsc::Sender<IncomingRequest>>;

struct Shared {
    socket: Arc<NodeSocket>,
    engine: Mutex<Engine>,
    /// Notified when the engine may have packets to send or an earlier event.
    changed: Notify,
    bootstrapped: watch::Sender<bool>,
    targets: Mutex<Targets>,
}

/// A handle to a running node. Dropping the last one closes its socket.
#[derive(Clone)]
pub(crate) struct Dht {
    shared: Arc<Shared>,
    _running: Arc<AbortOnDropHandle<()>>,
}

impl Dht {
    /// Starts an ephemeral node.
    ///
    /// # Errors
    ///
    /// If the address is not free, or the system has no randomness.
    pub(crate) async fn open(bind: SocketAddrV4, bootstrap: Vec<BootstrapNode>) -> io::Result<Self> {
        let socket = NodeSocket::bind(bind).await?;
        Self::start(socket, NodeRole::Ephemeral, bootstrap)
    }

    /// Starts a node that stores records, at an address that others reach.
    ///
    /// # Errors
    ///
    /// As [`Dht::open`].
    pub(crate) async fn open_storing(address: Ipv4Addr, bootstrap: Vec<BootstrapNode>) -> io::Result<Self> {
        let socket = NodeSocket::bind(SocketAddrV4::new(address, 0)).await?;
        let role = NodeRole::Storing(SocketAddrV4::new(address, socket.port()));
        Self::start(socket, role, bootstrap)
    }

    fn start(socket: Arc<NodeSocket>, role: NodeRole, bootstrap: Vec<BootstrapNode>) -> io::Result<Self> {
        let mut seed = [0; 32];
        fill_random(&mut seed)?;
        let shared = Arc::new(Shared {
            socket,
            engine: Mutex::new(Engine::new(role, seed, Instant::now())),
            changed: Notify::new(),
            bootstrapped: watch::Sender::new(false),
            targets: Mutex::default(),
        });
        let running = tokio::spawn(run(CloseOnDrop(shared.clone()), bootstrap));
        Ok(Self {
            shared,
            _running: Arc::new(AbortOnDropHandle::new(running)),
        })
    }

    /// Returns the socket.
    pub(crate) fn socket(&self) -> &Arc<NodeSocket> {
        &self.shared.socket
    }

    /// Waits until the first query has ended, with or without other nodes.
    pub(crate) async fn bootstrapped(&self) {
        let mut bootstrapped = self.shared.bootstrapped.subscribe();
        // The sender lives as long as this handle.
        let _ = bootstrapped.wait_for(|bootstrapped| *bootstrapped).await;
    }

    /// Returns the nodes closest to a target that have replied to a command without an error, the closest first.
    pub(crate) async fn query(&self, command: u64, target: NodeId) -> Vec<Found> {
        let (caller, results) = oneshot::channel();
        self.shared.with_engine(|engine| engine.query(false, command, target, Some(caller)));
        results.await.unwrap_or_default()
    }

    /// Sends a request to a node; `None` if it does not respond.
    pub(crate) async fn call(&self, to: SocketAddrV4, call: Call) -> Option<Reply> {
        let (caller, reply) = oneshot::channel();
        self.shared.with_engine(|engine| engine.call(to, call, caller));
        reply.await.ok()
    }

    /// Pings a node; returns our address as it sees it, or `None` if it does not respond.
    pub(crate) async fn ping(&self, to: SocketAddrV4) -> Option<SocketAddrV4> {
        let (caller, reply) = oneshot::channel();
        self.shared.with_engine(|engine| engine.ping(to, caller));
        reply.await.ok().map(|reply| reply.to)
    }

    /// Passes a reply to a handshake to the relay that it came from.
    pub(crate) fn relay(&self, to: SocketAddrV4, request: &IncomingRequest, value: Bytes) {
        let (tid, target) = (request.tid, request.target);
        self.shared
            .with_engine(|engine| engine.relay(to, tid, command::PEER_HANDSHAKE, target, value));
    }

    /// Replies to a request directly.
    pub(crate) fn reply(&self, request: &IncomingRequest, value: Bytes) {
        self.shared.with_engine(|engine| engine.reply(request, value));
    }

    /// Routes handshakes for `target` to `inbox`; `false` if they are routed already.
    pub(crate) fn register_target(&self, target: NodeId, inbox: mpsc::Sender<IncomingRequest>) -> bool {
        let mut targets = lock(&self.shared.targets);
        targets.retain(|_, inbox| !inbox.is_closed());
        let free = !targets.contains_key(&target);
        if free {
            targets.insert(target, inbox);
        }
        free
    }

    /// Returns the NAT status as reported by other nodes.
    pub(crate) fn nat_status(&self) -> NatStatus {
        let port = self.shared.socket.port();
        let local = local_addresses(port);
        NatStatus::new(lock(&self.shared.engine).nat(), port, local)
    }
}

impl Shared {
    /// Changes the engine, and sends its packets.
    fn with_engine(&self, change: impl FnOnce(&mut Engine)) {
        let mut engine = lock(&self.engine);
        change(&mut engine);
        self.flush(&mut engine);
        drop(engine);
        self.changed.notify_one();
    }

    fn flush(&self, engine: &mut Engine) {
        let now = Instant::now();
        while let Some((to, packet)) = engine.transmit(now) {
            self.socket.try_send(&packet, to);
        }
    }

    /// Handles a message of another node.
    fn receive(&self, from: SocketAddrV4, message: &[u8]) {
        let request = lock(&self.engine).receive(from, Bytes::copy_from_slice(message), Instant::now());
        if let Some(request) = request {
            let inbox = lock(&self.targets).get(&request.target).cloned();
            // A handshake for another key is dropped, and one more than the queue takes; the peer retries after a second.
            if let Some(inbox) = inbox {
                let _ = inbox.try_send(request);
            }
        }
    }

    /// Calls the engine at its times.
    async fn keep_time(&self) {
        loop {
            let due = lock(&self.engine).due();
            tokio::select! {
                () = sleep_until(due.into()) => {
                    let mut engine = lock(&self.engine);
                    engine.advance(Instant::now());
                    self.flush(&mut engine);
                }
                () = self.changed.notified() => {}
            }
        }
    }

    /// Joins the network through the bootstrap nodes, and again while no node is known.
    async fn join(&self, nodes: &[BootstrapNode]) {
        let mut renew = false;
        loop {
            let mut addresses = Vec::new();
            for node in nodes {
                addresses.extend(node.addresses(renew).await);
            }
            let (caller, results) = oneshot::channel();
            self.with_engine(|engine| {
                engine.set_bootstrap(addresses);
                engine.find_neighbors(Some(caller));
            });
            let found = results.await.unwrap_or_default();
            let has_other_addresses = !renew && nodes.iter().any(|node| node.address.is_some() && node.name.is_some());
            renew = true;
            if found.is_empty() && has_other_addresses {
                continue;
            }
            self.bootstrapped.send_replace(true);
            loop {
                sleep(RESOLVE_INTERVAL).await;
                if lock(&self.engine).knows_no_node() {
                    break;
                }
            }
        }
    }
}

/// Closes the socket at the end of the node's task.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.socket.close();
    }
}

async fn run(node: CloseOnDrop, bootstrap: Vec<BootstrapNode>) {
    let shared = &*node.0;
    let on_message = |from, message: &[u8]| shared.receive(from, message);
    let on_batch = || {
        shared.flush(&mut lock(&shared.engine));
        shared.changed.notify_one();
    };
    tokio::join!(
        shared.socket.receive(on_message, on_batch),
        shared.keep_time(),
        shared.join(&bootstrap)
    );
}

#[cfg(test)]
mod tests;
