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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn golden_bytes() {
        assert_eq!(
            addresses(&["127.0.0.1:18181".into()]),
            b"{\"status\":200,\"result\":{\"addresses\":[\"127.0.0.1:18181\"]}}\n"
        );
        assert_eq!(addresses(&[]), b"{\"status\":200,\"result\":{\"addresses\":[]}}\n");
        assert_eq!(
            error(400, "Bitswap probe not enabled"),
            b"{\"status\":400,\"error\":\"Bitswap probe not enabled\"}\n"
        );
        let known = Peer {
            id: "A".into(),
            agent: Some("kubo/0.40".into()),
            latency: Some(Duration::from_nanos(1_234)),
            addresses: vec!["/dns/a".into()],
            connected: vec!["/ip4/1.1.1.1/tcp/1".into()],
            protocols: vec!["/p".into()],
        };
        let unknown = Peer {
            id: "B".into(),
            agent: None,
            latency: None,
            addresses: vec![],
            connected: vec![],
            protocols: vec![],
        };
        let at = Timestamp::from_millis(1_795_265_602_482);
        let sample = |peer, later: u64| {
            Arc::new(PeerSample {
                at: at.plus(Duration::from_secs(later)),
                connections: 1,
                peers: vec![peer],
            })
        };
        let body = String::from_utf8(peer_metadata(&[sample(known, 1), sample(unknown, 0)])).unwrap();
        assert_eq!(
            body,
            concat!(
                r#"{"status":200,"result":{"timestamp":"2026-11-21T12:53:22.482000000Z","num_connections":2,"peer_metadata":["#,
                r#"{"peer_id":"A","connectedness":1,"multiaddresses":["/dns/a"],"protocols":["/p"],"agent_version":"kubo/0.40","#,
                r#""latency_ewma_ns":1234,"connected_multiaddresses":["/ip4/1.1.1.1/tcp/1"]},"#,
                r#"{"peer_id":"B","connectedness":1,"multiaddresses":[],"protocols":[],"agent_version":"N/A","#,
                r#""latency_ewma_ns":null,"connected_multiaddresses":[]}]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn requests_to_the_probe() {
        for good in [r#"{"cids":[{"/":"bafk"}]}"#, "{}", r#"{"cids":[],"seconds_before_cancel":5,"x":1}"#] {
            assert!(check_broadcast(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "[]",
            r#"{"cids":["bafk"]}"#,
            r#"{"cids":[{"/":"bafk"}]"#,
            r#"{"seconds_before_cancel":-1}"#,
        ] {
            assert!(check_broadcast(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
