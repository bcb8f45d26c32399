#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::Timestamp;

#[test]
fn the_latest_of_each_node() {
    let (peers, node) = (PeerSamples::default(), |name| AppName::new(name).unwrap());
    let sample = |connections| PeerSample {
        at: Timestamp::default(),
        connections,
        peers: Vec::new(),
    };
    for (name, connections) in [("b", 1), ("a", 2), ("b", 3)] {
        peers.put(&node(name), Some(sample(connections)));
    }
    let seen = || {
        let all = peers.all().into_iter();
        all.map(|(node, sample)| (node.to_string(), sample.connections)).collect::<Vec<_>>()
    };
    assert_eq!(seen(), [("a".to_owned(), 2), ("b".to_owned(), 3)]);
    peers.put(&node("a"), None);
    assert_eq!(seen(), [("b".to_owned(), 3)]);
}
