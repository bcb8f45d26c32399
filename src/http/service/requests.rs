//! One request: credentials, checks, the route, and what is recorded of it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio_util::sync::CancellationToken;

use super::ServiceInner;
use crate::http::access::Role;
use crate::http::authentication::{Authentication, sender_of};
use crate::http::browsers::{self, BrowserRefusal};
use crate::http::client::{Client, effective_client, forwarded_host};
use crate::http::connection::SharedConnection;
use crate::http::connection_state::ConnectionState;
use crate::http::http_io::report;
use crate::http::routes::AccessRefused;
use crate::http::shared_body::ResponseMemory;
use crate::http::stats::count;
use crate::http::tracked_body::TrackedBody;
use crate::http::{Connection, PeerAddr, reply};
use crate::supervise::{Slot, panic_message};

/// One connection's requests on their way to the routes.
pub(super) struct ConnectionService {
    pub(super) service: Arc<ServiceInner>,
    pub(super) connection: Connection,
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) stop: CancellationToken,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<TrackedBody>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = self.connection.shared().clone();
        let news = {
            let mut state = shared.state();
            state.begin(request.body().size_hint().exact());
            state.slot_news(false)
        };
        report(self.slot.as_deref(), news);
        count(&self.service.stats.requests);
        if let Some(observer) = shared.observer() {
            observer.on_request(request.uri(), request.headers());
        }
        let to_head = request.method() == Method::HEAD;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.connection.clone());
        let (service, stop) = (self.service.clone(), self.stop.clone());
        let logged = tracing::enabled!(tracing::Level::TRACE).then(|| (request.method().clone(), request.uri().clone()));
        Box::pin(async move {
            let mut response = service.answer(request, &shared).await;
            if let Some((method, uri)) = logged {
                tracing::trace!(peer = %shared.peer(), %method, %uri, status = response.status().as_u16(), "request");
            }
            if let Some(observer) = shared.observer() {
                observer.on_response(response.status(), response.extensions());
            }
            if shared.state().awaits_body() {
                // HTTP sees that no handler reads the rest of the body only when it runs again: then it announces that it closes the
                // connection, unless the rest has arrived.
                tokio::task::yield_now().await;
            }
            if stop.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let memory = response.extensions_mut().remove::<ResponseMemory>();
            Ok(response.map(|body| TrackedBody::new(body, memory, shared, to_head)))
        })
    }
}

impl ServiceInner {
    fn check_browser(&self, request: &Request<Body>, shared: &SharedConnection) -> Result<(), BrowserRefusal> {
        let access = self.access.settings();
        let forwarded = forwarded_host(shared.peer(), request.headers(), &access.trusted_proxies);
        browsers::check(request, forwarded, &access)
    }

    fn log_refused(&self, request: &Request<Body>, shared: &SharedConnection, why: &BrowserRefusal) {
        let client = effective_client(shared.peer(), request.headers(), &self.access.settings().trusted_proxies);
        let (method, path) = (request.method(), request.uri().path());
        let why = match why {
            BrowserRefusal::CrossSite => "cross-site request of a browser".to_owned(),
            BrowserRefusal::UnknownHost(host) => format!("request of a browser to {host:?}, which is not in http.allowed_hosts"),
        };
        self.stats.log_refused(&client, format_args!("{method} {path}: {why}"));
    }

    /// A write through a reverse proxy that is not trusted is a fault of the configuration, also where the write is allowed.
    fn note_untrusted_proxy(&self, request: &Request<Body>, shared: &SharedConnection) {
        if browsers::is_safe(request.method()) {
            return;
        }
        let client = effective_client(shared.peer(), request.headers(), &self.access.settings().trusted_proxies);
        if let Client::Behind(address) = client {
            self.stats.warn_untrusted_proxy(address);
        }
    }

    /// Rate-limited for each client: a request that triggers a bug can be repeated.
    fn log_panic(&self, shared: &SharedConnection, panic: &(dyn std::any::Any + Send)) {
        let subject = format!("panic {}", shared.peer().log_subject());
        if let Some(suppressed) = self.stats.throttle.admit(&subject, std::time::Instant::now()) {
            let suppressed = (suppressed > 0).then_some(suppressed);
            tracing::error!(
                peer = %shared.peer(),
                suppressed,
                "a request handler panicked, its client gets status 500: {}",
                panic_message(panic)
            );
        }
    }

    pub(super) async fn answer(&self, mut request: Request<Body>, shared: &SharedConnection) -> Response<Body> {
        let sender = match self.is_open(&request) {
            true => Ok(sender_of(&request, shared, &self.access.settings())),
            false => {
                let authentication = Authentication::of(&request, shared, self.web.clone(), self.stats.clone());
                authentication.check().await
            }
        };
        let mut response = match sender {
            Ok(sender) => {
                let client = sender.client.clone();
                request.extensions_mut().insert(sender);
                let mut response = self.route(request, shared).await;
                if let Some(refused) = response.extensions_mut().remove::<AccessRefused>() {
                    self.note_refused(&client, response.status(), &refused);
                }
                response
            }
            Err(refusal) => refusal,
        };
        if let Some(web) = &self.web {
            web.add_headers(response.headers_mut());
        }
        response
    }

    fn is_open(&self, request: &Request<Body>) -> bool {
        self.open_paths.iter().any(|path| path == request.uri().path())
    }

    fn note_refused(&self, client: &Client, status: StatusCode, refused: &AccessRefused) {
        let AccessRefused {
            role,
            identity,
            text,
            method,
            path,
        } = refused;
        if status == StatusCode::UNAUTHORIZED {
            count(&self.stats.unauthorized);
        }
        self.stats.access_refused.count(identity, role.map_or("any", Role::as_str));
        match &self.on_refused {
            Some(on_refused) => on_refused(client, status, &format!("{method} {path}: {text}")),
            None => self.stats.log_refused(client, format_args!("{method} {path}: {text}")),
        }
    }

    async fn route(&self, request: Request<Body>, shared: &SharedConnection) -> Response<Body> {
        if let Some(why) = wrong_host(&request, shared.peer()) {
            return reply::text(StatusCode::BAD_REQUEST, why);
        }
        if let Err(refusal) = self.check_browser(&request, shared) {
            count(&self.stats.cross_site);
            self.log_refused(&request, shared, &refusal);
            return reply::text(StatusCode::FORBIDDEN, refusal);
        }
        self.note_untrusted_proxy(&request, shared);
        match AssertUnwindSafe(self.routes.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                count(&self.stats.panics);
                // Leases that the handler took belong to a response that is never sent; this one delivers nothing.
                shared.change(ConnectionState::unack_unwritten);
                self.log_panic(shared, &*panic);
                let mut response = reply::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log of the proxy");
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }
}

/// The fault of a request that does not name exactly one host (RFC 9112, section 3.2). HTTP/1.0 may name none. The peer of a link needs no
/// name.
fn wrong_host(request: &Request<Body>, peer: &PeerAddr) -> Option<&'static str> {
    if matches!(peer, PeerAddr::Link(_)) {
        return None;
    }
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Some("the request has no Host header"),
        0 | 1 => None,
        _ => Some("the request has several Host headers"),
    }
}
