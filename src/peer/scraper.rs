//! A scraper of one peer, over either transport.

mod quic;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, broadcast};

use self::quic::QuicScraper;
use crate::peer::hyperdht::{ConnectionPool, HyperdhtError, Network};
use crate::peer::identity::{Identity, LinkAddress, PublicKey};
use crate::peer::link_event::{LinkEvent, LinkEvents};
use crate::peer::quic::dial::DialError;
use crate::peer::quic::link::LinkError;
use crate::wire::hyperdht::MetricsReply;

/// The default timeout of a scrape.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit on finding and connecting to a peer over HyperDHT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit on the bytes of a body. Prometheus has none; this is far beyond any real exposition.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 30;

/// The error of a scrape without a response.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// Dialing failed, or the peer has another key.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The link was lost, the peer took too long, or the response is not valid HTTP.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Over HyperDHT: the peer was not reached, the link was lost, the peer took too long, or the response is malformed.
    #[error(transparent)]
    Hyperdht(#[from] HyperdhtError),
    /// The body is larger than the limit.
    #[error("the response has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// HyperDHT supports `/metrics` only.
    #[error("HyperDHT supports /metrics only, not {0}")]
    OnlyMetrics(String),
}

/// The response to a scrape.
#[derive(Debug, Clone)]
pub enum ScrapeOutcome {
    /// The metrics.
    Metrics {
        /// The exposition text.
        text: Bytes,
        /// Its Content-Type.
        content_type: Option<String>,
    },
    /// The peer responded with an error, with this message.
    Failure(String),
}

/// A scraper of one peer. It opens the link on demand, keeps it, and reopens it after a loss.
///
/// See `examples/peer_scraper.rs`.
pub struct Scraper {
    key: PublicKey,
    events: Arc<LinkEvents>,
    wait: Duration,
    transport: ScraperTransport,
}

/// The transport to the peer.
enum ScraperTransport {
    Quic(Box<QuicScraper>),
    Hyperdht(Box<HyperdhtTarget>),
}

struct HyperdhtTarget {
    identity: Identity,
    target: PublicKey,
    bootstrap: Vec<String>,
    /// The network is joined on first use.
    pool: OnceCell<ConnectionPool>,
}

impl Scraper {
    /// Creates a scraper with the key `identity` for `target`. `wait` is the timeout of a request.
    #[must_use]
    pub fn new(identity: Identity, target: LinkAddress, wait: Duration) -> Self {
        Self::with_bootstrap(identity, target, wait, Vec::new())
    }

    /// Like [`Scraper::new`], with the HyperDHT bootstrap nodes, `HOST:PORT` each; empty: the public ones.
    #[must_use]
    pub fn with_bootstrap(identity: Identity, target: LinkAddress, wait: Duration, bootstrap: Vec<String>) -> Self {
        let (key, events) = (identity.public_key(), Arc::<LinkEvents>::default());
        let transport = match target {
            LinkAddress::Quic(target) => ScraperTransport::Quic(Box::new(QuicScraper::new(identity, target, events.clone()))),
            LinkAddress::Hyperdht(target) => ScraperTransport::Hyperdht(Box::new(HyperdhtTarget {
                identity,
                target,
                bootstrap,
                pool: OnceCell::new(),
            })),
        };
        Self {
            key,
            events,
            wait,
            transport,
        }
    }

    /// Returns the key of the scraper.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Subscribes to events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    /// Opens the link if there is none.
    ///
    /// # Errors
    ///
    /// If the target cannot be reached or has another key. If it does not admit our key, the first request fails over QUIC; over HyperDHT
    /// this method times out.
    pub async fn ready(&self) -> Result<(), ScrapeError> {
        match &self.transport {
            ScraperTransport::Quic(quic) => quic.ready().await,
            ScraperTransport::Hyperdht(hyperdht) => Ok(hyperdht.pool(&self.events).await?.reach(hyperdht.target, CONNECT_TIMEOUT).await?),
        }
    }

    /// Requests `/metrics` and reads the whole response.
    ///
    /// # Errors
    ///
    /// If there is no response. After a timeout the link is closed, so that the next request dials again.
    pub async fn request_metrics(&self) -> Result<ScrapeOutcome, ScrapeError> {
        self.request("/metrics").await
    }

    /// Like [`Scraper::request_metrics`], for another path, which only QUIC supports.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request(&self, path: &str) -> Result<ScrapeOutcome, ScrapeError> {
        self.request_within(path, self.wait).await
    }

    /// Like [`Scraper::request`], with another timeout. Opening a link has its own timeout: 5 s over QUIC, 20 s over HyperDHT.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request_within(&self, path: &str, wait: Duration) -> Result<ScrapeOutcome, ScrapeError> {
        match &self.transport {
            ScraperTransport::Quic(quic) => quic.request(path, wait).await,
            ScraperTransport::Hyperdht(_) if path != "/metrics" => Err(ScrapeError::OnlyMetrics(path.to_owned())),
            ScraperTransport::Hyperdht(hyperdht) => {
                let pool = hyperdht.pool(&self.events).await?;
                // Connecting may take longer than the request.
                pool.reach(hyperdht.target, CONNECT_TIMEOUT).await?;
                Ok(match pool.scrape(hyperdht.target, wait).await? {
                    MetricsReply::Failed(why) => ScrapeOutcome::Failure(why),
                    MetricsReply::Metrics(text) => ScrapeOutcome::Metrics { text, content_type: None },
                })
            }
        }
    }

    /// Notifies the peer and closes the link.
    pub async fn close(self) {
        match self.transport {
            ScraperTransport::Quic(quic) => quic.close().await,
            ScraperTransport::Hyperdht(hyperdht) => {
                if let Some(pool) = hyperdht.pool.get() {
                    pool.close().await;
                }
            }
        }
    }
}

impl HyperdhtTarget {
    async fn pool(&self, events: &Arc<LinkEvents>) -> Result<&ConnectionPool, HyperdhtError> {
        let join = || async {
            let network = Network::join(&self.bootstrap, 0).await?;
            Ok::<_, HyperdhtError>(network.connection_pool(&self.identity, events.clone()))
        };
        self.pool.get_or_try_init(join).await
    }
}
