//! A network of a few nodes on the loopback interface, for tests and experiments without the public network.

use libudx::UdxRuntime;
use peeroxide_dht::hyperdht::{HyperDhtConfig, HyperDhtHandle, spawn};
use peeroxide_dht::rpc::DhtConfig;
use tokio::task::JoinHandle;

/// Nodes that store announcements and relay handshakes, stopped on drop.
pub struct TestNetwork {
    bootstrap: String,
    nodes: Vec<HyperDhtHandle>,
    running: Vec<JoinHandle<()>>,
    _udx: UdxRuntime,
}

impl TestNetwork {
    /// Starts `nodes` nodes; the first one is the bootstrap node.
    ///
    /// # Panics
    ///
    /// If the loopback interface has no free ports.
    pub async fn start(nodes: usize) -> Self {
        let udx = UdxRuntime::new().expect("it has nothing that could fail");
        let mut network = Self {
            bootstrap: String::new(),
            nodes: Vec::new(),
            running: Vec::new(),
            _udx: udx,
        };
        for _ in 0..nodes {
            network.add().await;
        }
        network
    }

    async fn add(&mut self) {
        let mut dht = DhtConfig::default();
        dht.bootstrap = self.nodes.first().map(|_| self.bootstrap.clone()).into_iter().collect();
        dht.host = "127.0.0.1".to_owned();
        dht.ephemeral = Some(false);
        dht.firewalled = false;
        let mut config = HyperDhtConfig::default();
        config.dht = dht;
        let (running, node, mut events) = spawn(&self._udx, config).await.expect("a port of the loopback interface");
        if self.nodes.is_empty() {
            self.bootstrap = format!("127.0.0.1:{}", node.local_port().await.expect("the node runs"));
        } else {
            node.bootstrapped().await.expect("the first node answers");
        }
        self.nodes.push(node);
        self.running.push(tokio::spawn(async move {
            // The nodes serve no keys, so the requests are dropped.
            while events.recv().await.is_some() {}
            let _ = running.await;
        }));
    }

    /// Returns the bootstrap node as `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}
