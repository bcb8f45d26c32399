//! One poll: the request, its redirects, the response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;
use url::{Position, Url};

use super::authorization;
use super::body::{self, BodyReader};
use super::connection::{PollConnection, PollRequest};
use super::error::{Phase, PollError};
use super::ipfs;
use super::settings::{Endpoint, EndpointKind, Target};
use super::trust::{SystemTrust, Trust};
use crate::exposition::Exposition;
use crate::model::{Peer, Syntax};
use crate::sources::decode_protobuf;
use crate::sources::receiver::Budget;

/// Limit of redirects per poll: a scheme, a slash, a login; more indicate a loop.
const MAX_REDIRECTS: usize = 5;

/// Limit of an unneeded body that is drained for keep-alive; for longer ones closing is cheaper.
const MAX_DRAINED_BYTES: usize = 16 << 10;

/// The `Accept` header of Prometheus 3 with default scrape protocols, so that targets respond as to Prometheus.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// The same of a Prometheus that scrapes native histograms: protobuf first, which alone carries them.
const ACCEPT_NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    application/openmetrics-text;version=0.0.1;q=0.4,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
    text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

/// The `User-Agent` header.
const USER_AGENT: &str = concat!("exporter-proxy/", env!("CARGO_PKG_VERSION"));

/// Header with the timeout in seconds, as sent by Prometheus.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Result of a successful poll.
#[derive(Debug, PartialEq)]
pub(super) struct PollResponse {
    /// The body, in an allocation of exactly its size.
    pub(super) body: Bytes,
    pub(super) syntax: Option<Syntax>,
    /// The parsed body, if it was one of protobuf: `body` is then its text.
    pub(super) read: Option<Box<Exposition>>,
    /// An unknown Content-Encoding; the body was accepted as plain text.
    pub(super) coding: Option<String>,
    /// The number of connections and the peers of an IPFS node, for endpoints of that kind.
    pub(super) swarm: Option<(usize, Vec<Peer>)>,
}

/// Resources shared by all endpoints.
#[derive(Debug)]
pub(super) struct SharedResources {
    pub(super) system_trust: Arc<SystemTrust>,
    /// The memory of bodies that are being read.
    budget: Arc<Budget>,
}

impl Default for SharedResources {
    fn default() -> Self {
        Self {
            system_trust: Arc::default(),
            budget: body::budget(),
        }
    }
}

impl SharedResources {
    /// Adapts the memory of bodies that are being read to the limit of one.
    pub(super) fn set_max_body_bytes(&self, max_body_bytes: usize) {
        self.budget.set_limit(body::budget_for(max_body_bytes));
    }
}

/// Polls one target.
#[derive(Debug)]
pub(super) struct Fetcher {
    target: Arc<Target>,
    shared: Arc<SharedResources>,
    connection: PollConnection,
    /// The length of the last successful body.
    expected: usize,
}

impl Fetcher {
    pub(super) fn new(target: Arc<Target>, shared: Arc<SharedResources>) -> Self {
        let trust = match &target.endpoint.ca_file {
            _ if target.allow_invalid_certs => Trust::Unverified,
            Some(path) => Trust::File(path.as_path().into(), None),
            None => Trust::System(Arc::clone(&shared.system_trust)),
        };
        Self {
            connection: PollConnection::new(trust, &target.endpoint, target.secret_rule),
            target,
            shared,
            expected: 0,
        }
    }

    /// Polls once, within the endpoint's timeout. After a failure the connection is closed. The caller confirms the response with
    /// [`Fetcher::mark_received`] before the next request.
    pub(super) async fn fetch(&mut self) -> Result<PollResponse, PollError> {
        let after = self.target.endpoint.timeout;
        let deadline = Instant::now() + after;
        let answer = tokio::time::timeout_at(deadline, self.fetch_with_redirects(deadline)).await;
        let phase = self.connection.phase;
        let answer = answer.unwrap_or(Err(PollError::Timeout { after, phase }));
        match &answer {
            Ok(answer) => self.expected = answer.body.len(),
            // After an error status with a drained body the connection can be reused.
            Err(PollError::Status(_)) => self.connection.mark_received(),
            Err(_) => self.connection.close(),
        }
        answer
    }

    /// Closes the connection, with a reset if the last response was not marked as received.
    pub(super) fn close(&mut self) {
        self.connection.close();
    }

    /// Marks the last response as received. If it contained events the connection is closed gracefully, which acknowledges them at once: the
    /// server may not live until the next request.
    pub(super) fn mark_received(&mut self, had_events: bool) {
        self.connection.mark_received();
        if had_events {
            self.connection.close();
        }
    }

    async fn fetch_with_redirects(&mut self, deadline: Instant) -> Result<PollResponse, PollError> {
        let target = Arc::clone(&self.target);
        let start = &target.endpoint.url;
        self.connection.phase = Phase::Preparing;
        let authorization = authorization::header(target.endpoint.credentials.as_ref(), target.secret_rule).await?;
        let mut url = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let trusted = authorization.as_ref().filter(|_| url.origin() == start.origin());
            let request = request(&url, trusted, &target.endpoint)?;
            let response = self.connection.send(&url, deadline, || request.clone()).await?;
            self.connection.phase = Phase::Reading;
            if response.status() == StatusCode::OK {
                return self.read(response).await;
            }
            let next = next(start, &url, response.status(), response.headers());
            self.drain(response).await;
            url = next?;
        }
        Err(PollError::Redirects(MAX_REDIRECTS))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<PollResponse, PollError> {
        let reader = BodyReader {
            limit: self.target.max_body_bytes,
            expected: self.expected,
            budget: &self.shared.budget,
        };
        let (head, body) = response.into_parts();
        let body = reader.read(&head.headers, body).await?;
        let coding = body::unknown_coding(&head.headers);
        let mut read = None;
        let (body, syntax, swarm) = match self.target.endpoint.kind {
            EndpointKind::Metrics if body::is_protobuf(&head.headers)? => {
                let decoded = decode_protobuf(body, self.target.max_body_bytes).await?;
                let text = decoded.body().clone();
                read = Some(Box::new(decoded));
                (text, Some(Syntax::OpenMetrics), None)
            }
            EndpointKind::Metrics => {
                body::reject_markup(&body)?;
                (body, body::syntax(&head.headers), None)
            }
            EndpointKind::Peers { agent_version_cutoff } => {
                let (text, swarm) = ipfs::read(body, agent_version_cutoff).await?;
                (text, Some(Syntax::Text), Some(swarm))
            }
        };
        Ok(PollResponse {
            body,
            syntax,
            read,
            coding,
            swarm,
        })
    }

    /// Drains a short body for keep-alive; closes the connection after a long one.
    async fn drain(&mut self, response: Response<Incoming>) {
        if Limited::new(response.into_body(), MAX_DRAINED_BYTES).collect().await.is_err() {
            self.connection.close();
        }
    }
}

fn request(url: &Url, authorization: Option<&HeaderValue>, endpoint: &Endpoint) -> Result<PollRequest, PollError> {
    let malformed = |e: http::Error| PollError::Http(format!("cannot request the URL: {e}"));
    let path: Uri = url[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|e: http::uri::InvalidUri| malformed(e.into()))?;
    let (method, accept) = match endpoint.kind {
        EndpointKind::Metrics if endpoint.native_histograms => (Method::GET, ACCEPT_NATIVE),
        EndpointKind::Metrics => (Method::GET, ACCEPT),
        // The RPC accepts only POST, as protection against web pages.
        EndpointKind::Peers { .. } => (Method::POST, "application/json"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::ACCEPT, accept)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::USER_AGENT, USER_AGENT)
        .header(SCRAPE_TIMEOUT, endpoint.timeout.as_secs_f64().to_string());
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request.body(Empty::new()).map_err(malformed)
}

/// The target of a redirect. Only within the same host, so that a target cannot direct requests to others.
fn next(start: &Url, url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Url, PollError> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Err(PollError::Status(status));
    }
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let mut next = location.and_then(|location| url.join(location).ok()).ok_or(PollError::NoLocation)?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(PollError::NoLocation);
    }
    if next.host() != start.host() {
        return Err(PollError::OtherHost(next.host_str().unwrap_or_default().to_owned()));
    }
    if url.scheme() == "https" && next.scheme() == "http" {
        return Err(PollError::Downgrade);
    }
    // Credentials come only from the configuration; both calls fail only for URLs without a host.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests;
