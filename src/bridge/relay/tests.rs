#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::model::Timestamp;

/// A limit on open files that is far away.
const FILES: u64 = 1 << 20;

const KEY: ForwardKey = ForwardKey::new([9; KEY_BYTES]);

fn member(key: ForwardKey, http: Option<SocketAddr>) -> BridgeMember {
    BridgeMember {
        id: "b1".into(),
        name: "one".into(),
        http,
        tls: false,
        key,
    }
}

fn outgoing(proxy_path: &str) -> Outgoing<'_> {
    Outgoing {
        path: SCRAPE_PATH,
        alias: "my host",
        proxy_path,
        method: Method::GET,
        headers: HeaderMap::new(),
        client: "10.0.0.7".into(),
    }
}

fn request(proxy_path: &str) -> Request<Empty<Bytes>> {
    let relay = Relay::new(None, || Timestamp::from_millis(100_000), FILES);
    relay
        .request(&member(KEY, None), "10.0.0.1:5".parse().unwrap(), &outgoing(proxy_path))
        .unwrap()
}

fn check(request: &Request<Empty<Bytes>>, key: &ForwardKey, now: u64) -> Result<RelayedRequest, ProofError> {
    verify(key, request.method(), request.uri(), request.headers(), now)
}

#[test]
fn a_forwarded_request_arrives_as_it_was() {
    let path = "/metrics?app=a%26b&own=false";
    let sent = request(path);
    assert_eq!(sent.uri().path(), SCRAPE_PATH);
    let expected = RelayedRequest {
        alias: "my host".into(),
        path: path.into(),
        client: "10.0.0.7".into(),
    };
    assert_eq!(check(&sent, &KEY, 100), Ok(expected));
}

#[test]
fn a_request_without_the_proof_of_this_bridge_is_refused() {
    let sent = request("/metrics");
    assert_eq!(check(&sent, &ForwardKey::new([8; KEY_BYTES]), 100), Err(ProofError::Invalid));
    for now in [100 + PROOF_SECONDS, 100 - PROOF_SECONDS] {
        assert!(check(&sent, &KEY, now).is_ok(), "{now}");
    }
    for now in [101 + PROOF_SECONDS, 99 - PROOF_SECONDS] {
        assert_eq!(check(&sent, &KEY, now), Err(ProofError::Time));
    }
    let changed = |change: fn(&mut Request<Empty<Bytes>>)| {
        let mut sent = request("/metrics");
        change(&mut sent);
        assert_eq!(check(&sent, &KEY, 100), Err(ProofError::Invalid), "{sent:?}");
    };
    changed(|sent| *sent.method_mut() = Method::HEAD);
    changed(|sent| *sent.uri_mut() = format!("{SCRAPE_PATH}?alias=other&path=/metrics").parse().unwrap());
    changed(|sent| drop(sent.headers_mut().insert(FORWARDED_FOR, "10.0.0.8".parse().unwrap())));
    changed(|sent| drop(sent.headers_mut().remove(PROOF)));
}

#[test]
fn a_key_comes_back_from_its_digits_and_is_not_shown() {
    assert_eq!(ForwardKey::from_hex(&KEY.to_hex()), Some(KEY));
    for wrong in ["", "0", "zz", &"0".repeat(62), &"é".repeat(32)] {
        assert_eq!(ForwardKey::from_hex(wrong), None, "{wrong}");
    }
    assert_eq!(format!("{KEY:?}"), "MASKED");
}

#[tokio::test]
async fn a_bridge_that_cannot_be_reached_is_named() {
    let relay = Relay::new(None, Timestamp::default, FILES);
    let sent = relay.send(&member(KEY, None), outgoing("/metrics"), Duration::from_secs(5)).await;
    let why = sent.map(drop).unwrap_err().to_string();
    assert_eq!(
        why,
        "the proxy is connected to the bridge one, which has no HTTP address in the engine"
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sent = relay
        .send(&member(KEY, Some(closed)), outgoing("/metrics"), Duration::from_secs(5))
        .await;
    let why = sent.map(drop).unwrap_err().to_string();
    assert!(
        why.contains(&format!("the bridge one, which cannot be reached at {closed}: ")),
        "{why}"
    );
}

/// A bridge that answers each request on its connections with 200 until it is dropped, and then closes them.
async fn other_bridge() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                let mut head = Vec::new();
                while connection.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

async fn scrape(relay: &Relay, address: SocketAddr, client: &str) -> Upstream {
    let outgoing = Outgoing {
        client: client.to_owned(),
        ..outgoing("/metrics")
    };
    let sent = relay.send(&member(KEY, Some(address)), outgoing, Duration::from_secs(30)).await;
    let (response, upstream) = sent.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(response.status(), 200);
    upstream
}

async fn until(mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it happens");
}

#[tokio::test]
async fn an_idle_connection_is_used_again_and_closed_when_the_other_bridge_closes_it() {
    let (address, bridge) = other_bridge().await;
    let relay = Relay::new(None, Timestamp::default, FILES);
    let first = scrape(&relay, address, "10.0.0.1").await;
    let (number, purpose) = (first.number, first.purpose.clone());
    relay.keep(first);
    let again = scrape(&relay, address, "10.0.0.1").await;
    assert_eq!(again.number, number, "the same connection");
    relay.keep(again);
    relay.keep(scrape(&relay, address, "10.0.0.2").await);
    // Confirmed: nothing else holds them.
    let kept = relay.idle.lock().get(&purpose).map(|(_, kept)| Arc::downgrade(kept)).unwrap();
    until(|| kept.strong_count() == 1).await;
    assert_eq!(relay.idle.lock().len(), 2);
    drop(bridge);
    until(|| relay.idle.lock().is_empty()).await;
    assert_eq!(kept.strong_count(), 0, "its file descriptors are closed");
}

#[tokio::test]
async fn a_connection_that_cannot_be_confirmed_is_not_kept() {
    let (address, bridge) = other_bridge().await;
    let relay = Relay::new(None, Timestamp::default, FILES);
    let mut upstream = scrape(&relay, address, "10.0.0.1").await;
    drop(bridge);
    let closed = async {
        while upstream.sender.ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    timeout(Duration::from_secs(30), closed).await.unwrap();
    relay.keep(upstream);
    until(|| relay.idle.lock().is_empty()).await;
}

#[tokio::test]
async fn idle_connections_are_bounded_by_the_limit_on_open_files() {
    assert_eq!([0, 1_024, 1 << 20, u64::MAX].map(max_idle), [0, 64, 10_000, 10_000]);
    let (address, _bridge) = other_bridge().await;
    let relay = Relay::new(None, Timestamp::default, 2 * FILES_A_CONNECTION);
    for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.2"] {
        relay.keep(scrape(&relay, address, client).await);
        assert!(relay.idle.lock().len() <= 2);
    }
    assert_eq!(relay.idle.lock().len(), 2);
}

proptest! {
    #[test]
    fn any_proof_is_refused_without_a_panic(proof in "[ -~]{0,200}", target in "[a-z=&%/]{0,60}") {
        let mut headers = HeaderMap::new();
        headers.insert(PROOF, proof.parse().unwrap());
        if let Ok(uri) = format!("{SCRAPE_PATH}?{target}").parse::<Uri>() {
            prop_assert!(verify(&KEY, &Method::GET, &uri, &headers, 100).is_err());
        }
    }
}
