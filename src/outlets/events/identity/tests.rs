#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn a_client_is_its_address_and_its_kind() {
    let id = |agent: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(agent) = agent {
            headers.insert(USER_AGENT, agent.parse().unwrap());
        }
        by_address("10.0.0.1", &headers).to_string()
    };
    assert_eq!(id(Some("Prometheus/3.5.0")), "10.0.0.1 Prometheus");
    assert_eq!(id(Some("curl/8.1")), "10.0.0.1 curl");
    assert_eq!(id(Some("Mozilla/5.0 (X11; Linux)")), "10.0.0.1 Mozilla");
    assert_eq!(
        (id(None), id(Some("/1")), id(Some(""))),
        ("10.0.0.1".into(), "10.0.0.1".into(), "10.0.0.1".into())
    );
    assert_eq!(id(Some(&"x".repeat(65))), "10.0.0.1");
}

#[test]
fn a_parameter_is_decoded() {
    let uri: Uri = "/metrics?a=1&scraper=prom%20a&scraper=b".parse().unwrap();
    assert_eq!(param(&uri, "scraper").as_deref(), Some("prom a"));
    assert_eq!(param(&uri, "other"), None);
    assert_eq!(param(&"/metrics".parse().unwrap(), "scraper"), None);
}
