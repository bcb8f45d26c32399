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
const REACH: Duration = Duration::from_secs(20);

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
pub enum Outcome {
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
    line: Line,
}

/// How the peer is reached.
enum Line {
    Quic(Box<QuicScraper>),
    Hyperdht(Box<ByKey>),
}

struct ByKey {
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
        Self::joining(identity, target, wait, Vec::new())
    }

    /// The same; where the target is on HyperDHT, that is joined through these nodes, `HOST:PORT` each, or through the public ones where
    /// there are none.
    #[must_use]
    pub fn joining(identity: Identity, target: LinkAddress, wait: Duration, bootstrap: Vec<String>) -> Self {
        let (key, events) = (identity.public_key(), Arc::<LinkEvents>::default());
        let line = match target {
            LinkAddress::Quic(target) => Line::Quic(Box::new(QuicScraper::new(identity, target, events.clone()))),
            LinkAddress::Hyperdht(target) => Line::Hyperdht(Box::new(ByKey {
                identity,
                target,
                bootstrap,
                pool: OnceCell::new(),
            })),
        };
        Self { key, events, wait, line }
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
        match &self.line {
            Line::Quic(quic) => quic.ready().await,
            Line::Hyperdht(by_key) => Ok(by_key.pool(&self.events).await?.reach(by_key.target, REACH).await?),
        }
    }

    /// Asks for `/metrics` and reads all of the answer.
    ///
    /// # Errors
    ///
    /// Where there is no answer. A link that let a request time out is given up, so that the next one starts afresh.
    pub async fn request_metrics(&self) -> Result<Outcome, ScrapeError> {
        self.request("/metrics").await
    }

    /// As [`Scraper::request_metrics`], for another path, which only QUIC has.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request(&self, path: &str) -> Result<Outcome, ScrapeError> {
        self.request_within(path, self.wait).await
    }

    /// As [`Scraper::request`], for one that may take `wait` instead of what all may. Making the link, where there is none, has its own
    /// time: 5 s over QUIC, and 20 s over HyperDHT.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request_within(&self, path: &str, wait: Duration) -> Result<Outcome, ScrapeError> {
        match &self.line {
            Line::Quic(quic) => quic.request(path, wait).await,
            Line::Hyperdht(_) if path != "/metrics" => Err(ScrapeError::OnlyMetrics(path.to_owned())),
            Line::Hyperdht(by_key) => {
                let pool = by_key.pool(&self.events).await?;
                // Reaching it may take longer than asking does.
                pool.reach(by_key.target, REACH).await?;
                Ok(match pool.scrape(by_key.target, wait).await? {
                    MetricsReply::Failed(why) => Outcome::Failure(why),
                    MetricsReply::Metrics(text) => Outcome::Metrics { text, content_type: None },
                })
            }
        }
    }

    /// Says goodbye and closes the link.
    pub async fn close(self) {
        match self.line {
            Line::Quic(quic) => quic.close().await,
            Line::Hyperdht(by_key) => {
                if let Some(pool) = by_key.pool.get() {
                    pool.close().await;
                }
            }
        }
    }
}

impl ByKey {
    async fn pool(&self, events: &Arc<LinkEvents>) -> Result<&ConnectionPool, HyperdhtError> {
        let join = || async {
            let network = Network::join(&self.bootstrap, 0).await?;
            Ok::<_, HyperdhtError>(network.connection_pool(&self.identity, events.clone()))
        };
        self.pool.get_or_try_init(join).await
    }
}

/// The text of a failed answer, as far as it is there and short.
pub(crate) async fn message<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_MESSAGE_BYTES).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(_) => "it says too much, or broke off".to_owned(),
    }
}
