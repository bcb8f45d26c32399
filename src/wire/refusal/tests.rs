use super::*;

#[test]
fn a_refusal_says_who_what_and_where() {
    let position = Position {
        offset: 12,
        line: Some((2, 5)),
    };
    let refusal = Refusal::of_app(b"web\n", position, Fault::Value(JsonType::Number));
    assert_eq!(
        refusal.to_string(),
        r#"line 2, column 5 (byte 12): app "web\n": metrics must be a string or an array of strings, not a number"#
    );
    let refusal = Refusal::without_app(
        Position { offset: 8, line: None },
        Fault::TooLarge {
            declared: Some(99),
            limit: 10,
        },
    );
    assert_eq!(
        refusal.to_string(),
        "byte 8: the message is too large: 99 bytes (receiver.max_message_bytes is 10)"
    );
    let refusal = Refusal::without_app(
        Position::default(),
        Fault::Truncated {
            received: 3,
            expected: Some(9),
        },
    );
    assert_eq!(
        refusal.to_string(),
        "byte 0: the connection ended inside a message, of which 3 of 9 bytes arrived"
    );
    let refusal = Refusal::without_app(
        Position::default(),
        Fault::WrongFormat {
            wanted: Format::Capnp,
            found: Format::Json,
        },
    );
    assert_eq!(
        refusal.to_string(),
        "byte 0: this is JSON, and receiver.format takes only Cap'n Proto"
    );
}

#[test]
fn endless_names_are_cut_wherever_that_falls() {
    let refusal = Refusal::of_app("ä".repeat(1_000).as_bytes(), Position::default(), AppNameError::TooLong(2_000));
    assert!(
        refusal
            .app
            .as_ref()
            .is_some_and(|app| app.starts_with("ää") && app.len() <= MAX_APP_NAME_BYTES + 3)
    );
    assert_eq!((refusal.reason(), refusal.ends_connection()), ("bad_app_name", false));
}
