//! Each form read as a whole is the same as read field by field.

use proptest::prelude::*;

use super::super::field::{bucket, label, scalar};
use super::super::records::read_label;
use super::super::tests::Message;
use super::super::wire::{Fields, put_varint};
use super::{bucket as plain_bucket, scalar as plain_scalar, value_of_label};

fn bucket_by_fields(body: &[u8]) -> Option<(u64, f64)> {
    let (mut count, mut bound) = (0, 0.0);
    let mut fields = Fields::new(body, 0..body.len());
    while let Some(field) = fields.next().ok()? {
        match field.number {
            bucket::COUNT => count = field.varint().ok()?,
            bucket::BOUND => bound = field.double().ok()?,
            _ => return None,
        }
    }
    Some((count, bound))
}

fn bits((count, bound): (u64, f64)) -> (u64, u64) {
    (count, bound.to_bits())
}

#[test]
fn the_form_of_encoders_is_recognized() {
    for count in [0, 1, 127, 128, 300, 1 << 20, (1 << 63) - 1] {
        let message = Message::new().number(bucket::COUNT, count).double(bucket::BOUND, 0.25);
        assert_eq!(plain_bucket(&message.0), Some((count, 0.25)), "{count}");
    }
    let too_long = Message::new().number(bucket::COUNT, 1 << 63).double(bucket::BOUND, 0.25);
    assert_eq!(plain_bucket(&too_long.0), None, "left to the fields");
    let message = Message::new().bytes(label::NAME, "a").bytes(label::VALUE, "b");
    assert_eq!(value_of_label(&message.0, b"a"), Some(b"b".as_slice()));
    assert_eq!(value_of_label(&message.0, b"b"), None, "another name");
    let message = Message::new().double(scalar::VALUE, 2.5).number(7, 1);
    assert_eq!(plain_scalar(&message.0, 0..message.0.len()), (Some(2.5), 9..11));
}

#[test]
fn a_number_of_two_forms_is_none_of_a_bucket() {
    // A count of one byte, and a count again.
    let message = Message::new()
        .number(bucket::COUNT, 1)
        .number(bucket::COUNT, 2)
        .double(bucket::BOUND, 0.25);
    assert_eq!(plain_bucket(&message.0), None);
    assert_eq!(bucket_by_fields(&message.0), Some((2, 0.25)));
}

proptest! {
    #[test]
    fn a_bucket_is_the_same_by_its_fields(count in any::<u64>(), bound in any::<f64>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = Message::new().number(bucket::COUNT, count).double(bucket::BOUND, bound).0;
        let changed = at.index(message.len());
        message[changed] = byte;
        if let Some(read) = plain_bucket(&message) {
            prop_assert_eq!(Some(bits(read)), bucket_by_fields(&message).map(bits));
        }
    }

    #[test]
    fn a_label_is_the_same_by_its_fields(name in "[a-c]{0,3}", value in "[a-c]{0,140}", other in "[a-c]{0,3}", at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = Message::new().bytes(label::NAME, &name).bytes(label::VALUE, &value).0;
        if !message.is_empty() {
            let changed = at.index(message.len());
            message[changed] = if byte < 100 { message[changed] } else { byte };
        }
        for name in [&name, &other] {
            if let Some(read) = value_of_label(&message, name.as_bytes()) {
                let (read_name, read_value) = read_label(&message, 0..message.len()).map_err(|_| TestCaseError::fail("read"))?;
                prop_assert_eq!(&message[read_name], name.as_bytes());
                prop_assert_eq!(&message[read_value], read);
            }
        }
    }

    #[test]
    fn a_number_is_read_as_it_was_written(number in any::<u64>(), shift in 0_u32..64, behind in prop::collection::vec(any::<u8>(), 0..9)) {
        let number = number >> shift;
        let mut body = Vec::new();
        put_varint(number, &mut body);
        let len = body.len();
        body.extend_from_slice(&behind);
        for end in [len, body.len()] {
            let mut fields = Fields::new(&body, 0..end);
            prop_assert_eq!(fields.varint(), Ok(number));
            prop_assert_eq!(fields.at(), len);
        }
        // Cut off, whatever follows in the body.
        prop_assert!(Fields::new(&body, 0..len - 1).varint().is_err());
    }
}
