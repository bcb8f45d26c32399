use super::*;

#[test]
fn one_line_for_every_kind() {
    for (event, expected) in [
        (
            r#""app_update":{"app":"foo","source":"http","bytes":12}"#,
            "app_update   foo: 12 bytes from http",
        ),
        (r#""app_expired":{"app":"foo"}"#, "app_expired  foo"),
        (
            r#""poll":{"endpoint":"e","up":false,"seconds":0.5}"#,
            "poll         e: down after 0.5 s",
        ),
        (
            r#""one_shot":{"metric":"m","labels":{"a":"b"},"value":"NaN"}"#,
            r#"one_shot     m{"a":"b"} NaN"#,
        ),
        (
            r#""connection_event":{"remote":"/ip4/1.1.1.1","connection_event_type":1}"#,
            "disconnected P /ip4/1.1.1.1",
        ),
        (
            r#""bitswap_message":{"blocks":[{}]}"#,
            "bitswap      P: 0 wantlist entries, 1 blocks, 0 block presences: block -",
        ),
        (
            r#""bitswap_message":{"wantlist_entries":[{"Cid":{"/":"A"},"WantType":1,"Cancel":false},{"Cid":{"/":"B"},"WantType":0,"Cancel":true},{"Cid":{"/":"C"},"WantType":0,"Cancel":false}],"full_wantlist":true,"blocks":[],"block_presences":[{"cid":{"/":"D"},"block_presence_type":1},{"cid":{"/":"E"},"block_presence_type":0}]}"#,
            "bitswap      P: 3 wantlist entries (full), 0 blocks, 2 block presences: want-have A, cancel B, want-block C, dont-have D, and 1 more",
        ),
    ] {
        let message = format!("{{\"event\":{{\"timestamp\":\"T\",\"peer\":\"P\",\"seq\":3,\"monitor\":\"M\",{event}}}}}\n");
        assert_eq!(line(message.as_bytes()), format!("T M {expected}  #3"));
    }
}

#[test]
fn strangers_cannot_write_to_the_terminal() {
    let message = "{\"event\":{\"timestamp\":\"T\",\"app_expired\":{\"app\":\"a\\u001b[2J\\nb\"}}}";
    assert_eq!(line(message.as_bytes()), "T - app_expired  a\\u{1b}[2J b");
    assert_eq!(line(b"\x1b\xff"), "\\u{1b}\u{fffd}");
    assert!(line(br#"{"event":{"x":{}}}"#).contains("unknown"));
}
