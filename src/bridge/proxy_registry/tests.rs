#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use super::*;
use crate::bridge::alias_table::AliasPolicy;
use crate::peer::Alias;

#[test]
fn aliases_that_have_expired_are_not_counted_even_before_they_are_forgotten() {
    let telemetry = Arc::new(BridgeTelemetry::default());
    let start = Instant::now();
    let aliases = AliasTable::new(AliasPolicy::Replace, Duration::from_secs(100), start, Duration::ZERO);
    let registry = ProxyRegistry::new(
        aliases,
        false,
        Arc::new(LinkEvents::new(|_| {})),
        telemetry.clone(),
        Timestamp::default,
    );
    let at = |seconds| start + Duration::from_secs(seconds);
    for (alias, key, registered) in [("a", 1, 0), ("b", 2, 50)] {
        let entry = AliasEntry {
            alias: Alias::new(alias).unwrap(),
            key: PublicKey::new([key; 32]),
            hostname: "h".into(),
            service: "s".into(),
            transport: Transport::Quic,
            link: Some(key.into()),
            renewed: at(registered),
        };
        registry.register(entry, (Ipv4Addr::LOCALHOST, 1).into()).unwrap();
    }
    for (seconds, count) in [(99, 2), (120, 1), (150, 0)] {
        registry.recount_at(at(seconds));
        assert_eq!(telemetry.bridge_aliases.get(), count, "after {seconds} s");
    }
}

#[test]
fn aliases_without_a_link_are_counted_unless_their_keys_are_dialed() {
    let start = Instant::now();
    for (dials, expected) in [(true, 1), (false, 3)] {
        let telemetry = Arc::new(BridgeTelemetry::default());
        let aliases = AliasTable::new(AliasPolicy::Replace, Duration::from_secs(100), start, Duration::ZERO);
        let events = Arc::new(LinkEvents::new(|_| {}));
        let registry = ProxyRegistry::new(aliases, dials, events, telemetry.clone(), Timestamp::default);
        let transports = [Transport::Quic, Transport::Hyperdht, Transport::Unknown];
        for (key, transport) in (1..).zip(transports) {
            let entry = AliasEntry {
                alias: Alias::new(&format!("{transport:?}")).unwrap(),
                key: PublicKey::new([key; 32]),
                hostname: "h".into(),
                service: "s".into(),
                transport,
                // That of QUIC has ended: it is not among the open links.
                link: (transport == Transport::Quic).then_some(1),
                renewed: start,
            };
            registry.register(entry, (Ipv4Addr::LOCALHOST, 1).into()).unwrap();
        }
        registry.recount_at(start);
        assert_eq!(telemetry.bridge_disconnected_aliases.get(), expected, "dials: {dials}");
        registry.recount_at(start + Duration::from_secs(100));
        assert_eq!(telemetry.bridge_disconnected_aliases.get(), 0, "all have expired");
    }
}
