//! Replicas that share events over an engine in memory, with files of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::super::engine::BeatReply;
use super::super::fake::{Data, FakeEngine, FakeEvents};
use super::super::session::{Observer, room_for_writes};
use super::*;
use crate::exposition::catalog::{Duplicates, Rules};
use crate::model::{Client, Event, IdempotencyKey, LabelSet, Timestamp};
use crate::store::{EmitError, EventOptions, Inlet, Limits, Mode, PersistenceHandle, Scrape, ScraperStatus, View, WhenEngineAway, open_in};
use crate::telemetry::Telemetry;

/// The time of day of all replicas, unless a test gives one another clock.
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn who(name: &str) -> ScraperId {
    ScraperId::new(name).unwrap()
}

fn client() -> Client {
    Client::Ip("127.0.0.1".parse().unwrap())
}

/// Time that ends every lease, and the pause after a loss.
const LONG: Duration = Duration::from_secs(60);

/// A replica with a directory of its own, which it finds again when it is started again.
struct Node {
    name: &'static str,
    directory: TempDir,
    options: EventOptions,
    when_away: WhenEngineAway,
    /// Its way to the engine, which all nodes share.
    engine: FakeEngine,
    /// The time of day by its clock.
    now: Timestamp,
    running: Option<Running>,
    starts: u32,
}

struct Running {
    inlet: Inlet,
    view: View,
    replica: Arc<Replica>,
    files: PersistenceHandle,
    session: Option<JoinHandle<String>>,
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

/// Another way to the same engine, which can be cut by itself.
fn another_way(engine: &FakeEngine) -> FakeEngine {
    FakeEngine {
        away: Arc::default(),
        ..engine.clone()
    }
}

fn declared(names: &[&str]) -> EventOptions {
    EventOptions {
        scrapers: names.iter().map(|name| who(name)).collect(),
        ..EventOptions::default()
    }
}

impl Node {
    async fn started(name: &'static str, engine: &FakeEngine, options: &EventOptions) -> Self {
        Self::started_at(name, engine, options, NOW).await
    }

    async fn started_at(name: &'static str, engine: &FakeEngine, options: &EventOptions, now: Timestamp) -> Self {
        let mut node = Self {
            name,
            directory: tempfile::tempdir().unwrap(),
            options: options.clone(),
            when_away: WhenEngineAway::Accept,
            engine: another_way(engine),
            now,
            running: None,
            starts: 0,
        };
        node.start();
        node.connect().await;
        node
    }

    fn start(&mut self) {
        let options = EventOptions {
            replica: OriginId::random(),
            ..self.options.clone()
        };
        let mode = Mode::Merge(Rules::new(None, Duplicates::Label, &[]));
        let (inlet, view, files) = open_in(self.directory.path(), Limits::default(), mode, options, self.now).unwrap();
        let files = files.start(|_, _| {}).unwrap();
        let events = inlet.share_events(self.when_away, false).unwrap();
        let changes = inlet.record_changes(true);
        changes.set_away(true);
        self.starts += 1;
        let replica = Arc::new(Replica {
            engine: "fake".into(),
            id: format!("{}-{}", self.name, self.starts),
            epoch_candidate: format!("epoch of {}-{}", self.name, self.starts),
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
            events: Some(EventSession::new(events, OriginId::random().unwrap())),
        });
        self.running = Some(Running {
            inlet,
            view,
            replica,
            files,
            session: None,
        });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn is_connected(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.session.is_some())
    }

    async fn connect(&mut self) {
        self.engine.set_away(false);
        let running = self.running.as_mut().unwrap();
        let synchronized = Arc::new(Notify::new());
        let (replica, engine, reports) = (
            Arc::clone(&running.replica),
            self.engine.clone(),
            Reports(Arc::clone(&synchronized)),
        );
        running.session = Some(tokio::spawn(async move { replica.run(&engine, &reports).await.to_string() }));
        synchronized.notified().await;
    }

    /// Cuts its way to the engine.
    async fn cut(&mut self) {
        self.engine.set_away(true);
        let running = self.running.as_mut().unwrap();
        if let Some(session) = running.session.take() {
            session.await.unwrap();
        }
        running.replica.set_away(true);
    }

    /// Ends it without leave; what was written is there when it starts again.
    async fn kill(&mut self) {
        let Running { files, session, .. } = self.running.take().unwrap();
        if let Some(session) = session {
            session.abort();
            // Until it is gone it could still write.
            assert!(session.await.unwrap_err().is_cancelled());
        }
        files.finish().await;
    }

    fn event(value: f64, series: &str) -> Event {
        let labels = LabelSet::new(vec![("series".to_owned(), series.to_owned())]).unwrap();
        Event { labels, value }
    }

    async fn post(&self, value: f64, series: &str, key: Option<&str>) -> Result<(), EmitError> {
        let key = key.map(|key| IdempotencyKey::new(key).unwrap());
        self.running()
            .inlet
            .emit(Self::event(value, series), key, &client(), self.now)
            .await
            .map(drop)
    }

    async fn scrape(&self, scraper: &str) -> Scrape {
        self.running().view.scrape_shared(&who(scraper), &client(), self.now).await
    }

    /// A scrape that arrives.
    async fn take(&self, scraper: &str) -> Vec<f64> {
        let scrape = self.scrape(scraper).await;
        let values = values(&scrape);
        if let Some(lease) = scrape.lease {
            lease.ack();
        }
        values
    }

    fn session(&self) -> &EventSession {
        self.running().replica.events.as_ref().unwrap()
    }

    /// True if it knows of deliveries, or holds events, that the engine lacks.
    fn owes(&self) -> bool {
        self.session().pending() != (0, 0)
    }

    fn is_whole(&self) -> bool {
        let place = lock(&self.session().place).clone();
        let data = self.engine.data.lock().unwrap();
        let (events, moves) = (&data.events.events, &data.events.moves);
        let read = events.last().is_none_or(|(at, _)| *at <= place.event) && moves.last().is_none_or(|(at, _)| *at <= place.scraper);
        let is_held = data.events.held_until > data.events.now;
        drop(data);
        // Events with keys wait until the pause is over.
        let (events, scrapers) = self.session().pending();
        read && scrapers == 0 && (events == 0 || is_held)
    }
}

fn values(scrape: &Scrape) -> Vec<f64> {
    scrape.events.iter().map(|record| record.event.value).collect()
}

/// Waits until all connected replicas and the engine hold the same.
async fn quiet(nodes: &[Node]) {
    let wait = async {
        while !nodes.iter().filter(|node| node.is_connected()).all(Node::is_whole) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(),
        "the replicas do not settle"
    );
}

fn pass(engine: &FakeEngine, time: Duration) {
    engine.data.lock().unwrap().events.now += time;
}

/// Puts the engine's data back to an earlier state. Its time goes on.
fn restore(engine: &FakeEngine, older: Data) {
    let mut data = engine.data.lock().unwrap();
    let (millis, last, now) = (data.millis + 100, data.events.last + 100, data.events.now);
    let run = data.events.run + 1;
    let events = FakeEvents {
        last,
        now,
        run,
        ..older.events
    };
    *data = Data { millis, events, ..older };
}

async fn cluster(engine: &FakeEngine, options: &EventOptions) -> [Node; 3] {
    let nodes = [
        Node::started("one", engine, options).await,
        Node::started("two", engine, options).await,
        Node::started("three", engine, options).await,
    ];
    // The engine is new, so no leases are granted for a while.
    pass(engine, LONG);
    nodes
}

#[tokio::test]
async fn an_event_is_delivered_once_at_whichever_replica_a_scraper_comes() {
    let engine = FakeEngine::default();
    let nodes = cluster(&engine, &declared(&["a", "b"])).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    nodes[1].post(2.0, "y", None).await.unwrap();
    quiet(&nodes).await;
    let mut first = nodes[2].take("a").await;
    first.sort_by(f64::total_cmp);
    assert_eq!(first, [1.0, 2.0]);
    quiet(&nodes).await;
    for node in &nodes {
        assert!(node.take("a").await.is_empty());
    }
    assert_eq!(nodes[0].take("b").await.len(), 2);
}

#[tokio::test]
async fn two_events_of_a_series_never_share_a_scrape() {
    let engine = FakeEngine::default();
    let nodes = cluster(&engine, &declared(&["a"])).await;
    for value in [1.0, 2.0, 3.0] {
        nodes[0].post(value, "same", None).await.unwrap();
    }
    nodes[0].post(4.0, "other", None).await.unwrap();
    quiet(&nodes).await;
    let mut taken = Vec::new();
    for node in &nodes {
        taken.push(node.take("a").await);
        quiet(&nodes).await;
    }
    assert_eq!(taken, [vec![1.0, 4.0], vec![2.0], vec![3.0]]);
}

#[tokio::test]
async fn a_scrape_elsewhere_gets_nothing_while_one_is_in_flight() {
    let engine = FakeEngine::default();
    let nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    let in_flight = nodes[0].scrape("a").await;
    assert_eq!(values(&in_flight), [1.0]);
    let other = nodes[1].scrape("a").await;
    assert_eq!((other.events.len(), other.status), (0, ScraperStatus::InFlight));
    // It has not arrived, so it is due again.
    drop(in_flight.lease);
    quiet(&nodes).await;
    assert_eq!(nodes[1].take("a").await, [1.0]);
}

#[tokio::test]
async fn the_replica_that_named_the_data_notices_its_loss_also_without_events() {
    let engine = FakeEngine::default();
    let mut nodes = [Node::started("one", &engine, &declared(&["a"])).await];
    pass(&engine, LONG);
    let is_held = || {
        let data = engine.data.lock().unwrap();
        data.events.held_until > data.events.now
    };
    assert!(!is_held());
    restore(&engine, Data::default());
    nodes[0].cut().await;
    nodes[0].connect().await;
    assert!(is_held());
}

#[tokio::test]
async fn an_event_that_is_not_taken_stands_for_no_earlier_one() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[1].cut().await;
    nodes[1].post(1.0, "x", None).await.unwrap();
    // Another replica has an event with this key first, so this one is not delivered. Both reach the engine in one go.
    nodes[0].post(2.0, "y", Some("key")).await.unwrap();
    nodes[1].post(2.0, "y", Some("key")).await.unwrap();
    nodes[1].connect().await;
    quiet(&nodes).await;
    let mut taken = nodes[0].take("a").await;
    taken.sort_by(f64::total_cmp);
    assert_eq!(taken, [1.0, 2.0]);
}

#[tokio::test]
async fn a_repeated_event_claims_no_key_from_the_one_that_was_read() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    let older = engine.data.lock().unwrap().clone();
    nodes[1].cut().await;
    nodes[1].post(1.0, "x", Some("key")).await.unwrap();
    nodes[0].post(1.0, "x", Some("key")).await.unwrap();
    quiet(&nodes).await;
    // It reads the other one, and is cut off before the engine has its own.
    let theirs = engine.data.lock().unwrap().events.events[0].1.clone();
    nodes[1].session().events.take(vec![theirs]).await.unwrap();
    assert_eq!(nodes[0].take("a").await, [1.0]);
    quiet(&nodes).await;
    // The engine comes back from before both, and the replica that has noted no place there is the first to connect.
    nodes[0].cut().await;
    nodes[2].cut().await;
    restore(&engine, older);
    nothing_comes_again(&engine, &mut nodes, [1, 0, 2]).await;
}

/// Connects these replicas, all of which are cut off, in this order; then scraper "a" has nothing to receive.
async fn nothing_comes_again(engine: &FakeEngine, nodes: &mut [Node; 3], order: [usize; 3]) {
    for node in order {
        nodes[node].connect().await;
    }
    quiet(nodes).await;
    pass(engine, LONG);
    quiet(nodes).await;
    for node in nodes {
        assert!(node.take("a").await.is_empty());
    }
}

#[tokio::test]
async fn a_replica_that_has_read_little_notices_that_the_engine_is_back_in_time() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    let older = engine.data.lock().unwrap().clone();
    nodes[0].cut().await;
    for node in [1, 0] {
        nodes[node].post(1.0, "x", Some("key")).await.unwrap();
    }
    quiet(&nodes).await;
    assert_eq!(nodes[2].take("a").await, [1.0]);
    quiet(&nodes).await;
    nodes[1].cut().await;
    nodes[2].cut().await;
    restore(&engine, older);
    // The first one to connect lacks nothing that it has seen. It must not give the key to its own event.
    nothing_comes_again(&engine, &mut nodes, [0, 1, 2]).await;
}

#[tokio::test]
async fn a_replica_that_restarts_keeps_the_keys_of_what_was_received() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    let older = engine.data.lock().unwrap().clone();
    nodes[0].cut().await;
    nodes[2].cut().await;
    for node in [2, 1] {
        nodes[node].post(1.0, "x", Some("key")).await.unwrap();
    }
    quiet(&nodes).await;
    assert_eq!(nodes[1].take("a").await, [1.0]);
    quiet(&nodes).await;
    // Only the replica that delivered the event knows of it, and it is killed. Another one has an event with the key as well.
    nodes[1].kill().await;
    restore(&engine, older);
    nodes[1].start();
    nothing_comes_again(&engine, &mut nodes, [2, 1, 0]).await;
}

#[tokio::test]
async fn an_event_that_is_never_delivered_stands_for_no_earlier_one() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[1].cut().await;
    for (value, series, key) in [(1.0, "x", Some("own")), (2.0, "y", None), (3.0, "z", Some("both"))] {
        nodes[1].post(value, series, key).await.unwrap();
    }
    nodes[0].post(3.0, "z", Some("both")).await.unwrap();
    quiet(&nodes).await;
    for node in [0, 2] {
        nodes[node].cut().await;
    }
    let same = engine.data.lock().unwrap().clone();
    restore(&engine, same);
    for node in [0, 1, 2] {
        nodes[node].connect().await;
    }
    quiet(&nodes).await;
    pass(&engine, HOLD);
    // The events of this replica still wait for the end of the pause, the first one for its key and the others behind it.
    let mut taken = nodes[1].take("a").await;
    quiet(&nodes).await;
    pass(&engine, LONG);
    taken.extend(nodes[0].take("a").await);
    taken.sort_by(f64::total_cmp);
    assert_eq!(taken, [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn the_lease_of_a_dead_replica_runs_out() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    let in_flight = nodes[0].scrape("a").await;
    assert_eq!(in_flight.events.len(), 1);
    nodes[0].kill().await;
    std::mem::forget(in_flight.lease);
    assert!(nodes[1].take("a").await.is_empty());
    pass(&engine, LEASE_TTL);
    assert_eq!(nodes[1].take("a").await, [1.0]);
}

#[tokio::test]
async fn a_lease_outlives_the_engine() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    let in_flight = nodes[0].scrape("a").await;
    for node in &mut nodes {
        node.cut().await;
    }
    restore(&engine, Data::default());
    // The one that has it comes last.
    for node in nodes.iter_mut().rev() {
        assert!(node.take("a").await.is_empty());
        node.connect().await;
    }
    pass(&engine, HOLD);
    assert!(nodes[1].take("a").await.is_empty(), "the lease was renewed");
    in_flight.lease.unwrap().ack();
    quiet(&nodes).await;
    for node in &nodes {
        assert!(node.take("a").await.is_empty());
    }
}

#[tokio::test]
async fn a_retry_at_another_replica_creates_no_second_event() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].post(1.0, "x", Some("key")).await.unwrap();
    quiet(&nodes).await;
    nodes[1].post(1.0, "x", Some("key")).await.unwrap();
    assert_eq!(nodes[1].post(2.0, "x", Some("key")).await, Err(EmitError::KeyReused));
    // The same at two replicas that do not know of each other.
    nodes[0].cut().await;
    nodes[1].cut().await;
    nodes[0].post(3.0, "y", Some("other")).await.unwrap();
    nodes[1].post(3.0, "y", Some("other")).await.unwrap();
    nodes[1].connect().await;
    nodes[0].connect().await;
    quiet(&nodes).await;
    let mut taken = nodes[0].take("a").await;
    quiet(&nodes).await;
    nodes[0].kill().await;
    nodes[0].start();
    nodes[0].connect().await;
    for node in &nodes {
        taken.extend(node.take("a").await);
        quiet(&nodes).await;
    }
    taken.sort_by(f64::total_cmp);
    assert_eq!(taken, [1.0, 3.0]);
}

#[tokio::test]
async fn events_wait_for_the_engine_or_are_refused() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].cut().await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    assert!(nodes[0].take("a").await.is_empty(), "another replica may be delivering");
    assert_eq!(nodes[0].session().pending(), (1, 0));
    nodes[0].connect().await;
    assert_eq!(nodes[0].take("a").await, [1.0]);
    let mut refusing = Node {
        when_away: WhenEngineAway::Refuse,
        ..Node::started("four", &engine, &declared(&["a"])).await
    };
    refusing.kill().await;
    refusing.start();
    assert_eq!(refusing.post(2.0, "x", None).await, Err(EmitError::EngineAway));
    refusing.connect().await;
    refusing.post(2.0, "x", None).await.unwrap();
}

#[tokio::test]
async fn a_new_scraper_gets_the_events_of_the_window_once_and_is_known_everywhere() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &EventOptions::default()).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    assert_eq!(nodes[1].take("new").await, [1.0]);
    quiet(&nodes).await;
    assert!(nodes[2].take("new").await.is_empty());
    // A replica that has lost the engine cannot tell whether another one knows a scraper.
    nodes[2].cut().await;
    assert!(nodes[2].take("unknown").await.is_empty());
    nodes[2].connect().await;
    assert_eq!(nodes[2].take("unknown").await, [1.0]);
}

#[tokio::test]
async fn a_scraper_that_comes_to_one_replica_is_kept_by_all_and_else_by_none() {
    let engine = FakeEngine::default();
    let nodes = cluster(&engine, &EventOptions::default()).await;
    nodes[0].take("a").await;
    quiet(&nodes).await;
    let scrape_at = async |seconds: i64| {
        let now = NOW.plus(Duration::from_secs(seconds.unsigned_abs()));
        drop(nodes[0].running().view.scrape_shared(&who("a"), &client(), now).await);
    };
    // In steps as a clock goes.
    for seconds in (1..=1_500).filter(|second| second % 5 == 0) {
        if seconds <= 900 {
            scrape_at(seconds).await;
        }
        quiet(&nodes).await;
        for node in &nodes {
            node.running().inlet.sweep(NOW.plus(Duration::from_secs(seconds.unsigned_abs())));
        }
        if seconds == 1_000 {
            assert!(nodes.iter().all(|node| node.session().events.scrapers().len() == 1));
        }
    }
    // The last report was at 900 s or a little earlier; the timeout is 600 s and a quarter more.
    for node in &nodes {
        for seconds in (1_500..=1_700).step_by(5) {
            node.running().inlet.sweep(NOW.plus(Duration::from_secs(seconds)));
        }
    }
    quiet(&nodes).await;
    assert!(nodes.iter().all(|node| node.session().events.scrapers().is_empty()));
    assert!(engine.data.lock().unwrap().events.scrapers.is_empty());
}

/// Time passes at all replicas, in steps as a clock goes.
async fn pass_seconds(nodes: &mut [Node], seconds: usize) {
    for _ in 0..seconds.div_ceil(5) {
        for node in &mut *nodes {
            node.now = node.now.plus(Duration::from_secs(5));
            node.running().inlet.sweep(node.now);
        }
        quiet(nodes).await;
    }
}

#[tokio::test]
async fn a_scraper_is_known_everywhere_whatever_the_clocks_of_the_replicas() {
    let engine = FakeEngine::default();
    let hours = |hours: u64| NOW.plus(Duration::from_secs(3_600 * hours));
    let options = EventOptions::default();
    let mut nodes = [
        Node::started_at("behind", &engine, &options, hours(0)).await,
        Node::started_at("right", &engine, &options, hours(1)).await,
        Node::started_at("ahead", &engine, &options, hours(2)).await,
    ];
    pass(&engine, LONG);
    let known = |nodes: &[Node]| -> usize { nodes.iter().map(|node| node.session().events.scrapers().len()).sum() };
    for _ in 0..2 {
        // It is new, or was forgotten, and comes to the replica with the earliest clock.
        assert!(nodes[0].take("a").await.is_empty());
        pass_seconds(&mut nodes, 60).await;
        assert_eq!(known(&nodes), 3);
        nodes[0].post(1.0, "x", None).await.unwrap();
        quiet(&nodes).await;
        assert_eq!(nodes[2].take("a").await, [1.0]);
        quiet(&nodes).await;
        assert!(nodes[0].take("a").await.is_empty() && nodes[1].take("a").await.is_empty());
        pass_seconds(&mut nodes, 600).await;
        assert_eq!(known(&nodes), 3);
        pass_seconds(&mut nodes, 300).await;
        assert_eq!(known(&nodes), 0);
        assert!(engine.data.lock().unwrap().events.scrapers.is_empty());
    }
}

#[tokio::test]
async fn an_older_copy_of_a_directory_gives_events_new_names() {
    let engine = FakeEngine::default();
    let mut nodes = cluster(&engine, &declared(&["a"])).await;
    let copy = tempfile::tempdir().unwrap();
    nodes[0].kill().await;
    for file in std::fs::read_dir(nodes[0].directory.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    nodes[0].start();
    nodes[0].connect().await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    nodes[0].kill().await;
    nodes[0].directory = copy;
    nodes[0].start();
    nodes[0].connect().await;
    nodes[0].post(2.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    let mut taken = nodes[1].take("a").await;
    quiet(&nodes).await;
    taken.extend(nodes[0].take("a").await);
    assert_eq!(taken, [1.0, 2.0]);
}

#[tokio::test]
async fn foreign_bytes_in_the_engine_harm_no_replica() {
    let engine = FakeEngine::default();
    let nodes = cluster(&engine, &declared(&["a"])).await;
    nodes[0].post(1.0, "x", None).await.unwrap();
    quiet(&nodes).await;
    {
        let mut data = engine.data.lock().unwrap();
        for (_, state) in data.events.scrapers.values_mut() {
            *state = "nonsense".into();
        }
    }
    let stranger = OriginId::random().unwrap();
    let nonsense = crate::store::OwnEvent {
        number: 5,
        key: None,
        bytes: Some("nonsense".into()),
        confirmed: false,
    };
    engine.append(stranger, 0, vec![nonsense]).await.unwrap();
    let late = Node::started("late", &engine, &declared(&["a"])).await;
    quiet(&nodes).await;
    assert_eq!(late.take("a").await, [1.0]);
    let unreadable = &late.running().replica.telemetry.cluster_events_total;
    assert_eq!(unreadable.with(["unreadable"]).get(), 1);
}
