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
mod tests;
