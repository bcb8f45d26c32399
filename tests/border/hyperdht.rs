//! Bridges and proxies that find each other by key alone, in a network of their own: registration, scrapes, and what can go wrong.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use exporter_proxy::config::{self, Environment};
use exporter_proxy::daemon::{ConfigSource, bind_bridge};
use exporter_proxy::peer::{
    Alias, Client, ClientSettings, HyperdhtError, Identity, LinkAddress, LinkEvent, LinkEvents, PublicKey, REQUEST_TIMEOUT, Registration,
    RunningClient, ScrapeError, ScrapeOutcome, Scraper, metrics_service,
};
use exporter_proxy::supervise::{Report, Stop};
use exporter_proxy::wire::hyperdht::{AliasRequest, REGISTER_METHOD, REGISTER_PROTOCOL};
use exporter_proxy_hyperdht::testnet::TestNetwork;
use exporter_proxy_hyperdht::wire::{Call, Frame};
use exporter_proxy_hyperdht::{KeyPair, Node};
use http::{Request, Response};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use crate::harness::{PATIENCE, Proxy, ask, free_port, until};

const SECRET: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Nodes of a test's network: enough that announcements are held by others than the first.
const NODES: usize = 4;

/// A bridge that is found by its key. It is stopped when dropped.
struct TestBridge {
    http: SocketAddr,
    quic: Option<SocketAddr>,
    key: PublicKey,
    folder: TempDir,
    stop: Stop,
    running: Option<JoinHandle<Report>>,
}

fn bridge_config(network: &TestNetwork, folder: &Path, http: u16, extra: &str) -> String {
    let (place, bootstrap) = (folder.display(), network.bootstrap());
    format!(
        "[hyperdht]\nbootstrap = [\"{bootstrap}\"]\n[bridge]\nhyperdht = true\nhttp_listen = \"127.0.0.1:{http}\"\n\
         key_file = \"{place}/bridge.key\"\nsecret = \"{SECRET}\"\ntargets_file = \"{place}/targets.json\"\n{extra}\n"
    )
}

impl TestBridge {
    async fn start(network: &TestNetwork) -> Self {
        Self::with(network, tempfile::tempdir().unwrap(), "quic_listen = \"\"").await
    }

    async fn with(network: &TestNetwork, folder: TempDir, extra: &str) -> Self {
        let text = bridge_config(network, folder.path(), 0, extra);
        let settings = config::parse(&text, "test", &Environment::default()).unwrap_or_else(|faults| panic!("{faults}"));
        let bridge = bind_bridge(&settings, ConfigSource::default()).await.unwrap();
        let addresses = *bridge.addresses();
        assert!(addresses.hyperdht);
        Self {
            http: addresses.http.unwrap(),
            quic: addresses.quic,
            key: addresses.key,
            folder,
            stop: bridge.stop(),
            running: Some(tokio::spawn(bridge.run())),
        }
    }

    fn address(&self) -> LinkAddress {
        LinkAddress::Hyperdht(self.key)
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        ask(self.http, Request::get(path), "").await
    }

    async fn text(&self, path: &str) -> String {
        String::from_utf8(self.get(path).await.into_body().to_vec()).unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    async fn up(&self, alias: &str) {
        let path = format!("/scrape/{alias}/metrics");
        until(&format!("{alias} can be scraped"), async || self.status(&path).await == 200).await;
    }

    /// Stops in good order, and gives back what the next run needs.
    async fn finish(mut self) -> TempDir {
        self.stop.graceful.cancel();
        assert!(self.running.take().unwrap().await.unwrap().is_clean());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        self.stop.immediate.cancel();
    }
}

/// Configuration of a proxy that registers at these bridges.
fn p2p(network: &TestNetwork, bridges: &[LinkAddress], folder: &TempDir, extra: &str) -> String {
    let bridges: Vec<String> = bridges.iter().map(|bridge| format!("{:?}", bridge.to_string())).collect();
    format!(
        "[hyperdht]\nbootstrap = [\"{}\"]\n[p2p]\nenabled = true\nkey_file = \"{}/p2p.key\"\nhostname = \"h\"\nbridges = [{}]\n{extra}\n",
        network.bootstrap(),
        folder.path().display(),
        bridges.join(", ")
    )
}

fn settings(network: &TestNetwork, bridge: LinkAddress, alias: &str, secret: &str) -> ClientSettings {
    ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge],
        registration: Registration {
            alias: Alias::new(alias).unwrap(),
            service: "test".into(),
            hostname: "h".into(),
            secret: secret.parse().unwrap(),
            interval: Duration::from_secs(3_600),
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: vec![network.bootstrap()],
    }
}

/// A program of its own that exposes this text.
async fn client(network: &TestNetwork, bridge: &TestBridge, alias: &str, text: String) -> RunningClient {
    let metrics = move || {
        let text = text.clone();
        async move { Ok::<_, String>(text) }
    };
    let settings = settings(network, bridge.address(), alias, SECRET);
    let client = Client::bind(settings, metrics_service(metrics), LinkEvents::default())
        .await
        .unwrap();
    let mut running = client.start();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it registers");
    running
}

#[tokio::test]
async fn a_bridge_where_nobody_can_register_does_not_start() {
    let text = format!("[bridge]\nquic_listen = \"\"\nsecret = \"{SECRET}\"\n");
    let settings = config::parse(&text, "test", &Environment::default()).unwrap_or_else(|faults| panic!("{faults}"));
    let told = bind_bridge(&settings, ConfigSource::default()).await.err().unwrap().to_string();
    assert!(told.contains("bridge.quic_listen") && told.contains("bridge.hyperdht"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_scraped_by_key_alone() {
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::start(&network).await;
    assert_eq!(bridge.quic, None);
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("alias = \"a b\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&network, &[bridge.address()], &folder, &extra)).await;
    proxy.send(Request::put("/apps/job/metrics"), "jobs 7\n").await;
    bridge.up("a%20b").await;

    let answer = bridge.get("/scrape/a%20b/metrics").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.into_body().to_vec()).unwrap();
    assert!(text.contains("jobs 7\n") && text.contains("exporter_proxy_build_info{"), "{text}");
    let unknown = bridge.get("/scrape/nobody/metrics").await;
    assert_eq!((unknown.status().as_u16(), &unknown.body()[..]), (404, &b"Unknown alias"[..]));
    let app = bridge.get("/scrape/a%20b/apps/job/metrics").await;
    assert_eq!(app.status().as_u16(), 404, "{:?}", app.body());

    let sd: serde_json::Value = serde_json::from_str(&bridge.text("/sd").await).unwrap();
    assert_eq!(sd.as_array().unwrap().len(), 1, "{sd}");
    assert_eq!(sd[0]["labels"]["__param_only"], serde_json::Value::Null, "{sd}");
    let aliases: serde_json::Value = serde_json::from_str(&bridge.text("/aliases?format=json").await).unwrap();
    assert_eq!(aliases[0]["over"], "hyperdht", "{aliases}");
    let key = Identity::load(&folder.path().join("p2p.key")).unwrap().public_key();
    assert_eq!(aliases[0]["key"], key.to_string(), "{aliases}");
    until("the targets file is written", async || {
        let targets = std::fs::read_to_string(bridge.folder.path().join("targets.json")).unwrap_or_default();
        targets.contains(&format!("\"a b:{key}:h:exporter-proxy\""))
    })
    .await;
    until("nothing is wrong", async || {
        proxy.text("/readyz").await == "ready\n" && bridge.text("/readyz").await == "ready\n"
    })
    .await;
    let connected = format!("exporter_proxy_p2p_connected{{bridge=\"{}\"}}", bridge.key);
    assert_eq!(
        proxy.own(&connected).await,
        Some(1.0),
        "although the registration's connection is closed"
    );

    // After a restart the bridge knows the key, and nobody has to register first.
    let folder = bridge.finish().await;
    let bridge = TestBridge::with(&network, folder, "quic_listen = \"\"").await;
    bridge.up("a%20b").await;
    assert!(proxy.finish().await.is_clean());
    until("a proxy that has left is listed and down", async || {
        bridge.text("/scrape/a%20b/metrics").await == "Upstream unavailable"
    })
    .await;
    assert_eq!(bridge.status("/scrape/a%20b/metrics").await, 502);
    let head = ask(bridge.http, Request::head("/scrape/a%20b/metrics"), "").await;
    assert_eq!(head.status().as_u16(), 502);
    assert!(bridge.text("/sd").await.contains("a b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_cannot_be_found_is_noted_at_both_ends() {
    // Nobody answers there, as where a firewall drops UDP.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bootstrap = format!("[hyperdht]\nbootstrap = [\"{}\"]\n", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let text = format!(
        "{bootstrap}[bridge]\nhyperdht = true\nquic_listen = \"\"\nhttp_listen = \"127.0.0.1:0\"\nkey_file = \"{place}/bridge.key\"\n\
         secret = \"{SECRET}\"\ntargets_file = \"{place}/targets.json\"\n"
    );
    let settings = config::parse(&text, "test", &Environment::default()).unwrap_or_else(|faults| panic!("{faults}"));
    let bridge = bind_bridge(&settings, ConfigSource::default()).await.unwrap();
    let (http, key, stop) = (bridge.addresses().http.unwrap(), bridge.addresses().key, bridge.stop());
    let running = tokio::spawn(bridge.run());
    let proxy = Proxy::with(&format!(
        "{bootstrap}[p2p]\nenabled = true\nkey_file = \"{place}/p2p.key\"\nhostname = \"h\"\nalias = \"a\"\nsecret = \"{SECRET}\"\n\
         bridges = [\"hyperdht://{key}\"]\n"
    ))
    .await;
    until("the bridge says that it is not announced", async || {
        let [ready, aliases] = [
            ask(http, Request::get("/readyz"), "").await,
            ask(http, Request::get("/aliases"), "").await,
        ];
        let is_noted = |answer: &Response<Bytes>| {
            String::from_utf8_lossy(answer.body()).contains("note: HyperDHT (bridge.hyperdht): proxies cannot find this bridge")
        };
        ready.status() == 200 && is_noted(&ready) && is_noted(&aliases)
    })
    .await;
    until(
        "the proxy says that it has not reached the bridge, and that it is not announced",
        async || {
            let ready = proxy.text("/readyz").await;
            ready.contains(&format!("note: bridge hyperdht://{key} (p2p.bridges): cannot connect: "))
                && ready.contains("note: HyperDHT (p2p.bridges): this proxy is not announced")
        },
    )
    .await;
    stop.immediate.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_share_one_table_of_aliases() {
    let network = TestNetwork::start(NODES).await;
    let extra = format!("quic_listen = \"127.0.0.1:{}\"", free_port());
    let bridge = TestBridge::with(&network, tempfile::tempdir().unwrap(), &extra).await;
    let by_key = client(&network, &bridge, "one", "by_key 1\n".to_owned()).await;
    assert_eq!(bridge.text("/scrape/one/metrics").await, "by_key 1\n");
    let quic = format!("quic://{}@{}", bridge.key, bridge.quic.unwrap()).parse().unwrap();
    let over = || async { Ok::<_, String>("by_link 1\n".to_owned()) };
    let by_link = Client::bind(
        settings(&network, quic, "two", SECRET),
        metrics_service(over),
        LinkEvents::default(),
    )
    .await;
    let mut by_link = by_link.unwrap().start();
    by_link.ready().await;
    assert_eq!(bridge.text("/scrape/two/metrics").await, "by_link 1\n");
    assert_eq!(bridge.text("/scrape/one/metrics").await, "by_key 1\n");
    // The newest key has the alias, whatever it comes over.
    let successor = client(&network, &bridge, "two", "by_key 2\n".to_owned()).await;
    assert_eq!(bridge.text("/scrape/two/metrics").await, "by_key 2\n");
    for running in [by_key, by_link, successor] {
        running.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_key_there_is_one_alias_and_a_link_has_its_own_again_when_a_key_is_not_reached() {
    let network = TestNetwork::start(NODES).await;
    let extra = format!("quic_listen = \"127.0.0.1:{}\"", free_port());
    let bridge = TestBridge::with(&network, tempfile::tempdir().unwrap(), &extra).await;
    let identity = Identity::ephemeral().unwrap();
    let by_key = async |alias: &str, text: &'static str| {
        let settings = ClientSettings {
            identity: identity.clone(),
            ..settings(&network, bridge.address(), alias, SECRET)
        };
        let service = metrics_service(move || async move { Ok::<_, String>(text.to_owned()) });
        let mut running = Client::bind(settings, service, LinkEvents::default()).await.unwrap().start();
        running.ready().await;
        running
    };
    let before = by_key("old", "by_key 1\n").await;
    bridge.up("old").await;
    before.close().await;
    let after = by_key("new", "by_key 2\n").await;
    bridge.up("new").await;
    assert_eq!(bridge.status("/scrape/old/metrics").await, 404);
    after.close().await;

    let quic = format!("quic://{}@{}", bridge.key, bridge.quic.unwrap()).parse().unwrap();
    let over = || async { Ok::<_, String>("by_link 1\n".to_owned()) };
    let owner = Client::bind(
        settings(&network, quic, "two", SECRET),
        metrics_service(over),
        LinkEvents::default(),
    )
    .await;
    let mut owner = owner.unwrap().start();
    owner.ready().await;
    let thief = client(&network, &bridge, "two", "by_key 3\n".to_owned()).await;
    assert_eq!(bridge.text("/scrape/two/metrics").await, "by_key 3\n");
    thief.close().await;
    until("the owner has it again", async || {
        bridge.text("/scrape/two/metrics").await == "by_link 1\n"
    })
    .await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_goes_back_although_a_dial_takes_longer_than_a_scrape() {
    let network = TestNetwork::start(NODES).await;
    let extra = "quic_listen = \"127.0.0.1:0\"\nrequest_timeout = \"500ms\"";
    let bridge = TestBridge::with(&network, tempfile::tempdir().unwrap(), extra).await;
    let quic = format!("quic://{}@{}", bridge.key, bridge.quic.unwrap()).parse().unwrap();
    let over = || async { Ok::<_, String>("by_link 1\n".to_owned()) };
    let owner = Client::bind(settings(&network, quic, "a", SECRET), metrics_service(over), LinkEvents::default());
    let mut owner = owner.await.unwrap().start();
    owner.ready().await;
    let later = client(&network, &bridge, "a", "by_key 1\n".to_owned()).await;
    until("the later one is scraped", async || {
        bridge.text("/scrape/a/metrics").await == "by_key 1\n"
    })
    .await;
    // Killed: it stays announced, so that a dial of it takes some seconds.
    drop(later);
    until("the owner has it again", async || {
        bridge.text("/scrape/a/metrics").await == "by_link 1\n"
    })
    .await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_unauthorised_and_guessing_is_limited() {
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::start(&network).await;
    let good = client(&network, &bridge, "good", "good 1\n".to_owned()).await;
    let guessing = Identity::ephemeral().unwrap();
    let refusal = async |n: usize, identity: &Identity| {
        let settings = ClientSettings {
            identity: identity.clone(),
            ..settings(&network, bridge.address(), &format!("bad{n}"), &"2".repeat(64))
        };
        let service = metrics_service(|| async { Ok::<_, String>(String::new()) });
        let client = Client::bind(settings, service, LinkEvents::default()).await.unwrap();
        let (mut events, _running) = (client.events(), client.start());
        loop {
            if let LinkEvent::RegistrationRefused { why, .. } = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
                return why;
            }
        }
    };
    for n in 0..10 {
        let why = refusal(n, &guessing).await;
        assert!(why.starts_with("wrong shared secret: p2p.secret_file"), "{why}");
    }
    let why = refusal(10, &guessing).await;
    assert!(
        why.contains("too many wrong secrets from") && why.contains("with this key"),
        "{why}"
    );
    // Another key of the same address is not limited.
    let why = refusal(11, &Identity::ephemeral().unwrap()).await;
    assert!(why.starts_with("wrong shared secret: p2p.secret_file"), "{why}");
    assert_eq!(bridge.status("/scrape/bad0/metrics").await, 404);
    assert_eq!(bridge.text("/scrape/good/metrics").await, "good 1\n");
    let own = bridge.text("/metrics").await;
    assert!(
        own.contains("exporter_proxy_bridge_registrations_total{result=\"refused\"} 12\n"),
        "{own}"
    );
    good.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_the_secret_gets_few_replies() {
    const REQUESTS: u64 = 200;
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::start(&network).await;
    let node = Node::open(&[network.bootstrap()], 0).await.unwrap();
    let guess = AliasRequest {
        secret: [2; 32],
        alias: "a".into(),
        target: [3; 32],
        hostname: "h".into(),
        service: "s".into(),
    };
    for (method, value) in [("", Vec::new()), (REGISTER_METHOD, guess.encode())] {
        let key = exporter_proxy_hyperdht::PublicKey::new(*bridge.key.as_bytes());
        let mut stream = node.dial(&KeyPair::random().unwrap(), key, PATIENCE).await.unwrap();
        let open = Frame::Open {
            channel: 1,
            protocol: REGISTER_PROTOCOL.to_owned(),
            id: Bytes::new(),
        };
        stream.writer.send(open.encode()).await.unwrap();
        // One message: a batch on channel 1, each request with its length and without the number of the channel.
        let mut batch = vec![0, 0, 1];
        for id in 1..=REQUESTS {
            let request = &Call::request(1, id, method, &value)[1..];
            batch.push(u8::try_from(request.len()).unwrap());
            batch.extend(request);
        }
        stream.writer.send(batch).await.unwrap();
        let mut replies = 0;
        while let Ok(Some(_)) = tokio::time::timeout(PATIENCE, stream.reader.next()).await.unwrap() {
            replies += 1;
        }
        assert!(replies <= 1 + 16, "{replies} replies to {method:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_answer_and_failures_are_told_by_number() {
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::start(&network).await;
    let friend = Identity::ephemeral().unwrap();
    let mut settings = settings(&network, bridge.address(), "a", SECRET);
    settings.allow = vec![friend.public_key()];
    let target = LinkAddress::Hyperdht(settings.identity.public_key());
    let fails = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let metrics = {
        let fails = fails.clone();
        move || {
            let fails = fails.load(std::sync::atomic::Ordering::SeqCst);
            async move {
                if fails {
                    Err("the disk is full")
                } else {
                    Ok("fine 1\n".to_owned())
                }
            }
        }
    };
    let client = Client::bind(settings, metrics_service(metrics), LinkEvents::default())
        .await
        .unwrap();
    let mut events = client.events();
    let mut running = client.start();
    running.ready().await;

    let scraper = Scraper::with_bootstrap(friend, target.clone(), REQUEST_TIMEOUT, vec![network.bootstrap()]);
    let ScrapeOutcome::Metrics { text, .. } = scraper.request_metrics().await.unwrap() else {
        panic!("no metrics")
    };
    assert_eq!(text, "fine 1\n");
    assert!(matches!(scraper.request("/apps").await, Err(ScrapeError::OnlyMetrics(path)) if path == "/apps"));
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let ScrapeOutcome::Failure(number) = scraper.request_metrics().await.unwrap() else {
        panic!("it failed")
    };
    assert_eq!(bridge.status("/scrape/a/metrics").await, 502);
    let told = bridge.text("/scrape/a/metrics").await;
    let other = told.strip_prefix("Upstream error: ").unwrap().to_owned();
    let mut failed = Vec::new();
    let (mut opened, mut ended) = (Vec::new(), Vec::new());
    while failed.len() < 3 {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            LinkEvent::ScrapeFailed { scrape, why, .. } => {
                assert_eq!(why, "the disk is full");
                failed.push(scrape.to_string());
            }
            LinkEvent::Opened { uid, .. } => opened.push(uid),
            LinkEvent::Closed { uid, .. } | LinkEvent::Lost { uid, .. } => ended.push(uid),
            _ => {}
        }
    }
    // The registration, which is over, and the two that scrape.
    assert_eq!((opened.len(), ended.as_slice()), (3, &opened[..1]), "{opened:?} {ended:?}");
    let words = |scrape: &str| format!("Failed to obtain metrics (uid {scrape})");
    assert_eq!((words(&failed[0]), words(&failed[2])), (number, other), "{failed:?}");
    scraper.close().await;

    let stranger = Identity::ephemeral().unwrap();
    let key = stranger.public_key();
    let stranger = Scraper::with_bootstrap(stranger, target, REQUEST_TIMEOUT, vec![network.bootstrap()]);
    let refused = stranger.request_metrics().await.unwrap_err();
    assert!(matches!(refused, ScrapeError::Hyperdht(HyperdhtError::Unreachable(_))), "{refused}");
    loop {
        if let LinkEvent::HandshakeRejected { key: named, address, .. } =
            tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
        {
            assert_eq!((named, address.ip().to_string()), (Some(key), "127.0.0.1".to_owned()));
            break;
        }
    }
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_comes_later_is_registered_with() {
    let network = TestNetwork::start(NODES).await;
    let folder = tempfile::tempdir().unwrap();
    let key = Identity::create(&folder.path().join("bridge.key")).unwrap().public_key();
    let service = metrics_service(|| async { Ok::<_, String>("late 1\n".to_owned()) });
    let settings = settings(&network, LinkAddress::Hyperdht(key), "late", SECRET);
    let client = Client::bind(settings, service, LinkEvents::default()).await.unwrap();
    let mut events = client.events();
    let mut running = client.start();
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        if matches!(event, LinkEvent::Unreachable { peer, .. } if peer == key) {
            break;
        }
    }
    let bridge = TestBridge::with(&network, folder, "quic_listen = \"\"").await;
    tokio::time::timeout(PATIENCE, running.ready())
        .await
        .expect("it tries again by itself");
    assert_eq!(bridge.text("/scrape/late/metrics").await, "late 1\n");
    running.close().await;
}

/// The samples of the family of events.
fn events(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("events_to_metrics{")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_once_and_again_where_its_answer_was_cut_off() {
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::with(&network, tempfile::tempdir().unwrap(), "quic_listen = \"\"\nrequest_timeout = 60").await;
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("alias = \"a\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&network, &[bridge.address()], &folder, &extra)).await;
    bridge.up("a").await;
    let post = async |kind: &str| {
        let answer = proxy.ask(Request::post(format!("/event?kind={kind}"))).await;
        assert_eq!(answer.status().as_u16(), 200);
    };
    post("first").await;
    let head = ask(bridge.http, Request::head("/scrape/a/metrics"), "").await;
    assert_eq!(head.status().as_u16(), 200);
    assert_eq!(head.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(head.headers().get("content-length"), None, "nobody has asked how long it would be");
    let browser = Request::get("/scrape/a/metrics").header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    let refused = ask(bridge.http, browser, "").await;
    assert_eq!(refused.status(), 403, "a browser takes no events");
    let text = bridge.text("/scrape/a/metrics").await;
    assert_eq!(events(&text), ["events_to_metrics{kind=\"first\"} 1"]);
    let scraper = format!("events_to_metrics_scraper_counts{{scraper=\"{}\"}}", bridge.key);
    until("the answer is acknowledged", async || proxy.own(&scraper).await == Some(0.0)).await;
    assert!(events(&bridge.text("/scrape/a/metrics").await).is_empty());

    // So large an answer is not through in a tenth of a second.
    let line = |n: usize| format!("large_{n} {}\n", "1".repeat(200));
    let large: String = (0..60_000).map(line).collect();
    let pushed = proxy.send(Request::put("/apps/large/metrics"), large).await;
    assert_eq!(pushed.status().as_u16(), 200);
    post("second").await;
    let hasty = Request::get("/scrape/a/metrics").header("x-prometheus-scrape-timeout-seconds", "0.6");
    assert_eq!(ask(bridge.http, hasty, "").await.status().as_u16(), 502);
    let deleted = proxy.ask(Request::delete("/apps/large")).await;
    assert_eq!(deleted.status().as_u16(), 202);
    let mut seen = Vec::new();
    until("the event comes again", async || {
        seen.extend(events(&bridge.text("/scrape/a/metrics").await).iter().map(ToString::to_string));
        !seen.is_empty()
    })
    .await;
    assert!(events(&bridge.text("/scrape/a/metrics").await).is_empty());
    assert_eq!(seen, ["events_to_metrics{kind=\"second\"} 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_scrapes_at_once_and_bodies_of_megabytes() {
    let network = TestNetwork::start(NODES).await;
    let bridge = TestBridge::with(&network, tempfile::tempdir().unwrap(), "quic_listen = \"\"\nrequest_timeout = 60").await;
    let small: String = (0..1_000).map(|n| format!("small_{n} {n}\n")).collect();
    let large: String = (0..250_000).map(|n| format!("large_{n} {n}\n")).collect();
    assert!(large.len() > 4_500_000);
    let one = client(&network, &bridge, "small", small.clone()).await;
    let two = client(&network, &bridge, "large", large.clone()).await;
    let mut scrapes = JoinSet::new();
    let http = bridge.http;
    for _ in 0..200 {
        scrapes.spawn(async move { ask(http, Request::get("/scrape/small/metrics"), "").await });
    }
    while let Some(answer) = scrapes.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body() == &small), (200, true));
    }
    for _ in 0..2 {
        let answer = bridge.get("/scrape/large/metrics").await;
        assert_eq!((answer.status().as_u16(), answer.body() == &large), (200, true));
    }
    let opened = "exporter_proxy_bridge_links_total{event=\"opened\"} 4\n";
    let own = bridge.text("/metrics").await;
    assert!(own.contains(opened), "a registration and a connection for scrapes each: {own}");
    one.close().await;
    two.close().await;
}

/// The program as a process of its own; killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &str, config: &Path, until: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
            .args([command, "--config", config.to_str().unwrap()])
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(until) {
            assert!(log.read_line(&mut seen).unwrap() > 0, "the log ended without {until:?}:\n{seen}");
        }
        // Nobody reads on, so what is said from now on must find room.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails where it was killed before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The log of a bridge with this environment and no configuration file, up to its last line at the start.
async fn started(variables: &[(&str, &str)]) -> (Process, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
        .args(["bridge"])
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("EXPORTER_PROXY__BRIDGE__QUIC_LISTEN", "127.0.0.1:0")
        .envs(variables.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let process = Process(child);
    let seen = tokio::task::spawn_blocking(move || {
        let mut seen = String::new();
        // The line about HyperDHT is the last one.
        while !seen.contains("proxies register over HyperDHT") && !seen.contains("HyperDHT is off") {
            assert!(log.read_line(&mut seen).unwrap() > 0, "{seen}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        seen
    });
    (process, tokio::time::timeout(PATIENCE, seen).await.expect("it starts").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_of_the_originals_alone_makes_a_bridge_on_hyperdht() {
    let network = TestNetwork::start(NODES).await;
    let bootstrap = format!("[\"{}\"]", network.bootstrap());
    let port = free_port();
    let dht_port = port.to_string();
    let (_bridge, log) = started(&[
        ("HYPERDHT_PROM_SHARED_SECRET", SECRET),
        ("HYPERDHT_PROM_KEY_PAIR_SEED", SECRET),
        ("HYPERDHT_PROM_HTTP_PORT", "0"),
        ("HYPERDHT_PROM_DHT_PORT", &dht_port),
        ("HYPERDHT_PROM_EXPOSE_REPL_SWARM", "true"),
        ("EXPORTER_PROXY__HYPERDHT__BOOTSTRAP", &bootstrap),
    ])
    .await;
    assert!(log.contains("unknown variable HYPERDHT_PROM_EXPOSE_REPL_SWARM"), "{log}");
    assert!(log.contains("proxies register at udp 127.0.0.1:"), "{log}");
    assert!(log.contains("no other process uses it"), "{log}");
    assert!(
        std::net::UdpSocket::bind(("0.0.0.0", port)).is_err(),
        "its node has the port that it was given"
    );
    let key = log.split_once("hyperdht://").unwrap().1.split('"').next().unwrap();
    let settings = settings(&network, format!("hyperdht://{key}").parse().unwrap(), "a", SECRET);
    let service = metrics_service(|| async { Ok::<_, String>("a 1\n".to_owned()) });
    let mut client = Client::bind(settings, service, LinkEvents::default()).await.unwrap().start();
    tokio::time::timeout(PATIENCE, client.ready()).await.expect("it registers");
    client.close().await;

    let (_quic, log) = started(&[
        ("EXPORTER_PROXY__BRIDGE__SECRET", SECRET),
        ("EXPORTER_PROXY__BRIDGE__HTTP_LISTEN", "127.0.0.1:0"),
    ])
    .await;
    assert!(log.contains("HyperDHT is off (bridge.hyperdht)"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn either_end_may_be_killed_and_costs_one_scrape_at_most() {
    let network = TestNetwork::start(NODES).await;
    let (bridges, proxies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let http: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let bridge_file = bridges.path().join("bridge.toml");
    std::fs::write(
        &bridge_file,
        bridge_config(&network, bridges.path(), http.port(), "quic_listen = \"\""),
    )
    .unwrap();
    let bridge = Process::start("bridge", &bridge_file, "proxies register over HyperDHT");
    let key = Identity::load(&bridges.path().join("bridge.key")).unwrap().public_key();
    let proxy_file = proxies.path().join("proxy.toml");
    let links = p2p(
        &network,
        &[LinkAddress::Hyperdht(key)],
        &proxies,
        &format!("alias = \"a\"\nsecret = \"{SECRET}\""),
    );
    let sockets = "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = false\nreceiver_tcp_socket = \"127.0.0.1:0\"\n";
    std::fs::write(&proxy_file, format!("{sockets}{links}")).unwrap();
    let proxy = Process::start("run", &proxy_file, "registered a");
    let scrape = async || ask(http, Request::get("/scrape/a/metrics"), "").await.status().as_u16();
    until("the first scrape", async || scrape().await == 200).await;

    proxy.kill();
    let again = Instant::now();
    let _proxy = Process::start("run", &proxy_file, "registered a");
    let failed = failures(&scrape).await;
    assert!(
        failed <= 1,
        "{failed} scrapes failed after the proxy was killed, {:?}",
        again.elapsed()
    );

    // Whoever has the bridge's key may scrape as the bridge does.
    let proxy_key = Identity::load(&proxies.path().join("p2p.key")).unwrap().public_key();
    let identity = bridges.path().join("bridge.key");
    let (target, bootstrap) = (LinkAddress::Hyperdht(proxy_key).to_string(), network.bootstrap());
    let scraped = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
            .args([
                "scrape",
                &target,
                "--bootstrap",
                &bootstrap,
                "--identity",
                identity.to_str().unwrap(),
            ])
            .env_clear()
            .output()
            .unwrap()
    });
    let scraped = scraped.await.unwrap();
    let text = String::from_utf8(scraped.stdout).unwrap();
    assert!(
        text.contains("exporter_proxy_build_info{"),
        "{text}{}",
        String::from_utf8_lossy(&scraped.stderr)
    );

    bridge.kill();
    let _bridge = Process::start("bridge", &bridge_file, "proxies register over HyperDHT");
    until("the bridge serves", async || tokio::net::TcpStream::connect(http).await.is_ok()).await;
    let failed = failures(&scrape).await;
    assert!(failed <= 1, "{failed} scrapes failed after the bridge was killed");
}

/// Scrapes that failed until one after the other went well thrice.
async fn failures(scrape: &impl AsyncFn() -> u16) -> usize {
    let (mut failed, mut well) = (0, 0);
    while well < 3 {
        match scrape().await {
            200 => well += 1,
            _ => (failed, well) = (failed + 1, 0),
        }
        assert!(failed < 10, "it does not come back");
    }
    failed
}
