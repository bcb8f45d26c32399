//! A scraper: dials one peer and asks for metrics, as a bridge would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{OnceCell, broadcast};

use super::dial::DialError;
use super::hyperdht::{ConnectionPool, Network};
use super::link::LinkError;
use super::link_event::{LinkEvent, LinkEvents};
use super::quic_scraper::QuicScraper;
use super::{HyperdhtError, Identity, LinkAddress, PublicKey};
use crate::wire::hyperdht::MetricsReply;

/// How long a scrape may take if nothing else is said.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long finding and reaching a peer over HyperDHT may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest body that is read; Prometheus itself reads any, but nobody has so much to say.
pub(super) const MAX_BODY_BYTES: usize = 1 << 30;

/// The longest message of a failed answer that is kept.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// Nobody was reached, or the wrong one.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The link broke, the other end took too long, or what came is no HTTP.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Over HyperDHT: nobody was reached, the link broke, the other end took too long, or what came is no answer.
    #[error(transparent)]
    Hyperdht(#[from] HyperdhtError),
    /// The metrics are larger than is sensible.
    #[error("the answer has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// Over HyperDHT there is nothing else to ask for.
    #[error("over HyperDHT /metrics is all that can be asked for, not {0}")]
    OnlyMetrics(String),
}

/// What came of a scrape.
#[derive(Debug, Clone)]
pub enum ScrapeOutcome {
    /// The metrics.
    Metrics {
        /// The exposition text.
        text: Bytes,
        /// Its Content-Type.
        content_type: Option<String>,
    },
    /// The other end says that it failed, in its own words.
    Failure(String),
}

/// A scraper of one peer. The link is made when it is needed, kept, and made anew when it is lost.
///
/// See `examples/peer_scraper.rs`.
pub struct Scraper {
    key: PublicKey,
    events: Arc<LinkEvents>,
    wait: Duration,
    transport: ScraperTransport,
}

/// How the peer is reached.
enum ScraperTransport {
    Quic(Box<QuicScraper>),
    Hyperdht(Box<HyperdhtTarget>),
}

struct HyperdhtTarget {
    identity: Identity,
    target: PublicKey,
    bootstrap: Vec<String>,
    /// The network is joined when it is needed first.
    pool: OnceCell<ConnectionPool>,
}

impl Scraper {
    /// A scraper that shows `identity` and asks `target`; a request may take `wait`.
    #[must_use]
    pub fn new(identity: Identity, target: LinkAddress, wait: Duration) -> Self {
        Self::with_bootstrap(identity, target, wait, Vec::new())
    }

    /// The same; where the target is on HyperDHT, that is joined through these nodes, `HOST:PORT` each, or through the public ones where
    /// there are none.
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

    /// The key that it shows.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    /// Makes the link, if there is none.
    ///
    /// # Errors
    ///
    /// Where the target cannot be reached or has another key. That it does not let us in shows in the first request over QUIC, and right
    /// here over HyperDHT, as silence.
    pub async fn ready(&self) -> Result<(), ScrapeError> {
        match &self.transport {
            ScraperTransport::Quic(quic) => quic.ready().await,
            ScraperTransport::Hyperdht(hyperdht) => Ok(hyperdht.pool(&self.events).await?.reach(hyperdht.target, CONNECT_TIMEOUT).await?),
        }
    }

    /// Asks for `/metrics` and reads all of the answer.
    ///
    /// # Errors
    ///
    /// Where there is no answer. A link that let a request time out is given up, so that the next one starts afresh.
    pub async fn request_metrics(&self) -> Result<ScrapeOutcome, ScrapeError> {
        self.request("/metrics").await
    }

    /// As [`Scraper::request_metrics`], for another path, which only QUIC has.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request(&self, path: &str) -> Result<ScrapeOutcome, ScrapeError> {
        self.request_within(path, self.wait).await
    }

    /// As [`Scraper::request`], for one that may take `wait` instead of what all may. Making the link, where there is none, has its own
    /// time: 5 s over QUIC, and 20 s over HyperDHT.
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
                // Reaching it may take longer than asking does.
                pool.reach(hyperdht.target, CONNECT_TIMEOUT).await?;
                Ok(match pool.scrape(hyperdht.target, wait).await? {
                    MetricsReply::Failed(why) => ScrapeOutcome::Failure(why),
                    MetricsReply::Metrics(text) => ScrapeOutcome::Metrics { text, content_type: None },
                })
            }
        }
    }

    /// Says goodbye and closes the link.
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

/// The text of a failed answer, as far as it is there and short.
pub(crate) async fn error_text<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_MESSAGE_BYTES).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(_) => "it says too much, or broke off".to_owned(),
    }
}
