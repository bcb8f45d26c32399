//! A bridge and proxies inside the test process, over loopback: registration, scrapes through the bridge, and what can go wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use exporter_proxy::config::{self, Environment};
use exporter_proxy::daemon::{ConfigSource, bind_bridge};
use exporter_proxy::http::{Connection, Delivery, HttpService, Role, Routes};
use exporter_proxy::peer::{
    Alias, Client, ClientSettings, Identity, LinkAddress, LinkEvent, LinkEvents, PublicKey, Registration, RunningClient, ScrapeOutcome,
    Scraper, SharedSecret, metrics_service,
};
use exporter_proxy::supervise::{Report, Stop};
use http::{Request, Response};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::harness::{PATIENCE, Proxy, ask, bulk, free_port, peer, repository, until};
use crate::keep_alive::KeepAlive;
use crate::peers::Prometheus;
use crate::web::packed_and_plain;

pub const SECRET: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A running bridge with a folder of its own. It is stopped when dropped.
pub struct TestBridge {
    pub http: SocketAddr,
    pub quic: SocketAddr,
    pub key: PublicKey,
    folder: Option<TempDir>,
    stop: Stop,
    running: Option<JoinHandle<Report>>,
}

impl TestBridge {
    async fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), free_port(), "").await
    }

    pub async fn with(folder: TempDir, port: u16, extra: &str) -> Self {
        let place = folder.path().display();
        let text = format!(
            "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:{port}\"\nkey_file = \"{place}/bridge.key\"\n\
             secret = \"{SECRET}\"\ntargets_file = \"{place}/prometheus/targets.json\"\n{extra}\n"
        );
        let settings = config::parse(&text, "test", &Environment::default()).unwrap_or_else(|faults| panic!("{faults}"));
        // A bridge that was killed in this very process gives its port back when its connections have been drained.
        let deadline = Instant::now() + PATIENCE;
        let bridge = loop {
            match bind_bridge(&settings, ConfigSource::default()).await {
                Ok(bridge) => break bridge,
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            http: bridge.addresses().http.unwrap(),
            quic: bridge.addresses().quic.unwrap(),
            key: bridge.addresses().key,
            folder: Some(folder),
            stop: bridge.stop(),
            running: Some(tokio::spawn(bridge.run())),
        }
    }

    pub async fn get(&self, path: &str) -> Response<Bytes> {
        ask(self.http, Request::get(path), "").await
    }

    async fn text(&self, path: &str) -> String {
        String::from_utf8(self.get(path).await.into_body().to_vec()).unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    fn address(&self) -> LinkAddress {
        format!("quic://{}@{}", self.key, self.quic).parse().unwrap()
    }

    pub fn targets(&self) -> String {
        let file = self.folder.as_ref().unwrap().path().join("prometheus/targets.json");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Ends without a farewell, as if killed.
    pub async fn kill(mut self) -> (TempDir, u16) {
        self.stop.immediate.cancel();
        let _ = self.running.take().unwrap().await;
        (self.folder.take().unwrap(), self.quic.port())
    }

    pub async fn up(&self, alias: &str) {
        let path = format!("/scrape/{alias}/metrics");
        until(&format!("{alias} can be scraped"), async || self.status(&path).await == 200).await;
    }
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        self.stop.immediate.cancel();
    }
}

/// Configuration of a proxy that registers at these bridges.
pub fn p2p(bridges: &[&TestBridge], folder: &TempDir, extra: &str) -> String {
    let bridges: Vec<String> = bridges.iter().map(|bridge| format!("{:?}", bridge.address().to_string())).collect();
    format!(
        "[p2p]\nenabled = true\nkey_file = \"{}/p2p.key\"\nhostname = \"h\"\nbridges = [{}]\n{extra}\n",
        folder.path().display(),
        bridges.join(", ")
    )
}

fn registration(alias: &str) -> Registration {
    Registration {
        alias: Alias::new(alias).unwrap(),
        service: "test".into(),
        hostname: "h".into(),
        secret: SECRET.parse().unwrap(),
        interval: Duration::from_secs(3_600),
    }
}

/// A program of its own with this service behind the link.
async fn client(bridge: &TestBridge, alias: &str, service: HttpService) -> RunningClient {
    client_as(&Identity::ephemeral().unwrap(), bridge, alias, service).await
}

/// As [`client`], with a key of one's own.
async fn client_as(identity: &Identity, bridge: &TestBridge, alias: &str, service: HttpService) -> RunningClient {
    let settings = ClientSettings {
        identity: identity.clone(),
        bridges: vec![bridge.address()],
        registration: registration(alias),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let mut running = Client::bind(settings, service, LinkEvents::default()).await.unwrap().start();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it registers");
    running
}

fn door_of(routes: Routes) -> HttpService {
    HttpService::new(routes, &[], Arc::default(), Arc::default())
}

async fn constant() -> Result<String, String> {
    Ok("constant 1\n".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_scraped_through_two_bridges() {
    let (one, two) = (TestBridge::start().await, TestBridge::start().await);
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("alias = \"a b\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&[&one, &two], &folder, &extra)).await;
    proxy.send(Request::put("/apps/job%2F1/metrics"), "jobs 7\n").await;
    for bridge in [&one, &two] {
        bridge.up("a%20b").await;
        let answer = bridge.get("/scrape/a%20b/metrics?own=false").await;
        assert_eq!(answer.body(), "jobs 7\n");
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(bridge.text("/scrape/a%20b/apps/job%2F1/metrics").await, "jobs 7\n");
        assert_eq!(bridge.status("/scrape/a%20b/apps/none/metrics").await, 404);
        let unknown = bridge.get("/scrape/nobody/metrics").await;
        assert_eq!((unknown.status().as_u16(), &unknown.body()[..]), (404, &b"Unknown alias"[..]));
        let zipped = Request::get("/scrape/a%20b/metrics").header("accept-encoding", "gzip");
        assert_eq!(ask(bridge.http, zipped, "").await.headers()["content-encoding"], "gzip");
        let open = Request::get("/scrape/a%20b/metrics").header("accept", "application/openmetrics-text;version=1.0.0");
        let open = ask(bridge.http, open, "").await;
        let expected = proxy
            .ask(Request::get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0"))
            .await;
        assert_eq!(open.headers()["content-type"], expected.headers()["content-type"]);

        let sd: serde_json::Value = serde_json::from_str(&bridge.text("/sd").await).unwrap();
        assert_eq!(sd[0]["labels"]["__param_only"], "own", "{sd}");
        assert_eq!(sd[1]["labels"]["app"], "job/1", "{sd}");
        assert_eq!(sd[1]["labels"]["__metrics_path__"], "/scrape/a b/metrics", "{sd}");
        assert_eq!(bridge.text("/scrape/a%20b/metrics?app=job%2F1&own=false").await, "jobs 7\n");
        assert_eq!(bridge.status("/scrape/a%20b/metrics?app=none&own=false").await, 404);
        assert_eq!(sd[1]["targets"][0], bridge.http.to_string(), "{sd}");
        let sd: serde_json::Value = serde_json::from_str(&bridge.text("/sd?apps=false").await).unwrap();
        assert_eq!(sd.as_array().unwrap().len(), 1, "{sd}");
        let aliases: serde_json::Value = serde_json::from_str(&bridge.text("/aliases?format=json").await).unwrap();
        assert_eq!((&aliases[0]["alias"], &aliases[0]["connected"]), (&"a b".into(), &true.into()));
        let key = aliases[0]["key"].as_str().unwrap().to_owned();
        until("the targets file is written", async || {
            bridge.targets().contains(&format!("\"a b:{key}:h:exporter-proxy\""))
        })
        .await;
        let own = bridge.text("/metrics").await;
        assert!(own.contains("exporter_proxy_bridge_aliases 1\n"), "{own}");
        assert!(own.contains("exporter_proxy_bridge_disconnected_aliases 0\n"), "{own}");
        assert!(
            own.contains("exporter_proxy_bridge_scrapes_total{result=\"unknown_alias\"} "),
            "{own}"
        );
        let connected = format!("exporter_proxy_p2p_connected{{bridge=\"{}\"}}", bridge.key);
        assert_eq!(proxy.own(&connected).await, Some(1.0));
    }
    let push = Request::put("/scrape/a%20b/metrics");
    assert_eq!(ask(one.http, push, "x 1\n").await.status().as_u16(), 405);
    assert!(proxy.finish().await.is_clean());
    until("a proxy that has left is listed and down", async || {
        one.status("/scrape/a%20b/metrics").await == 502
    })
    .await;
    assert_eq!(one.text("/scrape/a%20b/metrics").await, "Upstream unavailable");
    until("it is counted", async || {
        one.text("/metrics")
            .await
            .contains("exporter_proxy_bridge_disconnected_aliases 1\n")
    })
    .await;
    assert!(one.text("/sd").await.contains("a b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_not_reached_is_noted_until_it_is() {
    let bridge = TestBridge::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = p2p(&[&bridge], &folder, &format!("alias = \"a\"\nsecret = \"{SECRET}\""));
    let address = bridge.address();
    let (place, port) = bridge.kill().await;
    let proxy = Proxy::with(&text).await;
    let about = format!("note: bridge {address} (p2p.bridges): ");
    assert_eq!(proxy.text("/readyz").await, format!("ready\n{about}not registered yet\n"));
    until("the note says why", async || {
        let (ready, apps) = (proxy.text("/readyz").await, proxy.text("/apps?format=wide").await);
        let list: serde_json::Value = serde_json::from_str(&proxy.text("/apps?format=json").await).unwrap();
        let is_noted = |text: &str| text.contains(&format!("{about}cannot connect: "));
        is_noted(&ready) && is_noted(&apps) && list["notes"][0].as_str().unwrap().contains("cannot connect")
    })
    .await;
    let link = async || {
        let status: serde_json::Value = serde_json::from_str(&proxy.text("/api/status").await).unwrap();
        status["links"][0].clone()
    };
    let unreachable = link().await;
    assert_eq!(
        (&unreachable["bridge"], &unreachable["registered"]),
        (&address.to_string().into(), &false.into())
    );
    assert!(
        unreachable["last_error"].as_str().unwrap().starts_with("cannot connect: "),
        "{unreachable}"
    );
    let bridge = TestBridge::with(place, port, "").await;
    bridge.up("a").await;
    until("the link is up", async || link().await["registered"] == true).await;
    bridge.get("/scrape/a/metrics").await;
    until("the scrape is shown", async || link().await["last_scrape_age_seconds"].is_u64()).await;
    until("there is nothing to note", async || proxy.text("/readyz").await == "ready\n").await;
    assert!(!proxy.text("/apps?format=wide").await.contains("note: "));
    bridge.kill().await;
    until("the end of the link is noted", async || {
        proxy.text("/readyz").await.contains(&about)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_is_not_behind_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let scraper = Identity::ephemeral().unwrap();
    let bridge = TestBridge::start().await;
    let port = free_port();
    let extra = format!(
        "secret = \"{SECRET}\"\nlisten = \"127.0.0.1:{port}\"\nallow = [\"{}\"]",
        scraper.public_key()
    );
    let proxy = Proxy::with(&p2p(&[&bridge], &folder, &extra)).await;
    proxy.send(Request::put("/apps/job/metrics"), "jobs 7\n").await;
    let key = Identity::load(&folder.path().join("p2p.key")).unwrap().public_key();
    let target: LinkAddress = format!("{key}@127.0.0.1:{port}").parse().unwrap();

    let scrape = Scraper::new(scraper, target.clone(), PATIENCE);
    for _ in 0..3 {
        let ScrapeOutcome::Metrics { text, content_type } = scrape.request("/metrics?own=false").await.unwrap() else {
            panic!("no metrics")
        };
        assert_eq!(text, "jobs 7\n");
        assert!(content_type.unwrap().starts_with("text/plain"));
    }
    for path in ["/-/reload", "/nothing"] {
        let ScrapeOutcome::Failure(told) = scrape.request(path).await.unwrap() else {
            panic!("{path} is there")
        };
        assert!(told.contains("GET /metrics") && !told.contains("PUT"), "{told}");
    }
    scrape.close().await;

    let stranger = Identity::ephemeral().unwrap();
    let found = stranger.public_key();
    let refused = Scraper::new(stranger, target, PATIENCE)
        .request_metrics()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&format!("the key {found} is not admitted")) && refused.contains("p2p.allow"),
        "{refused}"
    );
    let wrong: LinkAddress = format!("{found}@127.0.0.1:{port}").parse().unwrap();
    let refused = Scraper::new(Identity::ephemeral().unwrap(), wrong, PATIENCE);
    let refused = refused.request_metrics().await.unwrap_err().to_string();
    assert!(refused.contains(&format!("expected {found}, found {key}")), "{refused}");
    proxy.shows("exporter_proxy_p2p_links_total{event=\"rejected\"} 2\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_a_wrong_key_are_refused_and_harm_nobody() {
    let bridge = TestBridge::start().await;
    let good = client(&bridge, "good", metrics_service(constant)).await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let other = "2".repeat(64);
    let wrong_secret = Proxy::with(&p2p(&[&bridge], &folders[0], &format!("alias = \"bad\"\nsecret = \"{other}\""))).await;
    let wrong_key = p2p(&[&bridge], &folders[1], &format!("alias = \"worse\"\nsecret = \"{SECRET}\""))
        .replace(&bridge.key.to_string(), &PublicKey::new([9; 32]).to_string());
    let wrong_key = Proxy::with(&wrong_key).await;
    let counted = |key: &str, result: &str| format!("exporter_proxy_p2p_registrations_total{{bridge=\"{key}\",result=\"{result}\"}} 1\n");
    wrong_secret.shows(&counted(&bridge.key.to_string(), "refused")).await;
    wrong_key.shows(&counted(&PublicKey::new([9; 32]).to_string(), "unreachable")).await;
    assert_eq!(bridge.status("/scrape/bad/metrics").await, 404);
    assert_eq!(bridge.status("/scrape/worse/metrics").await, 404);
    assert_eq!(bridge.text("/scrape/good/metrics").await, "constant 1\n");
    let own = bridge.text("/metrics").await;
    assert!(
        own.contains("exporter_proxy_bridge_registrations_total{result=\"refused\"} 1\n"),
        "{own}"
    );
    good.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_end_may_be_killed_and_comes_back() {
    let bridge = TestBridge::start().await;
    let running = client(&bridge, "a", metrics_service(constant)).await;
    let mut events = running.events();
    // The file is written after the registration has been answered; a kill in between costs what the next registration brings back.
    until("the targets file is written", async || bridge.targets().contains("\"a:")).await;
    let (folder, port) = bridge.kill().await;
    let bridge = TestBridge::with(folder, port, "").await;
    assert!(bridge.text("/sd").await.contains("/scrape/a/metrics"), "aliases survive");
    let began = Instant::now();
    bridge.up("a").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    assert!(
        seen.iter().any(|e| matches!(e, LinkEvent::Lost { .. } | LinkEvent::Closed { .. })),
        "{seen:?}"
    );
    // Dropped: nobody says goodbye, so the bridge finds out by itself, or by the next one with another key.
    drop(running);
    let again = client(&bridge, "a", metrics_service(constant)).await;
    assert_eq!(bridge.text("/scrape/a/metrics").await, "constant 1\n");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_keeps_its_alias_where_that_is_the_policy() {
    let bridge = TestBridge::with(
        tempfile::tempdir().unwrap(),
        free_port(),
        "alias_policy = \"first\"\nentry_expiry = \"2s\"\n",
    )
    .await;
    let first = client(&bridge, "a", metrics_service(|| async { Ok::<_, String>("first 1\n".to_owned()) })).await;
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: registration("a"),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let second = Client::bind(settings, metrics_service(constant), LinkEvents::default())
        .await
        .unwrap();
    let mut events = second.events();
    let mut second = second.start();
    let refusal = loop {
        if let LinkEvent::RegistrationRefused { why, .. } = events.recv().await.unwrap() {
            break why;
        }
    };
    assert!(refusal.contains(&first.public_key().to_string()), "{refusal}");
    assert_eq!(bridge.text("/scrape/a/metrics").await, "first 1\n");
    // The first does not renew in time, so its entry expires: unknown at once, and free for the second.
    until("the entry expires", async || bridge.status("/scrape/a/metrics").await == 404).await;
    tokio::time::timeout(PATIENCE, second.ready())
        .await
        .expect("it registers in the end");
    assert_eq!(bridge.text("/scrape/a/metrics").await, "constant 1\n");
}

/// A service behind which there is one constant of this name.
fn named(name: &str) -> HttpService {
    let text = format!("{name} 1\n");
    metrics_service(move || {
        let text = text.clone();
        async move { Ok::<_, String>(text) }
    })
}

/// The first event of a kind that comes.
async fn event<T>(events: &mut tokio::sync::broadcast::Receiver<LinkEvent>, what: &str, of: impl Fn(LinkEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = of(events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("did not happen: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_with_one_key_are_each_asked_for_their_own_and_both_are_warned() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let first = client_as(&identity, &bridge, "n1", named("first")).await;
    let mut at_first = first.events();
    bridge.up("n1").await;
    let second = client_as(&identity, &bridge, "n2", named("second")).await;
    let mut at_second = second.events();
    bridge.up("n2").await;
    for _ in 0..6 {
        assert_eq!(bridge.text("/scrape/n1/metrics").await, "first 1\n");
        assert_eq!(bridge.text("/scrape/n2/metrics").await, "second 1\n");
    }
    for (events, expected) in [(&mut at_first, ["n1", "n2"]), (&mut at_second, ["n2", "n1"])] {
        let addresses = event(events, "a warning of the shared key", |event| match event {
            LinkEvent::KeyShared { peer, aliases, addresses } if peer == bridge.key && aliases == expected => Some(addresses),
            _ => None,
        })
        .await;
        assert!(addresses.iter().all(|address| address.starts_with("127.0.0.1:")), "{addresses:?}");
        assert_ne!(addresses[0], addresses[1]);
    }
    second.close().await;
    until("one is down", async || bridge.status("/scrape/n2/metrics").await == 502).await;
    assert_eq!(bridge.text("/scrape/n1/metrics").await, "first 1\n");
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_with_one_key_and_one_alias_do_not_push_each_other_out() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let first = client_as(&identity, &bridge, "n", named("first")).await;
    let mut at_first = first.events();
    bridge.up("n").await;
    let second = client_as(&identity, &bridge, "n", named("second")).await;
    until("the newest has the alias", async || {
        bridge.text("/scrape/n/metrics").await == "second 1\n"
    })
    .await;
    event(&mut at_first, "a warning of the shared key", |event| match event {
        LinkEvent::KeyShared { aliases, .. } => (aliases == ["n", "n"]).then_some(()),
        LinkEvent::Closed { .. } | LinkEvent::Lost { .. } => panic!("it was pushed out: {event:?}"),
        _ => None,
    })
    .await;
    second.close().await;
    until("the first has it again", async || {
        bridge.text("/scrape/n/metrics").await == "first 1\n"
    })
    .await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_comes_back_under_another_alias_leaves_its_earlier_one() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let before = client_as(&identity, &bridge, "old", named("before")).await;
    bridge.up("old").await;
    before.close().await;
    let after = client_as(&identity, &bridge, "new", named("after")).await;
    bridge.up("new").await;
    assert_eq!(bridge.status("/scrape/old/metrics").await, 404);
    assert!(!bridge.text("/sd").await.contains("old"));
    until("the targets file has the new one alone", async || {
        let targets = bridge.targets();
        targets.contains("\"new:") && !targets.contains("\"old:")
    })
    .await;
    after.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_alias_is_told_to_its_owner_and_given_back_at_once() {
    let bridge = TestBridge::start().await;
    let owner = client(&bridge, "a", named("owner")).await;
    let mut events = owner.events();
    bridge.up("a").await;
    let thief = client(&bridge, "a", named("thief")).await;
    let by = event(&mut events, "the owner is told", |event| match event {
        LinkEvent::AliasLost { peer, alias, by, address } => {
            assert_eq!((peer, alias.as_str()), (bridge.key, "a"));
            assert!(address.starts_with("127.0.0.1:"), "{address}");
            Some(by)
        }
        _ => None,
    })
    .await;
    assert_eq!(by, thief.public_key());
    assert_eq!(bridge.text("/scrape/a/metrics").await, "thief 1\n");
    assert!(bridge.text("/metrics").await.contains("exporter_proxy_bridge_takeovers_total 1\n"));
    thief.close().await;
    // Its own next registration would be in an hour.
    until("it has the alias again", async || {
        bridge.text("/scrape/a/metrics").await == "owner 1\n"
    })
    .await;
    event(&mut events, "the owner is told", |event| match event {
        LinkEvent::AliasReturned { peer, alias } => {
            assert_eq!((peer, alias.as_str()), (bridge.key, "a"));
            Some(())
        }
        LinkEvent::Registered { .. } => panic!("it had to register"),
        _ => None,
    })
    .await;
    until("the targets file names the owner", async || {
        bridge.targets().contains(&format!("\"a:{}:", owner.public_key()))
    })
    .await;
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_bridge_shows_aliases_faults_and_the_configuration_of_a_proxy() {
    let bridge = TestBridge::start().await;
    let _proxy = client(&bridge, "<north>", named("north")).await;
    bridge.up("%3Cnorth%3E").await;
    let status = async || serde_json::from_str::<serde_json::Value>(&bridge.text("/api/status").await).unwrap();
    let now = status().await;
    assert_eq!(
        (&now["role"], &now["aliases"]["connected"], &now["ready"]),
        (&"bridge".into(), &1.into(), &true.into()),
        "{now}"
    );
    let mut wrong = registration("south");
    wrong.secret = SharedSecret::new([7; 32]);
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: wrong,
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let _refused = Client::bind(settings, named("south"), LinkEvents::default()).await.unwrap().start();
    until("the refusal is listed", async || {
        let now = status().await;
        now["faults"]
            .as_array()
            .unwrap()
            .iter()
            .any(|fault| fault["reason"] == "registration_refused" && fault["client"] == "127.0.0.1")
    })
    .await;
    let page = ask(bridge.http, Request::get("/").header("accept", "text/html"), "").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    let configuration = format!("bridges = [&quot;{}&quot;]", bridge.address());
    for part in [
        "&lt;north&gt;</a>",
        "href=\"scrape/%3Cnorth%3E/metrics\"",
        "Recent faults of links",
        &configuration,
        "data-delete=\"aliases/%3Cnorth%3E\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(bridge.status("/ui/page.js").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_aliases_are_listed_in_pieces_and_compressed_for_people() {
    const ALIASES: usize = 2_000;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("prometheus")).unwrap();
    let key = PublicKey::new([9; 32]);
    let targets: Vec<String> = (0..ALIASES).map(|number| format!("alias {number}:{key}:h:s")).collect();
    let text = serde_json::json!([{ "labels": { "job": "aliases" }, "targets": targets }]);
    std::fs::write(folder.path().join("prometheus/targets.json"), text.to_string()).unwrap();
    let bridge = TestBridge::with(folder, free_port(), "").await;
    let [packed, plain] = packed_and_plain(bridge.http, "/aliases", "*/*").await;
    assert_eq!(packed, plain);
    assert!(plain.contains("| alias 1999 |"), "{plain}");
    let [packed, plain] = packed_and_plain(bridge.http, "/aliases?format=json", "*/*").await;
    assert_eq!(packed, plain);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&plain).unwrap();
    assert_eq!((listed.len(), &listed[0]["hostname"]), (ALIASES, &"h".into()));
    let pages = packed_and_plain(bridge.http, "/", "text/html").await;
    assert!(pages.iter().all(|page| page.contains("and 1000 more")));
    // Prometheus takes these, usually from near by.
    let targets = ask(bridge.http, Request::get("/sd").header("accept-encoding", "gzip"), "").await;
    let listed: Vec<serde_json::Value> = serde_json::from_slice(targets.body()).unwrap();
    assert_eq!(listed.len(), ALIASES);
    assert!(targets.headers().get("content-encoding").is_none() && targets.headers().get("vary").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_forgotten_on_request() {
    let bridge = TestBridge::start().await;
    let owner = client(&bridge, "a b", named("owner")).await;
    bridge.up("a%20b").await;
    owner.close().await;
    until("it is down", async || bridge.status("/scrape/a%20b/metrics").await == 502).await;
    let delete = async |alias: &str| {
        let answer = ask(bridge.http, Request::delete(format!("/aliases/{alias}")), "").await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    };
    assert_eq!(delete("a%20b").await, (202, "forgotten: a b\n".to_owned()));
    assert_eq!(delete("a%20b").await.0, 404);
    assert_eq!(bridge.status("/scrape/a%20b/metrics").await, 404);
    until("the targets file has none", async || !bridge.targets().contains("a b")).await;
    assert_eq!(bridge.status("/aliases/a").await, 405);
    let closed = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), "[http]\nwrite_from = []").await;
    let refused = ask(closed.http, Request::delete("/aliases/a"), "").await;
    assert_eq!(refused.status().as_u16(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_first_still_has_its_alias() {
    let policy = "alias_policy = \"first\"";
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), policy).await;
    let identity = Identity::ephemeral().unwrap();
    let owner = client_as(&identity, &bridge, "a", named("owner")).await;
    until("the targets file is written", async || bridge.targets().contains("\"a:")).await;
    owner.close().await;
    let (folder, port) = bridge.kill().await;
    let bridge = TestBridge::with(folder, port, policy).await;
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: registration("a"),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let other = Client::bind(settings, named("other"), LinkEvents::default()).await.unwrap();
    let mut events = other.events();
    let other = other.start();
    let why = event(&mut events, "the other is refused", |event| match event {
        LinkEvent::RegistrationRefused { why, .. } => Some(why),
        _ => None,
    })
    .await;
    assert!(why.contains(&identity.public_key().to_string()), "{why}");
    let owner = client_as(&identity, &bridge, "a", named("owner")).await;
    until("the owner is back", async || bridge.text("/scrape/a/metrics").await == "owner 1\n").await;
    owner.close().await;
    drop(other);
}

/// An error with a cause, which is nobody's business but the program's own.
async fn fails() -> anyhow::Result<String> {
    Err(anyhow::anyhow!("sensor 7 is on fire").context("cannot read the sensors"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_collection_is_told_whole_at_home_and_by_its_number_elsewhere() {
    let bridge = TestBridge::start().await;
    let settings = |alias: &str| ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: registration(alias),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let soon = Duration::from_millis(20);
    let slow = || async {
        std::future::pending::<()>().await;
        Ok::<_, String>(String::new())
    };
    let clients = [
        (
            Client::bind(settings("fails"), metrics_service(fails), LinkEvents::default()).await,
            "cannot read the sensors: sensor 7 is on fire",
        ),
        (
            Client::with_metrics(settings("slow"), soon, slow, LinkEvents::default()).await,
            "not collected within 20ms",
        ),
    ];
    for ((client, why), alias) in clients.into_iter().zip(["fails", "slow"]) {
        let client = client.unwrap();
        let mut events = client.events();
        let mut running = client.start();
        tokio::time::timeout(PATIENCE, running.ready()).await.expect("it registers");
        let told = bridge.get(&format!("/scrape/{alias}/metrics")).await;
        assert_eq!(told.status().as_u16(), 502);
        let failed = event(&mut events, "the scrape fails", |event| match event {
            LinkEvent::ScrapeFailed { scrape, why: said, .. } => Some((scrape, said)),
            _ => None,
        })
        .await;
        assert_eq!(failed.1, why);
        let expected = format!("Upstream error: Failed to obtain metrics (uid {})", failed.0);
        assert_eq!(String::from_utf8_lossy(told.body()), expected);
        running.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_a_number_that_is_the_same_at_both_ends_and_who_is_turned_away_is_named() {
    let scraper = Identity::ephemeral().unwrap();
    let identity = Identity::ephemeral().unwrap();
    let key = identity.public_key();
    let settings = ClientSettings {
        identity,
        bridges: Vec::new(),
        registration: registration("unused"),
        listen: Some("127.0.0.1:0".to_owned()),
        allow: vec![scraper.public_key()],
        bootstrap: Vec::new(),
    };
    let hangs = Arc::new(AtomicBool::new(false));
    let hanging = Arc::clone(&hangs);
    let service = metrics_service(move || {
        let hangs = hanging.load(Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            constant().await
        }
    });
    let listening = Client::bind(settings, service, LinkEvents::default()).await.unwrap();
    let target: LinkAddress = format!("{key}@{}", listening.listen_addr().unwrap()).parse().unwrap();
    let mut at_client = listening.events();
    let running = listening.start();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let scraper = Scraper::new(scraper.clone(), target.clone(), PATIENCE);
        let mut at_scraper = scraper.events();
        assert!(matches!(scraper.request_metrics().await, Ok(ScrapeOutcome::Metrics { .. })));
        scraper.close().await;
        let mut uids = Vec::new();
        for events in [&mut at_client, &mut at_scraper] {
            let opened = event(events, "a connection is there", |event| match event {
                LinkEvent::Opened { uid, .. } => Some(uid),
                _ => None,
            })
            .await;
            let closed = event(events, "it is closed", |event| match event {
                LinkEvent::Closed { uid, .. } => Some(uid),
                LinkEvent::Lost { .. } => panic!("{event:?}"),
                _ => None,
            })
            .await;
            uids.extend([opened, closed]);
        }
        assert!(uids.iter().all(|uid| *uid == uids[0]), "{uids:?}");
        seen.push(uids[0]);
    }
    assert_ne!(seen[0], seen[1]);

    // A request that may take less time than others; the link that let it time out is given up, and says so.
    let hasty = Scraper::new(scraper, target.clone(), PATIENCE);
    hasty.ready().await.unwrap();
    let mut events = hasty.events();
    hangs.store(true, Ordering::SeqCst);
    assert!(hasty.request_within("/metrics", Duration::from_millis(50)).await.is_err());
    hangs.store(false, Ordering::SeqCst);
    event(&mut events, "the link is given up", |event| {
        matches!(event, LinkEvent::Lost { .. }).then_some(())
    })
    .await;
    assert!(matches!(hasty.request_metrics().await, Ok(ScrapeOutcome::Metrics { .. })));
    hasty.close().await;

    let stranger = Identity::ephemeral().unwrap();
    let theirs = stranger.public_key();
    let turned_away = Scraper::new(stranger, target, PATIENCE);
    assert!(turned_away.request_metrics().await.is_err());
    let (named, from) = event(&mut at_client, "the stranger is turned away", |event| match event {
        LinkEvent::HandshakeRejected { key, address, .. } => Some((key, address)),
        _ => None,
    })
    .await;
    assert_eq!((named, from.ip().to_string()), (Some(theirs), "127.0.0.1".to_owned()));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_that_would_break_paths_are_refused() {
    for bad in ["a:b", "a/b", "a\nb", ""] {
        assert!(Alias::new(bad).is_err());
    }
    let text = format!("[p2p]\nalias = \"a:b\"\nsecret = \"{SECRET}\"");
    let faults = config::parse(&text, "test", &Environment::default())
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(faults.contains("must not contain ':'"), "{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_a_proxy_sends_is_none_in_the_origin_of_the_bridge() {
    let bridge = TestBridge::start().await;
    let page = || async { axum::response::Html("<script>fetch('/aliases/good', { method: 'DELETE' })</script>") };
    let failing = || async { (http::StatusCode::INTERNAL_SERVER_ERROR, "\u{1b}]0;title\u{7}\u{202e}") };
    let _page = client(&bridge, "page", door_of(Routes::new().route("/metrics", Role::Scrape, get(page)))).await;
    let _failing = client(
        &bridge,
        "failing",
        door_of(Routes::new().route("/metrics", Role::Scrape, get(failing))),
    )
    .await;
    for (alias, status) in [("page", 200), ("failing", 502), ("unknown", 404)] {
        let answer = bridge.get(&format!("/scrape/{alias}/metrics")).await;
        let headers = answer.headers();
        assert_eq!(answer.status(), status);
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    }
    let text = bridge.text("/scrape/failing/metrics").await;
    assert_eq!(text, "Upstream error: \\u{1b}]0;title\\u{7}\\u{202e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_an_endless_proxy_harm_nobody_else() {
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), "request_timeout = \"500ms\"\n").await;
    let good = client(&bridge, "good", metrics_service(constant)).await;
    let hanging = metrics_service(|| async {
        std::future::pending::<()>().await;
        Ok::<_, String>(String::new())
    });
    let hanging = client(&bridge, "hanging", hanging).await;
    let failing = client(
        &bridge,
        "failing",
        metrics_service(|| async { Err::<String, _>("a secret detail") }),
    )
    .await;
    let endless = || async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024])));
        Body::from_stream(chunks)
    };
    let endless = client(
        &bridge,
        "endless",
        door_of(Routes::new().route("/metrics", Role::Scrape, get(endless))),
    )
    .await;
    let dripping = || async {
        let drips = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        Body::from_stream(drips)
    };
    let dripping = client(
        &bridge,
        "dripping",
        door_of(Routes::new().route("/metrics", Role::Scrape, get(dripping))),
    )
    .await;

    let mut reader = KeepAlive::connect(bridge.http).await;
    let mut endlessly = reader.stream("/scrape/endless/metrics").await;
    for _ in 0..64 {
        assert!(!endlessly.next().await.unwrap().is_empty());
    }
    // It is not read any further, and stays open.
    assert_eq!(bridge.text("/scrape/hanging/metrics").await, "Upstream unavailable");
    let told = bridge.get("/scrape/failing/metrics").await;
    assert_eq!(told.status(), 502);
    let told = String::from_utf8(told.into_body().to_vec()).unwrap();
    assert!(told.starts_with("Upstream error: ") && !told.contains("secret detail"), "{told}");
    let mut slow = KeepAlive::connect(bridge.http).await;
    let mut drips = slow.stream("/scrape/dripping/metrics").await;
    while drips.next().await.is_some_and(|piece| !piece.is_empty()) {}
    assert!(drips.failed(), "a body that keeps us waiting is cut off");
    for _ in 0..20 {
        assert_eq!(bridge.text("/scrape/good/metrics").await, "constant 1\n");
    }
    drop(endlessly);
    drop(reader);
    for running in [good, hanging, failing, endless, dripping] {
        drop(running);
    }
}

/// Sends a scrape through the bridge and reads the head of the answer alone.
async fn begin(bridge: &TestBridge, path: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(bridge.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut status))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_starve_nobody_else_of_their_alias() {
    let bridge = TestBridge::start().await;
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("alias = \"north\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&[&bridge], &folder, &extra)).await;
    let text = bulk("bulk", 3 << 20);
    let length = text.len();
    proxy.send(Request::put("/apps/bulk/metrics"), text).await;
    bridge.up("north").await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        stalled.push(begin(&bridge, "/scrape/north/metrics?own=false").await);
    }
    for _ in 0..3 {
        let answer = bridge.get("/scrape/north/metrics?own=false").await;
        assert_eq!((answer.status().as_u16(), answer.body().len()), (200, length));
    }
    // Nothing is lost to those that go on reading.
    let mut late = stalled.pop().unwrap();
    let mut read = 0;
    let mut piece = vec![0; 1 << 16];
    while read < length {
        read += tokio::time::timeout(PATIENCE, late.read(&mut piece)).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_have_their_answer_and_stay_leave_streams_for_others() {
    let bridge = TestBridge::start().await;
    let _client = client(&bridge, "north", metrics_service(constant)).await;
    bridge.up("north").await;
    let mut idle = Vec::new();
    for _ in 0..150 {
        let mut stream = begin(&bridge, "/scrape/north/metrics").await;
        let mut read = Vec::new();
        while !read.ends_with(b"constant 1\n") {
            tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
        }
        idle.push(stream);
    }
    assert_eq!(bridge.status("/scrape/north/metrics").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_datagrams_disturb_nobody() {
    let bridge = TestBridge::start().await;
    let good = client(&bridge, "good", metrics_service(constant)).await;
    let quic = bridge.quic;
    let flood = tokio::spawn(async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for n in 0..20_000_u32 {
            // Long and short headers, of any length, none of them a packet.
            let mut datagram = vec![n.to_le_bytes()[0]; 20 + (n as usize * 7) % 1_200];
            datagram[0] = if n % 2 == 0 { 0xc3 } else { 0x43 };
            datagram[1..5].copy_from_slice(if n % 3 == 0 { &[0, 0, 0, 1] } else { &[0xab, 0xcd, 0xef, 0] });
            let _ = socket.send_to(&datagram, quic).await;
        }
    });
    let mut scraped = 0;
    while !flood.is_finished() || scraped < 20 {
        assert_eq!(bridge.text("/scrape/good/metrics").await, "constant 1\n");
        scraped += 1;
    }
    flood.await.unwrap();
    good.close().await;
}

/// A service that says what became of each answer, and in which order that and requests came. Answers have 4 MiB.
fn witness() -> (HttpService, mpsc::UnboundedReceiver<String>) {
    witness_of(vec![Bytes::from(vec![b'#'; 256 * 1024]); 16])
}

/// The same, with this answer.
fn witness_of(answer: Vec<Bytes>) -> (HttpService, mpsc::UnboundedReceiver<String>) {
    let body = answer;
    let (told, heard) = mpsc::unbounded_channel();
    let reported = told.clone();
    let last: Arc<std::sync::Mutex<Option<Delivery>>> = Arc::default();
    let answer = move |axum::Extension(connection): axum::Extension<Connection>, headers: http::HeaderMap| {
        let (told, last, body) = (told.clone(), last.clone(), body.clone());
        async move {
            // Whoever comes back is asked about before, as one-shot events do it.
            if let Some(before) = last.lock().unwrap().take() {
                let _ = before.settle_now();
            }
            let who = connection.client(&headers).to_string();
            told.send(format!("asked by {}", who.rsplit(' ').next().unwrap())).unwrap();
            let delivery = connection.on_delivery(move |outcome| drop(told.send(format!("{outcome:?}"))));
            *last.lock().unwrap() = Some(delivery);
            Body::new(exporter_proxy::http::SharedBody::from(body))
        }
    };
    // An app's metrics, which have no delivery to report: a round trip through the link.
    let round_trip = move || async move { reported.send("round trip".to_owned()).unwrap() };
    let routes = Routes::new()
        .route("/metrics", Role::Scrape, get(answer))
        .route("/apps/a/metrics", Role::Scrape, get(round_trip));
    (door_of(routes), heard)
}

async fn next(heard: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .expect("something is said")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_as_received_when_it_has_reached_its_reader_behind_the_bridge() {
    let bridge = TestBridge::start().await;
    let (service, mut heard) = witness();
    let running = client(&bridge, "a", service).await;

    let mut reader = KeepAlive::connect(bridge.http).await;
    assert_eq!(reader.get("/scrape/a/metrics").await.len(), 4 << 20);
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    // Nothing is known before the reader moves: round trips through the link bring no news of the response.
    for _ in 0..3 {
        assert_eq!(bridge.status("/scrape/a/apps/a/metrics").await, 200);
        assert_eq!(next(&mut heard).await, "round trip");
    }
    // The next request on the reader's connection shows that the answer was received; it is told before the next request is answered.
    assert_eq!(reader.get("/scrape/a/metrics").await.len(), 4 << 20);
    assert_eq!(next(&mut heard).await, "Acked");
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    // So does its end of file.
    reader.close().await;
    assert_eq!(next(&mut heard).await, "Acked");

    let mut reader = KeepAlive::connect(bridge.http).await;
    let mut body = reader.stream("/scrape/a/metrics").await;
    body.next().await.unwrap();
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    drop(body);
    drop(reader);
    assert_eq!(next(&mut heard).await, "Unacked", "the reader went away in the middle");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_asks_ahead_and_hangs_up_has_received_nothing() {
    const REQUEST: &[u8] = b"GET /scrape/a/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let bridge = TestBridge::start().await;
    let (service, mut heard) = witness_of(vec![Bytes::from_static(b"a 1\n")]);
    let running = client(&bridge, "a", service).await;
    let mut reader = TcpStream::connect(bridge.http).await.unwrap();
    reader.write_all(&REQUEST.repeat(2)).await.unwrap();
    let mut said = Vec::new();
    while said.iter().filter(|line: &&String| line.starts_with("asked")).count() < 2 {
        said.push(next(&mut heard).await);
    }
    // The reader's kernel has the first answer, and acknowledges the second. Neither is read.
    reader.readable().await.unwrap();
    socket2::SockRef::from(&reader).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reader);
    while said.len() < 4 {
        said.push(next(&mut heard).await);
    }
    said.retain(|line| !line.starts_with("asked"));
    assert_eq!(said, ["Unacked", "Unacked"]);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fate_of_an_answer_outlives_its_link() {
    let bridge = TestBridge::start().await;
    let (service, mut heard) = witness();
    let relay = Relay::start(bridge.quic).await;
    let identity = Identity::ephemeral().unwrap();
    let address: LinkAddress = format!("{}@{}", bridge.key, relay.address).parse().unwrap();
    let settings = ClientSettings {
        identity,
        bridges: vec![address],
        registration: registration("a"),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let mut running = Client::bind(settings, service, LinkEvents::default()).await.unwrap().start();
    running.ready().await;
    let mut reader = KeepAlive::connect(bridge.http).await;
    reader.get("/scrape/a/metrics").await;
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    relay.cut();
    // The link is lost by silence, and made anew through the relay once it works again.
    let mut events = running.events();
    while !matches!(events.recv().await.unwrap(), LinkEvent::Lost { .. }) {}
    assert!(heard.try_recv().is_err(), "a lost link alone decides nothing");
    relay.mend();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it comes back");
    reader.get("/scrape/a/metrics").await;
    assert_eq!(next(&mut heard).await, "Acked");
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    reader.close().await;
    assert_eq!(next(&mut heard).await, "Acked");
    drop(running);
}

/// Datagrams to the bridge and back through a socket that can be cut and that can change its port.
struct Relay {
    address: SocketAddr,
    whole: Arc<AtomicBool>,
    renumber: mpsc::Sender<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let whole = Arc::new(AtomicBool::new(true));
        let (renumber, mut renumbering) = mpsc::channel::<oneshot::Sender<()>>(1);
        let up = whole.clone();
        let task = tokio::spawn(async move {
            let mut outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut client = None;
            let (mut one, mut two) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                let passes = || up.load(Ordering::SeqCst);
                tokio::select! {
                    got = inside.recv_from(&mut one) => {
                        let (length, from) = got.unwrap();
                        client = Some(from);
                        if passes() {
                            let _ = outside.send_to(&one[..length], to).await;
                        }
                    }
                    Ok((length, _)) = outside.recv_from(&mut two) => if let (Some(client), true) = (client, passes()) {
                        let _ = inside.send_to(&two[..length], client).await;
                    },
                    Some(done) = renumbering.recv() => {
                        outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        done.send(()).unwrap();
                    },
                }
            }
        });
        Self {
            address,
            whole,
            renumber,
            task,
        }
    }

    /// Sends from another port from now on; datagrams to the earlier one are lost.
    async fn renumber(&self) {
        let (done, is_done) = oneshot::channel();
        self.renumber.send(done).await.unwrap();
        is_done.await.unwrap();
    }

    fn cut(&self) {
        self.whole.store(false, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.whole.store(true, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_survives_a_new_port_of_its_proxy() {
    let bridge = TestBridge::start().await;
    let relay = Relay::start(bridge.quic).await;
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![format!("{}@{}", bridge.key, relay.address).parse().unwrap()],
        registration: registration("a"),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let mut running = Client::bind(settings, metrics_service(constant), LinkEvents::default())
        .await
        .unwrap()
        .start();
    running.ready().await;
    let mut events = running.events();
    assert_eq!(bridge.text("/scrape/a/metrics").await, "constant 1\n");
    relay.renumber().await;
    until("it is scraped at its new port", async || {
        bridge.status("/scrape/a/metrics").await == 200
    })
    .await;
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    assert!(
        !seen
            .iter()
            .any(|event| matches!(event, LinkEvent::Lost { .. } | LinkEvent::Opened { .. })),
        "{seen:?}"
    );
    drop(running);
}

/// Registers once with a wrong secret, and gives the reason of the refusal.
async fn refusal(bridge: &TestBridge, identity: &Identity) -> String {
    let settings = ClientSettings {
        identity: identity.clone(),
        bridges: vec![bridge.address()],
        registration: Registration {
            secret: SharedSecret::new([2; 32]),
            ..registration("bad")
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let guess = Client::bind(settings, metrics_service(constant), LinkEvents::default())
        .await
        .unwrap();
    let mut events = guess.events();
    let _running = guess.start();
    loop {
        if let LinkEvent::RegistrationRefused { why, .. } = events.recv().await.unwrap() {
            return why;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_limit_their_own_key_and_no_other_behind_the_same_address() {
    let bridge = TestBridge::start().await;
    let good = client(&bridge, "good", metrics_service(constant)).await;
    let guessing = Identity::ephemeral().unwrap();
    // A refusal that is lost with its connection counts at the bridge as well, so there may be fewer than ten.
    let mut refused = 0;
    let why = loop {
        let why = refusal(&bridge, &guessing).await;
        if !why.contains("p2p.secret_file here and bridge.secret_file there") {
            break why;
        }
        refused += 1;
    };
    assert!((5..=10).contains(&refused), "{refused} refusals before the limit");
    assert!(
        why.contains("too many wrong secrets from 127.0.0.1 with this key") && why.contains("try again in "),
        "{why}"
    );
    // Further keys of that address: each may try, and a new proxy with the right secret registers at once.
    for _ in 0..15 {
        let why = refusal(&bridge, &Identity::ephemeral().unwrap()).await;
        assert!(why.contains("wrong shared secret"), "{why}");
    }
    let late = client(&bridge, "late", metrics_service(constant)).await;
    assert_eq!(bridge.text("/scrape/late/metrics").await, "constant 1\n");
    assert_eq!(bridge.text("/scrape/good/metrics").await, "constant 1\n");
    late.close().await;
    good.close().await;
}

/// The configuration that users are given, with this test's bridge in place of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_through_the_bridge_with_the_shipped_configuration() {
    let Some(prometheus) = peer("prometheus") else { return };
    let bridge = TestBridge::start().await;
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("alias = \"north\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&[&bridge], &folder, &extra)).await;
    proxy.send(Request::put("/apps/job/metrics"), "jobs 7\n").await;
    bridge.up("north").await;
    let shipped = std::fs::read_to_string(repository("docs/examples/prometheus-bridge.yml")).unwrap();
    let targets = bridge.folder.as_ref().unwrap().path().join("prometheus/targets.json");
    let text = shipped
        .replace("./prometheus/targets.json", &targets.display().to_string())
        .replace("127.0.0.1:30000", &bridge.http.to_string())
        .replace("60s", "1s");
    assert_ne!(shipped, text);
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, format!("global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n{text}")).unwrap();
    let web: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut running = tokio::process::Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}/data", folder.path().display()))
        .arg(format!("--web.listen-address={web}"))
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let sees = async |query: &str| -> bool {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        if TcpStream::connect(web).await.is_err() {
            return false;
        }
        let answer = ask(web, Request::get(format!("/api/v1/query?query={query}")), "").await;
        let answer: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
    };
    for query in [
        r#"jobs{job="aliases",instance="north",hostname="h",service="exporter-proxy"} == 7"#,
        r#"jobs{job="proxies-by-http",instance="north",alias="north"} == 7"#,
        r#"jobs{job="apps-by-http",instance="north",app="job"} == 7"#,
        r#"up{job="apps-by-http",instance="north",app=""} == 1"#,
        r#"exporter_proxy_bridge_connected{job="bridge"} == 1"#,
    ] {
        until(query, async || sees(query).await).await;
    }
    assert!(proxy.finish().await.is_clean());
    let gone = r#"up{job="proxies-by-http",instance="north"} == 0"#;
    until(gone, async || sees(gone).await).await;
    running.kill().await.unwrap();
}

/// Prometheus encodes the path of a target itself, so what discovery says must not be encoded already.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_apps_of_any_name_behind_aliases_of_any_name() {
    let bridge = TestBridge::start().await;
    let folder = tempfile::tempdir().unwrap();
    let polled = Proxy::start().await;
    polled.send(Request::put("/apps/far/metrics"), "far 3\n").await;
    let polls = format!(
        "poll_external = {{ poll_other_scrape_endpoints = true, other_scrape_endpoints = [\"http://{}/metrics?own=false\"] }}",
        polled.http
    );
    let alias = "50% of a&b?#+ö";
    let text = format!(
        "{polls}\n{}",
        p2p(&[&bridge], &folder, &format!("alias = {alias:?}\nsecret = \"{SECRET}\""))
    );
    let proxy = Proxy::with(&text).await;
    let names = ["a job: x/y", "100%25", "q?a=b&c#d+e", "ö \"quoted\\", "..", "plain"];
    for (n, name) in names.iter().enumerate() {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let answer = proxy
            .send(Request::put(format!("/apps/{name}/metrics")), format!("jobs {n}\n"))
            .await;
        assert_eq!(answer.status(), 200, "{name}");
    }
    let job = format!(
        "- job_name: apps\n  http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 1s}}]\n",
        bridge.http
    );
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    for (n, name) in names.iter().enumerate() {
        prometheus
            .shows(&format!("jobs{{app={name:?},alias={alias:?}}}"), &n.to_string())
            .await;
    }
    let app = format!("external_poll: {}", polled.http);
    prometheus.shows(&format!("far{{app={app:?}}}"), "3").await;
    let down = prometheus.query("up == 0").await;
    assert_eq!(down, [], "no target is down");
    prometheus.shows("count(up == 1)", &(names.len() + 2).to_string()).await;
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shot_events_arrive_exactly_once_through_the_bridge_also_when_the_link_is_lost() {
    let bridge = TestBridge::start().await;
    let relay = Relay::start(bridge.quic).await;
    let folder = tempfile::tempdir().unwrap();
    let text = p2p(&[&bridge], &folder, &format!("alias = \"a\"\nsecret = \"{SECRET}\""));
    let proxy = Proxy::with(&text.replace(&bridge.quic.to_string(), &relay.address.to_string())).await;
    bridge.up("a").await;
    let event = async |label: &str| {
        let answer = proxy.ask(Request::post(format!("/event?what={label}"))).await;
        assert_eq!(answer.status(), 200);
    };
    let mut reader = KeepAlive::connect(bridge.http).await;
    let mut scrape = async || String::from_utf8(reader.get("/scrape/a/metrics").await.to_vec()).unwrap();
    let of = |label: &str| format!("events_to_metrics{{what=\"{label}\"}} 1\n");

    event("one").await;
    assert!(scrape().await.contains(&of("one")));
    event("two").await;
    let second = scrape().await;
    assert!(!second.contains(&of("one")) && second.contains(&of("two")), "{second}");

    // The second is on its way of being told delivered when the link breaks.
    relay.cut();
    let connected = format!("exporter_proxy_p2p_connected{{bridge=\"{}\"}}", bridge.key);
    until("the proxy notices", async || proxy.own(&connected).await == Some(0.0)).await;
    event("three").await;
    relay.mend();
    until("the link is back", async || proxy.own(&connected).await == Some(1.0)).await;
    let third = scrape().await;
    assert!(!third.contains(&of("two")) && third.contains(&of("three")), "{third}");
    let fourth = scrape().await;
    assert!(!fourth.contains("events_to_metrics{"), "{fourth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapers_behind_a_bridge_are_told_apart_by_a_parameter_but_not_by_a_header() {
    let bridge = TestBridge::start().await;
    let mut proxies = Vec::new();
    for (alias, identity) in [("by-param", "param:who"), ("by-header", "header:x-who")] {
        let folder = tempfile::tempdir().unwrap();
        let text = p2p(&[&bridge], &folder, &format!("alias = \"{alias}\"\nsecret = \"{SECRET}\""));
        let proxy = Proxy::with(&format!("events.scraper_identity = \"{identity}\"\n{text}")).await;
        bridge.up(alias).await;
        let answer = proxy.ask(Request::post("/event?what=one")).await;
        assert_eq!(answer.status(), 200);
        proxies.push((proxy, folder));
    }
    for alias in ["by-param", "by-header"] {
        for who in ["a", "b"] {
            let request = Request::get(format!("/scrape/{alias}/metrics?who={who}")).header("x-who", who);
            let answer = ask(bridge.http, request, "").await;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            // A second scraper gets what the first one has already had; the same one does not get it twice, unless it may not have had it.
            assert!(
                alias == "by-header" || text.contains("events_to_metrics{what=\"one\"} 1\n"),
                "{text}"
            );
        }
    }
    // Those that came once are not counted, but listed for people.
    let known = async |at: usize, who: &str| {
        proxies[at]
            .0
            .text("/events?format=json")
            .await
            .contains(&format!("\"scraper\":\"{who}\""))
    };
    assert!(known(0, "a").await && known(0, "b").await);
    assert!(!known(1, "a").await && !known(1, "b").await && known(1, &format!("{} 127.0.0.1", bridge.key)).await);
}
