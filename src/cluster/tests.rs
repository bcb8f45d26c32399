//! Replicas over an engine in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::engine::BeatReply;
use super::fake::{Data, FakeEngine};
use super::session::{Observer, Replica, room_for_writes};
use crate::exposition::catalog::{Duplicates, Rules};
use crate::model::{AppName, Format, Origin, Timestamp, Update};
use crate::store::{EventOptions, Inlet, Limits, Mode, PutOptions, View, open};
use crate::supervise::blocking;
use crate::telemetry::Telemetry;

/// The time of day of all replicas, unless an update says otherwise.
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

/// A replica and its session with the engine.
struct Node {
    inlet: Inlet,
    view: View,
    replica: Arc<Replica>,
    session: Option<JoinHandle<String>>,
    synchronized: Arc<Notify>,
}

struct Reports(Arc<Notify>);

impl Observer for Reports {
    fn about(&self) -> String {
        "{}".to_owned()
    }

    fn synchronized(&self) {
        self.0.notify_one();
    }

    fn heard(&self, _: &BeatReply) {}
}

impl Node {
    fn new(id: &str) -> Self {
        let (inlet, view) = open(
            Limits::default(),
            Mode::Merge(Rules::new(None, Duplicates::Label, &[])),
            EventOptions::default(),
        );
        let changes = inlet.record_changes(true);
        changes.set_away(true);
        let replica = Arc::new(Replica {
            engine: "fake".into(),
            id: id.to_owned(),
            epoch_candidate: format!("epoch of {id}"),
            inlet: inlet.clone(),
            view: view.clone(),
            changes,
            telemetry: Arc::new(Telemetry::default()),
            clock: || NOW,
            revisions: Arc::default(),
            position: Mutex::default(),
            refetch: Mutex::default(),
            refetch_arrived: Notify::new(),
            room: room_for_writes(),
            lease: watch::Sender::new(false),
            events: None,
        });
        Self {
            inlet,
            view,
            replica,
            session: None,
            synchronized: Arc::default(),
        }
    }

    /// A replica that has loaded all apps of an engine.
    async fn joined(id: &str, engine: &FakeEngine) -> Self {
        let mut node = Self::new(id);
        node.connect(engine).await;
        node
    }

    async fn connect(&mut self, engine: &FakeEngine) {
        let (replica, engine, reports) = (Arc::clone(&self.replica), engine.clone(), Reports(Arc::clone(&self.synchronized)));
        self.session = Some(tokio::spawn(async move { replica.run(&engine, &reports).await.to_string() }));
        self.synchronized.notified().await;
    }

    /// Waits until it does the work that one replica does for all.
    async fn holds_lease(&self) {
        let mut lease = self.replica.lease.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), lease.wait_for(|holds| *holds)).await;
        assert!(waited.is_ok_and(|lease| lease.is_ok()), "it has no lease");
    }

    /// Waits for the end of the session, as the service does, and returns the reason.
    async fn lost(&mut self) -> String {
        let why = self.session.take().unwrap().await.unwrap();
        self.replica.set_away(true);
        why
    }

    fn push_at(&self, name: &str, text: &str, at: i64) {
        let update = Update {
            app: app(name),
            body: text.to_owned().into_bytes().into(),
            records: Bytes::new(),
            read: None,
            syntax: None,
            labels: [].into(),
            origin: Origin {
                source: "test".into(),
                format: Format::Push,
            },
            at: Timestamp::from_millis(at),
        };
        self.inlet.put(update, PutOptions::WHOLE).unwrap();
    }

    async fn push(&self, name: &str, text: &str) {
        self.push_at(name, text, NOW.as_millis());
        assert!(self.inlet.shared(&app(name)).await, "the engine is away");
    }

    fn text(&self, name: &str) -> Option<String> {
        let app = self.view.app(name)?;
        Some(String::from_utf8(app.text.body().to_vec()).unwrap())
    }

    /// Waits until an app has this text.
    async fn until(&self, name: &str, text: Option<&str>) {
        until(&format!("{text:?} at {name}"), || self.text(name).as_deref() == text).await;
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
async fn every_replica_serves_what_one_has_taken() {
    let engine = FakeEngine::default();
    let (one, two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.push("a", "up 1\n").await;
    two.until("a", Some("up 1\n")).await;
    two.push("a", "up 2\n").await;
    one.until("a", Some("up 2\n")).await;
    let large = "metric{label=\"a long value\"} 1\n".replace("label", &"x".repeat(200_000));
    one.push("large", &large).await;
    two.until("large", Some(&large)).await;
    // A removal reaches the others, and one that never saw the app.
    two.inlet.remove(&app("a"), NOW);
    assert!(two.inlet.shared(&app("a")).await);
    one.until("a", None).await;
    let three = Node::joined("three", &engine).await;
    assert_eq!((three.text("a"), three.text("large")), (None, Some(large)));
}

#[tokio::test]
async fn a_replica_with_the_lease_has_loaded_all_apps() {
    let engine = FakeEngine::default();
    let one = Node::joined("one", &engine).await;
    for n in 0..500 {
        one.push(&format!("app-{n}"), "up 1\n").await;
    }
    one.session.as_ref().unwrap().abort();
    super::engine::Engine::leave(&engine, "one").await.unwrap();
    let mut two = Node::new("two");
    let (mut lease, view) = (two.replica.lease.subscribe(), two.view.clone());
    // As the polls do, which list their endpoints then.
    let begins = tokio::spawn(async move { lease.wait_for(|holds| *holds).await.map(|_| view.totals().apps) });
    two.connect(&engine).await;
    assert_eq!(begins.await.unwrap().unwrap(), 500);
}

#[tokio::test]
async fn one_replica_has_the_lease_until_it_leaves() {
    let engine = FakeEngine::default();
    let (mut one, two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.holds_lease().await;
    assert!(!*two.replica.lease.borrow());
    // It beats no more, as when the program stops.
    let session = one.session.take().unwrap();
    session.abort();
    assert!(session.await.unwrap_err().is_cancelled());
    super::engine::Engine::leave(&engine, "one").await.unwrap();
    let three = Node::joined("three", &engine).await;
    three.holds_lease().await;
}

#[tokio::test]
async fn pushes_without_the_engine_are_served_and_written_when_it_is_back() {
    let engine = FakeEngine::default();
    let (mut one, mut two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.push("a", "up 1\n").await;
    two.until("a", Some("up 1\n")).await;
    engine.set_away(true);
    // Its session notices when it writes.
    one.push_at("a", "up 2\n", 1_000_100);
    assert_eq!(one.lost().await, "away");
    one.push_at("new", "up 3\n", 1_000_100);
    assert!(!one.inlet.shared(&app("new")).await, "nothing waits for an engine that is away");
    assert_eq!(
        (one.text("a").as_deref(), one.text("new").as_deref()),
        (Some("up 2\n"), Some("up 3\n"))
    );
    // The other one has taken a later update of the same app.
    two.lost().await;
    two.push_at("a", "up 9\n", 1_000_200);
    engine.set_away(false);
    two.connect(&engine).await;
    one.connect(&engine).await;
    for node in [&one, &two] {
        node.until("a", Some("up 9\n")).await;
        node.until("new", Some("up 3\n")).await;
    }
}

#[tokio::test]
async fn an_engine_that_lost_its_data_gets_it_back() {
    let engine = FakeEngine::default();
    let (mut one, mut two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.push("kept", "up 1\n").await;
    two.until("kept", Some("up 1\n")).await;
    let older = engine.data.lock().unwrap().clone();
    one.push("later", "up 2\n").await;
    one.push("kept", "up 3\n").await;
    two.until("kept", Some("up 3\n")).await;
    for restored in [older, Data::default()] {
        engine.set_away(true);
        one.lost().await;
        two.lost().await;
        {
            let mut data = engine.data.lock().unwrap();
            let millis = data.millis + 100;
            *data = Data { millis, ..restored };
        }
        engine.set_away(false);
        one.connect(&engine).await;
        two.connect(&engine).await;
        let three = Node::joined("three", &engine).await;
        three.until("later", Some("up 2\n")).await;
        assert_eq!(two.text("later").as_deref(), Some("up 2\n"));
        assert!(three.text("kept").is_some());
    }
}

#[tokio::test]
async fn an_engine_that_loses_its_data_under_a_connection_gets_it_back() {
    let engine = FakeEngine::default();
    // The first one has given the data of the engine its id, and sends the first heartbeat afterwards as well.
    let mut one = Node::joined("one", &engine).await;
    let mut two = Node::joined("two", &engine).await;
    one.push("kept", "up 1\n").await;
    two.until("kept", Some("up 1\n")).await;
    {
        let mut data = engine.data.lock().unwrap();
        let millis = data.millis + 100;
        *data = Data { millis, ..Data::default() };
    }
    for node in [&mut one, &mut two] {
        let lost = tokio::time::timeout(Duration::from_secs(60), node.lost()).await;
        assert!(lost.unwrap().contains("lost its data"));
        node.connect(&engine).await;
    }
    let three = Node::joined("three", &engine).await;
    three.until("kept", Some("up 1\n")).await;
}

#[tokio::test]
async fn crossing_updates_leave_all_replicas_with_the_same() {
    let engine = FakeEngine::default();
    let nodes = [
        Node::joined("one", &engine).await,
        Node::joined("two", &engine).await,
        Node::joined("three", &engine).await,
    ];
    for round in 0..50 {
        for (n, node) in nodes.iter().enumerate() {
            node.push_at("a", &format!("up {}\n", round * 10 + n), NOW.as_millis());
        }
        tokio::task::yield_now().await;
    }
    for node in &nodes {
        assert!(node.inlet.shared(&app("a")).await);
    }
    // The last write counts, whichever it was.
    let last = {
        let data = engine.data.lock().unwrap();
        let record = data.apps[&app("a")].record.clone().unwrap();
        let bytes = super::record::unpack(&record, 1_000).unwrap();
        String::from_utf8(crate::store::ReplicatedApp::decode(&bytes).unwrap().body.to_vec()).unwrap()
    };
    for node in &nodes {
        node.until("a", Some(&last)).await;
    }
}

#[tokio::test]
async fn an_earlier_update_without_the_engine_gives_way_to_the_one_that_the_engine_has() {
    let engine = FakeEngine::default();
    let (one, mut two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.push("a", "up 1\n").await;
    two.until("a", Some("up 1\n")).await;
    engine.set_away(true);
    two.lost().await;
    // By a clock that is behind.
    two.push_at("a", "up 2\n", NOW.as_millis() - 1);
    engine.set_away(false);
    two.connect(&engine).await;
    two.until("a", Some("up 1\n")).await;
}

#[tokio::test]
async fn a_record_that_could_not_be_fetched_again_is_fetched_over_the_next_connection() {
    let engine = FakeEngine::default();
    let (one, mut two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
    one.push("a", "up 1\n").await;
    two.until("a", Some("up 1\n")).await;
    engine.set_away(true);
    two.lost().await;
    two.push_at("a", "up 2\n", NOW.as_millis() - 1);
    engine.set_away(false);
    // The engine does not take the earlier update, and the connection is lost before its own is here.
    engine.failing_fetches.store(1, std::sync::atomic::Ordering::Relaxed);
    two.connect(&engine).await;
    assert_eq!(two.lost().await, "the fetch fails");
    two.connect(&engine).await;
    two.until("a", Some("up 1\n")).await;
}

/// Waits until a condition holds.
async fn until(what: &str, is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "not {what}");
}

/// Text that does not become small when it is packed, so that its record is put into the store on a thread of its own.
fn incompressible() -> String {
    let mut random = 1u64;
    let digits = (0..60_000).map(|_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((random >> 33) % 10).unwrap())
    });
    format!("m{{digits=\"{}\"}} 1\n", digits.collect::<String>())
}

#[test]
fn a_record_that_waits_to_be_stored_replaces_no_later_push_or_removal() {
    for removes in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (gate, closed) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            // It takes the only thread for such work, before a session begins.
            let taken = tokio::spawn(blocking(move || closed.recv().is_ok()));
            let engine = FakeEngine::default();
            let (one, two) = (Node::joined("one", &engine).await, Node::joined("two", &engine).await);
            let fetches = || engine.fetches.load(std::sync::atomic::Ordering::Relaxed);
            let before = fetches();
            one.push("a", &incompressible()).await;
            // The session of "two" gives way for the first time once its work is queued.
            until("fetched", || fetches() > before).await;
            let last = (!removes).then_some("up 2\n");
            two.push("a", "up 2\n").await;
            if removes {
                two.inlet.remove(&app("a"), NOW);
                assert!(two.inlet.shared(&app("a")).await, "the engine is away");
            }
            gate.send(()).unwrap();
            assert!(taken.await.unwrap());
            // The record is dropped once all later work is done as well.
            blocking(|| {}).await;
            two.push("b", "up 3\n").await;
            for node in [&one, &two] {
                node.until("b", Some("up 3\n")).await;
                node.until("a", last).await;
            }
        });
    }
}
