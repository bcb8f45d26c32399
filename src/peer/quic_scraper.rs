//! A scraper over QUIC: dials somebody who listens for links and asks for what it has.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use quinn::Connection;
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::control::ControlSender;
use super::dial::{DialedConnection, dial};
use super::link::{Link, LinkError, Memory};
use super::link_event::{LinkEvent, LinkEvents, OpenLink};
use super::scraper::{MAX_BODY_BYTES, Outcome, ScrapeError, message};
use super::tls::Protocol;
use super::transport::{self, CLOSED, close_reason};
use super::{Identity, QuicAddress};
use crate::wire::LinkMessage;

/// A scraper of one peer. The link is made when it is needed, kept, and made anew when it is lost.
pub(super) struct QuicScraper {
    identity: Identity,
    target: QuicAddress,
    memory: Memory,
    events: Arc<LinkEvents>,
    // Held while dialling, so that two requests at the same time make one link.
    live: Mutex<Option<Live>>,
}

struct Live {
    link: Link,
    dialed: DialedConnection,
    outbox: ControlSender,
    messages: mpsc::Receiver<LinkMessage>,
    ending: Ending,
}

/// Tells of the end of a connection: a task does when the other end or the network ends it, and we do when we end it ourselves.
struct Ending {
    open: Arc<StdMutex<Option<OpenLink>>>,
    _watch: AbortOnDropHandle<()>,
}

impl Ending {
    fn watch(open: OpenLink, connection: Connection) -> Self {
        let open = Arc::new(StdMutex::new(Some(open)));
        let watched = open.clone();
        let watch = async move {
            let reason = connection.closed().await;
            tell(&watched, close_reason(&reason));
        };
        Self {
            open,
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        }
    }

    fn tell(&self, end: (bool, String)) {
        tell(&self.open, end);
    }
}

fn tell(open: &StdMutex<Option<OpenLink>>, end: (bool, String)) {
    let open = open.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(open) = open {
        open.report_end(end);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell((true, "closed here".to_owned()));
    }
}

impl QuicScraper {
    pub(super) fn new(identity: Identity, target: QuicAddress, events: Arc<LinkEvents>) -> Self {
        Self {
            identity,
            target,
            memory: Memory::default(),
            events,
            live: Mutex::default(),
        }
    }

    /// Makes the link, if there is none.
    ///
    /// # Errors
    ///
    /// Where the target cannot be reached or has another key. That it does not let us in shows in the first request.
    pub(super) async fn ready(&self) -> Result<(), ScrapeError> {
        self.link().await.map(|_| ())
    }

    async fn link(&self) -> Result<Link, ScrapeError> {
        let mut live = self.live.lock().await;
        if let Some(live) = &*live
            && live.dialed.connection.close_reason().is_none()
        {
            return Ok(live.link.clone());
        }
        let peer = self.target.key;
        let dialed = dial(&self.identity, &self.target, Protocol::Scrape, 0).await.inspect_err(|error| {
            self.events.emit(LinkEvent::Unreachable {
                peer,
                why: error.to_string(),
            });
        })?;
        let (send, _) = dialed.connection.open_bi().await.map_err(|e| LinkError::Lost(close_reason(&e).1))?;
        let (link, messages) = Link::new(dialed.connection.clone(), peer, self.memory.clone(), self.events.clone());
        let (address, number) = (dialed.connection.remote_address(), transport::connection_uid(&dialed.connection));
        let open = self.events.opened(peer, address, number);
        *live = Some(Live {
            ending: Ending::watch(open, dialed.connection.clone()),
            link: link.clone(),
            dialed,
            outbox: ControlSender(send),
            messages,
        });
        Ok(link)
    }

    /// Asks for a path and reads all of the answer.
    ///
    /// # Errors
    ///
    /// Where there is no answer. A link that let a request time out is given up, so that the next one starts afresh.
    pub(super) async fn request(&self, path: &str, wait: Duration) -> Result<Outcome, ScrapeError> {
        let link = self.link().await?;
        let outcome = self.ask(&link, path, wait).await;
        self.settle(matches!(outcome, Err(ScrapeError::Link(_)))).await;
        outcome
    }

    async fn ask(&self, link: &Link, path: &str, wait: Duration) -> Result<Outcome, ScrapeError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let head = request.headers_mut();
        head.insert(http::header::HOST, HeaderValue::from_static(transport::SERVER_NAME));
        head.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = link.scrape(request, wait).await?;
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
        answer.receipt.acked();
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
            let was_over = current.dialed.connection.close_reason().map(|reason| close_reason(&reason));
            current
                .ending
                .tell(was_over.unwrap_or_else(|| (false, "given up: a scrape over it came to nothing".to_owned())));
            current.dialed.connection.close(CLOSED, b"the scrape failed");
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
    pub(super) async fn close(self) {
        if let Some(mut live) = self.live.into_inner() {
            live.ending.tell((true, "done".to_owned()));
            let goodbye = LinkMessage::Goodbye("the scraper is done".to_owned());
            if live.outbox.send(&goodbye).await.is_ok() && live.outbox.0.finish().is_ok() {
                // Deliveries must be there before the close is: it would overtake them. A peer that does not take them is past helping.
                let _ = tokio::time::timeout(transport::CLOSE_TIMEOUT, live.outbox.0.stopped()).await;
            }
            live.dialed.connection.close(CLOSED, b"done");
            live.dialed.wait_closed().await;
        }
    }
}

fn text_of(head: &HeaderMap) -> Option<String> {
    Some(head.get(CONTENT_TYPE)?.to_str().ok()?.to_owned())
}
