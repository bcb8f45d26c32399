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
