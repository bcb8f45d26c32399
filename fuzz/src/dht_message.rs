//! Packets of HyperDHT nodes, and the values in them.

use bytes::Bytes;
use exporter_proxy_hyperdht::messages::{
    Announcement, Handshake, HandshakePayload, MAX_CLOSER_NODES, MAX_PAYLOAD_ADDRESSES, Packet, PeerRecord,
};

/// Checks that lists stay within their limits, and that packets and values encode and decode to the same. The input
/// and the value of a packet in it are tried as each kind of value.
pub fn check(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    values(&input);
    let Ok(packet) = Packet::decode(input) else { return };
    assert_eq!(Packet::decode(packet.encode().into()).as_ref(), Ok(&packet));
    let value = match &packet {
        Packet::Request(request) => &request.value,
        Packet::Reply(reply) => {
            assert!(reply.closer_nodes.len() <= MAX_CLOSER_NODES);
            &reply.value
        }
    };
    if let Some(value) = value {
        values(value);
    }
}

fn values(value: &Bytes) {
    if let Ok(handshake) = Handshake::decode(value.clone()) {
        assert_eq!(Handshake::decode(handshake.encode().into()), Ok(handshake));
    }
    if let Ok(record) = PeerRecord::decode(value.clone()) {
        assert!(record.relays.len() <= MAX_PAYLOAD_ADDRESSES);
        assert_eq!(PeerRecord::decode(record.encode().into()), Ok(record));
    }
    if let Ok(announcement) = Announcement::decode(value.clone()) {
        assert_eq!(Announcement::decode(announcement.encode().into()), Ok(announcement));
    }
    if let Ok(payload) = HandshakePayload::decode(value.clone()) {
        assert!(payload.addresses.len() <= MAX_PAYLOAD_ADDRESSES);
        let relays = payload.holepunch.as_ref().map_or(0, |holepunch| holepunch.relays.len());
        assert!(relays <= MAX_PAYLOAD_ADDRESSES);
        let written = HandshakePayload {
            relay_through: false,
            ..payload.clone()
        };
        assert_eq!(HandshakePayload::decode(payload.encode().into()), Ok(written));
    }
}
