#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::bridge::AliasPolicy;
use crate::bridge::fake::FakeBridge;
use crate::cluster::fake::{Data, FakeEngine};

/// A bridge and its session with the engine.
struct Node {
    bridge: FakeBridge,
    replica: Arc<BridgeReplica>,
    synchronized: Arc<Notify>,
    session: Option<JoinHandle<String>>,
}

struct Reports {
    replica: Arc<BridgeReplica>,
    synchronized: Arc<Notify>,
}

impl Observer for Reports {
    fn about(&self) -> String {
        members::describe(&members::Description {
            name: &format!("bridge {}", self.replica.id),
            http: None,
            local_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            tls: false,
            count: 0,
            forward_key: self.replica.forward_key(),
        })
    }

    fn synchronized(&self) {
        self.synchronized.notify_one();
    }

    fn heard(&self, heard: &BeatReply) {
        self.replica.heard(heard);
    }
}

impl Node {
    async fn joined(id: &str, engine: &FakeEngine) -> Self {
        let bridge = FakeBridge::new(id, AliasPolicy::Replace);
        let replica = BridgeReplica {
            engine: "fake".into(),
            id: id.to_owned(),
            epoch_candidate: format!("epoch of {id}"),
            forward_key: ForwardKey::new([1; 32]),
            registry: bridge.shared.clone(),
            telemetry: Arc::clone(&bridge.telemetry),
            epoch: Mutex::default(),
            time: Mutex::default(),
            beats: AtomicU64::default(),
        };
        let mut node = Self {
            bridge,
            replica: Arc::new(replica),
            synchronized: Arc::default(),
            session: None,
        };
        node.connect(engine).await;
        node
    }

    async fn connect(&mut self, engine: &FakeEngine) {
        let (replica, engine) = (Arc::clone(&self.replica), engine.clone());
        let reports = Reports {
            replica: Arc::clone(&replica),
            synchronized: Arc::clone(&self.synchronized),
        };
        self.session = Some(tokio::spawn(async move { replica.run(&engine, &reports).await.to_string() }));
        self.synchronized.notified().await;
    }

    async fn lost(&mut self) -> String {
        self.session.take().unwrap().await.unwrap()
    }

    /// Waits until an alias is held by the proxy with this number, over this way.
    async fn until(&self, alias: &str, key: u8, way: &str) {
        let expected = Some((key, way.to_owned()));
        let wait = async {
            while self.bridge.holder(alias) != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(waited.is_ok(), "{alias} is {:?}, not {expected:?}", self.bridge.holder(alias));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.abort();
        }
    }
}

#[tokio::test]
async fn two_bridges_share_their_aliases_over_an_engine() {
    let engine = FakeEngine::default();
    let one = Node::joined("one", &engine).await;
    let two = Node::joined("two", &engine).await;
    one.bridge.register("a", 1).unwrap();
    // The first bridge lists the second one from its next heartbeat on.
    two.until("a", 1, "bridge one").await;
    two.bridge.register("a", 2).unwrap();
    one.until("a", 2, "bridge two").await;
    assert!(one.bridge.forget("a"));
    let gone = async {
        while two.bridge.holder("a").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(one.bridge.telemetry.cluster_writes_total.with(["failed"]).get(), 0);
}

#[tokio::test]
async fn a_bridge_goes_on_without_the_engine_and_writes_what_has_changed_when_it_is_back() {
    let engine = FakeEngine::default();
    let mut one = Node::joined("one", &engine).await;
    let mut two = Node::joined("two", &engine).await;
    one.bridge.register("kept", 1).unwrap();
    two.until("kept", 1, "bridge one").await;
    engine.set_away(true);
    one.bridge.register("new", 2).unwrap();
    assert_eq!((one.lost().await.as_str(), two.lost().await.as_str()), ("away", "away"));
    one.bridge.forget("kept");
    assert_eq!(one.bridge.holder("new").map(|(key, _)| key), Some(2));
    assert_eq!(two.bridge.holder("kept").map(|(key, _)| key), Some(1), "it could not learn of it");
    // The engine comes back empty.
    *engine.data.lock().unwrap() = Data {
        millis: 1_000,
        ..Data::default()
    };
    engine.set_away(false);
    one.connect(&engine).await;
    two.connect(&engine).await;
    two.until("new", 2, "bridge one").await;
    let three = Node::joined("three", &engine).await;
    three.until("new", 2, "bridge one").await;
    assert_eq!(three.bridge.holder("kept"), None);
}

/// In paused time, in which a registration and its record have the same moment.
#[tokio::test(start_paused = true)]
async fn a_removal_that_is_written_late_does_not_undo_a_later_registration() {
    let engine = FakeEngine::default();
    let another_way = FakeEngine {
        away: Arc::default(),
        ..engine.clone()
    };
    let one = Node::joined("one", &engine).await;
    let mut two = Node::joined("two", &another_way).await;
    one.bridge.register("a", 1).unwrap();
    two.until("a", 1, "bridge one").await;
    // The session of the second bridge notices the loss only when it writes.
    *another_way.away.lock().unwrap() = true;
    assert!(two.bridge.forget("a"));
    assert_eq!(two.lost().await, "away");
    let before = engine.data.lock().unwrap().millis;
    tokio::time::advance(Duration::from_millis(1)).await;
    one.bridge.register("a", 1).unwrap();
    while engine.data.lock().unwrap().millis == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    another_way.set_away(false);
    two.connect(&another_way).await;
    two.until("a", 1, "bridge one").await;
    // All that the second bridge had to write before this is in the engine before it.
    while two.bridge.shared.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    two.bridge.register("later", 2).unwrap();
    one.until("later", 2, "bridge two").await;
    assert_eq!(one.bridge.holder("a"), Some((1, "here".to_owned())));
}

#[tokio::test]
async fn a_change_during_whose_write_the_engine_failed_is_written_when_it_is_back_with_its_data() {
    let engine = FakeEngine::default();
    let mut one = Node::joined("one", &engine).await;
    let mut two = Node::joined("two", &engine).await;
    one.bridge.register("changed", 1).unwrap();
    one.bridge.register("removed", 2).unwrap();
    two.until("changed", 1, "bridge one").await;
    two.until("removed", 2, "bridge one").await;
    // The sessions notice the loss only when they write: no other command is under way to them.
    *engine.away.lock().unwrap() = true;
    one.bridge.register("changed", 1).unwrap();
    assert!(two.bridge.forget("removed"));
    assert_eq!((one.lost().await.as_str(), two.lost().await.as_str()), ("away", "away"));
    let before = engine.data.lock().unwrap().millis;
    engine.set_away(false);
    one.connect(&engine).await;
    two.connect(&engine).await;
    let gone = async {
        let written = || engine.data.lock().unwrap().millis - before;
        while one.bridge.holder("removed").is_some() || two.bridge.holder("removed").is_some() || written() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(waited.is_ok(), "{:?} and {:?}", one.bridge.targets(), two.bridge.targets());
    assert_eq!(
        (one.bridge.targets(), two.bridge.targets()),
        (vec!["changed".to_owned()], vec!["changed".to_owned()])
    );
}
