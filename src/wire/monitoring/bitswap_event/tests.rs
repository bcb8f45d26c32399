#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use serde_json::{Value, json};

use super::super::{ProxyMessage, UpstreamMessage, line};
use super::*;
use crate::model::Topic;

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn cid(letter: u8) -> Vec<u8> {
    field(1, &[1, 0x55, 0, 1, letter])
}

/// A wantlist with a want for a block, a want for a presence, and a cancel; a block; a presence of each kind.
fn message() -> Vec<u8> {
    let wants = [
        [&cid(b'x')[..], &[0x10, 5, 0x28, 1]].concat(),
        [&cid(b'y')[..], &[0x10, 1, 0x20, 1]].concat(),
        [&cid(b'z')[..], &[0x10, 1, 0x18, 1]].concat(),
    ];
    [
        field(1, &wants.map(|want| field(1, &want)).concat()),
        field(3, &[field(1, &[1, 0x55, 0, 2]), field(2, b"hi")].concat()),
        field(4, &cid(b'x')),
        field(4, &[&cid(b'y')[..], &[0x10, 1]].concat()),
    ]
    .concat()
}

fn event(legacy_addresses: bool) -> BitswapEvent<'static> {
    BitswapEvent {
        at: Timestamp::from_millis(1_795_000_000_123),
        peer: "12D3KooWpeer",
        monitor: "north",
        legacy_addresses,
    }
}

/// The complete text of a message and what an upstream would read of it.
fn relayed(event: &[u8]) -> (Value, Tally) {
    let mut text = Vec::new();
    ProxyMessage::write_relayed(7, event, &mut text);
    let read = UpstreamMessage::read(&text).unwrap();
    assert_eq!(read.topic, Some(Topic::Bitswap));
    assert!(!line(&text).contains("unknown"));
    (serde_json::from_slice(&text).unwrap(), read.tally)
}

#[test]
fn a_message_has_the_original_shape_and_the_same_counts_at_the_next_proxy() {
    let bytes = message();
    let message = Message::read(&bytes).unwrap();
    let mut out = Vec::new();
    event(true).write_message(&message, &["/ip4/127.0.0.1/tcp/4001"], &mut out);
    let (value, tally) = relayed(&out);
    assert_eq!(
        value["event"],
        json!({
            "seq": 7,
            "timestamp": "2026-11-18T11:06:40.123000000Z",
            "peer": "12D3KooWpeer",
            "monitor": "north",
            "bitswap_message": {
                "wantlist_entries": [
                    {"Cid": {"/": message.wants[0].cid.to_string()}, "Priority": 5, "WantType": 0, "Cancel": false, "SendDontHave": true},
                    {"Cid": {"/": message.wants[1].cid.to_string()}, "Priority": 1, "WantType": 1, "Cancel": false, "SendDontHave": false},
                    {"Cid": {"/": message.wants[2].cid.to_string()}, "Priority": 1, "WantType": 0, "Cancel": true, "SendDontHave": false},
                ],
                "full_wantlist": false,
                "blocks": [{"/": Cid::read(&[1, 0x55, 0, 2, b'h', b'i']).unwrap().to_string()}],
                "block_presences": [
                    {"cid": {"/": message.presences[0].cid.to_string()}, "block_presence_type": 0},
                    {"cid": {"/": message.presences[1].cid.to_string()}, "block_presence_type": 1},
                ],
                "connected_addresses": ["/ip4/127.0.0.1/tcp/4001"],
            },
        })
    );
    assert_eq!(tally, Tally::of_message(&message));
    assert_eq!((tally.want_block, tally.cancel, tally.wantlists_incremental), ([0, 1], 1, 1));
}

#[test]
fn an_empty_message_has_no_null_and_is_no_wantlist() {
    let mut out = Vec::new();
    event(false).write_message(&Message::default(), &[], &mut out);
    let (value, tally) = relayed(&out);
    for key in ["wantlist_entries", "blocks", "block_presences", "connected_addresses"] {
        assert_eq!(value["event"]["bitswap_message"][key], json!([]), "{key}");
    }
    assert_eq!(
        tally,
        Tally {
            messages: 1,
            ..Tally::default()
        }
    );
}

#[test]
fn addresses_are_converted_only_for_the_original_client() {
    let full = "/ip4/1.2.3.4/udp/4001/quic-v1";
    for (legacy_addresses, shown) in [(true, "/ip4/1.2.3.4/udp/4001/quic"), (false, full)] {
        let mut out = Vec::new();
        event(legacy_addresses).write_message(&Message::default(), &[full], &mut out);
        let (value, _) = relayed(&out);
        assert_eq!(value["event"]["bitswap_message"]["connected_addresses"], json!([shown]));
        assert_eq!(value["event"].get("full_connected_addresses").is_some(), legacy_addresses);
        out.clear();
        event(legacy_addresses).write_connection(full, false, &mut out);
        let (value, tally) = relayed(&out);
        assert_eq!(
            value["event"]["connection_event"],
            json!({"remote": shown, "connection_event_type": 1})
        );
        assert_eq!(value["event"].get("full_remote").is_some(), legacy_addresses);
        assert_eq!(tally.disconnected, 1);
    }
}
