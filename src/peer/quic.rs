//! Links over QUIC. A link authenticates both ends by their keys; its first stream carries control messages, each other one a scrape.

pub(super) mod bridge_session;
pub(super) mod control;
pub(super) mod dial;
pub(super) mod link;
pub(super) mod listener;
pub(super) mod proof;
pub(super) mod proxy_link;
pub(super) mod scrape_server;
pub(super) mod scraper_listener;
pub(super) mod tls;
pub(super) mod transport;
