//! The skeleton of a service process: what the proxy and the bridge have in common, from the first socket to the end.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::lifecycle::{self, Lifecycle};
use super::reload::{Reloadable, Reloader};
use super::{ConfigSource, health};
use crate::config::Settings;
use crate::http::{AccessControl, Connections, HttpService, HttpStats, OnRefused, Routes, Server, ServerMetrics};
use crate::store::PersistenceHandle;
use crate::supervise::files::FileLock;
use crate::supervise::secret_file::FileRule;
use crate::supervise::service_manager::Watchdog;
use crate::supervise::{ConnectionSlots, DRAIN, Listener, MallocTrim, Notes, Readiness, Report, Service, Stop, Supervisor};
use crate::telemetry::Process;

/// The parts of a process that its services share, while it is put together.
pub(super) struct Program {
    supervisor: Supervisor,
    pub(super) readiness: Arc<Readiness>,
    pub(super) notes: Arc<Notes>,
    pub(super) access: Arc<AccessControl>,
    pub(super) http_stats: Arc<HttpStats>,
    pub(super) stop: Stop,
    /// The rule for files with secrets that are read again while the program runs.
    pub(super) secret_rule: watch::Sender<FileRule>,
    /// SIGHUP, caught from the beginning of the start, until the reloader takes it.
    hangup: Option<Signal>,
    key_locks: Vec<FileLock>,
}

impl Program {
    /// A program without services.
    ///
    /// # Errors
    /// When SIGHUP cannot be caught.
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            supervisor: Supervisor::new(),
            readiness: Arc::default(),
            notes: Arc::default(),
            access: Arc::default(),
            http_stats: Arc::default(),
            stop: Stop::default(),
            secret_rule: watch::Sender::new(settings.secrets.file_rule()),
            hangup: Some(signal(SignalKind::hangup()).context("cannot catch SIGHUP")?),
            key_locks: Vec::new(),
        })
    }

    /// Adds a service that has bound its sockets.
    pub(super) fn add(&mut self, service: impl Service + 'static) {
        self.supervisor.add(service);
    }

    /// Holds the lock on a key file until the program ends.
    pub(super) fn hold(&mut self, key_lock: Option<FileLock>) {
        self.key_locks.extend(key_lock);
    }

    /// An HTTP service to these routes.
    pub(super) fn http_service(&self, routes: Routes, endpoints: &[&str]) -> HttpService {
        HttpService::new(routes, endpoints, Arc::clone(&self.access), Arc::clone(&self.http_stats))
    }

    /// Adds an HTTP server on a listener, with these connection slots.
    pub(super) fn serve(&mut self, listener: Listener, slots: ConnectionSlots, service: HttpService) {
        self.add(Server::new(listener, slots, service));
    }

    /// Adds the service that reloads the configuration, and returns the lifecycle endpoints.
    ///
    /// # Errors
    /// When the program has one already.
    pub(super) fn reload(
        &mut self,
        settings: &Settings,
        config_source: ConfigSource,
        reloadable: impl Reloadable,
        on_refused: OnRefused,
    ) -> anyhow::Result<Routes> {
        let hangup = self.hangup.take().context("the program has a reloader already")?;
        let shared = (Arc::clone(&self.access), self.secret_rule.clone());
        let (reloader, requests) = Reloader::new(settings.clone(), config_source, shared, reloadable, hangup);
        self.add(reloader);
        let stop = self.stop.graceful.clone();
        let lifecycle = Lifecycle::new(settings.http.enable_lifecycle, requests, stop, on_refused);
        Ok(lifecycle::routes(lifecycle))
    }

    /// The routes for health and readiness.
    pub(super) fn health_routes(&self) -> Routes {
        health::routes(Arc::clone(&self.readiness), Arc::clone(&self.notes))
    }

    /// The self metrics that are common to all programs.
    pub(super) fn metrics(&self, connections: Connections) -> ServerMetrics {
        ServerMetrics::new(Process::new(SystemTime::now()), connections, Arc::clone(&self.http_stats))
    }

    /// Ends the assembly: adds the services that every process has.
    pub(super) fn finish<A>(mut self, addresses: A, persistence: Option<PersistenceHandle>) -> Daemon<A> {
        self.add(MallocTrim);
        if let Some(watchdog) = Watchdog::from_environment() {
            self.add(watchdog);
        }
        Daemon {
            program: self,
            persistence,
            addresses,
        }
    }
}

/// The numbers of listeners, by their addresses or paths.
pub(super) fn connections<'l>(listeners: impl IntoIterator<Item = &'l Listener>) -> Connections {
    let numbers = |listener: &Listener| (Arc::clone(listener.place()), Arc::clone(listener.stats()));
    listeners.into_iter().map(numbers).collect()
}

/// A proxy or a bridge with all its sockets bound, ready to run. `A` holds the bound addresses.
pub struct Daemon<A> {
    program: Program,
    persistence: Option<PersistenceHandle>,
    addresses: A,
}

impl<A> Daemon<A> {
    /// The addresses of all listeners, with the assigned port in place of port 0.
    #[must_use]
    pub fn addresses(&self) -> &A {
        &self.addresses
    }

    /// The handle that stops the daemon.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.program.stop.clone()
    }

    /// Runs until it is stopped or a service fails, and returns the outcome.
    pub async fn run(self) -> Report {
        let Self { program, persistence, .. } = self;
        let Program {
            mut supervisor,
            readiness,
            stop,
            key_locks: _locked,
            ..
        } = program;
        if let Some(persistence) = &persistence {
            supervisor.add(persistence.watch());
        }
        let graceful = stop.graceful.clone();
        let announce = async {
            graceful.cancelled().await;
            readiness.obstruct("program", "stopping".to_owned());
            std::future::pending().await
        };
        let report = tokio::select! {
            report = supervisor.run(stop, DRAIN) => report,
            never = announce => never,
        };
        // From here on no task writes to the store or settles a lease.
        if let Some(persistence) = persistence
            && tokio::time::timeout(DRAIN, persistence.finish()).await.is_err()
        {
            tracing::error!("could not write state to store.path before shutdown; up to 5 s may be lost");
        }
        report
    }
}
