//! Links between a proxy and remote scrapers: identity, control messages, QUIC, HyperDHT.
//!
//! A link is a QUIC connection that authenticates both ends by their Ed25519 keys. The scraped end is a [`Client`]: it dials bridges and
//! registers with them, or listens for scrapers. The scraping end opens a stream for each scrape and sends an HTTP/1.1 request on it,
//! which the [`HttpService`](crate::http::HttpService) of the scraped end handles. The first stream of a link carries control messages. `docs/p2p.md`
//! describes the protocol. Over HyperDHT the wire format is that of existing programs, and only metrics can be requested.
//!
//! [`Client`] and [`Scraper`] are also for other programs; see the examples `peer_client` and `peer_scraper`.
//!
//! ## Modules
//!
//! A module may import those of this one that its last column names, all of which stand above it; `tests/repo/layers.rs` reads the table.
//!
//! | module | purpose | may import |
//! | --- | --- | --- |
//! | `identity` | names of peers: keys, addresses, registrations | none |
//! | `link_event` | events of links, each logged, counted and sent to subscribers in one place | `identity` |
//! | `limits` | delays of retries, limits on failures and on links | `identity` |
//! | `delivery` | responses to scrapes and their delivery outcomes, at both ends | `identity`, `link_event` |
//! | `quic` | links over QUIC | `identity`, `link_event`, `limits`, `delivery` |
//! | `hyperdht` | links over HyperDHT (the cargo feature `hyperdht`) | `identity`, `link_event`, `limits`, `delivery` |
//! | `scraper` | the scraping end for other programs, over either transport | all above |
//! | `client` | the scraped end, over both transports | `identity`, `link_event`, `limits`, `delivery`, `quic`, `hyperdht` |

mod client;
mod delivery;
mod hyperdht;
mod identity;
mod limits;
mod link_event;
mod quic;
mod scraper;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, ClientSettings, REGISTER_INTERVAL, RunningClient, metrics_service, metrics_service_within};
pub use delivery::DeliveryReceipt;
pub use hyperdht::HyperdhtError;
pub use identity::{
    Alias, AliasError, Identity, IdentityError, InvalidKey, LinkAddress, MAX_NAME_BYTES, PublicKey, QuicAddress, Registration, Seed,
    SharedSecret, default_key_file,
};
pub use link_event::{ConnectionPurpose, ConnectionUid, LinkEnd, LinkEvent, LinkEvents, ScrapeId};
pub use quic::dial::DialError;
pub use quic::link::LinkError;
pub use quic::listener::ListenError;
pub use scraper::{REQUEST_TIMEOUT, ScrapeError, ScrapeOutcome, Scraper};

pub(crate) use delivery::error_text;
pub(crate) use hyperdht::{ConnectionPool, Network, Registrant, RegistrationHandler, RegistrationServer};
pub(crate) use limits::FailureLimiter;
pub(crate) use quic::link::{Link, PeerState, ScrapeResponse};
pub(crate) use quic::listener::{AcceptedLink, QuicListener};
pub(crate) use quic::proxy_link::{ControlEvent, NO_MESSAGE, ProxyLink};
