//! `[bitswap]`: the Bitswap monitor.

use std::path::PathBuf;

use super::raw::quoted;
use super::reader::Section;
use super::value_types::{Bool, FilePath, IntegerRange, ListOf, OrEmpty, Parsed};
use crate::model::MAX_APP_NAME_BYTES;
use crate::wire::node_address::{NodeAddress, NodeHost};

/// Each is a socket, and nodes listen on a handful.
const MAX_LISTEN: usize = 64;
/// Each is dialed for as long as it is not connected.
const MAX_PEERS: usize = 1_000;
/// Each connection takes a file descriptor over TCP, of which a process has at most this many by default.
const MAX_CONNECTIONS: usize = 65_534;
/// The name is part of the app's name, behind `bitswap: `.
const MAX_NAME_BYTES: usize = MAX_APP_NAME_BYTES - "bitswap: ".len();

/// `[bitswap]` as used, where it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitswapConfig {
    /// `listen`: the addresses for peers.
    pub listen: Vec<NodeAddress>,
    /// `peers`: the peers to keep connected.
    pub peers: Vec<NodeAddress>,
    /// `key_file`; `None`: the usual place.
    pub key_file: Option<PathBuf>,
    /// `max_peers`.
    pub max_peers: usize,
    /// `monitor_name`; `None`: the hostname.
    pub monitor_name: Option<String>,
}

impl BitswapConfig {
    /// `None` unless it is enabled; the keys are checked in any case.
    pub(super) fn read(t: &mut Section<'_>) -> Option<Self> {
        let enabled = t.restart_only("enabled").or(false, Bool);
        let default = ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"].map(str::parse);
        let bitswap = Self {
            listen: t.restart_only("listen").or(default.into_iter().flatten().collect(), ADDRESSES),
            peers: t.restart_only("peers").or(Vec::new(), ADDRESSES),
            key_file: t.restart_only("key_file").or(None, OrEmpty(FilePath)),
            max_peers: t.restart_only("max_peers").or(1_024, IntegerRange(1..=MAX_CONNECTIONS)),
            monitor_name: t.restart_only("monitor_name").or(None, OrEmpty(NAME)),
        };
        bitswap.check(t, enabled);
        enabled.then_some(bitswap)
    }

    fn check(&self, t: &mut Section<'_>, enabled: bool) {
        t.require(&["enabled"], !enabled || cfg!(feature = "bitswap"), || {
            "this program was built without the Bitswap monitor; build it with: cargo build --release --features bitswap".to_owned()
        });
        let (listen, peers) = (self.listen.len(), self.peers.len());
        t.require(&["listen"], listen <= MAX_LISTEN, || {
            format!("{listen} addresses exceed the maximum of {MAX_LISTEN}")
        });
        t.require(&["peers"], peers <= MAX_PEERS, || {
            format!("{peers} peers exceed the maximum of {MAX_PEERS}")
        });
        let named = self
            .listen
            .iter()
            .find(|address| address.peer.is_some() || !matches!(address.host, NodeHost::Ip(_)));
        t.require(&["listen"], named.is_none(), || {
            let address = named.map(ToString::to_string).unwrap_or_default();
            format!("{address}: an address to listen on has an IP address, and no /p2p")
        });
        let anonymous = self.peers.iter().find(|address| address.peer.is_none() || address.port == 0);
        t.require(&["peers"], anonymous.is_none(), || {
            let address = anonymous.map(ToString::to_string).unwrap_or_default();
            format!("{address}: a peer needs its port and its id, as in {address}/p2p/12D3KooW... (ipfs id shows it)")
        });
        t.require(&["enabled", "listen", "peers"], !enabled || listen + peers > 0, || {
            "\"enabled\" needs an address in \"listen\", or \"peers\" to connect to".to_owned()
        });
    }
}

const ADDRESSES: ListOf<Parsed<NodeAddress>> = ListOf {
    item: Parsed {
        expected: "a multiaddress such as \"/ip4/0.0.0.0/tcp/4001\"",
        parse: |text| text.parse().map_err(|e| format!("{}: {e}", quoted(text))),
    },
    expected: "a list of multiaddresses such as [\"/ip4/0.0.0.0/tcp/4001\"]",
    or_single: false,
};

const NAME: Parsed<String> = Parsed {
    expected: "a name",
    parse: |text| {
        let valid = text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        let invalid = || {
            format!(
                "{} is not a valid name (at most {MAX_NAME_BYTES} bytes, no control characters)",
                quoted(text)
            )
        };
        valid.then(|| text.to_owned()).ok_or_else(invalid)
    },
};
