#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::bridge::alias_table::Transport;
use crate::bridge::shared_claim::record_name;

fn claim(bridge: &str, alias: &str, key: u8, renewed: Instant) -> RemoteClaim {
    let alias = Alias::new(alias).unwrap();
    RemoteClaim {
        name: record_name(bridge, &alias).unwrap(),
        claim: SharedClaim {
            alias,
            key: PublicKey::new([key; 32]),
            hostname: "h".into(),
            service: "s".into(),
            transport: Transport::Quic,
            connected: true,
            address: None,
            bridge: bridge.into(),
            since: None,
            registered: None,
        },
        since: ClaimOrder::default(),
        registered: ClaimOrder::default(),
        written: ClaimOrder::default(),
        renewed,
    }
}

#[test]
fn claims_are_found_by_alias_and_by_key_until_they_are_removed() {
    let now = Instant::now();
    let mut table = RemoteClaims::default();
    for claim in [claim("b1", "x", 1, now), claim("b2", "x", 2, now), claim("b1", "y", 1, now)] {
        assert!(table.put(claim));
    }
    assert_eq!((table.of("x").count(), table.of("y").count(), table.of("z").count()), (2, 1, 0));
    let key = |key: u8| PublicKey::new([key; 32]);
    assert_eq!((table.of_key(&key(1)).count(), table.of_key(&key(2)).count()), (2, 1));
    // The bridge's alias has another key now.
    table.put(claim("b1", "x", 3, now));
    assert_eq!((table.of_key(&key(1)).count(), table.of_key(&key(3)).count()), (1, 1));
    let name = claim("b2", "x", 2, now).name;
    assert!(table.remove(&name).is_some() && table.remove(&name).is_none());
    assert_eq!((table.of("x").count(), table.of_key(&key(2)).count()), (1, 0));
}

#[test]
fn claims_expire_by_their_last_registration() {
    let now = Instant::now();
    let mut table = RemoteClaims::default();
    table.put(claim("b1", "old", 1, now));
    table.put(claim("b1", "young", 2, now + Duration::from_secs(50)));
    assert!(table.expire(Duration::from_secs(100), now + Duration::from_secs(99)).is_empty());
    let gone = table.expire(Duration::from_secs(100), now + Duration::from_secs(100));
    assert_eq!(gone, [Alias::new("old").unwrap()]);
    assert_eq!(table.aliases().count(), 1);
}

#[test]
fn a_bridge_counts_as_ended_once_a_heartbeat_lacks_it() {
    let mut table = RemoteClaims::default();
    let claim = claim("b1", "x", 1, Instant::now());
    table.put(claim.clone());
    assert!(!table.is_orphan(&claim) && !table.is_reachable(&claim), "nothing is known yet");
    let member = BridgeMember {
        id: "b1".into(),
        name: "one".into(),
        http: None,
        tls: false,
        key: ForwardKey::new([0; 32]),
    };
    let there = HashMap::from([("b1".to_owned(), member)]);
    assert_eq!(table.concerned(&there), [Alias::new("x").unwrap()]);
    table.set_members(there.clone());
    assert!(!table.is_orphan(&claim) && table.is_reachable(&claim));
    assert!(table.concerned(&there).is_empty());
    assert_eq!(table.concerned(&HashMap::new()).len(), 1);
    table.set_members(HashMap::new());
    assert!(table.is_orphan(&claim) && !table.is_reachable(&claim));
}

#[test]
fn the_table_is_bounded() {
    let claim = claim("b1", "x", 1, Instant::now());
    let named = |n: usize| RemoteClaim {
        name: AppName::new(&format!("b1/{n}")).unwrap(),
        ..claim.clone()
    };
    let mut table = RemoteClaims::default();
    for n in 0..MAX_CLAIMS {
        assert!(table.put(named(n)));
    }
    assert!(!table.put(named(MAX_CLAIMS)));
    assert!(table.put(named(0)), "a known claim is replaced");
}

#[test]
fn the_removals_that_wait_for_the_engine_are_bounded() {
    let mut table = RemoteClaims::default();
    let mut put_and_revoke = |n: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        let mut claim = claim("b1", &format!("x{n}"), 0, Instant::now());
        claim.claim.key = PublicKey::new(key);
        let name = claim.name.clone();
        assert!(table.put(claim));
        table.revoke(&name)
    };
    assert!((0..MAX_CLAIMS).all(&mut put_and_revoke));
    assert!(!put_and_revoke(MAX_CLAIMS));
    assert!(put_and_revoke(0), "a known one is replaced");
    assert_eq!(table.aliases().count(), 0);
}

#[test]
fn a_claim_is_removed_as_it_was_seen_until_another_registration_takes_its_place() {
    let now = Instant::now();
    let order = |millis| ClaimOrder { millis, sequence: 0 };
    let registered = |key, at, written| RemoteClaim {
        registered: order(at),
        written: order(written),
        ..claim("b1", "x", key, now)
    };
    let seen = registered(1, 5, 5);
    let name = seen.name.clone();
    let revoked = || {
        let mut table = RemoteClaims::default();
        assert!(table.put(seen.clone()) && table.revoke(&name));
        assert_eq!((table.of("x").count(), table.revoked(&name)), (0, Some(order(5))));
        table
    };
    // Its bridge has written it again, with the state of a link.
    let mut table = revoked();
    assert!(table.is_revoked(&registered(1, 5, 8)));
    assert_eq!(table.revoked(&name), Some(order(8)));
    // An earlier removal was of an earlier record.
    table.removed(&name, order(7));
    assert_eq!(table.revoked(&name), Some(order(8)));
    table.removed(&name, order(9));
    assert_eq!(table.revoked(&name), None);
    for later in [registered(1, 6, 6), registered(2, 5, 6)] {
        let mut table = revoked();
        assert!(!table.is_revoked(&later));
        assert_eq!(table.revoked(&name), None);
        assert!(!table.is_revoked(&seen), "there is no removal any more");
    }
    let mut table = revoked();
    table.expire(Duration::from_secs(100), now + Duration::from_secs(100));
    assert_eq!(table.revoked(&name), None, "it has expired everywhere");
}
