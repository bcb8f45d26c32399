//! The HTTP API that goes with the monitoring stream, under `/metric_plugin/v1`.
//!
//! The original's clients know its answers byte for byte, those to wrong requests too, so this subtree routes for itself:
//! unknown paths, wrong methods and slashes at the end are answered as the original's router does.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::routing::any;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use url::form_urlencoded;

use crate::http::{Role, Routes, reply};
use crate::model::{AppName, PeerSample, truncated};
use crate::page::RenderQueue;
use crate::peer_samples::PeerSamples;
use crate::wire::monitoring::api;

/// Path prefix of the API.
const BASE: &str = "/metric_plugin/v1/";
/// The longest body of a request: tens of thousands of CIDs.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The parameter that names one of several polled nodes.
const NODE: &str = "node";

/// State of the API.
#[derive(Debug)]
pub struct MonitoringApi {
    /// The addresses of the stream, as bound; none when it is off.
    pub addresses: Vec<String>,
    /// The peers of the nodes.
    pub peer_samples: PeerSamples,
}

/// Endpoints of the API.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    /// `ping` and `monitoring_addresses`, which give the same.
    Addresses,
    PeerMetadata,
    Broadcast,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix(BASE)? {
            "ping" | "monitoring_addresses" => Some(Self::Addresses),
            "sample_peer_metadata" => Some(Self::PeerMetadata),
            "broadcast_want" | "broadcast_cancel" | "broadcast_want_cancel" => Some(Self::Broadcast),
            _ => None,
        }
    }

    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Broadcast => method == Method::POST,
            Self::Addresses | Self::PeerMetadata => method == Method::GET || method == Method::HEAD,
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Self::Broadcast => "OPTIONS, POST",
            Self::Addresses | Self::PeerMetadata => "GET, HEAD, OPTIONS",
        }
    }
}

/// The API and the queue of its listings.
#[derive(Debug)]
struct ApiHandler {
    monitoring: MonitoringApi,
    /// Ten thousand peers are tens of megabytes of text, so one listing is made at a time.
    queue: RenderQueue,
}

/// The routes of the API.
pub fn routes(monitoring: MonitoringApi) -> Routes {
    let queue = RenderQueue::default();
    Routes::new()
        .route("/metric_plugin/v1/{*path}", Role::Read, any(answer))
        .with_state(Arc::new(ApiHandler { monitoring, queue }))
}

async fn answer(State(monitoring): State<Arc<ApiHandler>>, request: Request) -> Response<Body> {
    let path = request.uri().path();
    let Some(endpoint) = Endpoint::of(path) else {
        return match path.strip_suffix('/').and_then(|path| Endpoint::of(path).and(Some(path))) {
            Some(path) => moved(path, request.uri()),
            None => reply::text(StatusCode::NOT_FOUND, "404 page not found"),
        };
    };
    match request.method() {
        method if endpoint.allows(method) => {
            let (head, body) = request.into_parts();
            monitoring.answer(endpoint, head.uri.query().unwrap_or_default(), body).await
        }
        &Method::OPTIONS => with(reply::text(StatusCode::OK, ""), ALLOW, endpoint.allow()),
        _ => with(
            reply::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            ALLOW,
            endpoint.allow(),
        ),
    }
}

impl ApiHandler {
    async fn answer(&self, endpoint: Endpoint, query: &str, body: Body) -> Response<Body> {
        match endpoint {
            Endpoint::Addresses => json(StatusCode::OK, api::addresses(&self.monitoring.addresses)),
            Endpoint::PeerMetadata => self.peer_metadata(query).await,
            Endpoint::Broadcast => match to_bytes(body, MAX_BODY_BYTES).await {
                Ok(body) if api::check_broadcast(&body).is_ok() => refusal("Bitswap probe not enabled"),
                _ => refusal("invalid request"),
            },
        }
    }

    /// The peers of the node that the query names, or of all nodes.
    async fn peer_metadata(&self, query: &str) -> Response<Body> {
        let nodes = self.monitoring.peer_samples.all();
        if nodes.is_empty() {
            return refusal("no IPFS node has answered ([[ipfs]]), and no Bitswap monitor runs ([bitswap])");
        }
        let wanted = form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == NODE).then_some(value));
        let is_wanted = |name: &AppName| wanted.as_deref().is_none_or(|wanted| wanted == name.as_str());
        let samples: Vec<_> = nodes
            .iter()
            .filter(|(name, _)| is_wanted(name))
            .map(|(_, sample)| Arc::clone(sample))
            .collect();
        if samples.is_empty() {
            return refusal(&unknown_node(wanted.as_deref().unwrap_or_default(), &nodes));
        }
        json(StatusCode::OK, self.queue.render(move || api::peer_metadata(&samples)).await)
    }
}

/// The refusal of a name that no node which has answered has.
fn unknown_node(wanted: &str, nodes: &[(AppName, Arc<PeerSample>)]) -> String {
    let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
    format!(
        "no IPFS node called {:?} has answered; these have: {}",
        truncated(wanted),
        names.join(", ")
    )
}

/// The way to the path without the slash at its end, with the same query.
fn moved(path: &str, asked: &Uri) -> Response<Body> {
    let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
    with(
        reply::text(StatusCode::MOVED_PERMANENTLY, "Moved Permanently"),
        LOCATION,
        &format!("{path}{query}"),
    )
}

fn refusal(why: &str) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, api::error(StatusCode::BAD_REQUEST.as_u16(), why))
}

/// JSON, under the type that the original gives it.
fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn with(mut answer: Response<Body>, name: HeaderName, value: &str) -> Response<Body> {
    // What came in as a request's path and query has no character that a header could not have.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

#[cfg(test)]
mod tests;
