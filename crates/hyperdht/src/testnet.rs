//! A network of a few nodes on the loopback interface, for tests and experiments without the public network.

use std::net::Ipv4Addr;

use crate::dht::{BootstrapNode, Dht};

/// Nodes that store announcements and relay handshakes, stopped on drop.
pub struct TestNetwork {
    bootstrap: String,
    nodes: Vec<Dht>,
}

impl TestNetwork {
    /// Starts `nodes` nodes; the first one is the bootstrap node.
    ///
    /// # Panics
    ///
    /// If the loopback interface has no free ports.
    pub async fn start(nodes: usize) -> Self {
        let mut network = Self {
            bootstrap: String::new(),
            nodes: Vec::new(),
        };
        for _ in 0..nodes {
            network.add().await;
        }
        network
    }

    async fn add(&mut self) {
        let bootstrap = BootstrapNode::parse(&self.bootstrap).into_iter().collect();
        let node = Dht::open_storing(Ipv4Addr::LOCALHOST, bootstrap)
            .await
            .expect("a port of the loopback interface");
        if self.nodes.is_empty() {
            self.bootstrap = format!("127.0.0.1:{}", node.socket().port());
        } else {
            node.bootstrapped().await;
        }
        self.nodes.push(node);
    }

    /// Returns the bootstrap node as `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }
}
