//! The RPC method that returns the proxy's metrics: a request for `/metrics` to its HTTP service.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use exporter_proxy_hyperdht::{MAX_MESSAGE_BYTES, RpcMethod, RpcReply};
use http::header::{ACCEPT, HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::http::{HttpService, PeerAddr, ResponseAck};
use crate::peer::delivery::{CollectionError, ScrapeIds, error_text, failure_text};
use crate::peer::identity::PublicKey;
use crate::peer::link_event::{LinkEvent, LinkEvents};
use crate::wire::hyperdht::{METRICS_METHOD, METRICS_PROTOCOL, MetricsReply, metrics_head};

/// Limit on collecting the metrics, far beyond the timeout of any scraper.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a message reserved for the header before the metrics.
const HEADER_RESERVE: usize = 64;

/// The method for one peer.
pub(super) struct MetricsMethod {
    pub(super) service: HttpService,
    pub(super) events: Arc<LinkEvents>,
    pub(super) scrape_ids: Arc<ScrapeIds>,
    pub(super) peer: PublicKey,
}

impl RpcMethod for MetricsMethod {
    const PROTOCOL: &'static str = METRICS_PROTOCOL;
    const METHOD: &'static str = METRICS_METHOD;

    /// Ignores the request body, which differs in the oldest bridges.
    async fn call(&self, _: Bytes) -> RpcReply {
        let (peer, scrape) = (self.peer, self.scrape_ids.next());
        let path = "/metrics".to_owned();
        self.events.emit(LinkEvent::ScrapeStarted { peer, scrape, path });
        let collected = timeout(COLLECT_TIMEOUT, self.collect()).await;
        match collected.unwrap_or_else(|_| Err(format!("not collected within {COLLECT_TIMEOUT:?}"))) {
            Ok((chunks, ack)) => {
                self.events.emit(LinkEvent::ScrapeAnswered { peer, scrape });
                RpcReply {
                    outcome: Ok(chunks),
                    on_acked: Some(Box::new(move || ack.received())),
                }
            }
            Err(why) => {
                self.events.emit(LinkEvent::ScrapeFailed { peer, scrape, why });
                RpcReply::untracked(MetricsReply::Failed(failure_text(scrape)).encode())
            }
        }
    }
}

impl MetricsMethod {
    async fn collect(&self) -> Result<(Vec<Bytes>, ResponseAck), String> {
        let (response, ack) = self.service.call(request(), PeerAddr::Link(self.peer.text())).await;
        if !response.status().is_success() {
            if let Some(failed) = response.extensions().get::<CollectionError>() {
                return Err(failed.to_string());
            }
            let status = response.status();
            return Err(format!("{status}: {}", error_text(response.into_body()).await));
        }
        Ok((chunks(response).await?, ack))
    }
}

fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/metrics");
    let head = request.headers_mut();
    head.insert(HOST, HeaderValue::from_static("exporter-proxy"));
    head.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
    request
}

/// Returns the header and the chunks of the body, if they fit into a message.
async fn chunks(response: Response<Body>) -> Result<Vec<Bytes>, String> {
    let mut body = response.into_body();
    // The first element is replaced by the header.
    let (mut chunks, mut length) = (vec![Bytes::new()], 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("the metrics were truncated: {e}"))?;
        if let Ok(chunk) = frame.into_data() {
            length += chunk.len();
            chunks.push(chunk);
        }
        if length > MAX_MESSAGE_BYTES - HEADER_RESERVE {
            return Err(format!(
                "the metrics exceed the limit of a HyperDHT message, {MAX_MESSAGE_BYTES} bytes"
            ));
        }
    }
    chunks[0] = metrics_head(length).into();
    Ok(chunks)
}
