#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

fn written(value: u64) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.uint(value);
    writer.finish()
}

#[test]
fn numbers_have_the_bytes_of_the_original() {
    assert_eq!(written(0xfc), [0xfc]);
    assert_eq!(written(0xfd), [0xfd, 0xfd, 0]);
    assert_eq!(written(0x1234), [0xfd, 0x34, 0x12]);
    assert_eq!(written(0x1_0000), [0xfe, 0, 0, 1, 0]);
    assert_eq!(written(1 << 32), [0xff, 0, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn what_ends_early_or_is_too_long_is_told() {
    let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
    assert_eq!(read(&[]).uint("a number"), Err(WireFault::Short("a number")));
    assert_eq!(read(&[0xfd, 1]).uint("a number"), Err(WireFault::Short("a number")));
    assert_eq!(read(&[3, 1, 2]).bytes(8, "it"), Err(WireFault::Short("it")));
    assert_eq!(
        read(&[0xff; 9]).bytes(8, "it"),
        Err(WireFault::Long {
            what: "it",
            bytes: u64::MAX
        })
    );
    assert_eq!(read(&[0xff; 9]).text("it"), Err(WireFault::Short("it")));
    assert_eq!(read(&[1, 0xff]).name(8, "a name"), Err(WireFault::Text("a name")));
    assert_eq!(read(&[1, 0xff]).text("it").unwrap(), "\u{fffd}");
    assert_eq!(read(&[0; 31]).fixed32("a key"), Err(WireFault::Short("a key")));
}

#[test]
fn texts_for_people_are_cut_where_a_character_ends() {
    let mut writer = Writer::default();
    writer.text(&format!("a{}", "ö".repeat(MAX_TEXT_BYTES))).raw(b"x");
    let mut reader = Reader::new(writer.finish().into());
    let text = reader.text("a text").unwrap();
    assert!(text.len() <= MAX_TEXT_BYTES && text.len() > MAX_TEXT_BYTES - 4 && text.ends_with(['ö', '\u{fffd}']));
    assert_eq!(reader.rest(), "x");
}

proptest! {
    #[test]
    fn values_read_back(number: u64, flag: bool, text in "\\PC{0,300}", key: [u8; 32]) {
        let mut writer = Writer::default();
        writer.uint(number).flag(flag).text(&text).raw(&key);
        let mut reader = Reader::new(writer.finish().into());
        prop_assert_eq!(reader.uint("")?, number);
        prop_assert_eq!(reader.flag("")?, flag);
        prop_assert_eq!(reader.name(2_000, "")?, text);
        prop_assert_eq!(reader.fixed32("")?, key);
        prop_assert!(reader.is_empty());
    }
}
