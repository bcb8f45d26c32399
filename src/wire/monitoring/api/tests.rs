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
