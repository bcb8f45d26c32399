//! The server for scrapes at the scraped end.

use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use tokio_util::sync::CancellationToken;

use crate::http::{ConnectionInfo, HttpService, PeerAddr};
use crate::peer::delivery::{DeliveryTracker, LinkTurns, ServedStream, StreamDelivery};
use crate::peer::identity::PublicKey;
use crate::peer::link_event::LinkEvents;

/// Handles the streams of all links with one HTTP service and tracks their deliveries.
#[derive(Clone)]
pub(crate) struct ScrapeServer {
    service: HttpService,
    pub(crate) tracker: DeliveryTracker,
    pub(crate) events: Arc<LinkEvents>,
    turns: LinkTurns,
}

impl ScrapeServer {
    pub(crate) fn new(service: HttpService, events: Arc<LinkEvents>) -> Self {
        Self {
            service,
            tracker: DeliveryTracker::default(),
            events,
            turns: LinkTurns::default(),
        }
    }

    /// The server for the streams of one link: their responses share its send window in turns.
    pub(crate) fn for_link(&self) -> Self {
        Self {
            turns: LinkTurns::default(),
            ..self.clone()
        }
    }

    /// Serves one stream until it ends.
    pub(crate) async fn serve(self, peer: PublicKey, stream: (SendStream, RecvStream), stop: CancellationToken) {
        let delivery = StreamDelivery::open(peer, self.tracker, self.events);
        let stream = ServedStream::new(stream, delivery.clone(), &self.turns);
        let info = ConnectionInfo {
            peer: PeerAddr::Link(peer.text()),
            queue: Some(delivery.clone()),
            observer: Some(delivery),
            slot: None,
        };
        self.service.serve(stream, info, stop).await;
    }
}
