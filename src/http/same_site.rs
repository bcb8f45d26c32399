//! Writes that a browser sends on behalf of another site.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request};

/// Returns true if a request is a cross-site write according to its browser.
///
/// Current browsers send Sec-Fetch-Site (W3C Fetch Metadata); older ones at least Origin (RFC 6454) with every write, which must then
/// equal the host of the request. Other programs send neither.
pub(super) fn is_cross_site<B>(request: &Request<B>) -> bool {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    !safe && is_from_elsewhere(request.headers(), request.uri().authority())
}

fn is_from_elsewhere(headers: &HeaderMap, target: Option<&Authority>) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let here = target.map(Authority::as_str).or_else(|| headers.get(HOST)?.to_str().ok());
    let there = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    match (here, there) {
        (Some(here), Some(there)) => !here.eq_ignore_ascii_case(there),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
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
}
