#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn both_sides_of_the_bound() {
    assert_eq!(length_of(13).unwrap(), [0, 0, 0, 13]);
    assert_eq!(length_of(MAX_FRAME_BYTES).unwrap(), [0, 0x80, 0, 0]);
    assert!(length_of(MAX_FRAME_BYTES + 1).is_err());
    let mut buffer = BytesMut::from(&[0, 0x80, 0, 1][..]);
    let oversized = Oversized {
        length: 8_388_609,
        limit: MAX_FRAME_BYTES,
    };
    assert_eq!(split(&mut buffer, MAX_FRAME_BYTES), Err(oversized));
    let mut buffer = BytesMut::from(&[0xff; 8][..]);
    assert!(split(&mut buffer, MAX_FRAME_BYTES).is_err());
}

#[test]
fn a_length_alone_buys_no_memory() {
    let mut buffer = BytesMut::from(&[0, 0x7f, 0xff, 0xff][..]);
    assert_eq!(split(&mut buffer, MAX_FRAME_BYTES), Ok(None));
    assert!(buffer.capacity() <= 16 * 1024, "{}", buffer.capacity());
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20), cut in 1usize..97) {
        let mut wire = Vec::new();
        for payload in &payloads {
            wire.extend_from_slice(&length_of(payload.len()).unwrap());
            wire.extend_from_slice(payload);
        }
        let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(payload) = split(&mut buffer, MAX_FRAME_BYTES).unwrap() {
                seen.push(payload.to_vec());
            }
        }
        prop_assert_eq!(seen, payloads);
        prop_assert!(buffer.is_empty());
    }
}
