//! Being reached: from a handshake that came through the network to a connection.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::pipe::Pipe;
use crate::peer::PublicKey;

/// Somebody asked for a connection.
pub(super) enum Arrival {
    /// They were let in.
    Admitted(Pipe),
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
}

impl Listener {
    /// The next who asks; `None` where the node is closed. May be dropped at any time and called again.
    pub(super) async fn accept(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Takes our announcement back, so that nobody looks for us in vain.
    pub(super) async fn close(self) {}
}
