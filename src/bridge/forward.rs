//! `GET /scrape/ALIAS/...`: forwards scrapes to proxies.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use tokio::sync::watch;
use url::form_urlencoded;

use super::Settings;
use super::proxy_registry::{ProxyRegistry, Route, UnknownAlias};
use super::read_ahead::read_ahead;
use super::relay::{self, FORWARDED_FOR, ForwardKey, Outgoing, Relay, RelayedRequest};
use super::remote_claims::BridgeMember;
use crate::http::{Client, Connection, Delivery, DeliveryOutcome, is_from_browser, path_segment, reply};
use crate::model::printable;
use crate::peer::{ConnectionPool, HyperdhtError, PublicKey, ScrapeResponse, error_text};
use crate::wire::hyperdht::MetricsReply;

/// Time left between the end of a forwarded scrape and the scraper's timeout, so that the response still arrives.
const MARGIN: Duration = Duration::from_millis(500);

/// Time that a bridge waits for another one beyond the time that it grants that one for the proxy, so that the response about a proxy that hangs
/// still arrives, and is not taken for a fault of that bridge.
const HOP_MARGIN: Duration = Duration::from_millis(250);

/// The interval of looking after a response in flight at a bridge of a cluster: short against the interval of scrapes.
const SETTLE_EVERY: Duration = Duration::from_millis(100);

/// Lower limit on the timeout of a scrape.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The header with Prometheus's scrape timeout in seconds.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// The mark of a browser's request, for the bridge that a scrape is forwarded to.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Request headers that are forwarded to the proxy unchanged.
const REQUEST_HEADERS: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, USER_AGENT, SCRAPE_TIMEOUT];

/// Response headers that are forwarded to the scraper unchanged.
const RESPONSE_HEADERS: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_LENGTH, VARY];

/// The content type of metrics if the proxy gives none.
fn text_004() -> HeaderValue {
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")
}

fn plain_text() -> HeaderValue {
    HeaderValue::from_static("text/plain; charset=utf-8")
}

/// The media types of expositions. A proxy chooses the type of its response, and a browser would run a page in the origin of the bridge.
const EXPOSITION_TYPES: [&str; 3] = ["text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"];

/// The content type of a response: the proxy's if it is one of an exposition, plain text for any other.
fn content_type(headers: &HeaderMap) -> HeaderValue {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return text_004();
    };
    let name = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_exposition = EXPOSITION_TYPES.iter().any(|known| name.eq_ignore_ascii_case(known));
    if is_exposition { given.clone() } else { plain_text() }
}

/// Sets the content type of a response with a proxy's text, and keeps browsers from taking it for anything else.
fn inert(response: &mut Response<Body>, content_type: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
}

/// Forwards scrapes to proxies.
pub(super) struct ScrapeForwarder {
    pub(super) registry: Arc<ProxyRegistry>,
    /// Connections to proxies over HyperDHT, if the bridge is on HyperDHT.
    pub(super) pool: Option<ConnectionPool>,
    pub(super) settings: watch::Receiver<Settings>,
    /// The way to the other bridges of a cluster, and the key by which they prove themselves here; `None` without a cluster.
    pub(super) relay: Option<(Arc<Relay>, ForwardKey)>,
}

/// The outcome of a scrape, as it is counted.
#[derive(Clone, Copy)]
enum ForwardOutcome {
    Ok,
    UnknownAlias,
    Unavailable,
    UpstreamError,
    Interrupted,
}

impl ForwardOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UnknownAlias => "unknown_alias",
            Self::Unavailable => "unavailable",
            Self::UpstreamError => "upstream_error",
            Self::Interrupted => "interrupted",
        }
    }
}

/// `GET /scrape/{alias}/metrics`
pub(super) async fn whole(
    State(forwarder): State<Arc<ScrapeForwarder>>,
    Extension(connection): Extension<Connection>,
    Path(alias): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let one_app = query.as_deref().is_some_and(names_app);
    let forwarded = ForwardedRequest {
        path: with_query("/metrics".to_owned(), query),
        one_app,
        method,
        client: connection.client(&headers),
        headers,
        from_bridge: false,
    };
    forwarder.forward(&alias, forwarded, &connection).await
}

/// `GET /scrape/{alias}/apps/{app}/metrics`
pub(super) async fn one_app(
    State(forwarder): State<Arc<ScrapeForwarder>>,
    Extension(connection): Extension<Connection>,
    Path((alias, app)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let forwarded = ForwardedRequest {
        path: with_query(format!("/apps/{}/metrics", path_segment(&app)), query),
        one_app: true,
        method,
        client: connection.client(&headers),
        headers,
        from_bridge: false,
    };
    forwarder.forward(&alias, forwarded, &connection).await
}

/// `HEAD /-/cluster/received`: another bridge's reader has the last response on this connection.
pub(super) async fn received(Extension(connection): Extension<Connection>) -> StatusCode {
    connection.settle_acked();
    StatusCode::NO_CONTENT
}

/// `GET /-/cluster/scrape`: a scrape that another bridge forwards. It is answered over a way of this bridge alone.
pub(super) async fn relayed(
    State(forwarder): State<Arc<ScrapeForwarder>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let RelayedRequest { alias, path, client } = match forwarder.verify(&method, &uri, &headers) {
        Ok(request) => request,
        Err(refused) => return *refused,
    };
    let (place, query) = path.split_once('?').unwrap_or((&path, ""));
    let forwarded = ForwardedRequest {
        one_app: place != "/metrics" || names_app(query),
        path,
        method,
        client: client.parse().map_or_else(|_| Client::Link(client.into()), Client::Ip),
        headers,
        from_bridge: true,
    };
    let route = forwarder.registry.find_here(&alias).unwrap_or(Route::Disconnected);
    forwarder.forward_over(route, &alias, forwarded, &connection).await
}

/// A request to forward to a proxy.
struct ForwardedRequest {
    path: String,
    /// True if the request is for one app.
    one_app: bool,
    method: Method,
    /// The client that the scrape is for.
    client: Client,
    headers: HeaderMap,
    /// True if another bridge sends it, which confirms the response itself, and resets the connection where its reader did not receive it.
    from_bridge: bool,
}

/// Returns true if a query selects one app.
fn names_app(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "app")
}

fn with_query(path: String, query: Option<String>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

impl ScrapeForwarder {
    async fn forward(&self, alias: &str, forwarded: ForwardedRequest, connection: &Connection) -> Response<Body> {
        match self.registry.find(alias) {
            Ok(route) => self.forward_over(route, alias, forwarded, connection).await,
            Err(UnknownAlias) => self.refuse(ForwardOutcome::UnknownAlias, StatusCode::NOT_FOUND, "Unknown alias"),
        }
    }

    async fn forward_over(&self, route: Route, alias: &str, forwarded: ForwardedRequest, connection: &Connection) -> Response<Body> {
        let began = Instant::now();
        let request_timeout = self.settings.borrow().request_timeout;
        let wait = proxy_timeout(request_timeout, &forwarded.headers);
        let unavailable = || self.refuse(ForwardOutcome::Unavailable, StatusCode::BAD_GATEWAY, "Upstream unavailable");
        let link = match (route, &self.pool) {
            (Route::Link(link), _) => link,
            (Route::Bridge(bridge), _) => return self.relay(&bridge, alias, &forwarded, connection).await,
            (Route::Key(key), Some(pool)) => match self.forward_by_key(pool, key, &forwarded, wait).await {
                Ok(response) => return response,
                Err(HyperdhtError::Unreachable(_)) => match self.registry.unreachable(alias, key) {
                    Some(link) => link,
                    None => return unavailable(),
                },
                Err(_) => return unavailable(),
            },
            (Route::Key(_) | Route::Disconnected, _) => return unavailable(),
        };
        let Ok(request) = request(&forwarded) else {
            return self.refuse(
                ForwardOutcome::UnknownAlias,
                StatusCode::BAD_REQUEST,
                "the path or the query is not valid in a URI",
            );
        };
        // Otherwise the proxy would take what this reader has received for lost, and send its events again.
        connection.settle_acked();
        let Ok(answer) = link.scrape_for(&forwarded.client, request, wait).await else {
            return unavailable();
        };
        self.registry.telemetry.bridge_scrape_duration_seconds.observe(began.elapsed());
        if answer.response.status().is_success() {
            return self.pass_on(answer, &forwarded, connection);
        }
        self.upstream_error(answer, forwarded.one_app).await
    }

    /// Checks a request of another bridge.
    ///
    /// # Errors
    ///
    /// The response if it is refused.
    pub(super) fn verify(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<RelayedRequest, Box<Response<Body>>> {
        let Some((_, key)) = &self.relay else {
            return Err(Box::new(reply::text(StatusCode::NOT_FOUND, "this bridge is in no cluster")));
        };
        let checked = relay::verify(key, method, uri, headers, relay::seconds(self.registry.clock));
        checked.map_err(|why| Box::new(reply::text(StatusCode::FORBIDDEN, why)))
    }

    /// Forwards a scrape to the bridge that reaches the proxy.
    async fn relay(&self, bridge: &BridgeMember, alias: &str, forwarded: &ForwardedRequest, connection: &Connection) -> Response<Body> {
        let Some((relay, _)) = &self.relay else {
            return self.refuse(ForwardOutcome::Unavailable, StatusCode::BAD_GATEWAY, "Upstream unavailable");
        };
        let began = Instant::now();
        let mut headers = HeaderMap::new();
        copy(&REQUEST_HEADERS, &forwarded.headers, &mut headers);
        let (wait, passed_on) = relay_timeouts(self.settings.borrow().request_timeout, &forwarded.headers);
        headers.insert(SCRAPE_TIMEOUT, passed_on);
        let from_browser = is_from_browser(&forwarded.headers);
        if from_browser {
            headers.insert(FETCH_SITE, HeaderValue::from_static("none"));
        }
        let outgoing = Outgoing {
            path: relay::SCRAPE_PATH,
            alias,
            proxy_path: &forwarded.path,
            method: forwarded.method.clone(),
            headers,
            client: forwarded.client.to_string(),
        };
        // The last response is confirmed at the other bridge first, if it is known by now that this reader has it.
        connection.settle_acked();
        let (response, upstream) = match relay.send(bridge, outgoing, wait).await {
            Ok(sent) => sent,
            Err(why) => return self.refuse(ForwardOutcome::Unavailable, StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
        };
        self.registry.telemetry.bridge_scrape_duration_seconds.observe(began.elapsed());
        let status = response.status();
        if !status.is_success() {
            let text = error_text(response.into_body()).await;
            let status = match status {
                StatusCode::NOT_FOUND if forwarded.one_app => status,
                StatusCode::FORBIDDEN if from_browser => status,
                _ => StatusCode::BAD_GATEWAY,
            };
            return self.refuse(ForwardOutcome::UpstreamError, status, &text);
        }
        let (telemetry, relay) = (self.registry.telemetry.clone(), Arc::clone(relay));
        let delivery = connection.on_delivery(move |outcome| {
            let outcome = match outcome {
                DeliveryOutcome::Acked => {
                    relay.keep(upstream);
                    ForwardOutcome::Ok
                }
                // Dropped, the connection is reset.
                DeliveryOutcome::Unacked => ForwardOutcome::Interrupted,
            };
            telemetry.bridge_scrapes_total.with([outcome.as_str()]).inc();
        });
        self.settle_early(delivery, forwarded);
        deliver(response)
    }

    /// In a cluster the reader may be a balancer: a reset is an end like any other for it, and its next scrape may go to another bridge.
    fn settle_early(&self, delivery: Delivery, forwarded: &ForwardedRequest) {
        if self.relay.is_some() && !forwarded.from_bridge {
            delivery.allow_reset();
            // One for each response that a connection has open, and it ends with the connection.
            tokio::spawn(delivery.settle_when_acked(SETTLE_EVERY));
        }
    }

    /// Forwards a scrape over HyperDHT, which carries neither query nor format nor compression. The response is received as a whole, and
    /// the transport's acknowledgement reports its delivery to the proxy.
    ///
    /// # Errors
    ///
    /// If no response is received.
    async fn forward_by_key(
        &self,
        pool: &ConnectionPool,
        key: PublicKey,
        forwarded: &ForwardedRequest,
        wait: Duration,
    ) -> Result<Response<Body>, HyperdhtError> {
        if forwarded.one_app {
            let why = "this proxy is connected over HyperDHT, which does not support scraping single apps; use quic://";
            return Ok(self.refuse(ForwardOutcome::UpstreamError, StatusCode::NOT_FOUND, why));
        }
        if forwarded.method == Method::HEAD {
            return Self::head_by_key(pool, key, wait).await;
        }
        // A page of any site can make a browser send this request, and the proxy cannot be asked for metrics without events.
        if is_from_browser(&forwarded.headers) {
            let why = "over HyperDHT a scrape consumes events, so browsers are refused; use curl or a scraper";
            return Ok(self.refuse(ForwardOutcome::UpstreamError, StatusCode::FORBIDDEN, why));
        }
        let began = Instant::now();
        let reply = pool.scrape(key, wait).await?;
        self.registry.telemetry.bridge_scrape_duration_seconds.observe(began.elapsed());
        Ok(match reply {
            MetricsReply::Failed(why) => self.refuse(
                ForwardOutcome::UpstreamError,
                StatusCode::BAD_GATEWAY,
                &format!("Upstream error: {why}"),
            ),
            MetricsReply::Metrics(text) => {
                self.registry
                    .telemetry
                    .bridge_scrapes_total
                    .with([ForwardOutcome::Ok.as_str()])
                    .inc();
                let mut response = Response::new(Body::from(text));
                inert(&mut response, text_004());
                response
            }
        })
    }

    /// Answers a HEAD request over HyperDHT. A GET would consume events, and HyperDHT has no smaller request; so this only checks that
    /// the proxy is reachable, and the response has no length.
    async fn head_by_key(pool: &ConnectionPool, key: PublicKey, wait: Duration) -> Result<Response<Body>, HyperdhtError> {
        pool.reach(key, wait).await?;
        // A streamed body has no known length; an empty one would give `content-length: 0`.
        let mut response = Response::new(Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()));
        inert(&mut response, text_004());
        Ok(response)
    }

    /// Streams the metrics to the scraper and reports the delivery outcome to the proxy.
    fn pass_on(&self, answer: ScrapeResponse, forwarded: &ForwardedRequest, connection: &Connection) -> Response<Body> {
        let ScrapeResponse { response, receipt } = answer;
        let telemetry = self.registry.telemetry.clone();
        let delivery = connection.on_delivery(move |outcome| {
            match outcome {
                DeliveryOutcome::Acked => receipt.acked(),
                DeliveryOutcome::Unacked => receipt.unacked(),
            }
            let outcome = if receipt.is_complete() {
                ForwardOutcome::Ok
            } else {
                ForwardOutcome::Interrupted
            };
            telemetry.bridge_scrapes_total.with([outcome.as_str()]).inc();
        });
        self.settle_early(delivery, forwarded);
        deliver(response)
    }

    /// Maps an error response of the proxy: 404 for an unknown app, otherwise 502.
    async fn upstream_error(&self, answer: ScrapeResponse, one_app: bool) -> Response<Body> {
        let status = answer.response.status();
        let error = error_text(answer.response.into_body()).await;
        if status == StatusCode::NOT_FOUND && one_app {
            return self.refuse(ForwardOutcome::UpstreamError, StatusCode::NOT_FOUND, &error);
        }
        let text = if error.is_empty() { status.to_string() } else { error };
        self.refuse(
            ForwardOutcome::UpstreamError,
            StatusCode::BAD_GATEWAY,
            &format!("Upstream error: {text}"),
        )
    }

    fn refuse(&self, outcome: ForwardOutcome, status: StatusCode, text: &str) -> Response<Body> {
        self.registry.telemetry.bridge_scrapes_total.with([outcome.as_str()]).inc();
        let mut response = Response::new(Body::from(printable(text).into_owned()));
        *response.status_mut() = status;
        inert(&mut response, plain_text());
        response
    }
}

/// The response for the scraper, read from its source as fast as that delivers it.
fn deliver<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = read_ahead(response).into_parts();
    let mut response = Response::new(Body::new(body));
    *response.extensions_mut() = head.extensions;
    copy(&RESPONSE_HEADERS, &head.headers, response.headers_mut());
    inert(&mut response, content_type(&head.headers));
    response
}

fn request(forwarded: &ForwardedRequest) -> http::Result<Request<Empty<Bytes>>> {
    let ForwardedRequest {
        path,
        method,
        client,
        headers,
        ..
    } = forwarded;
    let mut request = Request::builder().method(method).uri(path).body(Empty::new())?;
    let to = request.headers_mut();
    to.insert(HOST, HeaderValue::from_static("exporter-proxy"));
    copy(&REQUEST_HEADERS, headers, to);
    if let Ok(client) = HeaderValue::try_from(client.to_string()) {
        to.insert(FORWARDED_FOR, client);
    }
    Ok(request)
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        if from.contains_key(name) {
            to.remove(name);
        }
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// The scraper's timeout less a margin, if it has sent one.
fn scraper_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(SCRAPE_TIMEOUT)?.to_str().ok()?;
    let waits = Duration::try_from_secs_f64(value.parse().ok()?).ok()?;
    Some(waits.saturating_sub(MARGIN))
}

/// The timeout of a forwarded scrape: the configured timeout or the scraper's timeout less a margin, whichever is shorter.
fn proxy_timeout(configured: Duration, headers: &HeaderMap) -> Duration {
    scraper_timeout(headers).map_or(configured, |waits| waits.min(configured).max(MIN_TIMEOUT))
}

/// The timeout of a scrape that goes over another bridge, and the scraper's timeout that is passed on to that one: by it the other bridge gives up
/// the proxy earlier, and answers in time.
fn relay_timeouts(configured: Duration, headers: &HeaderMap) -> (Duration, HeaderValue) {
    let here = proxy_timeout(configured.saturating_add(HOP_MARGIN), headers);
    let there = here.saturating_sub(HOP_MARGIN.min(here / 2));
    let passed_on = there.saturating_add(MARGIN).as_secs_f64().to_string();
    // Digits and a point are a valid value.
    let passed_on = HeaderValue::try_from(passed_on).unwrap_or_else(|_| HeaderValue::from_static("1"));
    (here, passed_on)
}

#[cfg(test)]
mod tests;
