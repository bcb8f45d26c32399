#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn urls_are_split_and_others_are_refused() {
    let split = |text: &str| parts(&text.parse().unwrap());
    assert_eq!(split("http://a:6555/readyz").unwrap(), ("a:6555".to_owned(), "/readyz".to_owned()));
    assert_eq!(split("http://[::1]/x?y=1").unwrap(), ("[::1]:80".to_owned(), "/x?y=1".to_owned()));
    assert!(split("https://a/").unwrap_err().to_string().contains("only http://"));
    assert!(split("mailto:a").is_err());
}

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
