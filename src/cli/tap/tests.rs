#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn json_is_one_line_with_the_same_value_and_no_terminal_control() {
    let message = "{\r\n\t\"event\": {\"a\": \"\u{9b}2J\u{7f}\\u001b\u{e9}\"}}\n";
    let mut line = Vec::new();
    one_line(message.as_bytes(), &mut line);
    assert!(!String::from_utf8(line.clone()).unwrap().chars().any(char::is_control));
    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&line), value(message.as_bytes()));
    line.clear();
    one_line(b"\x1b[2J\xff", &mut line);
    assert_eq!(line, " [2J\u{fffd}".as_bytes());
}
