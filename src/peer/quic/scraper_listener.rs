//! The listener of a proxy for scrapers with admitted keys.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::control::{ControlError, ControlReceiver};
use super::listener::{AcceptedLink, QuicListener};
use super::scrape_server::ScrapeServer;
use super::transport::{self, CLOSED, link_end};
use crate::peer::limits::{LinkPermit, MAX_LINKS, ScraperLinks};
use crate::peer::link_event::{LinkEnd, ScrapeId, log_panic};
use crate::wire::LinkMessage;

/// Accepts links of scrapers.
pub(crate) struct ScraperListener {
    pub(crate) listener: QuicListener,
    pub(crate) server: ScrapeServer,
}

impl ScraperListener {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let permits = ScraperLinks::default();
        // Bounded by the permits.
        let mut links = JoinSet::new();
        // Responses of lost links with a pending delivery outcome; each set has at most MAX_STREAMS.
        let mut orphaned = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.next() => match accepted {
                    Some(accepted) => match permits.admit(accepted.key) {
                        Some(permit) => {
                            links.spawn(serve_scraper(accepted, permit, self.server.clone(), stop.clone()));
                        }
                        None => accepted.reject("too many links of scrapers: at most 16 of one key, and 64 in total"),
                    },
                    None => break,
                },
                Some(ended) = links.join_next() => match ended {
                    Ok(streams) if orphaned.len() < MAX_LINKS => {
                        orphaned.spawn(drain(streams));
                    }
                    // Beyond the limit they count as unacked.
                    Ok(_) => {}
                    Err(lost) => log_panic(Err(lost)),
                },
                Some(ended) = orphaned.join_next() => log_panic(ended),
            }
        }
        while let Some(ended) = links.join_next().await {
            match ended {
                Ok(streams) => drain(streams).await,
                Err(lost) => log_panic(Err(lost)),
            }
        }
        self.listener.close("stopping").await;
    }
}

async fn drain(mut streams: JoinSet<()>) {
    while let Some(ended) = streams.join_next().await {
        log_panic(ended);
    }
}

/// Serves one scraper until its link ends. Returns the streams with a pending delivery outcome.
async fn serve_scraper(accepted: AcceptedLink, _permit: LinkPermit, server: ScrapeServer, stop: CancellationToken) -> JoinSet<()> {
    let AcceptedLink {
        connection,
        key: peer,
        address,
    } = accepted;
    let server = server.for_link();
    let open = server.events.opened(peer, address, transport::connection_uid(&connection));
    let mut streams = JoinSet::new();
    let mut control = ControlStream::Awaited;
    let reason = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            stream = connection.accept_bi() => match (stream, &control) {
                (Err(reason), _) => break Some(reason),
                // The first stream carries the control messages.
                (Ok((_, recv)), ControlStream::Awaited) => control = ControlStream::Open(ControlReceiver::new(recv)),
                (Ok(stream), ControlStream::Open(_) | ControlStream::Ended) => {
                    streams.spawn(server.clone().serve(peer, stream, stop.clone()));
                }
            },
            message = control.recv() => match message {
                Ok(LinkMessage::Delivered(scrape)) => server.tracker.delivered(peer, ScrapeId(scrape)),
                Ok(_) => {}
                // Scrapes go on without control messages; the next requests report deliveries as well.
                Err(error) => {
                    tracing::debug!(%peer, "control stream closed: {error}");
                    control = ControlStream::Ended;
                }
            },
            Some(ended) = streams.join_next() => log_panic(ended),
        }
    };
    if reason.is_none() {
        drain(std::mem::take(&mut streams)).await;
        connection.close(CLOSED, b"stopping");
    }
    open.report_end(reason.map_or_else(|| LinkEnd::graceful("stopping"), |reason| link_end(&reason)));
    streams
}

/// The control stream of a link, its first one.
enum ControlStream {
    /// Not opened yet.
    Awaited,
    Open(ControlReceiver),
    /// Closed by the scraper, or malformed.
    Ended,
}

impl ControlStream {
    /// Receives the next control message; pending while there is no stream.
    async fn recv(&mut self) -> Result<LinkMessage, ControlError> {
        match self {
            Self::Open(inbox) => inbox.next().await,
            Self::Awaited | Self::Ended => std::future::pending().await,
        }
    }
}
