//! A node of the network: one UDP socket for any number of served keys and dialed peers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::dht::{BootstrapNode, Dht};
use crate::dial::{DialContext, DialError};
use crate::key::{KeyPair, PublicKey};
use crate::listener::{self, KeyAdmission, KeyListener};
use crate::secret_stream::SecretStream;
use crate::udx::MAX_RECEIVE_BYTES;

/// The public bootstrap nodes, those of the JavaScript implementation.
const PUBLIC_BOOTSTRAP: [&str; 3] = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
];

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

/// A node of the network: one UDP socket for any number of served keys and dialed peers. A clone is a handle to the same node; dropping the
/// last one leaves the network and closes all connections through it.
#[derive(Clone)]
pub struct Node {
    pub(crate) dht: Dht,
    dials: Arc<DialContext>,
}

impl Node {
    /// Joins the network through these bootstrap nodes, `host:port` each; empty: the public ones. `port` is the UDP port, 0 for any.
    ///
    /// # Errors
    ///
    /// If a bootstrap node is malformed, or the socket cannot be bound. Nodes that do not respond are not an error; they are retried.
    pub async fn open(bootstrap: &[String], port: u16) -> Result<Self, NodeError> {
        let parse = |text: &str| BootstrapNode::parse(text).ok_or_else(|| NodeError::Bootstrap(text.to_owned()));
        let nodes: Vec<BootstrapNode> = match bootstrap {
            [] => PUBLIC_BOOTSTRAP.into_iter().map(parse).collect::<Result<_, _>>()?,
            given => given.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
        };
        let join = |e: std::io::Error| NodeError::Join { port, why: e.to_string() };
        let dht = Dht::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), nodes)
            .await
            .map_err(join)?;
        let dials = DialContext::new(dht.clone());
        Ok(Self { dht, dials })
    }

    /// Dials a peer by its key, with the key pair `own`.
    ///
    /// # Errors
    ///
    /// If the peer is not found, does not respond, does not admit our key, or cannot be reached within `wait`.
    pub async fn dial(&self, own: &KeyPair, to: PublicKey, wait: Duration) -> Result<SecretStream, DialError> {
        self.dials.dial(own, to, wait).await
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
        self.listen_with_limit(own, MAX_RECEIVE_BYTES, admit).await
    }

    /// Like [`Node::listen`], with a limit on the bytes that the peer of a connection can have buffered, [`udx::MIN_RECEIVE_BYTES`] at
    /// least: see [`udx::UdxEndpoint::with_receive_limit`]. For listeners that admit unknown keys and receive short messages.
    ///
    /// [`udx::MIN_RECEIVE_BYTES`]: crate::udx::MIN_RECEIVE_BYTES
    /// [`udx::UdxEndpoint::with_receive_limit`]: crate::udx::UdxEndpoint::with_receive_limit
    ///
    /// # Errors
    ///
    /// As [`Node::listen`].
    pub async fn listen_with_limit<A: Into<KeyAdmission>>(
        &self,
        own: &KeyPair,
        receive_bytes: usize,
        admit: impl Fn(PublicKey) -> A + Send + Sync + 'static,
    ) -> Result<KeyListener, NodeError> {
        let admit = move |key| admit(key).into();
        listener::listen(&self.dht, own.clone(), receive_bytes, Box::new(admit)).ok_or(NodeError::AlreadyServed)
    }
}

/// Formats the port of a bind error.
fn on(port: u16) -> String {
    match port {
        0 => String::new(),
        port => format!(" on udp port {port}"),
    }
}
