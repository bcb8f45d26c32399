use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn address(number: usize) -> SocketAddrV4 {
    let [_, _, high, low] = u32::try_from(number).expect("a small network").to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(10, 1, high, low), 1000)
}

fn reply(from: SocketAddrV4, closer_nodes: Vec<SocketAddrV4>) -> Reply {
    Reply {
        tid: 0,
        to: address(0),
        id: Some(node_id(from)),
        token: Some([1; 32]),
        closer_nodes,
        error: 0,
        value: None,
    }
}

/// The nodes of a network that are closest to a target.
fn closest_of(nodes: &[SocketAddrV4], target: &NodeId) -> Vec<SocketAddrV4> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| distance(&node_id(*node), target));
    nodes.truncate(BUCKET_NODES);
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Some nodes do not respond; the others name all.
    #[test]
    fn the_closest_nodes_that_respond_are_found(size in 1_usize..150, target: [u8; 32], down in prop::collection::btree_set(1_usize..150, 0..20)) {
        let nodes: Vec<SocketAddrV4> = (1..=size).map(address).collect();
        let down: BTreeSet<SocketAddrV4> = down.into_iter().filter(|number| *number > 1).map(address).collect();
        let mut query = Query::new(target, [0; 32]);
        query.consider(address(1), None);
        let mut in_flight = Vec::new();
        let mut asked = 0;
        while !query.is_finished() {
            in_flight.extend(std::iter::from_fn(|| query.next()));
            prop_assert!(in_flight.len() <= CONCURRENCY);
            let node = in_flight.remove(0);
            asked += 1;
            if down.contains(&node) {
                query.on_timeout(node, false);
            } else {
                query.on_reply(node, &reply(node, nodes.clone()), false);
            }
        }
        prop_assert!(asked <= nodes.len(), "no node is asked twice");
        let alive: Vec<_> = nodes.into_iter().filter(|node| !down.contains(node)).collect();
        let found: Vec<_> = query.into_closest().into_iter().map(|found| found.from).collect();
        prop_assert_eq!(found, closest_of(&alive, &target));
    }
}

#[test]
fn made_up_nodes_end_a_query_anyway() {
    let mut query = Query::new([7; 32], [0; 32]);
    query.consider(address(1), None);
    let mut number = 1;
    while let Some(node) = query.next() {
        let made_up = (0..20).map(|_| {
            number += 1;
            address(number)
        });
        query.on_reply(node, &reply(node, made_up.collect()), false);
        assert!(query.considered.len() <= MAX_CONSIDERED);
    }
    assert!(query.is_finished());
}

#[test]
fn useless_addresses_and_our_own_are_not_asked() {
    let mut query = Query::new([7; 32], node_id(address(1)));
    for useless in ["1.2.3.4:0", "0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1"] {
        query.consider(useless.parse().expect("an address"), None);
    }
    query.consider(address(1), None);
    assert_eq!(query.next(), None);
    assert!(query.is_finished());
}

#[test]
fn a_referrer_gets_a_hint_of_a_node_that_is_down() {
    let mut query = Query::new([7; 32], [0; 32]);
    query.consider(address(1), None);
    query.consider(address(3), None);
    assert!(query.next().is_some() && query.next().is_some());
    assert!(query.on_reply(address(1), &reply(address(1), vec![address(2)]), false).is_empty());
    assert_eq!(query.next(), Some(address(2)));
    query.on_late();
    assert_eq!(query.on_timeout(address(2), true), [address(1)]);
    assert_eq!(
        query.on_reply(address(3), &reply(address(3), vec![address(2)]), false),
        [address(2)]
    );
    assert!(query.is_finished());
}

#[test]
fn late_replies_are_not_waited_for_if_there_are_enough() {
    let mut query = Query::new([7; 32], [0; 32]);
    for number in 0..30 {
        query.consider(address(number), None);
    }
    let late = query.next().expect("the closest");
    query.on_late();
    for _ in 0..BUCKET_NODES {
        assert!(!query.is_finished());
        let node = query.next().expect("more nodes");
        query.on_reply(node, &reply(node, Vec::new()), false);
    }
    assert!(query.is_finished());
    assert!(!query.into_closest().iter().any(|found| found.from == late));
}

#[test]
fn ephemeral_nodes_errors_and_false_ids_are_no_results() {
    let mut query = Query::new([7; 32], [0; 32]);
    let replies = [
        Reply {
            id: None,
            ..reply(address(1), Vec::new())
        },
        Reply {
            error: 1,
            ..reply(address(2), Vec::new())
        },
        reply(address(9), Vec::new()),
    ];
    for (number, reply) in (1..).zip(replies) {
        query.consider(address(number), None);
        let node = query.next().expect("a node");
        query.on_reply(node, &reply, false);
    }
    assert!(query.is_finished() && query.into_closest().is_empty());
}
