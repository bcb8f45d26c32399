#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn an_app_is_named_by_its_parameter_alone() {
    for one in ["app=a", "own=false&app=a%20b", "%61pp=x", "app"] {
        assert!(names_app(one), "{one}");
    }
    for all in ["", "own=false", "apps=a", "only=app", "x=app=1"] {
        assert!(!names_app(all), "{all}");
    }
}

#[test]
fn the_shorter_patience_counts() {
    let with = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(SCRAPE_TIMEOUT, text.parse().unwrap());
        proxy_timeout(Duration::from_secs(5), &headers)
    };
    assert_eq!(proxy_timeout(Duration::from_secs(5), &HeaderMap::new()), Duration::from_secs(5));
    assert_eq!(with("10"), Duration::from_secs(5));
    assert_eq!(with("3"), Duration::from_millis(2_500));
    assert_eq!(with("0.2"), MIN_TIMEOUT);
    for nonsense in ["x", "-1", "nan", "1e300", ""] {
        assert_eq!(with(nonsense), Duration::from_secs(5), "{nonsense}");
    }
}

#[test]
fn another_bridge_gives_up_the_proxy_before_it_is_given_up_itself() {
    let with = |timeout: Option<&str>, configured: u64| {
        let mut headers = HeaderMap::new();
        if let Some(timeout) = timeout {
            headers.insert(SCRAPE_TIMEOUT, timeout.parse().unwrap());
        }
        let (here, passed_on) = relay_timeouts(Duration::from_secs(configured), &headers);
        headers.insert(SCRAPE_TIMEOUT, passed_on);
        (here.as_millis(), proxy_timeout(Duration::from_secs(5), &headers).as_millis())
    };
    // The bridges have the same timeout, which is granted to the proxy wherever its link is.
    assert_eq!(with(None, 5), (5_250, 5_000));
    assert_eq!(with(Some("10"), 5), (5_250, 5_000));
    assert_eq!(with(Some("nonsense"), 5), (5_250, 5_000));
    // The response arrives before the scraper gives up.
    assert_eq!(with(Some("5"), 5), (4_500, 4_250));
    assert_eq!(with(Some("1"), 5), (500, 250));
    // The other bridge has a shorter one or a longer one.
    assert_eq!(with(None, 20), (20_250, 5_000));
    assert_eq!(with(None, 2), (2_250, 2_000));
}

#[test]
fn only_types_of_expositions_pass() {
    let with = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        content_type(&headers)
    };
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    for kind in ["text/plain; version=0.0.4", "Text/Plain", openmetrics, protobuf] {
        assert_eq!(with(kind), kind);
    }
    for kind in [
        "text/html",
        "text/html; charset=utf-8",
        "image/svg+xml",
        "text/plainhtml",
        "",
        "text/xml;text/plain",
    ] {
        assert_eq!(with(kind), "text/plain; charset=utf-8", "{kind}");
    }
    assert_eq!(content_type(&HeaderMap::new()), text_004());
}
