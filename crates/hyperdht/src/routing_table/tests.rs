use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn node(id: NodeId, time: u64) -> KnownNode {
    KnownNode {
        id,
        address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
        added: time,
        seen: time,
        pinged: time,
    }
}

#[test]
fn an_id_is_the_hash_of_the_address() {
    let id = node_id(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 49737));
    assert_eq!(
        id,
        crate::key::tests::bytes("d1dcf835b0d62b9230c41393cb96a34f5f8b9f814f421ca3382dfc1678022e0e")
    );
}

#[test]
fn a_bucket_is_bounded_and_its_stalest_node_is_known() {
    let mut table = RoutingTable::new([0; 32]);
    let far = |number: u8| {
        let mut id = [0; 32];
        (id[0], id[31]) = (0x80, number);
        id
    };
    for number in 0..=u8::MAX {
        assert_eq!(
            table.add(node(far(number), u64::from(u8::MAX - number))),
            usize::from(number) < BUCKET_NODES
        );
    }
    assert_eq!(table.len(), BUCKET_NODES);
    assert!(!table.add(node([0; 32], 0)), "our own id");
    let stalest = *table.stalest_beside(&far(200)).expect("a full bucket");
    assert_eq!(stalest.id, far(19));
    assert_eq!(table.stalest(2).iter().map(|node| node.id).collect::<Vec<_>>(), [far(19), far(18)]);
    table.remove(&stalest.id);
    assert!(table.get_mut(&stalest.id).is_none() && table.len() == BUCKET_NODES - 1);
    assert!(table.add(node(far(200), 0)) && table.get_mut(&far(200)).is_some());
}

#[test]
fn every_node_can_be_picked() {
    let mut table = RoutingTable::new([0; 32]);
    assert!(table.pick(7).is_none());
    for byte in 1..=5 {
        table.add(node([byte; 32], 0));
    }
    let mut picked: Vec<NodeId> = (0..5).filter_map(|random| table.pick(random)).map(|node| node.id).collect();
    picked.sort_unstable();
    assert_eq!(picked, [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]]);
}

proptest! {
    #[test]
    fn the_closest_nodes_are_those_of_a_full_search(
        own: [u8; 32],
        ids in prop::collection::vec((0_u8..40, any::<[u8; 32]>()), 0..120),
        target: [u8; 32],
        near: bool,
        count in 0_usize..30,
    ) {
        let mut table = RoutingTable::new(own);
        let mut known = Vec::new();
        for (shared, mut id) in ids {
            // Ids that share leading bytes with ours fill the nearer buckets.
            let shared = usize::from(shared % 4);
            id[..shared].copy_from_slice(&own[..shared]);
            if table.add(node(id, 0)) {
                known.push(id);
            }
        }
        let mut target = target;
        if near {
            target[..2].copy_from_slice(&own[..2]);
        }
        known.sort_by_key(|id| distance(id, &target));
        known.truncate(count);
        let found: Vec<NodeId> = table.closest(&target, count).iter().map(|node| node.id).collect();
        prop_assert_eq!(found, known);
    }
}
