//! A bridge and proxies inside the test process, over loopback: registration, scrapes through the bridge, and what can go wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use exporter_proxy::config::{self, Environment};
use exporter_proxy::daemon::bind_bridge;
use exporter_proxy::http::{Connection, Delivery, Door};
use exporter_proxy::peer::{
    Alias, Client, ClientSettings, Event, Events, Identity, LinkAddress, Outcome, PublicKey, Registration, RunningClient, Scraper,
    SharedSecret, metrics_door,
};
use exporter_proxy::supervise::{Report, Stop};
use http::{Request, Response};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::harness::{PATIENCE, Proxy, ask, bulk, free_port, peer, repository, until};
use crate::keep_alive::KeepAlive;

pub const SECRET: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A running bridge with a folder of its own. It is stopped when dropped.
pub struct TestBridge {
    pub http: SocketAddr,
    quic: SocketAddr,
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
            match bind_bridge(&settings).await {
                Ok(bridge) => break bridge,
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            http: bridge.http.unwrap(),
            quic: bridge.quic.unwrap(),
            key: bridge.key,
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
        self.stop.at_once.cancel();
        let _ = self.running.take().unwrap().await;
        (self.folder.take().unwrap(), self.quic.port())
    }

    async fn up(&self, alias: &str) {
        let path = format!("/scrape/{alias}/metrics");
        until(&format!("{alias} can be scraped"), async || self.status(&path).await == 200).await;
    }
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        self.stop.at_once.cancel();
    }
}

/// Configuration of a proxy that registers at these bridges.
fn p2p(bridges: &[&TestBridge], folder: &TempDir, extra: &str) -> String {
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

/// A program of its own with this door behind the link.
async fn client(bridge: &TestBridge, alias: &str, door: Door) -> RunningClient {
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: registration(alias),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let mut running = Client::bind(settings, door, Events::default()).await.unwrap().start();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it registers");
    running
}

fn door_of(routes: Router) -> Door {
    Door::new(routes, &[], Arc::default(), Arc::default())
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
        let (ready, apps) = (proxy.text("/readyz").await, proxy.text("/apps").await);
        let list: serde_json::Value = serde_json::from_str(&proxy.text("/apps?format=json").await).unwrap();
        let is_noted = |text: &str| text.contains(&format!("{about}not reached: "));
        is_noted(&ready) && is_noted(&apps) && list["notes"][0].as_str().unwrap().contains("not reached")
    })
    .await;
    let bridge = TestBridge::with(place, port, "").await;
    bridge.up("a").await;
    until("there is nothing to note", async || proxy.text("/readyz").await == "ready\n").await;
    assert!(!proxy.text("/apps").await.contains("note: "));
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
        let Outcome::Metrics { text, content_type } = scrape.request("/metrics?own=false").await.unwrap() else {
            panic!("no metrics")
        };
        assert_eq!(text, "jobs 7\n");
        assert!(content_type.unwrap().starts_with("text/plain"));
    }
    for path in ["/-/reload", "/nothing"] {
        let Outcome::Failure(told) = scrape.request(path).await.unwrap() else {
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
    assert!(refused.contains(&format!("expected one of 2 keys, found {found}")), "{refused}");
    let wrong: LinkAddress = format!("{found}@127.0.0.1:{port}").parse().unwrap();
    let refused = Scraper::new(Identity::ephemeral().unwrap(), wrong, PATIENCE);
    let refused = refused.request_metrics().await.unwrap_err().to_string();
    assert!(refused.contains(&format!("expected {found}, found {key}")), "{refused}");
    proxy.shows("exporter_proxy_p2p_links_total{event=\"barred\"} 2\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_a_wrong_key_are_refused_and_harm_nobody() {
    let bridge = TestBridge::start().await;
    let good = client(&bridge, "good", metrics_door(constant)).await;
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
    let running = client(&bridge, "a", metrics_door(constant)).await;
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
        seen.iter().any(|e| matches!(e, Event::Lost { .. } | Event::Closed { .. })),
        "{seen:?}"
    );
    // Dropped: nobody says goodbye, so the bridge finds out by itself, or by the next one with another key.
    drop(running);
    let again = client(&bridge, "a", metrics_door(constant)).await;
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
    let first = client(&bridge, "a", metrics_door(|| async { Ok::<_, String>("first 1\n".to_owned()) })).await;
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.address()],
        registration: registration("a"),
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let second = Client::bind(settings, metrics_door(constant), Events::default()).await.unwrap();
    let mut events = second.events();
    let mut second = second.start();
    let refusal = loop {
        if let Event::Refused { why, .. } = events.recv().await.unwrap() {
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
    assert!(faults.contains("must not hold ':'"), "{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_an_endless_proxy_harm_nobody_else() {
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), "request_timeout = \"500ms\"\n").await;
    let good = client(&bridge, "good", metrics_door(constant)).await;
    let hanging = metrics_door(|| async {
        std::future::pending::<()>().await;
        Ok::<_, String>(String::new())
    });
    let hanging = client(&bridge, "hanging", hanging).await;
    let failing = client(&bridge, "failing", metrics_door(|| async { Err::<String, _>("a secret detail") })).await;
    let endless = || async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024])));
        Body::from_stream(chunks)
    };
    let endless = client(&bridge, "endless", door_of(Router::new().route("/metrics", get(endless)))).await;
    let dripping = || async {
        let drips = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        Body::from_stream(drips)
    };
    let dripping = client(&bridge, "dripping", door_of(Router::new().route("/metrics", get(dripping)))).await;

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
    let _client = client(&bridge, "north", metrics_door(constant)).await;
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
    let good = client(&bridge, "good", metrics_door(constant)).await;
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

/// A door that says what became of each answer, and in which order that and requests came.
fn witness() -> (Door, mpsc::UnboundedReceiver<String>) {
    let (told, heard) = mpsc::unbounded_channel();
    let last: Arc<std::sync::Mutex<Option<Delivery>>> = Arc::default();
    let answer = move |axum::Extension(connection): axum::Extension<Connection>, headers: http::HeaderMap| {
        let (told, last) = (told.clone(), last.clone());
        async move {
            // Whoever comes back is asked about before, as one-shot events do it.
            if let Some(before) = last.lock().unwrap().take() {
                let _ = before.ask();
            }
            let who = connection.client(&headers).to_string();
            told.send(format!("asked by {}", who.rsplit(' ').next().unwrap())).unwrap();
            let delivery = connection.on_delivery(move |fate| drop(told.send(format!("{fate:?}"))));
            *last.lock().unwrap() = Some(delivery);
            let body: Vec<Bytes> = vec![Bytes::from(vec![b'#'; 256 * 1024]); 16];
            Body::new(exporter_proxy::http::Chunks::from(body))
        }
    };
    (door_of(Router::new().route("/metrics", get(answer))), heard)
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
    let (door, mut heard) = witness();
    let running = client(&bridge, "a", door).await;

    let mut reader = KeepAlive::connect(bridge.http).await;
    assert_eq!(reader.get("/scrape/a/metrics").await.len(), 4 << 20);
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(heard.try_recv().is_err(), "nothing is known before the reader moves");
    // The next request on the reader's connection shows that the answer was received; it is told before the next request is answered.
    assert_eq!(reader.get("/scrape/a/metrics").await.len(), 4 << 20);
    assert_eq!(next(&mut heard).await, "Confirmed");
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    // So does its end of file.
    reader.close().await;
    assert_eq!(next(&mut heard).await, "Confirmed");

    let mut reader = KeepAlive::connect(bridge.http).await;
    let mut body = reader.stream("/scrape/a/metrics").await;
    body.next().await.unwrap();
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    drop(body);
    drop(reader);
    assert_eq!(next(&mut heard).await, "Returned", "the reader went away in the middle");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fate_of_an_answer_outlives_its_link() {
    let bridge = TestBridge::start().await;
    let (door, mut heard) = witness();
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
    let mut running = Client::bind(settings, door, Events::default()).await.unwrap().start();
    running.ready().await;
    let mut reader = KeepAlive::connect(bridge.http).await;
    reader.get("/scrape/a/metrics").await;
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    relay.cut();
    // The link is lost by silence, and made anew through the relay once it works again.
    let mut events = running.events();
    while !matches!(events.recv().await.unwrap(), Event::Lost { .. }) {}
    assert!(heard.try_recv().is_err(), "a lost link alone decides nothing");
    relay.mend();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it comes back");
    reader.get("/scrape/a/metrics").await;
    assert_eq!(next(&mut heard).await, "Confirmed");
    assert_eq!(next(&mut heard).await, "asked by 127.0.0.1");
    reader.close().await;
    assert_eq!(next(&mut heard).await, "Confirmed");
    drop(running);
}

/// Datagrams to the bridge and back through a socket that can be cut and that can change its port.
struct Relay {
    address: SocketAddr,
    whole: Arc<std::sync::atomic::AtomicBool>,
    renumber: Arc<tokio::sync::Notify>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let whole = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let renumber = Arc::new(tokio::sync::Notify::new());
        let (up, ring) = (whole.clone(), renumber.clone());
        let task = tokio::spawn(async move {
            let mut outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut client = None;
            let (mut one, mut two) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                let passes = || up.load(std::sync::atomic::Ordering::SeqCst);
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
                    () = ring.notified() => outside = UdpSocket::bind("127.0.0.1:0").await.unwrap(),
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

    fn cut(&self) {
        self.whole.store(false, std::sync::atomic::Ordering::SeqCst);
    }

    fn mend(&self) {
        self.whole.store(true, std::sync::atomic::Ordering::SeqCst);
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
    let mut running = Client::bind(settings, metrics_door(constant), Events::default())
        .await
        .unwrap()
        .start();
    running.ready().await;
    let mut events = running.events();
    assert_eq!(bridge.text("/scrape/a/metrics").await, "constant 1\n");
    relay.renumber.notify_one();
    until("it is scraped at its new port", async || {
        bridge.status("/scrape/a/metrics").await == 200
    })
    .await;
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    assert!(
        !seen.iter().any(|event| matches!(event, Event::Lost { .. } | Event::Opened { .. })),
        "{seen:?}"
    );
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_secret_guess_is_limited() {
    let bridge = TestBridge::start().await;
    let good = client(&bridge, "good", metrics_door(constant)).await;
    let mut last = String::new();
    for n in 0..12_u8 {
        let settings = ClientSettings {
            identity: Identity::ephemeral().unwrap(),
            bridges: vec![bridge.address()],
            registration: Registration {
                secret: SharedSecret::new([n + 2; 32]),
                ..registration("bad")
            },
            listen: None,
            allow: Vec::new(),
            bootstrap: Vec::new(),
        };
        let guess = Client::bind(settings, metrics_door(constant), Events::default()).await.unwrap();
        let mut events = guess.events();
        let running = guess.start();
        loop {
            if let Event::Refused { why, .. } = events.recv().await.unwrap() {
                last = why;
                break;
            }
        }
        drop(running);
    }
    assert!(last.contains("too many"), "{last}");
    assert_eq!(bridge.text("/scrape/good/metrics").await, "constant 1\n");
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
