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
