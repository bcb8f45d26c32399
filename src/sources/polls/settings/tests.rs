#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::supervise::secret_file::FileRule;

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        name: AppName::new("a").unwrap(),
        url: url.parse().unwrap(),
        kind: EndpointKind::Metrics,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        stale_after: Duration::from_secs(15),
        credentials: None,
        ca_file: None,
        certificate: None,
        socket: None,
        native_histograms: false,
        labels: Arc::new([]),
        events: None,
    }
}

#[test]
fn endpoints_are_spread_evenly_and_told_by_host_and_port() {
    let settings = PollSettings {
        endpoints: ["http://a", "https://a/x", "http://[::1]:9100/", "http://127.0.0.1:1025/1025.html"]
            .map(endpoint)
            .to_vec(),
        allow_invalid_certs: false,
        max_body_bytes: 1,
        secret_rule: FileRule::Lenient,
        event_metric: None,
    };
    let (sources, offsets): (Vec<_>, Vec<_>) = settings.targets().map(|(target, offset)| (target.source, offset)).unzip();
    assert_eq!(offsets, [0.0, 0.25, 0.5, 0.75]);
    let expected = ["a:80", "a:443", "[::1]:9100", "127.0.0.1:1025"].map(|at| format!("external_poll: {at}"));
    assert!(
        sources.iter().map(|source| &**source).eq(expected.iter().map(String::as_str)),
        "{sources:?}"
    );
}

#[test]
fn a_password_is_never_printed() {
    let mut endpoint = endpoint("http://a");
    endpoint.credentials = Some(Credentials::Basic {
        username: "u".to_owned(),
        password: Password::Given("hunter2".into()),
    });
    let text = format!("{endpoint:?}");
    assert!(text.contains("MASKED") && !text.contains("hunter2"), "{text}");
}
