//! Our place in the network.

use std::time::Duration;

use super::accept::Listener;
use super::dial::DialError;
use super::pipe::Pipe;
use crate::peer::{Identity, PublicKey};

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    /// A bootstrap node is no `host:port`.
    #[error("bootstrap node {0:?}: expected host:port")]
    Bootstrap(String),
    /// The socket cannot be had.
    #[error("cannot join HyperDHT: {0}")]
    Join(String),
    /// The node has been closed.
    #[error("the HyperDHT node is closed")]
    Closed,
}

/// A node of the network with one UDP socket. Cloning clones a handle; the node goes with the last.
#[derive(Clone)]
pub(super) struct Node {}

impl Node {
    /// Joins the network through these nodes, `host:port` each; through the public ones where there are none.
    ///
    /// # Errors
    ///
    /// Where a node's name is malformed or the socket cannot be had. Nodes that do not answer are no error: they are asked again.
    pub(super) async fn open(_bootstrap: &[String]) -> Result<Self, NodeError> {
        Ok(Self {})
    }

    /// Reaches a peer by its key, showing `own`.
    ///
    /// # Errors
    ///
    /// Where it is not found, does not answer, does not let us in, or cannot be reached within `wait`.
    pub(super) async fn dial(&self, _own: &Identity, to: PublicKey, wait: Duration) -> Result<Pipe, DialError> {
        Err(DialError::Silent(to, wait))
    }

    /// Can be reached under this identity until the listener is closed or dropped. `admit` says who gets any answer at all.
    ///
    /// # Errors
    ///
    /// Where the node is closed.
    pub(super) async fn listen(
        &self,
        _own: &Identity,
        _admit: impl Fn(PublicKey) -> bool + Send + Sync + 'static,
    ) -> Result<Listener, NodeError> {
        Err(NodeError::Closed)
    }
}
