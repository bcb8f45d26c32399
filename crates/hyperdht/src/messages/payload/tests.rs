#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn from_hex(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

const KEY: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// The values of the npm package hyperdht.
#[test]
fn values_are_those_of_the_javascript_programs() {
    let handshake = Handshake {
        mode: HandshakeMode::FromRelay,
        noise: "abc".into(),
        peer_address: Some(address("1.2.3.4:5")),
        relay_address: Some(address("6.7.8.9:4660")),
    };
    let hex = "030203616263010203040500060708093412";
    assert_eq!(handshake.encode(), from_hex(hex));
    assert_eq!(Handshake::decode(from_hex(hex)), Ok(handshake));

    let record = PeerRecord {
        public_key: crate::key::tests::bytes(KEY),
        relays: vec![address("3.3.3.3:3")],
    };
    let hex = format!("{KEY}01030303030300");
    assert_eq!(record.encode(), from_hex(&hex));
    assert_eq!(PeerRecord::decode(from_hex(&hex)), Ok(record.clone()));

    let payload = HandshakePayload {
        version: 1,
        error: 0,
        firewall: Firewall::OPEN,
        holepunch: None,
        addresses: vec![address("10.1.2.3:4567")],
        udx: Some(UdxInfo {
            version: 1,
            reusable_socket: false,
            id: 7,
            seq: 0,
        }),
        secret_stream: Some(1),
        relay_through: false,
    };
    let hex = "011a0001010a010203d7110100070001";
    assert_eq!(payload.encode(), from_hex(hex));
    assert_eq!(HandshakePayload::decode(from_hex(hex)), Ok(payload.clone()));

    // With parts that are only received: an address over IPv6, a data relay and relays.
    let everything = format!(
        "017f00020301010101010100020202020200010a010203d7110100000000000000000000000000000001090001000100010100{KEY}{}01030303030300",
        "01".repeat(32)
    );
    let decoded = HandshakePayload::decode(from_hex(&everything)).unwrap();
    let relay = RelayInfo {
        relay: address("1.1.1.1:1"),
        peer: address("2.2.2.2:2"),
    };
    let expected = HandshakePayload {
        firewall: Firewall::CONSISTENT,
        holepunch: Some(HolepunchInfo {
            id: 3,
            relays: vec![relay],
        }),
        udx: payload.udx.map(|udx| UdxInfo { id: 1, ..udx }),
        relay_through: true,
        ..payload
    };
    assert_eq!(decoded, expected);

    let announcement = Announcement {
        peer: Some(PeerRecord {
            relays: Vec::new(),
            ..record
        }),
        refresh: None,
        signature: Some([9; 64]),
    };
    let hex = format!("05{KEY}00{}", "09".repeat(64));
    assert_eq!(announcement.encode(), from_hex(&hex));
    assert_eq!(Announcement::decode(from_hex(&hex)), Ok(announcement));
}

#[test]
fn of_another_version_only_the_version_is_read() {
    let payload = HandshakePayload::decode(Bytes::from_static(&[2, 255])).unwrap();
    assert_eq!((payload.version, payload.udx), (2, None));
}

proptest! {
    #[test]
    fn foreign_values_decode_to_what_encodes_alike(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let value = Bytes::from(value);
        if let Ok(found) = Handshake::decode(value.clone()) {
            prop_assert_eq!(Handshake::decode(found.encode().into()), Ok(found));
        }
        if let Ok(found) = HandshakePayload::decode(value.clone()) {
            prop_assert!(found.addresses.len() <= MAX_PAYLOAD_ADDRESSES);
            let again = HandshakePayload { relay_through: false, ..found.clone() };
            prop_assert_eq!(HandshakePayload::decode(found.encode().into()), Ok(again));
        }
        if let Ok(found) = PeerRecord::decode(value.clone()) {
            prop_assert_eq!(PeerRecord::decode(found.encode().into()), Ok(found));
        }
        if let Ok(found) = Announcement::decode(value) {
            prop_assert_eq!(Announcement::decode(found.encode().into()), Ok(found));
        }
    }
}
