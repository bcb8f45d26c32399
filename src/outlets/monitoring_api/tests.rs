#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::http::{HttpService, PeerAddr};
use crate::model::Timestamp;

struct Api {
    service: HttpService,
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
        let service = HttpService::new(routes, &[], Arc::default(), Arc::default());
        Self { service, peer_samples }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, http::HeaderMap, String) {
        let uri = format!("/metric_plugin/v1{path}");
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let (response, _) = self.service.call(request, PeerAddr::Link("a key".into())).await;
        let (head, body) = response.into_parts();
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
            "{\"status\":400,\"error\":\"no IPFS node has answered ([[ipfs]]), and no Bitswap monitor runs ([bitswap])\"}\n",
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
