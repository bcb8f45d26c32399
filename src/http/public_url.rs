//! The URL of this server as its clients see it, behind reverse proxies.

use std::fmt;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use super::Access;
use super::client::{PeerAddr, forwarded};

/// Limit on a path prefix. Real ones have one or two segments.
const MAX_PREFIX_BYTES: usize = 256;

/// Scheme, host and path prefix under which clients reach this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `http` or `https`, if it is known: a reverse proxy may end TLS without a header that says so.
    pub scheme: Option<Scheme>,
    /// The host, and the port if it is not that of the scheme.
    pub authority: Authority,
    /// The part of paths that a reverse proxy removes: empty, or such as `/exporter-proxy`, without a slash at its end.
    pub prefix: String,
}

/// A scheme of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The scheme as in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let schemes = [Self::Http, Self::Https];
        schemes.into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

impl PublicUrl {
    /// Reads a URL such as `https://metrics.example/exporter-proxy`.
    ///
    /// # Errors
    ///
    /// The reason if it is no such URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("expected http:// or https:// and a host")?;
        let scheme = Scheme::parse(scheme).ok_or("the scheme must be http or https")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let authority = valid_authority(authority).ok_or("expected a host, and a port if it is not that of the scheme")?;
        let prefix = valid_prefix(path).ok_or("the path may have letters, digits and -._~ in its segments, and no query follows")?;
        Ok(Self {
            scheme: Some(scheme),
            authority,
            prefix,
        })
    }

    /// The URL under which a client sees this server that has sent this request: what a trusted reverse proxy says in X-Forwarded-Host,
    /// X-Forwarded-Proto and X-Forwarded-Prefix, else `http.external_url`, else the host of the request. None if the request has none.
    pub(super) fn of_request(peer: &PeerAddr, uri: &Uri, headers: &HeaderMap, access: &Access) -> Option<Self> {
        let said = |name: &str| forwarded(peer, headers, &access.trusted_proxies, name);
        let mut url = match &access.external_url {
            Some(url) => url.clone(),
            None => Self {
                scheme: None,
                authority: named_host(uri, headers)?,
                prefix: String::new(),
            },
        };
        if let Some(authority) = said("x-forwarded-host").and_then(valid_authority) {
            url.authority = authority;
        }
        if let Some(scheme) = said("x-forwarded-proto").and_then(Scheme::parse) {
            url.scheme = Some(scheme);
        }
        if let Some(prefix) = said("x-forwarded-prefix").and_then(valid_prefix) {
            url.prefix = prefix;
        }
        Some(url)
    }
}

/// The URL; without a scheme it begins with two slashes.
impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.map_or_else(String::new, |scheme| format!("{}:", scheme.as_str()));
        write!(f, "{scheme}//{}{}", self.authority, self.prefix)
    }
}

/// The host that a request names.
fn named_host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(valid_authority);
    host.or_else(|| uri.authority().cloned())
}

/// A host with or without a port, and without a user.
fn valid_authority(text: &str) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let (host, port) = (authority.host(), text.strip_prefix(authority.host())?);
    let has_port = port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (!host.is_empty() && (port.is_empty() || has_port)).then_some(authority)
}

/// A prefix without slashes at its end, if it consists of plain segments: it becomes a part of paths that Prometheus requests.
fn valid_prefix(text: &str) -> Option<String> {
    let prefix = text.trim_end_matches('/');
    let is_plain = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
    };
    let is_valid = match prefix.strip_prefix('/') {
        Some(segments) => segments.split('/').all(is_plain),
        None => prefix.is_empty(),
    };
    (is_valid && prefix.len() <= MAX_PREFIX_BYTES).then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests;
