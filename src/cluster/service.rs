//! The service that keeps a replica connected to the engine, and that says whether it is ready.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::connectivity::{Connectivity, Ready};
use super::engine::{BeatReply, Engine, EngineError};
use super::events::EventSession;
use super::redis::{Redis, random_id};
use super::session::{Observer, Replica, room_for_writes};
use super::settings::ClusterSettings;
use super::{members, probe};
use crate::model::Clock;
use crate::store::{Inlet, OriginId, View};
use crate::supervise::{Notes, Readiness, Service};
use crate::telemetry::{ClusterMember, ClusterStates, Gauge, PerLabel, Telemetry};

/// The pause before another attempt to connect: short, because replicas that wait serve old data, and a connection that is refused costs
/// nothing.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The interval of looking after the readiness.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time for changes that are not written yet when the program stops. Requests in work end meanwhile.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The time without a change after which a stopping program has written all.
const FLUSH_QUIET: Duration = Duration::from_millis(300);
/// The time in which the engine takes the news that this replica is gone.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The name of the service, of its reason not to be ready and of its note.
const NAME: &str = "cluster";

/// The parts of the program that a cluster needs.
pub struct ClusterContext {
    /// The writing half of the store.
    pub inlet: Inlet,
    /// The reading half of the store.
    pub view: View,
    /// Counters, members.
    pub telemetry: Arc<Telemetry>,
    /// The time of day.
    pub clock: Clock,
    /// Reasons not to be ready.
    pub readiness: Arc<Readiness>,
    /// Notes about what does not work.
    pub notes: Arc<Notes>,
}

impl std::fmt::Debug for ClusterContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterContext").finish_non_exhaustive()
    }
}

/// The state that a program shares over the engine.
pub(super) trait Shared: Send + Sync + 'static {
    /// The word for it in texts.
    const CONTENT: &'static str;
    /// The consequence while the engine is away.
    const ALONE: &'static str;

    /// The id of this member, another one for each run.
    fn id(&self) -> &str;

    /// The URL of the engine.
    fn engine(&self) -> &str;

    /// Uses an engine until it fails, and returns the reason.
    fn run(&self, engine: &impl Engine, observer: &impl Observer) -> impl Future<Output = EngineError> + Send;

    /// Says whether the engine can be written to.
    fn set_away(&self, away: bool);

    /// The number of changes that the engine does not have yet.
    fn pending(&self) -> usize;

    /// True if the engine lacks something.
    fn has_pending(&self) -> bool {
        self.pending() > 0
    }

    /// Shows what else the engine lacks.
    fn show_pending(&self) {}

    /// The number of things that are shared, of all members.
    fn count(&self) -> usize;

    /// The key by which other members may forward requests to this one, if it takes any.
    fn forward_key(&self) -> Option<String> {
        None
    }

    /// The engine has answered a heartbeat.
    fn heard(&self, heard: &BeatReply);

    /// The metrics.
    fn instruments(&self) -> Instruments<'_>;
}

/// The metrics of a member.
pub(super) struct Instruments<'t> {
    pub(super) state: &'t ClusterStates,
    pub(super) connected: &'t PerLabel<Gauge, 1>,
    pub(super) members: &'t PerLabel<Gauge, 1>,
    pub(super) pending: &'t PerLabel<Gauge, 1>,
}

impl Shared for Replica {
    const CONTENT: &'static str = "apps";
    const ALONE: &'static str = "pushes are served by this replica alone until it is back";

    fn id(&self) -> &str {
        &self.id
    }

    fn engine(&self) -> &str {
        &self.engine
    }

    fn run(&self, engine: &impl Engine, observer: &impl Observer) -> impl Future<Output = EngineError> + Send {
        Self::run(self, engine, observer)
    }

    fn set_away(&self, away: bool) {
        Self::set_away(self, away);
    }

    fn pending(&self) -> usize {
        self.changes.pending()
    }

    fn has_pending(&self) -> bool {
        Self::has_pending(self)
    }

    fn show_pending(&self) {
        if let Some(session) = &self.events {
            let (pending, _) = session.pending();
            self.telemetry.cluster().update(|state| state.pending_events = pending as u64);
            let pending = i64::try_from(pending).unwrap_or(i64::MAX);
            self.telemetry.cluster_pending_events.with([&*self.engine]).set(pending);
        }
    }

    fn count(&self) -> usize {
        self.view.totals().apps
    }

    fn heard(&self, heard: &BeatReply) {
        let has_lease = i64::from(heard.lease_owner == self.id);
        self.telemetry.cluster_lease.with([&*self.engine]).set(has_lease);
    }

    fn instruments(&self) -> Instruments<'_> {
        Instruments {
            state: self.telemetry.cluster(),
            connected: &self.telemetry.cluster_connected,
            members: &self.telemetry.cluster_members,
            pending: &self.telemetry.cluster_pending_changes,
        }
    }
}

/// The service of a replica.
#[derive(Debug)]
pub struct Cluster(EngineService<Replica>);

/// The service that keeps a member connected to the engine.
pub(super) struct EngineService<S> {
    settings: ClusterSettings,
    replica: S,
    readiness: Arc<Readiness>,
    notes: Arc<Notes>,
    connectivity: Mutex<Connectivity>,
    /// True while the engine is connected and all apps are loaded.
    connected: Arc<AtomicBool>,
    /// The time of the last heartbeat that the engine has answered: it may be lost since then, long before that is noticed.
    last_beat: Mutex<Option<Instant>>,
    /// The last reason for which the engine could not be used; `None` since it was connected.
    last_failure: Mutex<Option<String>>,
    /// Notified once the engine knows that this replica is gone.
    left: Notify,
    /// The address of this machine as the engine sees it.
    local_ip: Mutex<IpAddr>,
}

impl<S> std::fmt::Debug for EngineService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineService")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Creates the service. Changes of apps are recorded from now on, and the program is not ready until all apps are loaded.
    ///
    /// # Errors
    /// When the system has no random numbers for an id.
    pub fn new(settings: ClusterSettings, context: ClusterContext) -> anyhow::Result<Self> {
        let ClusterContext {
            inlet,
            view,
            telemetry,
            clock,
            readiness,
            notes,
        } = context;
        let changes = inlet.record_changes(settings.waits_for_engine);
        changes.set_away(true);
        // Away until the first connection, and for a store without events.
        let shared = settings
            .events
            .and_then(|when_away| inlet.share_events(when_away, settings.waits_for_engine));
        let events = match shared {
            Some(events) => {
                let origin = OriginId::random().context("the system has no random numbers")?;
                Some(EventSession::new(events, origin))
            }
            None => None,
        };
        let replica = Replica {
            engine: settings.url.to_string().into(),
            id: random_id()?,
            epoch_candidate: random_id()?,
            inlet,
            view,
            changes,
            telemetry,
            clock,
            revisions: Arc::default(),
            position: Mutex::default(),
            refetch: Mutex::default(),
            refetch_arrived: Notify::new(),
            room: room_for_writes(),
            lease: watch::Sender::new(false),
            events,
        };
        Ok(Self(EngineService::new(settings, replica, readiness, notes)))
    }

    /// True while this replica does the work that one replica does for all.
    #[must_use]
    pub fn lease(&self) -> watch::Receiver<bool> {
        self.0.replica.lease.subscribe()
    }

    /// True while the engine is connected, for [`routes`](super::routes).
    #[must_use]
    pub fn connected(&self) -> Arc<AtomicBool> {
        self.0.connected()
    }
}

impl<S: Shared> EngineService<S> {
    /// The service of a member. The program is not ready until all that the engine has is loaded.
    pub(super) fn new(settings: ClusterSettings, replica: S, readiness: Arc<Readiness>, notes: Arc<Notes>) -> Self {
        replica.instruments().state.update(|state| state.engine = settings.url.to_string());
        let cluster = Self {
            replica,
            settings,
            readiness,
            notes,
            connectivity: Mutex::new(Connectivity::new(Instant::now())),
            connected: Arc::default(),
            last_beat: Mutex::default(),
            last_failure: Mutex::default(),
            left: Notify::new(),
            local_ip: Mutex::new(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        cluster.show_readiness();
        cluster
    }

    /// True while the engine is connected.
    pub(super) fn connected(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.connected)
    }

    pub(super) async fn work(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            never = self.stay_connected(&stop) => never,
            never = self.watch_readiness() => never,
            () = self.leave(&stop) => {}
        }
        // Requests that still wait for the engine are answered.
        self.replica.set_away(true);
        Ok(())
    }

    /// Connects again whenever the connection has failed.
    async fn stay_connected(&self, stop: &CancellationToken) {
        loop {
            let why = match Redis::connect(&self.settings).await {
                Ok(engine) => {
                    *lock(&self.local_ip) = engine.local_ip();
                    self.use_engine(&engine, stop).await
                }
                Err(why) => why,
            };
            self.lost(&why);
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn use_engine(&self, engine: &impl Engine, stop: &CancellationToken) -> EngineError {
        let session = self.replica.run(engine, self);
        tokio::select! {
            why = session => why,
            () = self.flushed(stop) => {
                // The others take the lease over at once. Without the engine it runs out.
                let _ = engine.leave(self.replica.id()).await;
                self.left.notify_one();
                std::future::pending().await
            }
        }
    }

    /// Waits until the program stops, all changes are written and the other replicas know, or the time for that is over.
    async fn leave(&self, stop: &CancellationToken) {
        self.flushed(stop).await;
        if self.connected.load(Ordering::Relaxed) {
            let _ = tokio::time::timeout(LEAVE_TIMEOUT, self.left.notified()).await;
        }
    }

    /// Waits until the program stops and all changes are written, or the time for that is over.
    async fn flushed(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        let flush = async {
            let mut quiet_since = tokio::time::Instant::now();
            while quiet_since.elapsed() < FLUSH_QUIET {
                tokio::time::sleep(FLUSH_QUIET / 10).await;
                if self.replica.has_pending() && self.connected.load(Ordering::Relaxed) {
                    quiet_since = tokio::time::Instant::now();
                }
            }
        };
        // What is left is written by the next start, if there is a directory.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, flush).await;
    }

    fn lost(&self, why: &EngineError) {
        let was_connected = self.connected.swap(false, Ordering::Relaxed);
        self.replica.set_away(true);
        let since = lock(&self.last_beat).unwrap_or_else(Instant::now);
        lock(&self.connectivity).lost(since);
        self.telemetry_connected(false);
        let url = &self.settings.url;
        // One line for each reason, however often it is tried.
        let is_news = lock(&self.last_failure).replace(why.to_string()).as_deref() != Some(&why.0);
        if was_connected {
            tracing::warn!(engine = %url, "connection to the engine lost: {why}");
        } else if is_news {
            tracing::warn!(engine = %url, "cannot use the engine: {why}");
        }
        self.notes.set(NAME, format!("{url}: {why}; {}", S::ALONE));
        self.show_readiness();
    }

    fn telemetry_connected(&self, connected: bool) {
        let instruments = self.replica.instruments();
        instruments.state.update(|state| state.connected = connected);
        instruments.connected.with([self.replica.engine()]).set(i64::from(connected));
    }

    /// Asks the other replicas for the engine while this one has lost it, and counts what waits.
    async fn watch_readiness(&self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.count_pending();
            if lock(&self.connectivity).asks(Instant::now()) {
                let held = self.others_hold_engine().await;
                lock(&self.connectivity).answered(held);
            }
            self.show_readiness();
        }
    }

    fn count_pending(&self) {
        let (pending, instruments) = (self.replica.pending(), self.replica.instruments());
        instruments.state.update(|state| state.pending = pending as u64);
        let pending = i64::try_from(pending).unwrap_or(i64::MAX);
        instruments.pending.with([self.replica.engine()]).set(pending);
        self.replica.show_pending();
    }

    async fn others_hold_engine(&self) -> bool {
        let members = self.replica.instruments().state.get().members;
        let others = members.into_iter().filter(|member| member.id != self.replica.id());
        let ask = |member: ClusterMember| async move {
            match member.http {
                Some(address) => probe::holds_engine(address, self.settings.member_tls.clone().filter(|_| member.tls)).await,
                None => false,
            }
        };
        join_all(others.map(ask)).await.contains(&true)
    }

    fn show_readiness(&self) {
        let why = match lock(&self.connectivity).ready() {
            Ready::Yes => {
                self.readiness.clear(NAME);
                return;
            }
            Ready::Loading => format!("not all {} are loaded from {} yet", S::CONTENT, self.settings.url),
            Ready::Alone => format!(
                "the connection to {} is lost, and other replicas have it: this one would show older values",
                self.settings.url
            ),
        };
        self.readiness.obstruct(NAME, why);
    }
}

impl<S: Shared> Observer for EngineService<S> {
    fn about(&self) -> String {
        members::describe(&members::Description {
            name: &self.settings.name,
            http: self.settings.http,
            local_ip: *lock(&self.local_ip),
            tls: self.settings.member_tls.is_some(),
            count: self.replica.count(),
            forward_key: self.replica.forward_key(),
        })
    }

    fn synchronized(&self) {
        let was_whole = {
            let mut connectivity = lock(&self.connectivity);
            let was_whole = connectivity.is_whole();
            connectivity.synchronized();
            was_whole
        };
        self.connected.store(true, Ordering::Relaxed);
        self.telemetry_connected(true);
        self.notes.clear(NAME);
        *lock(&self.last_failure) = None;
        self.show_readiness();
        let (engine, count, content) = (&self.settings.url, self.replica.count(), S::CONTENT);
        if was_whole {
            tracing::info!(engine = %engine, count, "connected to the engine again");
        } else {
            tracing::info!(engine = %engine, count, "all {content} are loaded from the engine");
        }
    }

    fn heard(&self, heard: &BeatReply) {
        *lock(&self.last_beat) = Some(Instant::now());
        let members = members::read(&heard.members, &heard.lease_owner);
        self.replica.heard(heard);
        let instruments = self.replica.instruments();
        let count = i64::try_from(members.len()).unwrap_or(i64::MAX);
        instruments.members.with([self.replica.engine()]).set(count);
        instruments.state.update(|state| state.members = members);
    }
}

impl Service for Cluster {
    fn name(&self) -> &str {
        NAME
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.0.work(stop))
    }
}
