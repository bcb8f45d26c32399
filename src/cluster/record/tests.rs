use proptest::prelude::*;

use super::{pack, unpack};

#[test]
fn a_long_text_is_stored_shorter_and_a_bomb_is_refused() {
    let text = "metric{label=\"value\"} 1\n".repeat(10_000);
    let packed = pack(text.as_bytes());
    assert!(packed.len() < text.len() / 10, "{} bytes", packed.len());
    assert_eq!(unpack(&packed, text.len() as u64).as_deref(), Some(text.as_bytes()));
    assert_eq!(unpack(&packed, text.len() as u64 - 1), None);
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(unpack(&pack(&bytes), 2_000), Some(bytes));
    }

    #[test]
    fn any_bytes_are_unpacked_within_the_limit_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(unpacked) = unpack(&bytes, 64) {
            prop_assert!(unpacked.len() <= 64);
        }
    }
}
