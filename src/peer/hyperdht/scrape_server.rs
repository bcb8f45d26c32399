//! The scrape server of a proxy on HyperDHT: accepts its bridges and the allowed keys, and registers with the bridges.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exporter_proxy_hyperdht::udx::MIN_RECEIVE_BYTES;
use exporter_proxy_hyperdht::{IncomingConnection, KeyListener, Node, SecretStream, serve};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::announcement::{ANNOUNCE_TIMEOUT, report};
use super::api::HyperdhtError;
use super::api::ScrapeServerSettings;
use super::metrics_method::MetricsMethod;
use super::registrar::Registrar;
use crate::http::HttpService;
use crate::peer::delivery::ScrapeIds;
use crate::peer::identity::PublicKey;
use crate::peer::limits::{LinkPermit, MAX_LINKS, MAX_LINKS_OF_KEY, ScraperLinks};
use crate::peer::link_event::{ConnectionUid, LinkEvent, LinkEvents, NOT_ADMITTED, log_panic};
use crate::telemetry::Throttle;

/// Idle timeout of a connection: the longest scrape intervals are minutes, and a scraper can reconnect.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Limit on removing the announcement.
const UNANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);

/// The purpose of the key that dials bridges, derived from the key under which the proxy is scraped: the same in each run, and the two
/// public keys cannot be linked.
const DIAL_KEY_PURPOSE: &str = "hyperdht caller";

/// A scrape server that accepts connections and has not registered yet.
pub(crate) struct HyperdhtScrapeServer {
    /// Connections end with the last handle to the node.
    node: Node,
    key: PublicKey,
    listener: KeyListener,
    registrars: Vec<Registrar>,
    service: HttpService,
    events: Arc<LinkEvents>,
    scrape_ids: Arc<ScrapeIds>,
}

impl HyperdhtScrapeServer {
    pub(super) async fn open(node: Node, settings: ScrapeServerSettings) -> Result<Self, HyperdhtError> {
        let ScrapeServerSettings {
            identity,
            bridges,
            allow,
            registration,
            service,
            events,
        } = settings;
        let dial_identity = identity.derived(DIAL_KEY_PURPOSE).map_err(|e| HyperdhtError::Node(e.to_string()))?;
        let admitted: HashSet<PublicKey> = bridges.iter().copied().chain(allow).collect();
        let admit = move |key: exporter_proxy_hyperdht::PublicKey| admitted.contains(&key.into());
        // A request for metrics has a few bytes.
        let listener = node.listen_with_limit(&(&identity).into(), MIN_RECEIVE_BYTES, admit).await?;
        let registrar = |bridge| Registrar {
            node: node.clone(),
            dial_identity: dial_identity.clone(),
            key: identity.public_key(),
            bridge,
            registration: registration.clone(),
            events: events.clone(),
            reachable: Arc::default(),
        };
        Ok(Self {
            node: node.clone(),
            key: identity.public_key(),
            listener,
            registrars: bridges.into_iter().map(registrar).collect(),
            service,
            events,
            scrape_ids: Arc::default(),
        })
    }

    /// Registers and serves until `stop`; then finishes open scrapes and removes the announcement.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self {
            node: _node,
            key,
            mut listener,
            registrars,
            service,
            events,
            scrape_ids,
        } = self;
        let reachable: Vec<(PublicKey, Arc<Notify>)> = registrars.iter().map(|r| (r.bridge, r.reachable.clone())).collect();
        let _reporting = AbortOnDropHandle::new(tokio::spawn(report(listener.announcement(), key, events.clone())));
        // The key should be announced before it is registered. If the announcement fails, the registration fails as well and is retried.
        tokio::select! {
            () = stop.cancelled() => {}
            _ = timeout(ANNOUNCE_TIMEOUT, listener.announced()) => {}
        }
        let mut tasks = JoinSet::new();
        for registrar in registrars {
            tasks.spawn(registrar.run(stop.clone()));
        }
        let mut links = JoinSet::new();
        let (permits, throttle) = (ScraperLinks::default(), Throttle::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = links.join_next() => log_panic(ended),
                incoming = listener.accept() => match incoming {
                    None => {
                        tracing::error!("the HyperDHT node is closed: no scrape over HyperDHT works until a restart; please report it");
                        stop.cancelled().await;
                    }
                    Some(IncomingConnection::Refused { key, address }) => events.emit(LinkEvent::HandshakeRejected {
                        key: Some(key.into()),
                        address,
                        why: NOT_ADMITTED.to_owned(),
                    }),
                    Some(IncomingConnection::Admitted(stream)) => {
                        let peer = PublicKey::from(stream.peer);
                        let Some(permit) = permits.admit(peer) else {
                            if let Some(suppressed) = throttle.admit("scrapers", Instant::now()) {
                                let suppressed = (suppressed > 0).then_some(suppressed);
                                tracing::warn!(%peer, suppressed, "more than {MAX_LINKS_OF_KEY} connections of this scraper, or {MAX_LINKS} of all: connection dropped");
                            }
                            continue;
                        };
                        for (_, reachable) in reachable.iter().filter(|(bridge, _)| *bridge == peer) {
                            reachable.notify_one();
                        }
                        let metrics = MetricsMethod {
                            service: service.clone(),
                            events: events.clone(),
                            scrape_ids: scrape_ids.clone(),
                            peer,
                        };
                        links.spawn(serve_scraper(stream, permit, metrics, stop.clone()));
                    }
                },
            }
        }
        // If the nodes do not respond, the record expires.
        let _ = timeout(UNANNOUNCE_TIMEOUT, listener.close()).await;
        while let Some(ended) = links.join_next().await {
            log_panic(ended);
        }
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    }
}

/// Serves one scraper until its connection ends.
async fn serve_scraper(stream: SecretStream, _permit: LinkPermit, metrics: MetricsMethod, stop: CancellationToken) {
    let open = metrics.events.opened(metrics.peer, stream.address, ConnectionUid::random());
    open.report_end(serve(stream, Arc::new(metrics), IDLE_TIMEOUT, stop).await.into());
}
