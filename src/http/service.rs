//! The service: one connection in, requests to the router, responses out, and a clean end.

mod fallbacks;
mod requests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::fallbacks::with_fallbacks;
use self::requests::ConnectionService;
use super::access::AccessControl;
use super::client::Client;
use super::connection::{RequestObserver, SendQueue, SettleOnDrop, SharedConnection};
use super::connection_state::ConnectionState;
use super::http_io::{HttpIo, Protocol};
use super::layer::{Layer, NoTls};
use super::lingering_close::lingering_close;
use super::response_ack::ResponseAck;
use super::routes::Routes;
use super::self_wakes::SelfWakes;
use super::stats::{HttpStats, count};
use super::transport_io::TransportIo;
use super::web::{Tls, WebPolicy};
use super::web_config::subject_alt_names;
use super::{Connection, MAX_HEAD, PeerAddr, Timers};
use crate::supervise::slots::COUNT_AGAIN;
use crate::supervise::{Accepted, Slot, Stream};

/// The preface of an HTTP/2 client (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Serves routes over any byte stream. Cloning clones a handle.
#[derive(Clone)]
pub struct HttpService(Arc<ServiceInner>);

#[derive(Clone)]
struct ServiceInner {
    routes: TowerToHyperService<Router>,
    /// Paths of requests that are neither authenticated nor counted for a rate limit: those of health checks.
    open_paths: Arc<[String]>,
    access: Arc<AccessControl>,
    stats: Arc<HttpStats>,
    timers: Timers,
    http: http1::Builder,
    /// TLS, users, headers and the rate limit; none: plain HTTP for all.
    web: Option<Arc<WebPolicy>>,
    /// Takes note of refused requests; none: they are logged.
    on_refused: Option<OnRefused>,
}

/// Takes note of a request that was refused because its sender lacks a role: the client, the status, and the reason.
pub type OnRefused = Arc<dyn Fn(&Client, StatusCode, &str) + Send + Sync>;

/// All that is to be known about the other end of a stream besides its bytes.
pub struct ConnectionInfo {
    /// The peer.
    pub peer: PeerAddr,
    /// The transport's queue lengths. Without them no response counts as received at the end of the connection.
    pub queue: Option<Arc<dyn SendQueue>>,
    /// The observer of its requests, if the transport has one.
    pub observer: Option<Arc<dyn RequestObserver>>,
    /// The slot, free again when the connection has ended.
    pub slot: Option<Slot>,
}

impl ConnectionInfo {
    /// The stream of an accepted connection and its properties.
    #[must_use]
    pub fn from_accepted(accepted: Accepted) -> (Stream, Self) {
        let Accepted { mut stream, slot } = accepted;
        let peer = match stream.peer() {
            Some(address) => PeerAddr::Tcp(address),
            None => PeerAddr::Unix { uid: stream.peer_uid() },
        };
        let queue: Arc<dyn SendQueue> = Arc::new(stream.probe());
        (
            stream,
            Self {
                peer,
                queue: Some(queue),
                observer: None,
                slot: Some(slot),
            },
        )
    }
}

/// The reason for the end of HTTP on a connection.
enum End {
    /// HTTP itself came to an end.
    Http(hyper::Result<()>),
    /// The service stops, and nothing was in work.
    Stopped,
    /// Nothing was in work, and another connection needs the slot.
    Evicted,
    /// It was one of too many of its address without a complete request.
    TooManyIncomplete,
}

impl HttpService {
    /// A service to these routes. Unknown paths are answered with 404 and the list of `endpoints`, such as `GET /metrics`; a known path
    /// with another method with 405.
    #[must_use]
    pub fn new(routes: Routes, endpoints: &[&str], access: Arc<AccessControl>, stats: Arc<HttpStats>) -> Self {
        Self::with_timers(routes, endpoints, access, stats, Timers::default())
    }

    /// As [`HttpService::new`], with these limits on how long a client may take.
    pub(super) fn with_timers(
        routes: Routes,
        endpoints: &[&str],
        access: Arc<AccessControl>,
        stats: Arc<HttpStats>,
        timers: Timers,
    ) -> Self {
        let paths = routes.paths().map(str::to_owned).collect();
        let (routes, open_paths) = routes.into_parts();
        let routes = TowerToHyperService::new(with_fallbacks(routes, paths, endpoints));
        let mut http = http1::Builder::new();
        // Clients may send their end of file before they have read the answer, as `nc -N` does.
        http.half_close(true);
        // The timers below know when a request has begun, which HTTP's own does not: it would end idle connections.
        http.header_read_timeout(None);
        http.max_header_size(MAX_HEAD);
        http.max_buf_size(MAX_HEAD);
        // Bodies are shared slices: queue them, never copy them into one buffer.
        http.writev(true);
        Self(Arc::new(ServiceInner {
            routes,
            open_paths: open_paths.into(),
            access,
            stats,
            timers,
            http,
            web: None,
            on_refused: None,
        }))
    }

    /// The same service, for clients that satisfy a policy.
    #[must_use]
    pub fn with_web(self, web: Option<Arc<WebPolicy>>) -> Self {
        let inner = (*self.0).clone();
        Self(Arc::new(ServiceInner { web, ..inner }))
    }

    /// The same service, with refused requests reported in place of a log line.
    #[must_use]
    pub fn with_refusals(self, on_refused: OnRefused) -> Self {
        let on_refused = Some(on_refused);
        let inner = (*self.0).clone();
        Self(Arc::new(ServiceInner { on_refused, ..inner }))
    }

    /// Serves one connection until it ends, or until `stop`: then the response in work is finished and an idle connection is closed.
    ///
    /// Dropping the future closes the connection immediately; its open leases are unacked.
    pub async fn serve<S>(&self, io: S, info: ConnectionInfo, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let ConnectionInfo {
            peer,
            queue,
            observer,
            slot,
        } = info;
        let slot = slot.map(Arc::new);
        let connection = Connection::with_queue(peer, queue, observer, self.0.access.clone());
        let shared = connection.shared().clone();
        let _settle_on_drop = SettleOnDrop(Arc::downgrade(&shared));
        let _log_on_drop = LogOnDrop::opened(connection.clone());
        if let Some(slot) = &slot {
            slot.idle();
        }
        let transport = TransportIo::new(io, shared.clone(), self.0.stats.clone(), (&self.0.timers).into());
        // The bytes of a Unix socket do not leave the machine, and its mode says who may connect.
        let web = self.0.web.as_ref().filter(|_| !matches!(shared.peer(), PeerAddr::Unix { .. }));
        let layer = match web.map_or(Tls::Off, |web| web.tls()) {
            Tls::Off => Layer::Plain(transport),
            tls => match Box::pin(self.secure(transport, tls, slot.as_deref(), &stop)).await {
                Some(layer) => layer,
                None => return,
            },
        };
        let serving = ConnectionService {
            service: self.0.clone(),
            connection,
            slot,
            stop,
        };
        self.serve_http(layer, serving).await;
    }

    /// Does the TLS handshake; none if the connection has ended without one. Until then it can be evicted as an idle one.
    async fn secure<S>(&self, transport: TransportIo<S>, tls: Tls, slot: Option<&Slot>, stop: &CancellationToken) -> Option<Layer<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let ServiceInner { stats, timers, .. } = &*self.0;
        let shared = transport.shared().clone();
        let failed = |why: &dyn std::fmt::Display| {
            count(&stats.tls_failures);
            stats.log_tls_failure(shared.peer(), why);
        };
        let Tls::On { config, verifies_clients } = tls else {
            failed(&"the web configuration file allows nothing that can be offered");
            return None;
        };
        let outcome = tokio::select! {
            outcome = timeout(timers.handshake, Layer::accept_tls(transport, config)) => outcome,
            () = stop.cancelled() => return None,
            () = evicted(slot, &shared) => {
                count(&stats.evicted);
                return None;
            }
        };
        let (mut transport, reply) = match outcome {
            Ok(Ok(layer)) => {
                let certificate = layer.client_certificate().filter(|_| verifies_clients);
                if let Some(names) = certificate.and_then(|certificate| subject_alt_names(certificate)) {
                    shared.set_certificate_names(names);
                }
                return Some(layer);
            }
            Ok(Err(NoTls::Gone)) => return None,
            Err(_elapsed) => {
                failed(&format_args!("no handshake within {:?}", timers.handshake));
                return None;
            }
            Ok(Err(NoTls::Failed(transport, why))) => {
                failed(&why);
                (transport, None)
            }
            Ok(Err(NoTls::NotTls(transport))) => {
                failed(&"the client does not speak TLS");
                (transport, Some(whole_response(StatusCode::BAD_REQUEST, HTTPS_ONLY)))
            }
        };
        shared.change(ConnectionState::close);
        let closing = async {
            if let Some(reply) = reply {
                let _ = timeout(timers.lingering_close, transport.write_all(reply.as_bytes())).await;
            }
            lingering_close(Layer::Plain(transport), &shared, timers.lingering_close).await;
        };
        self.close(slot, &shared, closing).await;
        None
    }

    /// Ends a connection with `closing`, in which its client gets time to take everything. Another connection may need the slot sooner: then
    /// the wait ends after the grace, unless the outcome of a response is open. Such a connection is busy until that is decided.
    async fn close(&self, slot: Option<&Slot>, shared: &SharedConnection, closing: impl Future<Output = ()>) {
        let Some(slot) = slot else {
            return closing.await;
        };
        if shared.state().has_open_responses() {
            // If it was evicted, another connection is.
            slot.busy();
            return closing.await;
        }
        let was_evicted = slot.is_evicted();
        if !slot.unless_evicted(closing).await && !was_evicted {
            count(&self.0.stats.evicted);
        }
    }

    /// Serves HTTP over a layer until it ends.
    async fn serve_http<S>(&self, layer: Layer<S>, serving: ConnectionService)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let ServiceInner { stats, timers, http, .. } = &*self.0;
        let shared = serving.connection.shared().clone();
        let (slot, stop) = (serving.slot.clone(), serving.stop.clone());
        let http_io = HttpIo::new(layer, shared.clone(), stats.clone(), slot.clone(), *timers);
        let mut http = http.serve_connection(TokioIo::new(http_io), serving);
        let end = self.drive(&mut http, &shared, slot.as_deref(), &stop).await;
        let parts = http.into_parts();
        let http_io = parts.io.into_inner();
        let protocol = http_io.protocol();
        let mut socket = http_io.into_inner();
        if let End::Http(Err(e)) = &end {
            tracing::debug!(peer = %shared.peer(), "connection failed: {e}");
        }
        // For hyper an error before the first byte of a request is an end like any other.
        let reply = match &end {
            End::Http(result) if result.is_err() || protocol == Some(Protocol::Json) => refusal(protocol, &shared, &parts.read_buf),
            End::TooManyIncomplete => {
                tracing::debug!(peer = %shared.peer(), "connection closed: {}", TOO_MANY_INCOMPLETE.trim_end());
                Some(whole_response(StatusCode::REQUEST_TIMEOUT, TOO_MANY_INCOMPLETE))
            }
            End::Http(_) | End::Stopped | End::Evicted => None,
        };
        if matches!(end, End::Evicted | End::TooManyIncomplete) {
            count(&stats.evicted);
        }
        shared.change(ConnectionState::close);
        let lingers = needs_lingering_close(&end, &shared.state());
        let closing = async {
            if let Some(reply) = reply {
                // Whether the client takes it is its own affair. The send queue has room for so few bytes as a rule.
                let _ = timeout(timers.lingering_close, write_flushed(&mut socket, &reply)).await;
            }
            if lingers {
                lingering_close(socket, &shared, timers.lingering_close).await;
            } else if matches!(socket, Layer::Tls(_)) {
                // The client learns that nothing was cut off.
                let _ = timeout(timers.lingering_close, socket.shutdown()).await;
            }
        };
        self.close(slot.as_deref(), &shared, closing).await;
    }

    /// Handles a request of `peer` that did not arrive as bytes of HTTP. The caller acknowledges the response with the [`ResponseAck`].
    pub async fn call(&self, mut request: Request<Body>, peer: PeerAddr) -> (Response<Body>, ResponseAck) {
        let connection = Connection::new(peer, self.0.access.clone());
        let shared = connection.shared().clone();
        shared.state().begin(request.body().size_hint().exact());
        let response_ack = ResponseAck::new(shared);
        count(&self.0.stats.requests);
        request.extensions_mut().insert(connection.clone());
        (self.0.answer(request, connection.shared()).await, response_ack)
    }

    /// Lets HTTP work, and ends it where nothing is in work and the connection is no longer wanted.
    async fn drive<S>(&self, http: &mut Http<S>, shared: &SharedConnection, slot: Option<&Slot>, stop: &CancellationToken) -> End
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (mut stopping, mut looked_again, mut look_at) = (false, false, None);
        let self_wakes = SelfWakes::new();
        loop {
            let serving = std::future::poll_fn(|cx| {
                // A response gives other connections their turn by waking its task.
                let may_repeat = || !shared.is_sending();
                self_wakes.poll(cx, |cx| std::pin::Pin::new(&mut *http).poll(cx), may_repeat)
            });
            let evicted_now = tokio::select! {
                biased;
                end = serving => return End::Http(end),
                () = stop.cancelled(), if !stopping => false,
                () = evicted(slot, shared) => true,
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    look_at = None;
                    if let Some(slot) = slot.filter(|_| shared.state().is_incomplete()) {
                        slot.incomplete();
                    }
                    continue;
                }
            };
            stopping |= !evicted_now;
            if evicted_now && let Some(slot) = slot.filter(|slot| slot.is_evicted_as_incomplete() && !shared.state().is_idle()) {
                let now = Instant::now();
                if shared.is_sending() || !shared.state().is_slow(now) {
                    // It is our turn, or the client goes on sending. Another connection is evicted; this one counts again a little later, or once
                    // what has come makes up for nothing more.
                    let slow_from = shared.state().slow_from().filter(|from| now < *from);
                    (looked_again, look_at) = (false, Some(slow_from.unwrap_or(now + COUNT_AGAIN)));
                    slot.requested();
                } else if shared.has_unread() && !std::mem::replace(&mut looked_again, true) {
                    // The runtime may not have noticed it yet.
                    tokio::task::yield_now().await;
                } else {
                    return End::TooManyIncomplete;
                }
                continue;
            }
            let spare = shared.state().is_idle() && !shared.has_unread();
            if spare {
                return if evicted_now { End::Evicted } else { End::Stopped };
            }
            if let Some(slot) = slot {
                // A request has arrived at the last moment, so another connection is evicted.
                slot.busy();
            }
            if stopping && shared.state().is_answering() {
                std::pin::Pin::new(&mut *http).graceful_shutdown();
            }
        }
    }
}

/// As [`evictable`]; never resolves without a slot.
async fn evicted(slot: Option<&Slot>, shared: &SharedConnection) {
    match slot {
        Some(slot) => evictable(slot, shared).await,
        None => std::future::pending().await,
    }
}

async fn write_flushed<S>(socket: &mut Layer<S>, text: &str) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.write_all(text.as_bytes()).await?;
    socket.flush().await
}

/// Resolves once the slot is needed and the client has had its grace: it may have just come, or be about to ask again or to send the rest.
async fn evictable(slot: &Slot, shared: &SharedConnection) {
    loop {
        slot.evicted().await;
        let since = match slot.is_evicted_as_incomplete() {
            true => Some(shared.state().request_since()),
            false => shared.state().idle_since(),
        };
        let until = since.map(|since| since + slot.grace());
        match until {
            Some(until) if Instant::now() < until => sleep_until(until).await,
            _ => return,
        }
    }
}

/// Logs the end of a connection at debug level, also where its task is dropped.
struct LogOnDrop(Connection);

impl LogOnDrop {
    fn opened(connection: Connection) -> Self {
        tracing::debug!(peer = %connection.peer(), "connection opened");
        Self(connection)
    }
}

impl Drop for LogOnDrop {
    fn drop(&mut self) {
        tracing::debug!(
            peer = %self.0.peer(),
            bytes_read = self.0.bytes_read(),
            bytes_written = self.0.bytes_written(),
            "connection closed"
        );
    }
}

type Http<S> = http1::Connection<TokioIo<HttpIo<S>>, ConnectionService>;

/// The response for a connection that HTTP gave up without one.
fn refusal(protocol: Option<Protocol>, shared: &SharedConnection, unparsed: &[u8]) -> Option<String> {
    if protocol == Some(Protocol::Json) {
        return Some(JSON_REFUSAL.to_owned());
    }
    let (status, text) = if unparsed.starts_with(HTTP2_PREFACE) {
        (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 is supported\n")
    } else {
        let state = shared.state();
        if !state.is_in_head() || state.has_failed() || state.has_ended() {
            return None;
        }
        (StatusCode::REQUEST_TIMEOUT, "timeout while reading the request head\n")
    };
    Some(whole_response(status, text))
}

/// The response to a connection that is closed before its request was complete.
const TOO_MANY_INCOMPLETE: &str = "no free connection slots, and this address has too many connections with an incomplete request\n";

/// The response to JSON messages on an HTTP port, in the form of a receiver's refusals.
pub const JSON_REFUSAL: &str = concat!(
    r#"{"error":"this is an HTTP port; JSON and Cap'n Proto messages go to the receiver of a proxy (receiver.receiver_tcp_socket, "#,
    r#"usually port 6554)"}"#,
    "\n"
);

/// The response to plain HTTP on a port with TLS.
const HTTPS_ONLY: &str = "this port serves HTTPS only; use https://\n";

/// A whole response as bytes, for a connection on which HTTP is not served, or not any more. The client is to close it.
pub(crate) fn whole_response(status: StatusCode, text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{text}")
}

/// Returns true if a graceful close still matters to this client, or decides the outcome of a response.
fn needs_lingering_close(end: &End, state: &ConnectionState) -> bool {
    if state.has_failed() {
        return false;
    }
    state.has_open_responses() || (matches!(end, End::Http(_)) && !state.has_ended())
}
