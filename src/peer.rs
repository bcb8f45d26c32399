//! Links between a proxy and remote scrapers: identity, control messages, QUIC, HyperDHT.
//!
//! A link is a QUIC connection that authenticates both ends by their Ed25519 keys. The scraped end is a [`Client`]: it dials bridges and
//! registers with them, or listens for scrapers. The scraping end opens a stream for each scrape and sends an HTTP/1.1 request on it,
//! which the [`HttpService`](crate::http::HttpService) of the scraped end handles. The first stream of a link carries control messages. `docs/p2p.md`
//! describes the protocol. Over HyperDHT the wire format is that of existing programs, and only metrics can be requested.
//!
//! [`Client`] and [`Scraper`] are also for other programs; see the examples `peer_client` and `peer_scraper`.

mod address;
mod backoff;
mod bridge_session;
mod client;
mod collection_error;
mod control;
mod delivery_receipt;
mod delivery_tracker;
mod dial;
mod failure_limiter;
#[cfg(feature = "hyperdht")]
mod hyperdht;
#[cfg_attr(not(feature = "hyperdht"), expect(dead_code, reason = "no peer is reachable by key without it"))]
mod hyperdht_api;
#[cfg(not(feature = "hyperdht"))]
mod hyperdht_disabled;
mod identity;
mod key;
mod link;
mod link_event;
mod proof;
mod proxy_link;
mod quic_listener;
mod quic_scraper;
mod registration;
mod scrape_server;
mod scraper;
mod scraper_links;
mod scraper_listener;
mod stream;
mod tls;
mod transport;
mod unreachable_peers;

#[cfg(test)]
mod tests;

#[cfg(not(feature = "hyperdht"))]
use hyperdht_disabled as hyperdht;

pub use address::{LinkAddress, QuicAddress};
pub use client::{Client, ClientError, ClientSettings, REGISTER_INTERVAL, RunningClient, metrics_service, metrics_service_within};
pub use delivery_receipt::DeliveryReceipt;
pub use dial::DialError;
pub use hyperdht_api::HyperdhtError;
pub use identity::{Identity, IdentityError, Seed, default_key_file};
pub use key::{InvalidKey, PublicKey, SharedSecret};
pub use link::LinkError;
pub use link_event::{ConnectionPurpose, ConnectionUid, LinkEnd, LinkEvent, LinkEvents, ScrapeId};
pub use quic_listener::ListenError;
pub use registration::{Alias, AliasError, MAX_NAME_BYTES, Registration};
pub use scraper::{REQUEST_TIMEOUT, ScrapeError, ScrapeOutcome, Scraper};

pub(crate) use failure_limiter::FailureLimiter;
pub(crate) use hyperdht::{ConnectionPool, Network, RegistrationServer};
pub(crate) use hyperdht_api::{Registrant, RegistrationHandler};
pub(crate) use link::{Link, PeerState, ScrapeResponse};
pub(crate) use proxy_link::{ControlEvent, NO_MESSAGE, ProxyLink};
pub(crate) use quic_listener::{AcceptedLink, QuicListener};
pub(crate) use scraper::error_text;
