//! A scraper over QUIC: dials a peer that listens for links.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use quinn::Connection;
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::peer::delivery::error_text;
use crate::peer::identity::{Identity, QuicAddress};
use crate::peer::link_event::{LinkEnd, LinkEvent, LinkEvents, OpenLink};
use crate::peer::quic::control::ControlSender;
use crate::peer::quic::dial::{DialedConnection, dial};
use crate::peer::quic::link::{Link, LinkError, PeerState};
use crate::peer::quic::tls::Protocol;
use crate::peer::quic::transport::{self, CLOSED, link_end};
use crate::peer::scraper::{MAX_BODY_BYTES, ScrapeError, ScrapeOutcome};
use crate::wire::LinkMessage;

/// A scraper of one peer. It opens the link on demand, keeps it, and reopens it after a loss.
pub(crate) struct QuicScraper {
    identity: Identity,
    target: QuicAddress,
    peer_state: PeerState,
    events: Arc<LinkEvents>,
    // Locked while dialing, so that concurrent requests open one link.
    current: Mutex<Option<ScrapeLink>>,
}

struct ScrapeLink {
    link: Link,
    dialed: DialedConnection,
    outbox: ControlSender,
    messages: mpsc::Receiver<LinkMessage>,
    reporter: CloseReporter,
}

/// Reports the end of a connection once: by a task if the peer or the network ends it, or by this end when it closes the connection.
struct CloseReporter {
    open: Arc<StdMutex<Option<OpenLink>>>,
    _watch: AbortOnDropHandle<()>,
}

impl CloseReporter {
    fn watch(open: OpenLink, connection: Connection) -> Self {
        let open = Arc::new(StdMutex::new(Some(open)));
        let watched = open.clone();
        let watch = async move {
            let reason = connection.closed().await;
            report(&watched, link_end(&reason));
        };
        Self {
            open,
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        }
    }

    fn report(&self, end: LinkEnd) {
        report(&self.open, end);
    }
}

fn report(open: &StdMutex<Option<OpenLink>>, end: LinkEnd) {
    let open = open.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(open) = open {
        open.report_end(end);
    }
}

impl Drop for CloseReporter {
    fn drop(&mut self) {
        self.report(LinkEnd::closed_here());
    }
}

impl QuicScraper {
    pub(crate) fn new(identity: Identity, target: QuicAddress, events: Arc<LinkEvents>) -> Self {
        Self {
            identity,
            target,
            peer_state: PeerState::default(),
            events,
            current: Mutex::default(),
        }
    }

    /// Opens the link if there is none.
    ///
    /// # Errors
    ///
    /// If the target cannot be reached or has another key. If it does not admit our key, the first request fails.
    pub(crate) async fn ready(&self) -> Result<(), ScrapeError> {
        self.link().await.map(|_| ())
    }

    async fn link(&self) -> Result<Link, ScrapeError> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && current.dialed.connection.close_reason().is_none()
        {
            return Ok(current.link.clone());
        }
        let peer = self.target.key;
        let dialed = dial(&self.identity, &self.target, Protocol::Scrape, 0).await.inspect_err(|error| {
            self.events.emit(LinkEvent::Unreachable {
                peer,
                why: error.to_string(),
            });
        })?;
        let (send, _) = dialed.connection.open_bi().await.map_err(|e| LinkError::Lost(link_end(&e).why))?;
        let (link, messages) = Link::new(dialed.connection.clone(), peer, self.peer_state.clone(), self.events.clone());
        let (address, uid) = (dialed.connection.remote_address(), transport::connection_uid(&dialed.connection));
        let open = self.events.opened(peer, address, uid);
        *current = Some(ScrapeLink {
            reporter: CloseReporter::watch(open, dialed.connection.clone()),
            link: link.clone(),
            dialed,
            outbox: ControlSender(send),
            messages,
        });
        Ok(link)
    }

    /// Requests a path and reads the whole response.
    ///
    /// # Errors
    ///
    /// If there is no response. After a timeout the link is closed, so that the next request dials again.
    pub(crate) async fn request(&self, path: &str, wait: Duration) -> Result<ScrapeOutcome, ScrapeError> {
        let link = self.link().await?;
        let outcome = self.exchange(&link, path, wait).await;
        self.finish_request(matches!(outcome, Err(ScrapeError::Link(_)))).await;
        outcome
    }

    async fn exchange(&self, link: &Link, path: &str, wait: Duration) -> Result<ScrapeOutcome, ScrapeError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let head = request.headers_mut();
        head.insert(http::header::HOST, HeaderValue::from_static(transport::SERVER_NAME));
        head.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = link.scrape(request, wait).await?;
        let (head, body) = answer.response.into_parts();
        if !head.status.is_success() {
            return Ok(ScrapeOutcome::Failure(error_text(body).await));
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
        Ok(ScrapeOutcome::Metrics {
            text,
            content_type: content_type(&head.headers),
        })
    }

    /// Sends the queued control messages, or closes the link after a failed request.
    async fn finish_request(&self, failed: bool) {
        let mut current = self.current.lock().await;
        let Some(link) = &mut *current else { return };
        if failed {
            let was_over = link.dialed.connection.close_reason().map(|reason| link_end(&reason));
            link.reporter.report(was_over.unwrap_or_else(LinkEnd::scrape_failed));
            link.dialed.connection.close(CLOSED, b"the scrape failed");
            *current = None;
            return;
        }
        while let Ok(message) = link.messages.try_recv() {
            if link.outbox.send(&message).await.is_err() {
                return;
            }
        }
    }

    /// Notifies the peer and closes the link.
    pub(crate) async fn close(self) {
        if let Some(mut current) = self.current.into_inner() {
            current.reporter.report(LinkEnd::graceful("done"));
            let goodbye = LinkMessage::Goodbye("the scraper is done".to_owned());
            if current.outbox.send(&goodbye).await.is_ok() && current.outbox.0.finish().is_ok() {
                // Closing immediately would discard the reports of deliveries.
                let _ = tokio::time::timeout(transport::CLOSE_TIMEOUT, current.outbox.0.stopped()).await;
            }
            current.dialed.connection.close(CLOSED, b"done");
            current.dialed.wait_closed().await;
        }
    }
}

fn content_type(head: &HeaderMap) -> Option<String> {
    Some(head.get(CONTENT_TYPE)?.to_str().ok()?.to_owned())
}
