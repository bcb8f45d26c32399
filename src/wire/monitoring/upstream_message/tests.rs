#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const CONNECTION: &str = concat!(
    r#"{"event":{"timestamp":"2026-11-21T12:53:22.482497925Z","peer":"12D3KooW","#,
    r#""connection_event":{"remote":"/ip4/8.8.8.8/tcp/4001","connection_event_type":0}}}"#,
    "\n"
);
const MESSAGE: &str = concat!(
    r#"{"event":{"timestamp":"2026-11-21T12:53:22.482497925Z","peer":"12D3KooW","bitswap_message":{"wantlist_entries":["#,
    r#"{"Cid":{"/":"bafk"},"Priority":2147483647,"WantType":1,"Cancel":false,"SendDontHave":true},"#,
    r#"{"Cid":{"/":"bafl"},"Priority":1,"WantType":0,"Cancel":false,"SendDontHave":false},"#,
    r#"{"Cid":{"/":"bafm"},"Priority":0,"WantType":0,"Cancel":true,"SendDontHave":false}],"#,
    r#""full_wantlist":false,"blocks":[{"/":"bafk"}],"#,
    r#""block_presences":[{"cid":{"/":"bafk"},"block_presence_type":1},{"cid":{"/":"b"},"block_presence_type":0}],"#,
    r#""connected_addresses":["/ip4/127.0.0.1/tcp/4001"]}}}"#,
    "\n"
);

fn written(text: &str, legacy_addresses: bool) -> String {
    let mut out = Vec::new();
    UpstreamMessage::read(text.as_bytes())
        .unwrap()
        .write("up:1", legacy_addresses, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_documented_messages_are_counted() {
    let connection = UpstreamMessage::read(CONNECTION.as_bytes()).unwrap();
    assert_eq!(
        (connection.topic, connection.tally.connected, connection.hops),
        (Some(Topic::Bitswap), 1, 0)
    );
    let expected = Tally {
        messages: 1,
        wantlists_incremental: 1,
        want_block: [1, 0],
        want_have: [0, 1],
        cancel: 1,
        blocks: 1,
        have: 1,
        dont_have: 1,
        ..Tally::default()
    };
    assert_eq!(UpstreamMessage::read(MESSAGE.as_bytes()).unwrap().tally, expected);
}

#[test]
fn what_is_unknown_is_kept_as_it_was_written() {
    let text = CONNECTION.replace(r#""peer":"#, r#""x\u0079":{"n":1.50e+300,"s":"\u00e4"},"seq":4,"peer":"#);
    let event = r#"{"timestamp":"2026-11-21T12:53:22.482497925Z","xy":{"n":1.50e+300,"s":"\u00e4"},"peer":"12D3KooW","connection_event":{"remote":"/ip4/8.8.8.8/tcp/4001","connection_event_type":0},"monitor":"up:1"}"#;
    assert_eq!(written(&text, true), event);
}

#[test]
fn addresses_are_made_legible_and_kept_in_full() {
    let quic = CONNECTION.replace("/tcp/4001", "/udp/4001/quic-v1");
    let new: Value = serde_json::from_str(&written(&quic, true)).unwrap();
    assert_eq!(
        new["connection_event"],
        json!({"remote": "/ip4/8.8.8.8/udp/4001/quic", "connection_event_type": 0})
    );
    assert_eq!(new["full_remote"], "/ip4/8.8.8.8/udp/4001/quic-v1");
    assert!(written(&quic, false).contains("quic-v1"));
    let several = MESSAGE.replace(r#"["/ip4"#, r#"["/ip6zone/a/ip6/::1/tcp/1","/ip4"#);
    let new: Value = serde_json::from_str(&written(&several, true)).unwrap();
    assert_eq!(new["bitswap_message"]["connected_addresses"], json!(["/ip4/127.0.0.1/tcp/4001"]));
    assert_eq!(
        new["full_connected_addresses"],
        json!(["/ip6zone/a/ip6/::1/tcp/1", "/ip4/127.0.0.1/tcp/4001"])
    );
    assert_eq!(new["bitswap_message"]["wantlist_entries"][0]["Priority"], 2_147_483_647);
}

#[test]
fn a_second_proxy_counts_hops_and_keeps_the_full_addresses() {
    let first = written(&CONNECTION.replace("/tcp/4001", "/udp/4001/quic-v1"), true);
    let second = written(&format!("{{\"event\":{first}}}"), true);
    assert!(second.contains(r#""full_remote":"/ip4/8.8.8.8/udp/4001/quic-v1""#), "{second}");
    assert!(second.ends_with(r#","monitor":"up:1","hops":2}"#), "{second}");
    let third = format!("{{\"event\":{second}}}");
    assert_eq!(UpstreamMessage::read(third.as_bytes()).unwrap().hops, 2);
    let other = r#"{"event":{"timestamp":"t","peer":"p","monitor":"m","poll":{"endpoint":"e"}}}"#;
    assert_eq!(UpstreamMessage::read(other.as_bytes()).unwrap().topic, Some(Topic::Poll));
}

#[test]
fn what_the_original_client_could_not_read_is_refused() {
    for (from, to) in [
        (r#""peer":"12D3KooW","#, ""),
        (r#""peer":"12D3KooW""#, r#""peer":4"#),
        (r#""WantType":1"#, r#""WantType":2"#),
        (r#""block_presence_type":1"#, r#""block_presence_type":7"#),
        (r#"["/ip4/127.0.0.1/tcp/4001"]"#, "null"),
        (r#""full_wantlist":false,"#, ""),
        (r#""peer":"#, r#""timestamp":"twice","peer":"#),
        ("\n", "{}"),
    ] {
        let text = MESSAGE.replace(from, to);
        assert_ne!(text, MESSAGE);
        assert!(UpstreamMessage::read(text.as_bytes()).is_err(), "{text}");
    }
    for text in ["", "{}", "[]", "null", r#"{"event":null}"#, r#"{"event":{}}"#] {
        assert!(UpstreamMessage::read(text.as_bytes()).is_err(), "{text}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_event_comes_out_with_all_it_had(extra in proptest::collection::btree_map(".{0,5}", json_value(), 0..5), legacy in any::<bool>()) {
        let mut event = json!({"timestamp": "t", "peer": "p"});
        for (key, value) in &extra {
            event[format!("x{key}")] = value.clone();
        }
        let text = json!({ "event": event }).to_string();
        let mut expected = event.clone();
        expected["monitor"] = json!("up:1");
        let new: Value = serde_json::from_str(&written(&text, legacy)).unwrap();
        prop_assert_eq!(new, expected);
    }

    #[test]
    fn garbage_never_panics(text in ".{0,200}", at in 0usize..600, with in any::<u8>()) {
        let _ = UpstreamMessage::read(text.as_bytes());
        let mut damaged = MESSAGE.as_bytes().to_vec();
        let at = at % damaged.len();
        damaged[at] = with;
        if let Ok(heard) = UpstreamMessage::read(&damaged) {
            let mut out = Vec::new();
            heard.write("m", true, &mut out);
            // By its grammar alone: a number too large for any type, such as 1e999, is passed on as it came.
            prop_assert!(serde_json::from_slice::<IgnoredAny>(&out).is_ok());
        }
    }
}
