//! Reports the announcement of our key as events.

use std::sync::Arc;
use std::time::Duration;

use exporter_proxy_hyperdht::AnnouncementWatch;
use tokio::time::timeout;

use crate::peer::identity::PublicKey;
use crate::peer::link_event::{LinkEvent, LinkEvents};

/// Time without an announcement before a warning, a few times the usual duration.
pub(super) const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The likely causes of a failed announcement.
const UNANNOUNCED_REASON: &str =
    "no node of the network accepted the announcement for 10 s; check hyperdht.bootstrap and whether the firewall lets UDP pass";

/// Emits events if the key is not announced within [`ANNOUNCE_TIMEOUT`], and when it is, until the listener is dropped.
pub(super) async fn report(mut announcement: AnnouncementWatch, key: PublicKey, events: Arc<LinkEvents>) {
    loop {
        if timeout(ANNOUNCE_TIMEOUT, announcement.announced()).await.is_err() {
            let why = UNANNOUNCED_REASON.to_owned();
            events.emit(LinkEvent::Unannounced { key, why });
        }
        if !announcement.announced().await {
            return;
        }
        events.emit(LinkEvent::Announced { key });
        if !announcement.withdrawn().await {
            return;
        }
    }
}
