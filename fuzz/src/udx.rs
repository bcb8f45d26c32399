//! UDX packets.

use exporter_proxy_hyperdht::udx::{UDX_HEADER_BYTES, UDX_MAX_RANGES, UdxPacket};

/// Checks that a decoded packet is not larger than its datagram, and encodes and decodes to the same within the limit of ranges.
pub fn check(input: &[u8]) {
    let Some(packet) = UdxPacket::decode(input) else {
        return;
    };
    assert!(UDX_HEADER_BYTES + packet.ranges.len() * 8 + packet.payload.len() <= input.len());
    let mut written = Vec::new();
    packet.encode(&mut written);
    let again = UdxPacket::decode(&written).expect("what we write is sound");
    if packet.ranges.len() <= UDX_MAX_RANGES && (packet.ranges.is_empty() || packet.payload.is_empty()) {
        assert_eq!(again, packet);
    }
}
