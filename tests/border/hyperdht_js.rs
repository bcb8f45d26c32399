//! Links over HyperDHT with the real JavaScript programs: every generation of clients with our bridge, our proxy with every
//! bridge, and ours with ours over their DHT.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Proxy, ask, bulk, free_port, until};
use crate::javascript::{JsBridge, JsClient, Testnet, installed};
use crate::links::{SECRET, TestBridge};

const FIVE_MEGABYTES: usize = 5_000_000;

/// Our bridge, once it is reachable over this DHT.
async fn our_bridge(testnet: &Testnet, folder: TempDir, extra: &str) -> TestBridge {
    let extra = format!("hyperdht = true\n{extra}\n{}", testnet.section());
    let bridge = TestBridge::with(folder, free_port(), &extra).await;
    // A client of theirs whose first registration fails does not try again for an hour.
    let key = bridge.key.to_string();
    until("the bridge is announced", async || testnet.dial(&key).await == "opened").await;
    bridge
}

async fn new_bridge(testnet: &Testnet) -> TestBridge {
    our_bridge(testnet, tempfile::tempdir().unwrap(), "").await
}

/// Our proxy, registered as `north` at the bridge with this key.
async fn our_proxy(testnet: &Testnet, folder: &TempDir, bridge: &str) -> Proxy {
    let place = folder.path().display();
    Proxy::with(&format!(
        "[p2p]\nenabled = true\nkey_file = \"{place}/p2p.key\"\nhostname = \"h\"\nalias = \"north\"\nsecret = \"{SECRET}\"\n\
         bridges = [\"hyperdht://{bridge}\"]\n{}",
        testnet.section()
    ))
    .await
}

/// The answer to one scrape, as status and text.
async fn scrape(http: std::net::SocketAddr, alias: &str) -> (u16, String) {
    let answer: Response<Bytes> = ask(http, Request::get(format!("/scrape/{alias}/metrics")), "").await;
    (answer.status().as_u16(), String::from_utf8(answer.into_body().to_vec()).unwrap())
}

async fn up(http: std::net::SocketAddr, alias: &str) {
    until(&format!("{alias} can be scraped"), async || scrape(http, alias).await.0 == 200).await;
}

/// All that a client of theirs can ask of a bridge, with ours in its place.
async fn a_client_meets_our_bridge(generation: &str) {
    let testnet = Testnet::start().await;
    let bridge = new_bridge(&testnet).await;
    let key = bridge.key.to_string();
    let more = json!({"bytes": 200_000, "hostname": "far:away", "service": "lab"});
    let mut client = JsClient::start(&testnet, generation, &key, SECRET, "a b", more).await;
    assert!(client.registered().await, "the first registration is news");

    let first = bridge.get("/scrape/a%20b/metrics").await;
    assert_eq!(first.status(), 200, "the first scrape already: {:?}", first.body());
    assert_eq!(first.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        first
            .body()
            .starts_with(b"# TYPE lab_up gauge\nlab_up 1\nlab_bulk{n=\"00000000\"} 1\n")
    );
    for (status, text) in join_all((0..8).map(|_| scrape(bridge.http, "a%20b"))).await {
        assert_eq!((status, text.as_bytes()), (200, &first.body()[..]));
    }
    client.script.say("register").await;
    assert!(!client.registered().await, "the second is none");

    client.script.say("fail").await;
    client.script.say("register").await;
    client.registered().await;
    let (status, told) = scrape(bridge.http, "a%20b").await;
    assert_eq!(status, 502);
    assert!(told.starts_with("Upstream error: Failed to obtain metrics (uid "), "{told}");
    client.script.say("mend").await;
    up(bridge.http, "a%20b").await;

    let z32 = key_in_z32(&client.key);
    until("the targets file is written", async || {
        bridge.targets().contains(&format!("\"a b:{z32}:far-away:lab\""))
    })
    .await;
    client.script.kill().await;
    let (status, told) = scrape(bridge.http, "a%20b").await;
    assert_eq!((status, told.as_str()), (502, "Upstream unavailable"));
    assert_eq!(scrape(bridge.http, "nobody").await, (404, "Unknown alias".to_owned()));
}

fn key_in_z32(hex: &str) -> String {
    hex.parse::<exporter_proxy::peer::PublicKey>().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_generation_1_0_meets_our_bridge() {
    if installed() {
        a_client_meets_our_bridge("1.0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_generation_1_1_meets_our_bridge() {
    if installed() {
        a_client_meets_our_bridge("1.1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_generation_2_1_meets_our_bridge() {
    if installed() {
        a_client_meets_our_bridge("2.1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_so_and_large_answers_arrive() {
    if !installed() {
        return;
    }
    let testnet = Testnet::start().await;
    // Five megabytes take a tenth of a second, but not beside all other tests on a machine that is busy already.
    let bridge = our_bridge(&testnet, tempfile::tempdir().unwrap(), "request_timeout = 60").await;
    let key = bridge.key.to_string();
    for generation in ["1.0", "2.1"] {
        let mut wrong = JsClient::start(&testnet, generation, &key, &"2".repeat(64), "wrong", json!({})).await;
        let told = wrong.event("register-alias-error").await;
        assert!(told["error"].as_str().unwrap().contains("Unauthorised"), "{told}");
    }
    assert_eq!(scrape(bridge.http, "wrong").await.0, 404);

    let mut large = JsClient::start(&testnet, "2.1", &key, SECRET, "large", json!({"bytes": FIVE_MEGABYTES})).await;
    large.registered().await;
    let (status, text) = scrape(bridge.http, "large").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.len() >= FIVE_MEGABYTES && text.ends_with("\"} 1\n"), "{} bytes", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_killed_and_started_is_scraped_again_and_so_is_one_after_a_restart_of_our_bridge() {
    if !installed() {
        return;
    }
    let testnet = Testnet::start().await;
    let bridge = new_bridge(&testnet).await;
    let key = bridge.key.to_string();
    let more = || json!({"seed": "7".repeat(64)});
    let mut client = JsClient::start(&testnet, "2.1", &key, SECRET, "a", more()).await;
    client.registered().await;
    assert_eq!(scrape(bridge.http, "a").await.0, 200);
    client.script.kill().await;
    // Its key is the same, so nothing tells the bridge that its connection is dead but that it does not answer.
    let mut client = JsClient::start(&testnet, "2.1", &key, SECRET, "a", more()).await;
    client.registered().await;
    let failed = failures(bridge.http, "a", 4).await;
    assert!(failed <= 1, "{failed} of 4 scrapes failed after the client was killed");

    let (folder, _) = bridge.kill().await;
    let bridge = our_bridge(&testnet, folder, "").await;
    let failed = failures(bridge.http, "a", 4).await;
    assert!(failed <= 1, "{failed} of 4 scrapes failed after the bridge was killed");
    client.event("connection-open").await;
}

/// How many of so many scrapes, one after another, do not succeed.
async fn failures(http: std::net::SocketAddr, alias: &str, scrapes: usize) -> usize {
    let mut failed = 0;
    for _ in 0..scrapes {
        failed += usize::from(scrape(http, alias).await.0 != 200);
    }
    failed
}

/// All that a bridge of theirs can ask of a proxy, which is ours.
async fn our_proxy_meets_a_bridge(kind: (&'static str, &str)) {
    let testnet = Testnet::start().await;
    let mut bridge = JsBridge::start(kind, &testnet, SECRET).await;
    let folder = tempfile::tempdir().unwrap();
    let proxy = our_proxy(&testnet, &folder, &bridge.key).await;
    proxy.send(Request::put("/apps/job/metrics"), "jobs 7\n").await;
    up(bridge.http, "north").await;
    let registered = format!(
        "exporter_proxy_p2p_registrations_total{{bridge=\"{}\",result=\"updated\"}}",
        bridge.key
    );
    assert_eq!(proxy.own(&registered).await, Some(1.0));
    for (status, text) in join_all((0..8).map(|_| scrape(bridge.http, "north"))).await {
        assert!(status == 200 && text.contains("jobs 7\n"), "{status} {text}");
    }
    until("the targets file is written", async || {
        let targets = bridge.targets();
        targets.contains("\"north:") && targets.contains(":h:exporter-proxy\"")
    })
    .await;

    assert_eq!(proxy.ask(Request::post("/event?what=one")).await.status(), 200);
    let event = "events_to_metrics{what=\"one\"} 1\n";
    let mut seen = 0;
    for _ in 0..4 {
        let (status, text) = scrape(bridge.http, "north").await;
        assert_eq!(status, 200);
        seen += text.matches(event).count();
    }
    assert_eq!(seen, 1, "the event comes once");

    proxy.send(Request::put("/apps/job/metrics"), bulk("large", FIVE_MEGABYTES)).await;
    let (status, text) = scrape(bridge.http, "north").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.len() > FIVE_MEGABYTES, "{} bytes", text.len());

    bridge.restart().await;
    up(bridge.http, "north").await;
    let z32 = bridge.key.clone();
    let stranger = testnet.dial(&proxy_key(&bridge, &z32)).await;
    assert!(stranger.starts_with("refused"), "{stranger}");
}

/// The key under which `north` is scraped, from the bridge's file.
fn proxy_key(bridge: &JsBridge, bridge_key: &str) -> String {
    let targets = bridge.targets();
    let (_, rest) = targets.split_once("\"north:").unwrap();
    let key = rest.split(':').next().unwrap().to_owned();
    assert_ne!(key, bridge_key);
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_meets_the_bridge_of_today() {
    if installed() {
        our_proxy_meets_a_bridge(JsBridge::TODAY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_meets_the_bridge_of_before() {
    if installed() {
        our_proxy_meets_a_bridge(JsBridge::BEFORE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_says_what_a_bridge_of_theirs_refused() {
    if !installed() {
        return;
    }
    let testnet = Testnet::start().await;
    let bridge = JsBridge::start(JsBridge::TODAY, &testnet, &"2".repeat(64)).await;
    let folder = tempfile::tempdir().unwrap();
    let proxy = our_proxy(&testnet, &folder, &bridge.key).await;
    proxy
        .shows(&format!(
            "exporter_proxy_p2p_registrations_total{{bridge=\"{}\",result=\"refused\"}} 1\n",
            bridge.key
        ))
        .await;
    assert_eq!(scrape(bridge.http, "north").await, (404, "Unknown alias".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_meets_ours_over_their_network() {
    if !installed() {
        return;
    }
    let testnet = Testnet::start().await;
    let bridge = new_bridge(&testnet).await;
    let folder = tempfile::tempdir().unwrap();
    let proxy = our_proxy(&testnet, &folder, &bridge.key.to_string()).await;
    proxy.send(Request::put("/apps/job/metrics"), bulk("large", FIVE_MEGABYTES)).await;
    up(bridge.http, "north").await;
    for (status, text) in join_all((0..4).map(|_| scrape(bridge.http, "north"))).await {
        assert!(status == 200 && text.len() > FIVE_MEGABYTES, "{status}, {} bytes", text.len());
    }
    proxy.send(Request::put("/apps/job/metrics"), "jobs 7\n").await;
    for (status, text) in join_all((0..200).map(|_| scrape(bridge.http, "north"))).await {
        assert!(status == 200 && text.contains("jobs 7\n"), "{status} {text}");
    }
    assert!(proxy.finish().await.is_clean());
    until("a proxy that has left is listed and down", async || {
        scrape(bridge.http, "north").await == (502, "Upstream unavailable".to_owned())
    })
    .await;

    let (folder, _) = bridge.kill().await;
    tokio::time::timeout(Duration::from_secs(30), our_bridge(&testnet, folder, ""))
        .await
        .expect("it starts again");
}
