//! Requests that a browser sends on behalf of a page that is not ours.
//!
//! A page of any site can make its visitors' browsers send requests to addresses that only the visitors reach. Current browsers mark them
//! with Sec-Fetch-Site (W3C Fetch Metadata, to addresses that they trust), all of them mark writes with Origin (RFC 6454), and most requests
//! have a Referer. By DNS rebinding a page gives its own name the address of this server, so that its requests look as those of our own
//! pages: therefore the host that they name must be one of ours.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use http::header::{HOST, HeaderName, ORIGIN, REFERER, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Method, Request};

use super::Access;

/// The relation of the page that sent a request to its target.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A write that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrowserRefusal {
    /// A page of another site sent it.
    #[error("cross-site request refused")]
    CrossSite,
    /// It names a host that is not known to be this server.
    #[error("{0:?} is not a known name of this server; to allow writes of browsers under it, add it to http.allowed_hosts")]
    UnknownHost(String),
}

/// Returns true if a browser sent the request, as far as its headers show that. Every browser's User-Agent begins with `Mozilla/`.
#[must_use]
pub fn is_from_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT);
    has_marks(headers) || agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

/// Returns true if the request has a header that only browsers send. Sec-Fetch-Mode is none: the `fetch` of Node.js sends it as well.
fn has_marks(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(REFERER) || headers.contains_key(FETCH_SITE)
}

/// Checks a request: a browser may write only from a page of ours, under a known name. `forwarded_host` is the name that a trusted reverse
/// proxy was asked for.
///
/// # Errors
///
/// If the request must be refused. Other programs than browsers may write under any name.
pub(super) fn check<B>(request: &Request<B>, forwarded_host: Option<&str>, access: &Access) -> Result<(), BrowserRefusal> {
    let headers = request.headers();
    if is_safe(request.method()) || !has_marks(headers) {
        return Ok(());
    }
    let named = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or_else(|| headers.get(HOST)?.to_str().ok());
    let external = access.external_url.as_ref().map(|url| url.authority.as_str());
    if is_cross_site(headers, [named, forwarded_host, external]) {
        return Err(BrowserRefusal::CrossSite);
    }
    if forwarded_host.is_some() || named.is_some_and(|named| is_known(named, access)) {
        return Ok(());
    }
    Err(BrowserRefusal::UnknownHost(named.unwrap_or_default().to_owned()))
}

/// Returns true for a method that changes nothing (RFC 9110, section 9.2.1).
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

fn is_cross_site(headers: &HeaderMap, names: [Option<&str>; 3]) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(page) = headers.get(ORIGIN).or_else(|| headers.get(REFERER)) else {
        return false;
    };
    let page = page.to_str().ok().and_then(|page| page.split_once("://"));
    let Some((_, rest)) = page else { return true };
    let authority = rest.split('/').next().unwrap_or_default();
    !names.iter().flatten().any(|name| name.eq_ignore_ascii_case(authority))
}

/// The host name of this machine.
static OWN_NAME: LazyLock<Option<String>> = LazyLock::new(|| nix::unistd::gethostname().ok()?.into_string().ok());

/// Returns true for a host that no other site can have: an address, localhost, our host name, or a configured name.
fn is_known(authority: &str, access: &Access) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if in_brackets.map_or_else(|| host.parse::<IpAddr>().is_ok(), |inner| inner.parse::<Ipv6Addr>().is_ok()) {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_local = |host: &str| host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    let own = OWN_NAME.as_deref().into_iter();
    let external = access.external_url.iter().map(|url| url.authority.host());
    let mut names = own.chain(external).chain(access.allowed_hosts.iter().map(String::as_str));
    is_local(host) || names.any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests;
