#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::AppName;

fn endpoint(url: &Url, kind: EndpointKind, native_histograms: bool) -> Endpoint {
    let millis = std::time::Duration::from_millis;
    let peers = Endpoint::peers(AppName::new("a").unwrap(), url, millis(2_500), 1, None);
    Endpoint {
        url: url.clone(),
        kind,
        native_histograms,
        ..peers
    }
}

fn follow(from: &str, location: &str) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, location.parse().unwrap());
    let from: Url = from.parse().unwrap();
    let next = next(&from, &from, StatusCode::FOUND, &headers);
    next.map(|url| url.to_string()).map_err(|e| e.to_string())
}

#[test]
fn redirects_stay_on_the_host() {
    assert_eq!(follow("http://h:1/a/b", "c?d#e").unwrap(), "http://h:1/a/c?d");
    assert_eq!(follow("http://h:1/a", "/x").unwrap(), "http://h:1/x");
    assert_eq!(follow("http://h/a", "https://h/a").unwrap(), "https://h/a");
    assert_eq!(follow("http://h/a", "http://u:p@H:81/").unwrap(), "http://h:81/");
    assert!(follow("http://h/a", "http://evil/a").unwrap_err().contains("another host (evil)"));
    assert!(follow("http://h/a", "//evil/a").unwrap_err().contains("another host"));
    assert!(follow("https://h/a", "http://h/a").unwrap_err().contains("https to http"));
    assert!(follow("http://h/a", "file:///etc/passwd").unwrap_err().contains("Location"));
    assert!(follow("http://h/a", "http://").unwrap_err().contains("Location"));
}

#[test]
fn every_other_status_is_a_failure_that_names_it() {
    let url: Url = "http://h/".parse().unwrap();
    for status in [204, 206, 304, 401, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = next(&url, &url, status, &HeaderMap::new()).unwrap_err();
        assert!(matches!(failure, PollError::Status(said) if said == status));
    }
}

#[test]
fn a_request_looks_like_prometheus_to_its_target() {
    let url: Url = "http://[::1]:9100/probe?target=a&module=b".parse().unwrap();
    let request = request(&url, None, &endpoint(&url, EndpointKind::Metrics, false)).unwrap();
    assert_eq!(request.uri(), "/probe?target=a&module=b");
    assert_eq!(request.headers()["host"], "[::1]:9100");
    assert_eq!(request.headers()["x-prometheus-scrape-timeout-seconds"], "2.5");
    assert!(
        request.headers()["accept"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text;version=1.0.0;")
    );
    assert!(!request.headers().contains_key("authorization"));
    assert_eq!(request.method(), Method::GET);
    let native = super::request(&url, None, &endpoint(&url, EndpointKind::Metrics, true)).unwrap();
    let accept = native.headers()["accept"].to_str().unwrap();
    assert!(accept.starts_with("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"));
    let format = crate::exposition::negotiate::format([accept.as_bytes()]);
    assert!(
        format.content_type().starts_with("application/vnd.google.protobuf"),
        "the highest weight"
    );
    let kind = EndpointKind::Peers { agent_version_cutoff: 1 };
    let rpc = super::request(&url, None, &endpoint(&url, kind, true)).unwrap();
    assert_eq!(
        (rpc.method(), &rpc.headers()["accept"]),
        (&Method::POST, &HeaderValue::from_static("application/json"))
    );
    let url: Url = "http://host/".parse().unwrap();
    assert_eq!(
        super::request(&url, None, &endpoint(&url, EndpointKind::Metrics, false))
            .unwrap()
            .headers()["host"],
        "host"
    );
}
