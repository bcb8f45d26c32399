//! Identity of scrapers: by address and User-Agent, by a header or parameter, or by their authentication.

use std::fmt;

use http::header::{HeaderName, USER_AGENT};
use http::{HeaderMap, Uri};

use super::ScrapeRequest;
use crate::http::{AccessRules, Sender};
use crate::model::{Client, ScraperId};

/// The longest product that is taken from a `User-Agent`, in bytes. Real ones have a dozen.
const MAX_PRODUCT_BYTES: usize = 64;

/// The source of a scraper's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentifyBy {
    /// The effective client address, and the product in the `User-Agent`: two programs on one machine are two scrapers.
    Address,
    /// The value of a request header; without it the address, as above.
    Header(HeaderName),
    /// The value of a parameter in the query; without it the address, as above.
    Param(Box<str>),
    /// The identity by which the client is authenticated. The peer of a link is its key, with the address that it forwards for; any other
    /// client is its address, as above.
    Auth,
}

/// As in the configuration (`events.scraper_identity`).
impl fmt::Display for IdentifyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Param(name) => write!(f, "param:{name}"),
            Self::Auth => f.write_str("auth"),
        }
    }
}

impl IdentifyBy {
    /// The scraper of a request.
    pub(super) fn scraper(&self, visit: ScrapeRequest<'_>) -> ScraperId {
        let ScrapeRequest { uri, headers, .. } = visit;
        let client = &visit.sender.client;
        let named = match self {
            Self::Address => None,
            Self::Auth => return authenticated(visit.sender, &visit.connection.access().rules, headers),
            Self::Header(name) => headers
                .get(name)
                .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
                .map(str::to_owned),
            Self::Param(name) => param(uri, name),
        };
        // An invalid identity counts as absent.
        let named = named.and_then(|text| ScraperId::new(text.trim()).ok());
        named.unwrap_or_else(|| by_address(&client.to_string(), headers))
    }
}

fn param(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The scraper of an authenticated client. No name of another one begins as these do: with the kind of the identity, or with a key.
fn authenticated(sender: &Sender, rules: &AccessRules, headers: &HeaderMap) -> ScraperId {
    let name = match (&sender.client, rules.authenticated(sender)) {
        (_, Some(identity)) => identity.to_string(),
        (Client::Link(key), None) => key.to_string(),
        _ => return by_address(&sender.client.to_string(), headers),
    };
    ScraperId::new(&name).unwrap_or_else(|_| unknown())
}

fn by_address(client: &str, headers: &HeaderMap) -> ScraperId {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let product = agent.and_then(product);
    let whole = product.and_then(|product| ScraperId::new(&format!("{client} {product}")).ok());
    whole.or_else(|| ScraperId::new(client).ok()).unwrap_or_else(unknown)
}

/// The name of the first product, without its version: `Prometheus/3.5.0` is `Prometheus`.
fn product(agent: &str) -> Option<&str> {
    let name = agent.split(['/', ' ', ';', '(']).next()?.trim();
    (1..=MAX_PRODUCT_BYTES).contains(&name.len()).then_some(name)
}

/// Addresses and keys are printable and short, so only authenticated users with another name have this identity.
fn unknown() -> ScraperId {
    ScraperId::new("unknown").expect("a short name of printable characters")
}

#[cfg(test)]
mod tests;
