#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn example() -> SharedClaim {
    SharedClaim {
        alias: Alias::new("north").unwrap(),
        key: PublicKey::new([7; 32]),
        hostname: "h".into(),
        service: "s \"quoted\"".into(),
        transport: Transport::Quic,
        connected: true,
        address: Some("10.0.0.1:5".parse().unwrap()),
        bridge: "ab12".into(),
        since: Some(ClaimOrder { millis: 5, sequence: 1 }),
        registered: None,
    }
}

#[test]
fn a_claim_comes_back_from_its_record() {
    for transport in [Transport::Quic, Transport::Hyperdht] {
        let claim = SharedClaim { transport, ..example() };
        assert_eq!(SharedClaim::decode(&claim.encode()), Some(claim));
    }
}

#[test]
fn records_that_no_bridge_writes_are_refused() {
    let text = String::from_utf8(example().encode().to_vec()).unwrap();
    let refused = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert_eq!(SharedClaim::decode(changed.as_bytes()), None, "{changed}");
    };
    refused("\"version\":1", "\"version\":2");
    refused("\"north\"", "\"a/b\"");
    refused("\"ab12\"", "\"../x\"");
    refused("\"quic\"", "\"tcp\"");
    refused("\"5-1\"", "\"5\"");
    refused("\"h\"", "\"a\\nb\"");
    refused("\"h\"", &format!("\"{}\"", "h".repeat(256)));
    refused("\"h\"", &format!("\"h\",\"x\":\"{}\"", "h".repeat(MAX_RECORD_BYTES)));
}

#[test]
fn names_of_records_tell_bridges_and_aliases_apart() {
    let name = |bridge, alias: &str| record_name(bridge, &Alias::new(alias).unwrap()).unwrap();
    let long = "a".repeat(MAX_NAME_BYTES);
    assert_eq!(bridge_of(&name("b1", &long)), "b1");
    assert_eq!(name("b1", &long), name("b1", &long));
    assert_ne!(name("b1", "x"), name("b2", "x"));
    assert_ne!(name("b1", "x"), name("b1", "y"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400usize, with in any::<u8>()) {
        let _ = SharedClaim::decode(&bytes);
        let mut record = example().encode().to_vec();
        let at = at % record.len();
        record[at] = with;
        if let Some(claim) = SharedClaim::decode(&record) {
            prop_assert_eq!(SharedClaim::decode(&claim.encode()), Some(claim));
        }
    }

    #[test]
    fn any_text_is_an_order_or_none(text in ".{0,40}") {
        if let Ok(order) = text.parse::<ClaimOrder>() {
            prop_assert_eq!(order.to_string().parse(), Ok(order));
        }
    }
}
