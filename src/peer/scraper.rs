//! A scraper: dials somebody who listens for links and asks for metrics, as a bridge would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use tokio::sync::{Mutex, broadcast, mpsc};

use super::control::Outbox;
use super::dial::{DialError, Dialled, dial};
use super::event::{Event, Events};
use super::link::{Link, LinkError, Memory};
use super::tls::Protocol;
use super::transport::CLOSED;
use super::{Identity, LinkAddress, PublicKey};
use crate::wire::LinkMessage;

/// How long a scrape may take if nothing else is said.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest body that is read; Prometheus itself reads any, but nobody has so much to say.
const MAX_BODY_BYTES: usize = 1 << 30;

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
    /// The metrics are larger than is sensible.
    #[error("the answer has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
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
    identity: Identity,
    target: LinkAddress,
    wait: Duration,
    memory: Memory,
    events: Arc<Events>,
    // Held while dialling, so that two requests at the same time make one link.
    live: Mutex<Option<Live>>,
}

struct Live {
    link: Link,
    dialled: Dialled,
    outbox: Outbox,
    messages: mpsc::Receiver<LinkMessage>,
}

impl Scraper {
    /// A scraper that shows `identity` and asks `target`; a request may take `wait`.
    #[must_use]
    pub fn new(identity: Identity, target: LinkAddress, wait: Duration) -> Self {
        Self {
            identity,
            target,
            wait,
            memory: Memory::default(),
            events: Arc::default(),
            live: Mutex::default(),
        }
    }

    /// The key that it shows.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.follow()
    }

    /// Makes the link, if there is none.
    ///
    /// # Errors
    ///
    /// Where the target cannot be reached or has another key. That it does not let us in shows in the first request.
    pub async fn ready(&self) -> Result<(), ScrapeError> {
        self.link().await.map(|_| ())
    }

    async fn link(&self) -> Result<Link, ScrapeError> {
        let mut live = self.live.lock().await;
        if let Some(live) = &*live
            && live.dialled.connection.close_reason().is_none()
        {
            return Ok(live.link.clone());
        }
        let peer = self.target.key;
        let dialled = dial(&self.identity, &self.target, Protocol::Scrape, 0).await.inspect_err(|error| {
            self.events.emit(Event::Unreachable {
                peer,
                why: error.to_string(),
            });
        })?;
        let (send, _) = dialled
            .connection
            .open_bi()
            .await
            .map_err(|e| LinkError::Lost(super::transport::ending(&e).1))?;
        let (link, messages) = Link::new(dialled.connection.clone(), peer, self.memory.clone(), self.events.clone());
        let address = dialled.connection.remote_address();
        self.events.emit(Event::Opened { peer, address });
        *live = Some(Live {
            link: link.clone(),
            dialled,
            outbox: Outbox(send),
            messages,
        });
        Ok(link)
    }

    /// Asks for `/metrics` and reads all of the answer.
    ///
    /// # Errors
    ///
    /// Where there is no answer. A link that let a request time out is given up, so that the next one starts afresh.
    pub async fn request_metrics(&self) -> Result<Outcome, ScrapeError> {
        self.request("/metrics").await
    }

    /// As [`Scraper::request_metrics`], for another path.
    ///
    /// # Errors
    ///
    /// As [`Scraper::request_metrics`].
    pub async fn request(&self, path: &str) -> Result<Outcome, ScrapeError> {
        let link = self.link().await?;
        let outcome = self.ask(&link, path).await;
        self.settle(matches!(outcome, Err(ScrapeError::Link(_)))).await;
        outcome
    }

    async fn ask(&self, link: &Link, path: &str) -> Result<Outcome, ScrapeError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let head = request.headers_mut();
        head.insert(http::header::HOST, HeaderValue::from_static(super::transport::SERVER_NAME));
        head.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = link.scrape(request, self.wait).await?;
        let (head, body) = answer.response.into_parts();
        if !head.status.is_success() {
            return Ok(Outcome::Failure(message(body).await));
        }
        let text = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(ScrapeError::TooLarge),
            Err(error) => {
                let lost = |other: Box<dyn std::error::Error + Send + Sync>| LinkError::Lost(other.to_string());
                return Err(error.downcast::<LinkError>().map_or_else(lost, |known| *known).into());
            }
        };
        answer.receipt.delivered();
        Ok(Outcome::Metrics {
            text,
            content_type: text_of(&head.headers),
        })
    }

    /// Writes the control messages that have come up, or gives up a link that has failed.
    async fn settle(&self, failed: bool) {
        let mut live = self.live.lock().await;
        let Some(current) = &mut *live else { return };
        if failed {
            current.dialled.connection.close(CLOSED, b"the scrape failed");
            *live = None;
            return;
        }
        while let Ok(message) = current.messages.try_recv() {
            if current.outbox.send(&message).await.is_err() {
                return;
            }
        }
    }

    /// Says goodbye and closes the link.
    pub async fn close(self) {
        if let Some(mut live) = self.live.into_inner() {
            let goodbye = LinkMessage::Goodbye("the scraper is done".to_owned());
            if live.outbox.send(&goodbye).await.is_ok() && live.outbox.0.finish().is_ok() {
                // Deliveries must be there before the close is: it would overtake them. A peer that does not take them is past helping.
                let _ = tokio::time::timeout(super::transport::FAREWELL, live.outbox.0.stopped()).await;
            }
            live.dialled.connection.close(CLOSED, b"done");
            live.dialled.told().await;
        }
    }
}

fn text_of(head: &HeaderMap) -> Option<String> {
    Some(head.get(CONTENT_TYPE)?.to_str().ok()?.to_owned())
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
