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
    streams: Option<Vec<KuboStream<'a>>>,
    #[serde(borrow)]
    identify: Option<Identify<'a>>,
}

#[derive(Deserialize)]
struct KuboStream<'a> {
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
mod tests;
