use super::*;

#[test]
fn an_unspecified_address_serves_both_families() {
    let passed = |text: &str| SockAddr::from(text.parse::<SocketAddr>().expect("an address"));
    for (given, configured, serves_it) in [
        ("[::]:6555", "0.0.0.0:6555", true),
        ("[::]:6555", "[::]:6555", true),
        ("0.0.0.0:6555", "0.0.0.0:6555", true),
        ("127.0.0.1:6555", "127.0.0.1:6555", true),
        ("[::]:6555", "127.0.0.1:6555", false),
        ("127.0.0.1:6555", "0.0.0.0:6555", false),
        ("[::]:6555", "[::]:6556", false),
    ] {
        assert_eq!(
            serves(&passed(given), configured.parse().expect("an address")),
            serves_it,
            "{given} {configured}"
        );
    }
}
