#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn refused(method: &str, uri: &str, headers: &[(&str, &str)]) -> bool {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
    is_cross_site(&request.body(()).unwrap())
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
