//! Kubo's RPC: the response to `POST /api/v0/swarm/peers?verbose=true`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::model::Peer;

/// The connections of a node.
#[derive(Debug, Default)]
pub struct Swarm {
    /// Number of connections.
    pub connections: usize,
    /// The connected peers, each once, in the order of the response.
    pub peers: Vec<Peer>,
    /// Open streams by protocol; empty while the protocol of a stream is being negotiated.
    pub streams: HashMap<Arc<str>, u64>,
}

/// A string that borrows from the response unless it contains escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

// Go writes an empty list as null, and Kubo's fields have changed over the years: only the peer's identity is required.
#[derive(Deserialize)]
struct SwarmResponse<'a> {
    #[serde(rename = "Peers", borrow)]
    peers: Option<Vec<Connection<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Connection<'a> {
    #[serde(borrow)]
    peer: Text<'a>,
    #[serde(borrow)]
    addr: Option<Text<'a>>,
    #[serde(borrow)]
    latency: Option<Text<'a>>,
    #[serde(borrow)]
    streams: Option<Vec<Stream<'a>>>,
    #[serde(borrow)]
    identify: Option<Identify<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(rename = "Protocol", borrow)]
    protocol: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identify<'a> {
    #[serde(borrow)]
    agent_version: Option<Text<'a>>,
    #[serde(borrow)]
    addresses: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    protocols: Option<Vec<Text<'a>>>,
}

/// Parses the response.
///
/// # Errors
/// If it is not the JSON that Kubo documents.
pub fn swarm_peers(body: &[u8]) -> Result<Swarm, serde_json::Error> {
    let answer: SwarmResponse<'_> = serde_json::from_slice(body)?;
    let (mut swarm, mut texts, mut places) = (Swarm::default(), Texts::default(), HashMap::new());
    for connection in answer.peers.unwrap_or_default() {
        swarm.connections += 1;
        for stream in connection.streams.iter().flatten() {
            let protocol = stream.protocol.as_ref().map_or("", |protocol| &protocol.0);
            *swarm.streams.entry(texts.keep(protocol)).or_default() += 1;
        }
        let id = texts.keep(&connection.peer.0);
        let place = *places.entry(Arc::clone(&id)).or_insert_with(|| {
            swarm.peers.push(peer_with_id(id));
            swarm.peers.len() - 1
        });
        describe(&mut swarm.peers[place], connection, &mut texts);
    }
    Ok(swarm)
}

/// A peer with only its identity.
fn peer_with_id(id: Arc<str>) -> Peer {
    Peer {
        id,
        agent: None,
        latency: None,
        addresses: Vec::new(),
        connected: Vec::new(),
        protocols: Vec::new(),
    }
}

/// Adds the information of one more connection to a peer. Every connection repeats the peer's own information; the first one is used.
fn describe(peer: &mut Peer, connection: Connection<'_>, texts: &mut Texts) {
    peer.connected.extend(connection.addr.map(|address| texts.keep(&address.0)));
    peer.latency = peer.latency.or_else(|| go_duration(&connection.latency?.0));
    let Some(identify) = connection.identify else { return };
    if peer.agent.is_none() {
        peer.agent = identify
            .agent_version
            .filter(|agent| !agent.0.is_empty())
            .map(|agent| texts.keep(&agent.0));
    }
    if peer.protocols.is_empty() {
        peer.protocols = identify
            .protocols
            .iter()
            .flatten()
            .map(|protocol| texts.keep(&protocol.0))
            .collect();
    }
    if peer.addresses.is_empty() {
        peer.addresses = identify.addresses.iter().flatten().map(|address| texts.keep(&address.0)).collect();
    }
}

/// Each text once: thousands of peers speak the same dozens of protocols.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn keep(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// A duration as Go prints it: `1m2.5s`, `48.2ms`, `901.5µs`. `None` for anything else, such as Kubo's `n/a`.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += value
            * match &rest[..unit] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "μs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    if text.is_empty() {
        None
    } else {
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = r#"{"Peers":[
        {"Addr":"/ip4/1.1.1.1/tcp/4001","Peer":"A","Latency":"1.5ms","Direction":2,"Muxer":"","Streams":[{"Protocol":"/ipfs/kad/1.0.0"},{"Protocol":""}],
         "Identify":{"ID":"A","PublicKey":"x","Addresses":["/dns4/a/tcp/1"],"AgentVersion":"kubo/0.40\n\"","Protocols":["/p/1","/p/2"]}},
        {"Addr":"/ip4/1.1.1.1/udp/4001/quic-v1","Peer":"A","Latency":"n/a","Streams":[{"Protocol":"/ipfs/kad/1.0.0"}],"Identify":{"AgentVersion":"other"}},
        {"Peer":"B","Streams":null,"Identify":{"AgentVersion":"","Addresses":null,"Protocols":null}},
        {"Addr":"/x","Peer":"C"}]}"#;

    #[test]
    fn connections_become_peers() {
        let swarm = swarm_peers(ANSWER.as_bytes()).unwrap();
        assert_eq!((swarm.connections, swarm.peers.len()), (4, 3));
        assert_eq!(swarm.streams[&Arc::from("/ipfs/kad/1.0.0")], 2);
        assert_eq!(swarm.streams[&Arc::from("")], 1);
        let a = &swarm.peers[0];
        assert_eq!(a.agent.as_deref(), Some("kubo/0.40\n\""));
        assert_eq!(a.latency, Some(Duration::from_micros(1_500)));
        assert_eq!(
            a.connected,
            [Arc::from("/ip4/1.1.1.1/tcp/4001"), "/ip4/1.1.1.1/udp/4001/quic-v1".into()]
        );
        assert_eq!((a.addresses.len(), a.protocols.len()), (1, 2));
        assert_eq!((swarm.peers[1].agent.as_ref(), swarm.peers[1].latency), (None, None));
    }

    #[test]
    fn a_lonely_node_and_nonsense() {
        assert_eq!(swarm_peers(br#"{"Peers":null}"#).unwrap().connections, 0);
        assert_eq!(swarm_peers(b"{}").unwrap().connections, 0);
        for bad in [
            "",
            "[]",
            "null",
            r#"{"Peers":{}}"#,
            r#"{"Peers":[{}]}"#,
            r#"{"Peers":[{"Peer":4}]}"#,
        ] {
            assert!(swarm_peers(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (text, nanos) in [
            ("1m2.5s", 62_500_000_000),
            ("48.25ms", 48_250_000),
            ("901µs", 901_000),
            ("17ns", 17),
            ("0s", 0),
        ] {
            assert_eq!(go_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "n/a", "12", "1.2.3s", "-1s", "5 s", "1e400s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_duration_panic(text in "[0-9.hmsnµ-]{0,30}") {
            let _ = go_duration(&text);
        }
    }
}
