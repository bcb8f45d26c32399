use super::*;
use proptest::prelude::*;

#[test]
fn the_documented_cases() {
    for (full, cut) in [
        ("/ip4/8.8.8.8/tcp/4001", "/ip4/8.8.8.8/tcp/4001"),
        ("/ip4/8.8.8.8/udp/4001/quic-v1", "/ip4/8.8.8.8/udp/4001/quic"),
        (
            "/ip4/8.8.8.8/udp/4001/quic-v1/webtransport/certhash/uEi/p2p/Qm",
            "/ip4/8.8.8.8/udp/4001/quic",
        ),
        ("/ip4/8.8.8.8/udp/4001/webrtc-direct/certhash/uEi", "/ip4/8.8.8.8/udp/4001"),
        (
            "/dns4/a.libp2p.direct/tcp/4001/tls/sni/a.libp2p.direct/ws",
            "/dns4/a.libp2p.direct/tcp/4001/tls",
        ),
        (
            "/ip4/8.8.8.8/udp/4001/quic-v1/p2p/Qm/p2p-circuit",
            "/ip4/8.8.8.8/udp/4001/quic/p2p/Qm/p2p-circuit",
        ),
        ("/dns4/quic-v1/udp/1/quic-v1", "/dns4/quic-v1/udp/1/quic"),
        ("/ip4", ""),
        ("/ip4/1.1.1.1/tcp", "/ip4/1.1.1.1"),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", ""),
        ("/ip4/1.1.1.1/", "/ip4/1.1.1.1"),
        ("nonsense", ""),
        ("", ""),
    ] {
        assert_eq!(legacy(full), cut, "{full}");
    }
}

proptest! {
    #[test]
    fn the_result_is_stable(address in "(/(ip4|tcp|udp|quic|quic-v1|sni|dns|p2p|ws|[a-z0-9.]{0,4})){0,8}") {
        let once = legacy(&address).into_owned();
        prop_assert_eq!(legacy(&once), once.as_str());
        prop_assert!(once.split('/').count() <= address.split('/').count(), "{}", once);
    }
}
