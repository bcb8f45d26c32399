//! The HTTP API that goes with the monitoring stream, under `/metric_plugin/v1`.
//!
//! The original's clients know its answers byte for byte, those to wrong requests too, so this subtree routes for itself:
//! unknown paths, wrong methods and slashes at the end are answered as the original's router does.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::routing::any;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use url::form_urlencoded;

use crate::http::reply;
use crate::model::{AppName, PeerSample, truncated};
use crate::peer_samples::PeerSamples;
use crate::supervise::blocking;
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

/// The routes of the API.
pub fn routes(monitoring: MonitoringApi) -> Router {
    Router::new()
        .route("/metric_plugin/v1/{*path}", any(answer))
        .with_state(Arc::new(monitoring))
}

async fn answer(State(monitoring): State<Arc<MonitoringApi>>, request: Request) -> Response<Body> {
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

impl MonitoringApi {
    async fn answer(&self, endpoint: Endpoint, query: &str, body: Body) -> Response<Body> {
        match endpoint {
            Endpoint::Addresses => json(StatusCode::OK, api::addresses(&self.addresses)),
            Endpoint::PeerMetadata => self.peer_metadata(query).await,
            Endpoint::Broadcast => match to_bytes(body, MAX_BODY_BYTES).await {
                Ok(body) if api::check_broadcast(&body).is_ok() => refusal("Bitswap probe not enabled"),
                _ => refusal("invalid request"),
            },
        }
    }

    /// The peers of the node that the query names, or of all nodes.
    async fn peer_metadata(&self, query: &str) -> Response<Body> {
        let nodes = self.peer_samples.all();
        if nodes.is_empty() {
            return refusal("no IPFS node has answered ([[ipfs]])");
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
        // Ten thousand peers are tens of megabytes of text.
        json(StatusCode::OK, blocking(move || api::peer_metadata(&samples)).await)
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::Timestamp;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    struct Api {
        routes: Router,
        peer_samples: PeerSamples,
    }

    impl Api {
        fn new(addresses: &[&str]) -> Self {
            let peer_samples = PeerSamples::default();
            let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
            let routes = routes(MonitoringApi {
                addresses,
                peer_samples: peer_samples.clone(),
            });
            Self { routes, peer_samples }
        }

        async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, http::HeaderMap, String) {
            let uri = format!("/metric_plugin/v1{path}");
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .body(Body::from(body.to_owned()))
                .unwrap();
            let (head, body) = TowerToHyperService::new(self.routes.clone())
                .call(request)
                .await
                .unwrap()
                .into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
        }
    }

    #[tokio::test]
    async fn the_documented_answers() {
        let api = Api::new(&["127.0.0.1:18181"]);
        let addresses = "{\"status\":200,\"result\":{\"addresses\":[\"127.0.0.1:18181\"]}}\n";
        let no_probe = "{\"status\":400,\"error\":\"Bitswap probe not enabled\"}\n";
        let invalid = "{\"status\":400,\"error\":\"invalid request\"}\n";
        for (method, path, body, status, answer) in [
            ("GET", "/ping", "", 200, addresses),
            ("GET", "/monitoring_addresses", "", 200, addresses),
            ("POST", "/broadcast_want", r#"{"cids":[{"/":"bafk"}]}"#, 400, no_probe),
            ("POST", "/broadcast_cancel", r#"{"cids":[]}"#, 400, no_probe),
            (
                "POST",
                "/broadcast_want_cancel",
                r#"{"cids":[{"/":"b"}],"seconds_before_cancel":5}"#,
                400,
                no_probe,
            ),
            ("POST", "/broadcast_want", r#"{"cids":"#, 400, invalid),
            (
                "GET",
                "/sample_peer_metadata",
                "",
                400,
                "{\"status\":400,\"error\":\"no IPFS node has answered ([[ipfs]])\"}\n",
            ),
            ("GET", "/nothing", "", 404, "404 page not found\n"),
            ("GET", "/nothing/", "", 404, "404 page not found\n"),
            ("POST", "/ping", "", 405, "Method Not Allowed\n"),
            ("GET", "/broadcast_want", "", 405, "Method Not Allowed\n"),
        ] {
            let (code, headers, text) = api.ask(method, path, body).await;
            assert_eq!((code, text.as_str()), (status, answer), "{method} {path}");
            assert_eq!(headers[CONTENT_TYPE], "text/plain; charset=utf-8", "{method} {path}");
            assert_eq!(headers.contains_key(ALLOW), status == 405, "{method} {path}");
        }
        assert_eq!(
            Api::new(&[]).ask("GET", "/ping", "").await.2,
            "{\"status\":200,\"result\":{\"addresses\":[]}}\n"
        );
    }

    #[tokio::test]
    async fn slashes_and_options() {
        let api = Api::new(&[]);
        let (code, headers, _) = api.ask("GET", "/sample_peer_metadata/?only_connected=true", "").await;
        assert_eq!(
            (code, &headers[LOCATION]),
            (
                301,
                &HeaderValue::from_static("/metric_plugin/v1/sample_peer_metadata?only_connected=true")
            )
        );
        for (path, allow) in [("/ping", "GET, HEAD, OPTIONS"), ("/broadcast_want", "OPTIONS, POST")] {
            let (code, headers, body) = api.ask("OPTIONS", path, "").await;
            assert_eq!((code, &headers[ALLOW], body.trim()), (200, &HeaderValue::from_static(allow), ""));
        }
    }

    #[tokio::test]
    async fn peers_of_polled_nodes() {
        let api = Api::new(&[]);
        let ask = "/sample_peer_metadata?only_connected=true";
        assert!(api.ask("GET", ask, "").await.2.contains("no IPFS node has answered"));
        let sample = PeerSample {
            at: Timestamp::from_millis(0),
            connections: 0,
            peers: Vec::new(),
        };
        api.peer_samples.put(&AppName::new("node").unwrap(), Some(sample));
        let (code, _, body) = api.ask("GET", ask, "").await;
        let expected =
            "{\"status\":200,\"result\":{\"timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"num_connections\":0,\"peer_metadata\":[]}}\n";
        assert_eq!((code, body.as_str()), (200, expected));
    }

    #[tokio::test]
    async fn one_of_several_nodes_is_asked_for_by_its_name() {
        let api = Api::new(&[]);
        for (node, connections) in [("ipfs: 127.0.0.1:5001", 1), ("b & c", 2)] {
            let sample = PeerSample {
                at: Timestamp::from_millis(0),
                connections,
                peers: Vec::new(),
            };
            api.peer_samples.put(&AppName::new(node).unwrap(), Some(sample));
        }
        for (query, connections) in [
            ("?only_connected=true", 3),
            ("?node=ipfs%3A+127.0.0.1%3A5001", 1),
            ("?only_connected=true&node=b%20%26%20c", 2),
        ] {
            let (code, _, body) = api.ask("GET", &format!("/sample_peer_metadata{query}"), "").await;
            assert_eq!(code, 200, "{query}");
            assert!(body.contains(&format!("\"num_connections\":{connections},")), "{query}: {body}");
        }
        let (code, _, body) = api.ask("GET", "/sample_peer_metadata?node=d", "").await;
        let why = r#"no IPFS node called \"d\" has answered; these have: b & c, ipfs: 127.0.0.1:5001"#;
        assert_eq!((code, body), (400, format!("{{\"status\":400,\"error\":\"{why}\"}}\n")));
    }
}
