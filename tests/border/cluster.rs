//! Replicas over a real Redis.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http::Request;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{PATIENCE, Proxy, ask, bulk, free_port, peer, until};
use crate::keep_alive::KeepAlive;
use crate::links::{SECRET, TestBridge, p2p};

const PASSWORD: &str = "correct horse";

/// A Redis server with a password. It keeps nothing on disk.
struct Redis {
    program: PathBuf,
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl Redis {
    /// `None` where the program is not installed.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let mut redis = Self {
            program: peer("redis-server")?,
            port: free_port(),
            folder,
            process: None,
        };
        redis.run().await;
        Some(redis)
    }

    async fn run(&mut self) {
        let process = Command::new(&self.program)
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--requirepass",
                PASSWORD,
            ])
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.process = Some(process);
        until("Redis listens", async || TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()).await;
    }

    /// Kills it at once. What it held is gone.
    async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// A replica over it that is ready.
    async fn replica(&self, extra: &str) -> Proxy {
        let proxy = self.starting(extra).await;
        until("the replica is ready", async || proxy.get("/readyz").await.status() == 200).await;
        proxy
    }

    async fn starting(&self, extra: &str) -> Proxy {
        let (port, password) = (self.port, self.folder.path().join("password"));
        let events = if extra.contains("events.") {
            ""
        } else {
            "events.enabled = false\n"
        };
        Proxy::with(&format!(
            "{events}cluster.url = \"redis://127.0.0.1:{port}\"\ncluster.password_file = {password:?}\n{extra}"
        ))
        .await
    }

    /// A bridge over it that is ready.
    async fn bridge(&self, folder: TempDir) -> TestBridge {
        let (port, password) = (self.port, self.folder.path().join("password"));
        let cluster = format!("[cluster]\nurl = \"redis://127.0.0.1:{port}\"\npassword_file = {password:?}\n[events]\nenabled = false\n");
        let bridge = TestBridge::with(folder, free_port(), &cluster).await;
        until("the bridge is ready", async || bridge.get("/readyz").await.status() == 200).await;
        bridge
    }
}

async fn push(proxy: &Proxy, app: &str, text: &str) -> String {
    let answer = proxy.send(Request::put(format!("/apps/{app}/metrics")), text.to_owned()).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    String::from_utf8(answer.into_body().to_vec()).unwrap()
}

async fn serves(proxy: &Proxy, app: &str, text: &str) {
    until(&format!("{app} is served everywhere"), async || {
        let answer = proxy.get(&format!("/apps/{app}/metrics")).await;
        answer.status() == 200 && answer.body() == text
    })
    .await;
}

#[tokio::test]
async fn replicas_over_redis_serve_the_same_through_its_death() {
    let Some(mut redis) = Redis::start().await else { return };
    let (one, two) = (redis.replica("").await, redis.replica("").await);
    assert_eq!(push(&one, "shop", "sold 1\n").await, "stored shop: 1 family, 1 series\n");
    serves(&two, "shop", "sold 1\n").await;
    // Longer than one chunk, even compressed.
    let large: String = (0..400_000u64)
        .map(|n| format!("m{{n=\"{:016x}\"}} 1\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    push(&two, "large", &large).await;
    serves(&one, "large", &large).await;
    push(&two, "gone", "up 1\n").await;
    serves(&one, "gone", "up 1\n").await;
    assert_eq!(one.ask(Request::delete("/apps/gone")).await.status(), 202);
    until("the removal is seen", async || two.get("/apps/gone").await.status() == 404).await;
    // One that comes later has everything once it is ready.
    let three = redis.replica("").await;
    assert_eq!(three.text("/apps/large/metrics").await, large);
    assert_eq!(three.get("/apps/gone").await.status(), 404);
    let members = async |proxy: &Proxy| {
        let status: serde_json::Value = serde_json::from_str(&proxy.text("/api/status").await).unwrap();
        status["cluster"]["members"].as_array().unwrap().len()
    };
    until("all are listed", async || members(&one).await == 3).await;

    redis.kill().await;
    until("the loss is noticed", async || one.get("/-/cluster").await.status() == 503).await;
    let answer = push(&one, "shop", "sold 2\n").await;
    assert!(answer.contains("warning: stored by this replica only"), "{answer}");
    assert_eq!(one.text("/apps/shop/metrics").await, "sold 2\n");
    // Nobody holds the engine, so all of them stay ready.
    let pending = format!(
        "exporter_proxy_cluster_pending_changes{{engine=\"redis://127.0.0.1:{}\"}}",
        redis.port
    );
    until("the change waits", async || one.own(&pending).await == Some(1.0)).await;
    assert!(one.text("/readyz").await.contains("note: cluster: redis://127.0.0.1:"));
    redis.run().await;
    for proxy in [&two, &three] {
        serves(proxy, "shop", "sold 2\n").await;
    }
    // The engine came back empty, and has everything again for one that never saw it, once all have written what they have.
    for proxy in [&one, &two, &three] {
        until("everything is written again", async || proxy.own(&pending).await == Some(0.0)).await;
    }
    let four = redis.replica("").await;
    assert_eq!(four.text("/apps/large/metrics").await, large);
    assert!(four.finish().await.is_clean());
    until("it has left", async || members(&one).await == 3).await;
}

/// The numbers of the events in a scrape that arrives.
async fn take_events(proxy: &Proxy, scraper: &str) -> Vec<String> {
    let text = proxy.text(&format!("/event/metrics?scraper={scraper}")).await;
    let events = text.lines().filter_map(|line| line.strip_prefix("events_to_metrics{n=\""));
    events.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_event_reaches_each_scraper_once_whichever_replica_it_asks() {
    let Some(mut redis) = Redis::start().await else { return };
    let stores = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let settings = stores.each_ref().map(|store| {
        let path = store.path();
        format!("store.path = {path:?}\nevents.scrapers = [\"a\", \"b\"]\nevents.scraper_identity = \"param:scraper\"")
    });
    let (one, two) = (redis.replica(&settings[0]).await, redis.replica(&settings[1]).await);
    let post = async |proxy: &Proxy, n: u32, key: &str| {
        let request = Request::post(format!("/event?n={n}")).header("idempotency-key", key);
        let answer = proxy.send(request, String::new()).await;
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
        String::from_utf8(answer.into_body().to_vec()).unwrap()
    };
    let mut received: Vec<Vec<String>> = vec![Vec::new(); 2];
    // Both scrapers ask one replica after the other until they have as many events.
    let take_all = async |one: &Proxy, two: &Proxy, received: &mut Vec<Vec<String>>, count: usize| {
        for (scraper, taken) in ["a", "b"].into_iter().zip(received) {
            let mut turn = 0;
            while taken.len() < count {
                taken.extend(take_events(if turn % 2 == 0 { one } else { two }, scraper).await);
                turn += 1;
                tokio::time::sleep(ANSWER_PAUSE / 4).await;
            }
        }
    };
    assert!(!post(&one, 1, "first").await.contains("warning"));
    // The retry of a client whose response was lost goes to another replica.
    until("the other one knows the key", async || {
        let listed: serde_json::Value = serde_json::from_str(&two.text("/events?format=json").await).unwrap();
        listed["events"].as_array().is_some_and(|events| !events.is_empty())
    })
    .await;
    post(&two, 1, "first").await;
    post(&two, 2, "second").await;
    timeout(PATIENCE, take_all(&one, &two, &mut received, 2)).await.unwrap();

    redis.kill().await;
    until("the loss is noticed", async || one.get("/-/cluster").await.status() == 503).await;
    assert!(post(&one, 3, "third").await.contains("kept by this replica only"));
    assert!(take_events(&one, "a").await.is_empty());
    // It comes back empty.
    redis.run().await;
    timeout(PATIENCE, take_all(&one, &two, &mut received, 3)).await.unwrap();
    for taken in &mut received {
        taken.extend(take_events(&one, "a").await);
        taken.sort();
        assert_eq!(taken, &["1", "2", "3"]);
    }
    assert!(one.finish().await.is_clean());
}

#[tokio::test]
async fn one_replica_polls_and_another_takes_over() {
    let Some(redis) = Redis::start().await else { return };
    let target = Proxy::with("events.enabled = false").await;
    push(&target, "polled", &bulk("value", 100)).await;
    let endpoint = format!("http://{}/apps/polled/metrics", target.http);
    let polls = format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = 1\n\
         poll_external.other_scrape_endpoints = [{{ url = \"{endpoint}\", name = \"target\" }}]"
    );
    let one = redis.replica(&polls).await;
    let two = redis.replica(&polls).await;
    let up = "exporter_proxy_poll_up{endpoint=\"target\"}";
    until("the first one polls", async || one.own(up).await == Some(1.0)).await;
    serves(&two, "target", &bulk("value", 100)).await;
    assert_eq!(two.own(up).await, None, "one replica polls for both");
    assert!(one.finish().await.is_clean());
    until("the other one polls", async || two.own(up).await == Some(1.0)).await;
}

#[tokio::test]
async fn polled_data_goes_stale_at_the_replica_that_takes_over() {
    let Some(redis) = Redis::start().await else { return };
    let target = Proxy::with("events.enabled = false").await;
    push(&target, "polled", "value 1\n").await;
    let endpoint = format!("http://{}/apps/polled/metrics", target.http);
    let polls = format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = 1\npoll_external.stale_after = 2\n\
         poll_external.other_scrape_endpoints = [{{ url = \"{endpoint}\", name = \"target\" }}]"
    );
    let one = redis.replica(&polls).await;
    let up = "exporter_proxy_poll_up{endpoint=\"target\"}";
    until("the first one polls", async || one.own(up).await == Some(1.0)).await;
    let two = redis.replica(&polls).await;
    serves(&two, "target", "value 1\n").await;
    // The machine of both is gone.
    drop(target);
    assert!(one.finish().await.is_clean());
    until("its data is withdrawn", async || {
        two.get("/metrics?app=target").await.status() == 503
    })
    .await;
    assert!(!two.text("/metrics").await.contains("value 1"));
    assert_eq!(two.own(up).await, Some(0.0));
}

#[tokio::test]
async fn a_replica_removes_polled_apps_that_are_no_endpoints() {
    let Some(redis) = Redis::start().await else { return };
    let target = Proxy::with("events.enabled = false").await;
    push(&target, "polled", "value 1\n").await;
    let endpoint = format!("http://{}/apps/polled/metrics", target.http);
    let polls = format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = 1\n\
         poll_external.other_scrape_endpoints = [{{ url = \"{endpoint}\", name = \"target\" }}]"
    );
    let one = redis.replica(&polls).await;
    push(&one, "shop", "sold 1\n").await;
    serves(&one, "target", "value 1\n").await;
    let two = redis.replica("").await;
    serves(&two, "target", "value 1\n").await;
    assert!(one.finish().await.is_clean());
    until("the app is removed", async || two.get("/apps/target").await.status() == 404).await;
    assert_eq!(two.text("/apps/shop/metrics").await, "sold 1\n");
}

#[tokio::test]
async fn two_bridges_over_redis_serve_the_proxies_of_both() {
    let Some(mut redis) = Redis::start().await else { return };
    let new_folder = || tempfile::tempdir().unwrap();
    let (one, two) = (redis.bridge(new_folder()).await, redis.bridge(new_folder()).await);
    let folder = new_folder();
    let settings = format!(
        "events.enabled = true\n{}",
        p2p(&[&one], &folder, &format!("alias = \"my host\"\nsecret = \"{SECRET}\""))
    );
    let proxy = Proxy::with(&settings).await;
    push(&proxy, "shop", "sold 1\n").await;
    // Both list it, and the bridge without the link forwards scrapes to the other one.
    for bridge in [&one, &two] {
        bridge.up("my%20host").await;
        until("the targets file has it", async || bridge.targets().contains("my host:")).await;
        let apps = bridge.get("/sd").await;
        assert!(
            String::from_utf8_lossy(apps.body()).contains("\"__param_app\":\"shop\""),
            "{apps:?}"
        );
        assert_eq!(bridge.get("/scrape/my%20host/apps/shop/metrics").await.body(), "sold 1\n");
        assert_eq!(bridge.get("/scrape/my%20host/apps/none/metrics").await.status(), 404);
        let page = bridge.get("/scrape/my%20host/metrics?app=shop&own=false").await;
        assert!(String::from_utf8_lossy(page.body()).contains("sold 1"), "{page:?}");
    }
    let aliases = two.get("/aliases?format=json").await;
    assert!(
        String::from_utf8_lossy(aliases.body()).contains("\"connected\":true"),
        "{aliases:?}"
    );
    // Only a bridge of the cluster may use the path between bridges.
    assert_eq!(one.get("/-/cluster/scrape?alias=my%20host&path=/metrics").await.status(), 403);

    // An event reaches a reader behind the other bridge once, and is acked by its next scrape.
    let mut reader = KeepAlive::connect(two.http).await;
    let scrape = "/scrape/my%20host/metrics?own=false";
    let has_event = |body: bytes::Bytes| String::from_utf8_lossy(&body).contains("type=\"deploy\"");
    assert!(!has_event(reader.get(scrape).await));
    assert_eq!(proxy.ask(Request::post("/event?type=deploy")).await.status(), 200);
    assert!(has_event(reader.get(scrape).await));
    for _ in 0..3 {
        assert!(!has_event(reader.get(scrape).await), "the event came twice");
    }

    // Without the engine both go on.
    redis.kill().await;
    until("the loss is noticed", async || two.get("/-/cluster").await.status() == 503).await;
    for bridge in [&one, &two] {
        assert_eq!(bridge.get("/scrape/my%20host/apps/shop/metrics").await.body(), "sold 1\n");
    }
    redis.run().await;
    until("it is connected again", async || two.get("/-/cluster").await.status() == 200).await;
    // The bridge with the link ends: the other one says so, and keeps the target.
    let (_folder, _port) = one.kill().await;
    until("the scrape fails", async || {
        let status = two.get("/scrape/my%20host/metrics").await.status().as_u16();
        assert!([200, 502, 503].contains(&status), "{status}");
        status != 200
    })
    .await;
    assert!(two.targets().contains("my host:"));
    // One that starts now reads it from the engine.
    let three = redis.bridge(new_folder()).await;
    until("a third bridge lists it", async || three.targets().contains("my host:")).await;
    assert_eq!(ask(two.http, Request::delete("/aliases/my%20host"), "").await.status(), 202);
    for bridge in [&two, &three] {
        until("it is forgotten", async || !bridge.targets().contains("my host:")).await;
    }
}

/// Reads one whole response to a request for `path`, and then resets the connection, as a balancer does that has no more use for it.
async fn get_and_reset(address: SocketAddr, path: &str) -> String {
    let mut reader = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: keep-alive\r\n\r\n");
    reader.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
    // A body in chunks ends with an empty one.
    let is_whole = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.map_or_else(
            || body.ends_with("0\r\n\r\n"),
            |length| body.len() == length.parse::<usize>().unwrap(),
        )
    };
    while !is_whole(&text) {
        let count = timeout(PATIENCE, reader.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..count]);
    }
    socket2::SockRef::from(&reader).set_linger(Some(Duration::ZERO)).unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_a_reader_once_whichever_bridge_it_asks() {
    let Some(redis) = Redis::start().await else { return };
    let new_folder = || tempfile::tempdir().unwrap();
    let (one, two) = (redis.bridge(new_folder()).await, redis.bridge(new_folder()).await);
    let folder = new_folder();
    let settings = format!(
        "events.enabled = true\n{}",
        p2p(&[&one], &folder, &format!("alias = \"a\"\nsecret = \"{SECRET}\""))
    );
    let proxy = Proxy::with(&settings).await;
    let scrape = "/scrape/a/metrics?own=false";
    let has_event = |text: &str, number: usize| text.contains(&format!("n=\"{number}\""));
    let received = async || {
        let listed: serde_json::Value = serde_json::from_str(&proxy.text("/events?format=json").await).unwrap();
        listed["scrapers"]
            .as_array()
            .is_some_and(|scrapers| !scrapers.is_empty() && scrapers.iter().all(|scraper| scraper["pending"] == 0))
    };
    for bridge in [&one, &two] {
        bridge.up("a").await;
        KeepAlive::connect(bridge.http).await.get(scrape).await;
    }
    // Only `one` has a link, so each pair of bridges has other connections between.
    for (number, (first, next)) in [(&one, &two), (&two, &one), (&one, &one), (&two, &two)].into_iter().enumerate() {
        assert_eq!(proxy.ask(Request::post(format!("/event?n={number}"))).await.status(), 200);
        let mut reader = KeepAlive::connect(first.http).await;
        assert!(has_event(&String::from_utf8_lossy(&reader.get(scrape).await), number), "{number}");
        // Its connection stays open and asks nothing more.
        until("the event is delivered", received).await;
        let mut other = KeepAlive::connect(next.http).await;
        assert!(
            !has_event(&String::from_utf8_lossy(&other.get(scrape).await), number),
            "{number} came twice"
        );

        let reset = number + 100;
        assert_eq!(proxy.ask(Request::post(format!("/event?n={reset}"))).await.status(), 200);
        assert!(has_event(&get_and_reset(first.http, scrape).await, reset), "{reset}");
        until("the event is delivered", received).await;
        assert!(
            !has_event(&String::from_utf8_lossy(&other.get(scrape).await), reset),
            "{reset} came twice"
        );
    }
}

/// A balancer for one proxy: a UDP port in front of several bridges, of which one gets the packets.
struct UdpBalancer {
    front: SocketAddr,
    behind: watch::Sender<SocketAddr>,
    _relaying: AbortOnDropHandle<()>,
}

impl UdpBalancer {
    async fn start(behind: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap();
        let (sender, receiver) = watch::channel(behind);
        let relaying = tokio::spawn(async move {
            let (mut client, mut here, mut there) = (None, [0; 2_048], [0; 2_048]);
            loop {
                // A port behind it that is closed makes an error, as at any balancer.
                tokio::select! {
                    received = front.recv_from(&mut here) => if let Ok((length, from)) = received {
                        client = Some(from);
                        let to = *receiver.borrow();
                        let _ = back.send_to(&here[..length], to).await;
                    },
                    received = back.recv_from(&mut there) => if let (Ok((length, _)), Some(client)) = (received, client) {
                        let _ = front.send_to(&there[..length], client).await;
                    },
                }
            }
        });
        Self {
            front: address,
            behind: sender,
            _relaying: AbortOnDropHandle::new(relaying),
        }
    }
}

#[tokio::test]
async fn bridges_with_one_key_behind_one_address_take_over_from_each_other() {
    let Some(redis) = Redis::start().await else { return };
    let with_key = || {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("bridge.key");
        std::fs::write(&key, "2".repeat(64)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        folder
    };
    let (one, two) = (redis.bridge(with_key()).await, redis.bridge(with_key()).await);
    assert_eq!(one.key, two.key);
    let balancer = UdpBalancer::start(one.quic).await;
    let folder = tempfile::tempdir().unwrap();
    let bridge = format!("quic://{}@{}", one.key, balancer.front);
    let settings = format!(
        "[p2p]\nenabled = true\nkey_file = \"{}/p2p.key\"\nalias = \"a\"\nsecret = \"{SECRET}\"\nbridges = [\"{bridge}\"]\n",
        folder.path().display()
    );
    let proxy = Proxy::with(&settings).await;
    push(&proxy, "shop", "sold 1\n").await;
    one.up("a").await;
    two.up("a").await;
    let over = async |bridge: &TestBridge| {
        let list: serde_json::Value = serde_json::from_slice(bridge.get("/aliases?format=json").await.body()).unwrap();
        (
            list[0]["connected"] == true,
            list[0]["bridge"].is_null(),
            list.as_array().unwrap().len(),
        )
    };
    assert_eq!((over(&one).await, over(&two).await), ((true, true, 1), (true, false, 1)));
    // The first bridge ends, and the balancer sends the packets of the link to the second one.
    let (_folder, _port) = one.kill().await;
    balancer.behind.send_replace(two.quic);
    until("the proxy has a link to the other bridge", async || {
        over(&two).await == (true, true, 1)
    })
    .await;
    assert_eq!(two.get("/scrape/a/apps/shop/metrics").await.body(), "sold 1\n");
}

#[tokio::test]
async fn a_replica_without_its_engine_is_not_ready() {
    let Some(redis) = Redis::start().await else { return };
    std::fs::write(redis.folder.path().join("password"), "wrong").unwrap();
    let proxy = redis.starting("").await;
    until("the reason is shown", async || {
        let answer = proxy.get("/readyz").await;
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        answer.status() == 503 && text.contains("cluster: not all apps are loaded") && text.contains("authentication failed")
    })
    .await;
    // It is served all the same, and ready once the password is right.
    push(&proxy, "shop", "sold 1\n").await;
    std::fs::write(redis.folder.path().join("password"), PASSWORD).unwrap();
    until("it is ready", async || proxy.get("/readyz").await.status() == 200).await;
    let other = redis.replica("").await;
    serves(&other, "shop", "sold 1\n").await;
}

/// A Redis program with a directory of its own, killed when dropped.
fn start_redis(program: &std::path::Path, folder: &std::path::Path, arguments: &[&str]) -> Child {
    std::fs::create_dir_all(folder).unwrap();
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The pause after which an answer is complete, or is asked for again.
const ANSWER_PAUSE: Duration = Duration::from_millis(200);

/// What a server answers to a command until it pauses; empty while it does not answer. A sentinel does not close the connection.
async fn says(port: &str, command: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        while let Ok(read) = timeout(ANSWER_PAUSE, stream.read_buf(&mut answer)).await {
            if read? == 0 {
                break;
            }
        }
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    exchange.await.unwrap_or_default()
}

#[tokio::test]
async fn a_failover_by_a_sentinel_loses_nothing() {
    let Some(program) = peer("redis-server") else { return };
    let folder = tempfile::tempdir().unwrap();
    let [first, second, sentinel] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let server = |port: &str, more: &[&str]| {
        let usual = [
            "--port",
            port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--repl-diskless-sync-delay",
            "0",
        ];
        start_redis(&program, &folder.path().join(port), &[&usual[..], more].concat())
    };
    let mut primary = server(&first, &[]);
    let _replica = server(&second, &["--replicaof", "127.0.0.1", &first]);
    // A sentinel asks for replicas once in ten seconds, and can only promote one that it knows.
    until("the replica follows", async || {
        says(&first, "INFO replication").await.contains("state=online")
    })
    .await;
    std::fs::create_dir_all(folder.path().join("sentinel")).unwrap();
    let config = format!(
        "port {sentinel}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {first} 1\n\
         sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
    );
    std::fs::write(folder.path().join("sentinel/sentinel.conf"), config).unwrap();
    let _sentinel = start_redis(&program, &folder.path().join("sentinel"), &["sentinel.conf", "--sentinel"]);
    until("the sentinel knows the replica", async || {
        let known = says(&sentinel, "SENTINEL REPLICAS mymaster").await;
        known.contains("master-link-status\r\n$2\r\nok")
    })
    .await;
    let settings = format!("events.enabled = false\ncluster.url = \"redis-sentinel://127.0.0.1:{sentinel}/mymaster\"");
    let (one, two) = (Proxy::with(&settings).await, Proxy::with(&settings).await);
    for proxy in [&one, &two] {
        until("the replica is ready", async || proxy.get("/readyz").await.status() == 200).await;
    }
    push(&one, "shop", "sold 1\n").await;
    serves(&two, "shop", "sold 1\n").await;
    primary.kill().await.unwrap();
    // Taken by one replica alone until the sentinel has named another primary.
    push(&one, "shop", "sold 2\n").await;
    serves(&two, "shop", "sold 2\n").await;
    let answer = push(&two, "shop", "sold 3\n").await;
    assert!(!answer.contains("warning"), "{answer}");
    serves(&one, "shop", "sold 3\n").await;
}

#[tokio::test]
async fn an_engine_with_tls_must_have_a_certificate_that_the_system_trusts() {
    let Some(program) = peer("redis-server") else { return };
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--tls-auth-clients",
        "no",
    ];
    let files = ["--tls-cert-file", certificate, "--tls-key-file", key];
    let _redis = start_redis(&program, folder.path(), &[&arguments[..], &files].concat());
    let config = folder.path().join("config.toml");
    let text = format!(
        "exporter.scrape_expose_endpoint = \"127.0.0.1:0\"\nreceiver.receive_on_unix_socket = false\nreceiver.receive_on_tcp_socket = false\n\
         events.enabled = false\ncluster.url = \"rediss://localhost:{port}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    for (trusted, line) in [(true, "all apps are loaded from the engine"), (false, "invalid peer certificate")] {
        let mut proxy = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
        proxy.arg("--config").arg(&config).stderr(Stdio::piped()).kill_on_drop(true);
        if trusted {
            proxy.env("SSL_CERT_FILE", certificate);
        }
        let mut child = proxy.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let found = async {
            while let Some(found) = lines.next_line().await.unwrap() {
                if found.contains(line) {
                    return;
                }
            }
            panic!("the log has no {line:?}");
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("the log has no {line:?}"));
    }
}

#[tokio::test]
async fn a_server_that_is_no_engine_harms_nobody() {
    for (speech, reason) in [("HTTP/1.1 400 Bad Request\r\n\r\n", "cannot connect"), ("", "no answer within 3 s")] {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
            // Silent connections stay open.
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = server.accept().await {
                let _ = socket.write_all(speech.as_bytes()).await;
                open.extend(Some(socket).filter(|_| speech.is_empty()));
            }
        }));
        let proxy = Proxy::with(&format!("events.enabled = false\ncluster.url = \"redis://127.0.0.1:{port}\"")).await;
        until(reason, async || {
            let answer = proxy.get("/readyz").await;
            answer.status() == 503 && String::from_utf8_lossy(answer.body()).contains(reason)
        })
        .await;
        let answer = push(&proxy, "shop", "sold 1\n").await;
        assert!(answer.contains("warning: stored by this replica only"), "{answer}");
        assert_eq!(proxy.text("/apps/shop/metrics").await, "sold 1\n");
        assert!(proxy.finish().await.is_clean());
    }
}
