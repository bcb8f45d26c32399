//! The scraping end of a link: sends each request on a stream of its own and streams the response.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::transport::{CLOSED, MAX_STREAMS, link_end};
use crate::model::Client;
use crate::peer::delivery::{DELIVERED, DeliveryReceipt, LinkStream, PendingReceipts, SCRAPE, ScrapeIds, UnreportedDeliveries};
use crate::peer::identity::PublicKey;
use crate::peer::link_event::{LinkEvent, LinkEvents, ScrapeId};
use crate::wire::LinkMessage;

/// Buffer size of HTTP for the head of a response or a part of its body.
const BUFFER: usize = 64 * 1024;

/// Limit on queued control messages. Deliveries beyond it are reported in the next request only.
pub(crate) const CONTROL_QUEUE: usize = 256;

/// Limit on the streams of a link that wait for a delivery outcome. The rest is for open scrapes.
const MAX_AWAITING_OUTCOME: usize = MAX_STREAMS as usize * 3 / 4;

/// The error of a scrape over a link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The link was lost.
    #[error("link lost: {0}")]
    Lost(String),
    /// The peer took too long.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The response is not valid HTTP or is truncated.
    #[error("the response is truncated or not valid HTTP: {0}")]
    Http(#[from] hyper::Error),
}

/// A link to a peer that can be scraped. A clone is a handle to the same link.
#[derive(Clone)]
pub(crate) struct Link(Arc<LinkInner>);

struct LinkInner {
    connection: Connection,
    peer: PublicKey,
    scrape_ids: Arc<ScrapeIds>,
    unreported: Arc<UnreportedDeliveries>,
    open: Arc<PendingReceipts>,
    control: mpsc::Sender<LinkMessage>,
    events: Arc<LinkEvents>,
    /// The reason for which [`Link::close`] closed it.
    closed_because: Arc<OnceLock<String>>,
}

/// The state of a peer at the scraping end that outlives a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerState {
    pub(crate) scrape_ids: Arc<ScrapeIds>,
    pub(crate) unreported: Arc<UnreportedDeliveries>,
}

/// The response to a scrape, with a streamed body.
pub(crate) struct ScrapeResponse {
    pub(crate) response: Response<LinkBody>,
    pub(crate) receipt: DeliveryReceipt,
}

type HttpConnection = http1::Connection<TokioIo<LinkStream>, Empty<Bytes>>;

impl Link {
    /// Creates a link over a connection, and the queue of control messages to send for it.
    pub(crate) fn new(
        connection: Connection,
        peer: PublicKey,
        peer_state: PeerState,
        events: Arc<LinkEvents>,
    ) -> (Self, mpsc::Receiver<LinkMessage>) {
        let (control, messages) = mpsc::channel(CONTROL_QUEUE);
        let inner = LinkInner {
            connection,
            peer,
            scrape_ids: peer_state.scrape_ids,
            unreported: peer_state.unreported,
            open: Arc::default(),
            control,
            events,
            closed_because: Arc::default(),
        };
        (Self(Arc::new(inner)), messages)
    }

    /// Returns the same link for internal requests, which are neither logged nor counted as scrapes.
    pub(crate) fn untracked(&self) -> Self {
        let LinkInner {
            connection,
            peer,
            scrape_ids,
            unreported,
            open,
            control,
            closed_because,
            ..
        } = &*self.0;
        Self(Arc::new(LinkInner {
            connection: connection.clone(),
            peer: *peer,
            scrape_ids: scrape_ids.clone(),
            unreported: unreported.clone(),
            open: open.clone(),
            control: control.clone(),
            events: Arc::default(),
            closed_because: closed_because.clone(),
        }))
    }

    /// Closes the link.
    pub(crate) fn close(&self, why: &str) {
        let _ = self.0.closed_because.set(why.to_owned());
        self.0.connection.close(CLOSED, why.as_bytes());
    }

    /// Returns the reason for which [`Link::close`] closed the link.
    pub(crate) fn closed_because(&self) -> Option<String> {
        self.0.closed_because.get().cloned()
    }

    /// Queues a control message; it is dropped if the queue is full.
    pub(crate) fn send_control(&self, message: LinkMessage) {
        let _ = self.0.control.try_send(message);
    }

    /// Returns the number of received datagrams.
    pub(crate) fn received(&self) -> u64 {
        self.0.connection.stats().udp_rx.datagrams
    }

    /// Returns the round-trip time measured by QUIC.
    pub(crate) fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Like [`Link::scrape`], for a client that shares the link with others: limits the streams that wait for delivery outcomes.
    pub(crate) async fn scrape_for(
        &self,
        client: &Client,
        request: Request<Empty<Bytes>>,
        wait: Duration,
    ) -> Result<ScrapeResponse, LinkError> {
        let answer = self.scrape(request, wait).await?;
        self.0.open.add(client, &answer.receipt, MAX_AWAITING_OUTCOME);
        Ok(answer)
    }

    /// Sends a request and waits for the head of the response. `wait` limits the time spent waiting for head and body together.
    pub(crate) async fn scrape(&self, mut request: Request<Empty<Bytes>>, wait: Duration) -> Result<ScrapeResponse, LinkError> {
        let scrape = self.0.scrape_ids.next();
        let delivered = self.0.unreported.list();
        self.0.events.emit(LinkEvent::ScrapeStarted {
            peer: self.0.peer,
            scrape,
            path: request.uri().path().to_owned(),
        });
        let head = request.headers_mut();
        insert(head, SCRAPE, scrape.to_string());
        if !delivered.is_empty() {
            let list: Vec<String> = delivered.iter().map(ToString::to_string).collect();
            insert(head, DELIVERED, list.join(","));
        }
        let me = self.clone();
        let receipt = DeliveryReceipt::new(scrape, move |scrape| me.report_delivery(scrape));
        let began = Instant::now();
        let exchanged = match timeout(wait, self.exchange(request)).await {
            Err(_) => Err(LinkError::Timeout(wait)),
            Ok(Err(error)) => Err(self.explain(error)),
            Ok(Ok(exchanged)) => Ok(exchanged),
        };
        let (response, http, sender) = exchanged.inspect_err(|error| self.report_failure(&receipt, error))?;
        self.0.unreported.mark_reported(&delivered);
        let status = response.status();
        let response = response.map(|body| LinkBody {
            status,
            body,
            http,
            _sender: sender,
            link: self.clone(),
            receipt: receipt.clone(),
            left: wait.saturating_sub(began.elapsed()),
            waiting: None,
            wait,
        });
        let (head, mut body) = response.into_parts();
        if body.body.is_end_stream() {
            body.finish();
        }
        Ok(ScrapeResponse {
            response: Response::from_parts(head, body),
            receipt,
        })
    }

    async fn exchange(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(Response<Incoming>, Option<HttpConnection>, SendRequest<Empty<Bytes>>), LinkError> {
        let lost = |e: quinn::ConnectionError| LinkError::Lost(link_end(&e).why);
        let (send, recv) = self.0.connection.open_bi().await.map_err(lost)?;
        let io = TokioIo::new(LinkStream { send, recv });
        let (mut sender, http) = http1::Builder::new().max_buf_size(BUFFER).handshake(io).await?;
        let mut http = Some(http);
        let response = {
            let answer = sender.send_request(request);
            tokio::pin!(answer);
            loop {
                let driven = async {
                    match &mut http {
                        Some(http) => http.await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    response = &mut answer => break response?,
                    ended = driven => {
                        http = None;
                        ended?;
                    }
                }
            }
        };
        Ok((response, http, sender))
    }

    /// Replaces an HTTP error that was caused by the end of the link with the reason of that end.
    fn explain(&self, error: LinkError) -> LinkError {
        match self.0.connection.close_reason() {
            Some(reason) => LinkError::Lost(link_end(&reason).why),
            None => error,
        }
    }

    fn report_delivery(&self, scrape: ScrapeId) {
        self.0.unreported.add(scrape);
        // If the queue is full, the next request contains the report.
        let _ = self.0.control.try_send(LinkMessage::Delivered(scrape.0));
    }

    fn report_failure(&self, receipt: &DeliveryReceipt, why: &dyn std::fmt::Display) {
        self.0.events.emit(LinkEvent::ScrapeFailed {
            peer: self.0.peer,
            scrape: receipt.scrape(),
            why: why.to_string(),
        });
    }
}

fn insert(head: &mut http::HeaderMap, name: http::HeaderName, value: String) {
    // Digits and commas are valid in a header value.
    if let Ok(value) = HeaderValue::try_from(value) {
        head.insert(name, value);
    }
}

/// The body of a response. It drives its own stream, so that only requested bytes are read. Dropping it resets the stream.
pub(crate) struct LinkBody {
    status: StatusCode,
    body: Incoming,
    http: Option<HttpConnection>,
    // Keeps the HTTP connection open; dropping it would end the stream.
    _sender: SendRequest<Empty<Bytes>>,
    link: Link,
    receipt: DeliveryReceipt,
    /// The remaining time that the peer may take in total. The time of a slow reader does not count.
    left: Duration,
    waiting: Option<WaitTimer>,
    wait: Duration,
}

struct WaitTimer {
    since: Instant,
    limit: Pin<Box<Sleep>>,
}

impl LinkBody {
    fn finish(&mut self) {
        if let Some(http) = self.http.take() {
            self.receipt.complete(http.into_parts().io.into_inner());
            let (peer, scrape) = (self.link.0.peer, self.receipt.scrape());
            self.link.0.events.emit(if self.status.is_success() {
                LinkEvent::ScrapeAnswered { peer, scrape }
            } else {
                let why = format!("the peer responded with {}", self.status);
                LinkEvent::ScrapeFailed { peer, scrape, why }
            });
        }
    }

    fn fail(&mut self, error: LinkError) -> LinkError {
        let error = self.link.explain(error);
        if let Some(http) = self.http.take() {
            http.into_parts().io.into_inner().reset();
        }
        self.link.report_failure(&self.receipt, &error);
        error
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        if let Some(http) = &mut self.http
            && let Poll::Ready(Err(error)) = Pin::new(http).poll(cx)
        {
            return Err(self.fail(error.into()));
        }
        Ok(())
    }

    /// Resolves when the peer has used up its time while no data arrives.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            WaitTimer {
                since,
                limit: Box::pin(sleep_until(since + left)),
            }
        });
        waiting.limit.as_mut().poll(cx)
    }
}

impl Body for LinkBody {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        let me = &mut *self;
        if let Err(error) = me.drive(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match Pin::new(&mut me.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending if me.wait(cx).is_pending() => return Poll::Pending,
            Poll::Pending => {
                let error = me.fail(LinkError::Timeout(me.wait));
                return Poll::Ready(Some(Err(error)));
            }
        };
        if let Some(waiting) = me.waiting.take() {
            me.left = me.left.saturating_sub(waiting.since.elapsed());
        }
        match frame {
            Some(Err(error)) => Poll::Ready(Some(Err(me.fail(error.into())))),
            Some(Ok(frame)) => {
                if me.body.is_end_stream() {
                    me.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                me.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LinkBody {
    fn drop(&mut self) {
        if self.http.is_some() {
            self.fail(LinkError::Lost("the reader closed its connection".to_owned()));
        }
    }
}
