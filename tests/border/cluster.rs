//! Replicas over a real Redis.

use std::path::PathBuf;
use std::process::Stdio;

use http::Request;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{Proxy, bulk, free_port, peer, until};

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
        until("Redis listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
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
        Proxy::with(&format!(
            "events.enabled = false\ncluster.url = \"redis://127.0.0.1:{port}\"\ncluster.password_file = {password:?}\n{extra}"
        ))
        .await
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
    // The engine came back empty, and has everything again for one that never saw it.
    let four = redis.replica("").await;
    assert_eq!(four.text("/apps/large/metrics").await, large);
    assert!(four.finish().await.is_clean());
    until("it has left", async || members(&one).await == 3).await;
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
