#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn our_own_hello_is_the_documented_one() {
    let (length, payload) = HELLO.split_first_chunk::<4>().unwrap();
    assert_eq!(u32::from_be_bytes(*length), 13);
    assert_eq!(payload, br#"{"version":3}"#);
    assert_eq!(read_hello(payload).unwrap(), Hello { asked: None });
}

#[test]
fn a_client_asks_by_a_list_of_kinds() {
    let asked = |text: &str| read_hello(text.as_bytes()).unwrap().topics();
    let original = Topics::only(Topic::Bitswap);
    assert_eq!(asked(r#"{"version":3}"#), original);
    assert_eq!(asked(r#"{"version":3,"events":null}"#), original);
    let two: Topics = [Topic::AppUpdate, Topic::OneShot].into_iter().collect();
    assert_eq!(asked(r#"{"version":3,"events":["app_update","one_shot"]}"#), two);
    assert_eq!(
        asked(r#"{"Events":["one_shot","app_update","of a later version"],"version":3}"#),
        two
    );
    assert_eq!(asked(r#"{"version":3,"events":[]}"#), Topics::default());
    assert_eq!(asked(r#"{"version":3,"events":["connection_event"]}"#), Topics::default());
    for topics in [Topics::ALL, two, Topics::default()] {
        let hello = client_hello(topics);
        let (length, payload) = hello.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, payload.len());
        assert_eq!(read_hello(payload).unwrap().topics(), topics);
    }
    assert_eq!(&client_hello(two)[4..], br#"{"version":3,"events":["app_update","one_shot"]}"#);
}

#[test]
fn what_is_taken() {
    for good in [
        r#"{"VERSION":3}"#,
        r#" {"x":[1,{}],"Version":3,"y":null} "#,
        r#"{"version":2,"version":3}"#,
    ] {
        assert!(read_hello(good.as_bytes()).is_ok(), "{good}");
    }
}

#[test]
fn what_ends_the_connection() {
    for bad in [
        "",
        "{}",
        "3",
        "null",
        r#""3""#,
        r#"{"version":"3"}"#,
        r#"{"version":65536}"#,
        r#"{"version":-3}"#,
        r#"{"version":3.0}"#,
        r#"{"version":null}"#,
        r#"{"version":3"#,
        r#"{"version":3}{}"#,
        r#"[{"version":3}]"#,
        "\u{feff}{\"version\":3}",
        r#"{"version":3,"events":"app_update"}"#,
        r#"{"version":3,"events":[1]}"#,
        r#"{"version":3,"events":{"app_update":true}}"#,
    ] {
        assert!(matches!(read_hello(bad.as_bytes()), Err(HandshakeError::NoVersion(_))), "{bad}");
    }
    assert!(matches!(read_hello(br#"{"version":2}"#), Err(HandshakeError::Version(2))));
    assert!(matches!(read_hello(br#"{"version":4}"#), Err(HandshakeError::Version(4))));
}
