#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_written_reads_back(
        flags in 0_u8..64,
        numbers: [u32; 4],
        ranges in prop::collection::vec(any::<(u32, u32)>(), 0..=UDX_MAX_RANGES),
        payload in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let [stream, window, seq, ack] = numbers;
        let packet = UdxPacket { flags: UdxFlags(flags & !SACK), stream, window, seq, ack, ranges, payload: &payload };
        let mut written = Vec::new();
        packet.encode(&mut written);
        prop_assert_eq!(UdxPacket::decode(&written), Some(packet));
    }

    #[test]
    fn nothing_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = UdxPacket::decode(&bytes);
        if let [magic, version, ..] = &mut bytes[..] {
            (*magic, *version) = (MAGIC, VERSION);
            let _ = UdxPacket::decode(&bytes);
        }
    }
}

#[test]
fn padding_is_skipped_and_ranges_need_no_length() {
    let mut padded = vec![255, 1, DATA, 3, 1, 0, 0, 0, 0, 0, 64, 0, 7, 0, 0, 0, 9, 0, 0, 0];
    padded.extend([0, 0, 0, b'x']);
    let packet = UdxPacket::decode(&padded).unwrap();
    assert_eq!(
        (packet.seq, packet.ack, packet.window, packet.payload),
        (7, 9, 0x40_0000, &b"x"[..])
    );
    let mut state = vec![255, 1, SACK, 0];
    state.extend([0; 16]);
    state.extend([2, 0, 0, 0, 4, 0, 0, 0]);
    let packet = UdxPacket::decode(&state).unwrap();
    assert_eq!((packet.ranges, packet.payload), (vec![(2, 4)], &[][..]));
    assert_eq!(UdxPacket::decode(&padded[..21]), None, "the padding is cut off");
}
