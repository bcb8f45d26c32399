#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::http::PublicUrl;

fn allowing(host: &str) -> Access {
    Access {
        allowed_hosts: vec![host.to_owned()],
        external_url: Some(PublicUrl::parse("https://outside.example:8443/p").unwrap()),
        ..Access::default()
    }
}

fn refused(method: &str, uri: &str, headers: &[(&str, &str)]) -> bool {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
    check(&request.body(()).unwrap(), None, &allowing("proxy")) == Err(BrowserRefusal::CrossSite)
}

fn outcome(host: &str, forwarded: Option<&str>, marks: &[(&str, &str)]) -> Result<(), BrowserRefusal> {
    let request = Request::put("/x").header("host", host);
    let request = marks.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    check(&request.body(()).unwrap(), forwarded, &allowing("proxy.example"))
}

#[test]
fn a_page_writes_only_under_a_known_name() {
    let own = OWN_NAME.clone().unwrap();
    let known = [
        "127.0.0.1:6555",
        "10.0.0.7",
        "[::1]:6555",
        "localhost:6555",
        "a.LOCALHOST",
        "Proxy.Example:6555",
        "proxy.example.",
        "outside.example",
        &own,
    ];
    for host in known {
        let origin = format!("http://{host}");
        assert_eq!(outcome(host, None, &[("origin", &origin)]), Ok(()), "{host}");
    }
    // By DNS rebinding the page and the request have the same name.
    for host in [
        "evil.example:6555",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[::1",
        "1.2.3.4.5",
    ] {
        let refused = Err(BrowserRefusal::UnknownHost(host.to_owned()));
        let origin = format!("http://{host}");
        for mark in [
            ("origin", origin.as_str()),
            ("referer", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(outcome(host, None, &[mark]), refused, "{host} {mark:?}");
        }
        assert_eq!(outcome(host, None, &[]), Ok(()), "a program under {host}");
    }
}

#[test]
fn a_page_of_the_external_url_is_ours_whatever_name_a_reverse_proxy_asks_for() {
    let origin = |origin| outcome("127.0.0.1:6555", None, &[("origin", origin)]);
    assert_eq!(origin("https://outside.example:8443"), Ok(()));
    assert_eq!(origin("https://other.example:8443"), Err(BrowserRefusal::CrossSite));
}

#[test]
fn a_trusted_reverse_proxy_gives_the_name_that_it_was_asked_for() {
    let marks = [("origin", "https://metrics.example")];
    assert_eq!(outcome("backend:6555", Some("metrics.example"), &marks), Ok(()));
    assert_eq!(outcome("backend:6555", None, &marks), Err(BrowserRefusal::CrossSite));
    assert_eq!(
        outcome("backend:6555", Some("other.example"), &marks),
        Err(BrowserRefusal::CrossSite)
    );
}

#[test]
fn browsers_are_told_apart_from_scrapers() {
    let with = |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        is_from_browser(&headers)
    };
    for (name, value) in [
        ("origin", "null"),
        ("referer", "http://a/"),
        ("sec-fetch-site", "none"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ] {
        assert!(with(name, value), "{name}: {value}");
    }
    for (name, value) in [
        ("user-agent", "Prometheus/3.5.0"),
        ("accept", "text/html"),
        ("sec-fetch-mode", "cors"),
        ("user-agent", "curl/8.0 Mozilla/"),
    ] {
        assert!(!with(name, value), "{name}: {value}");
    }
}

#[test]
fn other_sites_may_read_and_not_write() {
    let site = |value| [("host", "proxy:6555"), ("sec-fetch-site", value)];
    let origin = |value| [("host", "proxy:6555"), ("origin", value)];
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert!(!refused(method, "/x", &[("host", "proxy:6555")]), "{method} from a program");
        assert!(!refused(method, "/x", &site("same-origin")));
        assert!(!refused(method, "/x", &site("none")));
        assert!(refused(method, "/x", &site("same-site")));
        assert!(refused(method, "/x", &site("cross-site")));
        assert!(!refused(method, "/x", &origin("http://proxy:6555")));
        assert!(!refused(method, "/x", &origin("https://Proxy:6555")));
        assert!(refused(method, "/x", &origin("http://proxy")));
        assert!(refused(method, "/x", &origin("http://evil.example")));
        assert!(refused(method, "/x", &origin("null")));
        assert!(refused(method, "/x", &[("origin", "http://proxy:6555")]), "no host to compare with");
        assert!(!refused(
            method,
            "http://proxy:6555/x",
            &[("origin", "http://proxy:6555"), ("host", "other")]
        ));
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert!(!refused(method, "/x", &site("cross-site")));
        assert!(!refused(method, "/x", &origin("http://evil.example")));
    }
}
