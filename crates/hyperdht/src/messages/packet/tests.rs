#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn from_hex(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn both_ways(hex: &str, packet: &Packet) {
    assert_eq!(packet.encode(), from_hex(hex));
    assert_eq!(Packet::decode(from_hex(hex)).as_ref(), Ok(packet));
}

/// Packets of the npm package dht-rpc.
#[test]
fn packets_are_those_of_the_javascript_programs() {
    let ones = "01".repeat(32);
    let request = Request {
        tid: 0x1234,
        to: "1.2.3.4:5678".parse().unwrap(),
        id: Some([1; 32]),
        token: Some([2; 32]),
        internal: true,
        command: 2,
        target: Some([3; 32]),
        value: Some("val".into()),
    };
    let hex = format!("031f3412010203042e16{ones}{}02{}0376616c", "02".repeat(32), "03".repeat(32));
    both_ways(&hex, &Packet::Request(request.clone()));
    let plain = Request {
        tid: 0x1235,
        id: None,
        token: None,
        internal: false,
        command: 300,
        target: None,
        value: None,
        ..request
    };
    both_ways("03003512010203042e16fd2c01", &Packet::Request(plain));
    let reply = Reply {
        tid: 0x1236,
        to: "5.5.5.5:55".parse().unwrap(),
        id: Some([1; 32]),
        token: Some([4; 32]),
        closer_nodes: vec!["9.9.9.9:99".parse().unwrap()],
        error: 0,
        value: Some("v".into()),
    };
    let hex = format!("13173612050505053700{ones}{}010909090963000176", "04".repeat(32));
    both_ways(&hex, &Packet::Reply(reply.clone()));
    let error = Reply {
        token: None,
        closer_nodes: Vec::new(),
        error: 1,
        value: None,
        ..reply
    };
    both_ways(&format!("13093612050505053700{ones}01"), &Packet::Reply(error));
}

#[test]
fn no_more_nodes_are_kept_than_a_bucket_has() {
    let node = "9.9.9.9:99".parse().unwrap();
    let reply = Reply {
        tid: 1,
        to: node,
        id: None,
        token: None,
        closer_nodes: vec![node; 200],
        error: 7,
        value: None,
    };
    let Ok(Packet::Reply(decoded)) = Packet::decode(reply.encode().into()) else {
        panic!("a reply")
    };
    assert_eq!((decoded.closer_nodes.len(), decoded.error), (MAX_CLOSER_NODES, 7));
}

#[test]
fn another_version_is_refused() {
    assert!(Packet::decode(Bytes::from_static(&[4; 40])).is_err());
}

proptest! {
    #[test]
    fn every_packet_encodes_to_itself(mut datagram in prop::collection::vec(any::<u8>(), 0..300), kind in prop::sample::select(vec![REQUEST, REPLY])) {
        if let Some(first) = datagram.first_mut() {
            *first = kind;
        }
        if let Ok(packet) = Packet::decode(datagram.into()) {
            prop_assert_eq!(Packet::decode(packet.encode().into()), Ok(packet));
        }
    }

    #[test]
    fn a_truncated_packet_is_refused(value in prop::collection::vec(any::<u8>(), 0..40), cut in 1_usize..80) {
        let request = Request {
            tid: 1,
            to: "1.2.3.4:5".parse().unwrap(),
            id: None,
            token: Some([1; 32]),
            internal: false,
            command: 4,
            target: Some([2; 32]),
            value: Some(value.into()),
        };
        let encoded = request.encode();
        prop_assert!(Packet::decode(encoded[..encoded.len() - cut.min(encoded.len())].to_vec().into()).is_err());
    }
}
