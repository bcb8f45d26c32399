#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

fn all(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, ProtobufError> {
    let mut fields = Fields(bytes);
    let mut found = Vec::new();
    while let Some(field) = fields.next()? {
        found.push(field);
    }
    Ok(found)
}

#[test]
fn each_wire_type_is_read_or_refused() {
    assert_eq!(
        all(b"\x08\x96\x01\x12\x02hi\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0").unwrap(),
        [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed64(0)),
            (4, Value::Fixed32)
        ]
    );
    let faults = [
        (&b"\x08"[..], ProtobufError::Truncated),
        (b"\x12\x05hi", ProtobufError::Truncated),
        (b"\x19\0", ProtobufError::Truncated),
        (b"\x25\0", ProtobufError::Truncated),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ProtobufError::Truncated),
        (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", ProtobufError::LongVarint),
        (b"\x0b", ProtobufError::WireType(3)),
        (b"\x0f", ProtobufError::WireType(7)),
        (b"\x02\0", ProtobufError::FieldNumber),
    ];
    for (bytes, fault) in faults {
        assert_eq!(all(bytes), Err(fault), "{bytes:x?}");
    }
}

#[test]
fn a_known_field_of_another_type_is_refused() {
    assert_eq!(Value::Varint(1).bytes(4), Err(ProtobufError::FieldType(4)));
    assert_eq!(Value::Bytes(b"").number(2), Err(ProtobufError::FieldType(2)));
    assert_eq!(Value::Fixed64(1).number(2), Err(ProtobufError::FieldType(2)));
}

proptest! {
    #[test]
    fn written_fields_are_read_again(number in 1_u64..1000, value: u64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        push_number(&mut out, number, value);
        push_bytes(&mut out, number, &bytes);
        prop_assert_eq!(all(&out).unwrap(), vec![(number, Value::Varint(value)), (number, Value::Bytes(&bytes))]);
    }
}
