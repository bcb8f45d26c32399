#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::model::Timestamp;

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
    let relay = Relay::new(None, || Timestamp::from_millis(100_000));
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
    let relay = Relay::new(None, Timestamp::default);
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
