//! The bodies of the HTTP API that goes with the stream.
//!
//! Every response is one JSON object and a newline: `{"status":200,"result":...}` or `{"status":400,"error":"..."}`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::object::Object;
use super::proxy_message::rfc3339;
use crate::model::{Peer, PeerSample};

/// Encodes a list of addresses, the result of `ping` and of `monitoring_addresses`.
#[must_use]
pub fn addresses(addresses: &[String]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Addresses<'a> {
        addresses: &'a [String],
    }
    ok(Addresses { addresses })
}

/// Encodes the peers of all nodes, the result of `sample_peer_metadata`. A peer of several nodes is listed once per node.
#[must_use]
pub fn peer_metadata(samples: &[Arc<PeerSample>]) -> Vec<u8> {
    let at = samples.iter().map(|sample| sample.at).min().unwrap_or_default();
    ok(Metadata {
        timestamp: rfc3339(at),
        num_connections: samples.iter().map(|sample| sample.connections).sum(),
        peer_metadata: samples.iter().flat_map(|sample| &sample.peers).map(PeerMetadata::of).collect(),
    })
}

/// Encodes an error.
#[must_use]
pub fn error(status: u16, error: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Refusal<'a> {
        status: u16,
        error: &'a str,
    }
    line(Refusal { status, error })
}

/// Validates the body of a request to the Bitswap probe: the blocks to request, and the time after which to cancel.
///
/// # Errors
/// If it is not the documented object. CIDs are not validated.
pub fn check_broadcast(body: &[u8]) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Link {
        #[serde(rename = "/")]
        _cid: String,
    }
    #[derive(Deserialize)]
    struct Broadcast {
        #[serde(rename = "cids", default)]
        _cids: Vec<Link>,
        #[serde(rename = "seconds_before_cancel", default)]
        _seconds_before_cancel: u32,
    }
    // Derived code would accept an array of the values as an object; Go does not.
    serde_json::from_slice::<Object<'_>>(body)?;
    serde_json::from_slice::<Broadcast>(body).map(|_| ())
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: String,
    num_connections: usize,
    peer_metadata: Vec<PeerMetadata<'a>>,
}

#[derive(Serialize)]
struct PeerMetadata<'a> {
    peer_id: &'a str,
    connectedness: u8,
    multiaddresses: Vec<&'a str>,
    protocols: Vec<&'a str>,
    agent_version: &'a str,
    latency_ewma_ns: Option<u64>,
    connected_multiaddresses: Vec<&'a str>,
}

/// libp2p's number for a connected peer; the RPC lists no others.
const CONNECTED: u8 = 1;
/// Placeholder for an unknown agent.
const UNKNOWN_AGENT: &str = "N/A";

impl<'a> PeerMetadata<'a> {
    fn of(peer: &'a Peer) -> Self {
        let texts = |list: &'a [Arc<str>]| list.iter().map(|text| &**text).collect();
        Self {
            peer_id: &peer.id,
            connectedness: CONNECTED,
            multiaddresses: texts(&peer.addresses),
            protocols: texts(&peer.protocols),
            agent_version: peer.agent.as_deref().unwrap_or(UNKNOWN_AGENT),
            latency_ewma_ns: peer.latency.map(|latency| u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)),
            connected_multiaddresses: texts(&peer.connected),
        }
    }
}

fn ok(result: impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<R> {
        status: u16,
        result: R,
    }
    line(Envelope { status: 200, result })
}

fn line(answer: impl Serialize) -> Vec<u8> {
    let mut body = serde_json::to_vec(&answer).expect("strings, numbers and lists of them are always JSON");
    body.push(b'\n');
    body
}

#[cfg(test)]
mod tests;
