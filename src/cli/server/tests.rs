#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[tokio::test]
async fn an_unspecified_address_is_asked_at_loopback() {
    for (host, port, asked) in [
        ("0.0.0.0", 6555, &["127.0.0.1:6555"][..]),
        ("::", 6555, &["[::1]:6555", "127.0.0.1:6555"]),
        ("::1", 6555, &["[::1]:6555"]),
        ("127.0.0.2", 1, &["127.0.0.2:1"]),
    ] {
        assert_eq!(reachable(&HostPort::new(host, port)).await.unwrap(), asked);
    }
}
