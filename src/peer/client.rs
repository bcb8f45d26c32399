//! A client: registers with bridges and is scraped over the same links. It can also listen for scrapers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::{HttpService, Role, Routes, reply};
use crate::peer::delivery::{CollectionError, SCRAPE, failure_text};
use crate::peer::hyperdht::{HyperdhtError, HyperdhtScrapeServer, Network, ScrapeServerSettings};
use crate::peer::identity::{Identity, LinkAddress, PublicKey, Registration};
use crate::peer::link_event::{LinkEvent, LinkEvents, log_panic};
use crate::peer::quic::bridge_session::BridgeSession;
use crate::peer::quic::listener::{ListenError, QuicListener};
use crate::peer::quic::scrape_server::ScrapeServer;
use crate::peer::quic::scraper_listener::ScraperListener;
use crate::peer::quic::tls::{AdmittedKeys, Protocol};
use crate::peer::quic::transport::MAX_STREAMS;
use crate::supervise::{DRAIN, Service};

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The key of the client.
    pub identity: Identity,
    /// The bridges to register with, all at the same time.
    pub bridges: Vec<LinkAddress>,
    /// The content of the registrations.
    pub registration: Registration,
    /// `HOST:PORT` to listen on for scrapers, if any.
    pub listen: Option<String>,
    /// The keys allowed to dial the client, in addition to the bridges. With a bridge on HyperDHT they can dial it there, too.
    pub allow: Vec<PublicKey>,
    /// `HOST:PORT` of the HyperDHT bootstrap nodes; empty: the public ones. Not used without a bridge on HyperDHT.
    pub bootstrap: Vec<String>,
}

/// The error of creating a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Listening failed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Joining HyperDHT failed.
    #[error(transparent)]
    Hyperdht(#[from] HyperdhtError),
}

/// A program that is scraped over links: the proxy, or any program that exposes its own metrics with this library.
///
/// See `examples/peer_client.rs`.
pub struct Client {
    sessions: Vec<BridgeSession>,
    listener: Option<ScraperListener>,
    /// The scrape server on HyperDHT, if a bridge is there.
    hyperdht: Option<HyperdhtScrapeServer>,
    events: Arc<LinkEvents>,
    key: PublicKey,
}

impl Client {
    /// Binds the sockets; no bridge is dialed yet. `service` handles the requests received over links; it should have no endpoints that
    /// write.
    ///
    /// # Errors
    ///
    /// If `listen` cannot be bound, or HyperDHT cannot be joined and a bridge is there.
    pub async fn bind(settings: ClientSettings, service: HttpService, events: LinkEvents) -> Result<Self, ClientError> {
        let events = Arc::new(events);
        let server = ScrapeServer::new(service.clone(), events.clone());
        let ClientSettings {
            identity,
            bridges,
            registration,
            listen,
            allow,
            bootstrap,
        } = settings;
        let registration = Arc::new(registration);
        let by_key: Vec<_> = bridges.iter().filter(|bridge| matches!(bridge, LinkAddress::Hyperdht(_))).collect();
        let hyperdht = if by_key.is_empty() {
            None
        } else {
            let settings = ScrapeServerSettings {
                identity: identity.clone(),
                bridges: by_key.into_iter().map(LinkAddress::key).collect(),
                allow: allow.clone(),
                registration: registration.clone(),
                service,
                events: events.clone(),
            };
            Some(Network::join(&bootstrap, 0).await?.scrape_server(settings).await?)
        };
        let listener = match listen {
            None => None,
            Some(address) => {
                let admitted: HashSet<_> = bridges.iter().map(LinkAddress::key).chain(allow).collect();
                // One more stream for the control messages.
                let handshake_settings = (AdmittedKeys::Only(Arc::new(admitted)), Protocol::Scrape, MAX_STREAMS + 1);
                Some(ScraperListener {
                    listener: QuicListener::bind(&identity, &address, handshake_settings, events.clone()).await?,
                    server: server.clone(),
                })
            }
        };
        let session = |bridge| match bridge {
            LinkAddress::Hyperdht(_) => None,
            LinkAddress::Quic(bridge) => Some(BridgeSession {
                identity: identity.clone(),
                bridge,
                registration: registration.clone(),
                server: server.clone(),
            }),
        };
        Ok(Self {
            sessions: bridges.into_iter().filter_map(session).collect(),
            listener,
            hyperdht,
            events,
            key: identity.public_key(),
        })
    }

    /// Like [`Client::bind`], with metrics returned by a function. `request_timeout` limits each call.
    ///
    /// # Errors
    ///
    /// As [`Client::bind`].
    pub async fn with_metrics<F, T, E>(
        settings: ClientSettings,
        request_timeout: Duration,
        metrics: F,
        events: LinkEvents,
    ) -> Result<Self, ClientError>
    where
        F: Fn() -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send,
        E: std::fmt::Display,
    {
        Self::bind(settings, metrics_service_within(request_timeout, metrics), events).await
    }

    /// Returns the key that the client registers and that scrapers dial.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Returns the address it listens on for scrapers, with the real port.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.listener.local_addr()
    }

    /// Subscribes to events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    /// Registers and serves until `stop`; then notifies all bridges. Dropping the future drops all links.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for session in self.sessions {
            tasks.spawn(session.run(stop.clone()));
        }
        if let Some(listener) = self.listener {
            tasks.spawn(listener.run(stop.clone()));
        }
        if let Some(hyperdht) = self.hyperdht {
            tasks.spawn(hyperdht.run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    }

    /// Runs the client in a task of its own, for programs without a supervisor.
    #[must_use]
    pub fn start(self) -> RunningClient {
        let (key, events, stop) = (self.key, self.events.clone(), CancellationToken::new());
        let following = events.subscribe();
        RunningClient {
            key,
            events,
            following,
            task: tokio::spawn(self.run(stop.clone())),
            stop,
        }
    }
}

impl Service for Client {
    fn name(&self) -> &str {
        "p2p"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            Self::run(*self, stop.clone()).await;
            // A client without bridges and listener has no tasks; it waits for the stop.
            stop.cancelled().await;
            Ok(())
        })
    }
}

/// A running [`Client`]; dropping it stops it immediately.
pub struct RunningClient {
    key: PublicKey,
    events: Arc<LinkEvents>,
    following: broadcast::Receiver<LinkEvent>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl RunningClient {
    /// Returns the key that the client registers.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Subscribes to events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    /// Waits until a bridge has accepted a registration since the last call, or since the start.
    pub async fn ready(&mut self) {
        loop {
            match self.following.recv().await {
                Ok(LinkEvent::Registered { .. }) | Err(RecvError::Closed) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            }
        }
    }

    /// Notifies all bridges and finishes open scrapes, within a bounded time.
    pub async fn close(mut self) {
        self.stop.cancel();
        // Open scrapes are dropped at the timeout.
        let _ = timeout(DRAIN, &mut self.task).await;
    }
}

impl Drop for RunningClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns an HTTP service with one endpoint, `GET /metrics`, with metrics returned by a function. If the function fails, the full
/// error is logged and emitted as [`LinkEvent::ScrapeFailed`]; the scraper receives the number of the scrape only.
#[must_use]
pub fn metrics_service<F, T, E>(metrics: F) -> HttpService
where
    F: Fn() -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<String, E>> + Send,
    E: std::fmt::Display,
{
    service(metrics, None)
}

/// Like [`metrics_service`], with a limit on the duration of each call. A call that takes longer is dropped and counts as failed.
#[must_use]
pub fn metrics_service_within<F, T, E>(wait: Duration, metrics: F) -> HttpService
where
    F: Fn() -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<String, E>> + Send,
    E: std::fmt::Display,
{
    service(metrics, Some(wait))
}

fn service<F, T, E>(metrics: F, wait: Option<Duration>) -> HttpService
where
    F: Fn() -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<String, E>> + Send,
    E: std::fmt::Display,
{
    let answer = move |headers: HeaderMap| {
        let metrics = metrics.clone();
        async move {
            let collected = match wait {
                None => metrics().await.map_err(|error| CollectionError::new(&error)),
                Some(wait) => match timeout(wait, metrics()).await {
                    Ok(collected) => collected.map_err(|error| CollectionError::new(&error)),
                    Err(_) => Err(CollectionError::new(&format_args!("not collected within {wait:?}"))),
                },
            };
            match collected {
                Ok(text) => {
                    let mut response = Response::new(Body::from(text));
                    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                    response.headers_mut().insert(CONTENT_TYPE, kind);
                    response
                }
                Err(failed) => {
                    let scrape = headers.get(SCRAPE).and_then(|value| value.to_str().ok()?.parse().ok());
                    // Over HyperDHT this header does not exist; the caller adds the number.
                    let text = scrape.map_or_else(|| "Failed to obtain metrics".to_owned(), failure_text);
                    let mut response = reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
                    response.extensions_mut().insert(failed);
                    response
                }
            }
        }
    };
    let routes = Routes::new().route("/metrics", Role::Scrape, get(answer));
    HttpService::new(routes, &["GET /metrics"], Arc::default(), Arc::default())
}

/// The default interval of registrations.
pub const REGISTER_INTERVAL: Duration = Duration::from_secs(3_600);
