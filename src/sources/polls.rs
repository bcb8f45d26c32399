//! Polling of exporters, each on its own schedule.
//!
//! [`Polls`] follows the settings: added endpoints are registered in the store and polled, removed endpoints are deleted from it, unchanged
//! endpoints are not affected. Each endpoint has one task, so its polls never overlap, and a slow target delays only its own task.

mod authorization;
mod body;
mod connection;
mod endpoint;
mod error;
mod fetch;
mod files;
mod ipfs;
mod normalizing_stream;
mod schedule;
mod settings;
mod socket;
mod trust;

pub use settings::{ClientCertificate, Credentials, Endpoint, EndpointKind, Password, PollSettings, place};

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::model::{AppName, Clock, Format, Origin};
use crate::peer_samples::PeerSamples;
use crate::sources::{REMOVE_UNLISTED_EVERY, unlisted_apps};
use crate::store::Inlet;
use crate::supervise::Service;
use crate::supervise::secret_file::FileRule;
use crate::telemetry::SharedTelemetry;
use endpoint::{EndpointTask, PollContext};
use fetch::SharedResources;
use schedule::PollSchedule;
use settings::Target;

/// The TLS settings of a client that trusts the certificates in a file, or the CAs of the system.
///
/// # Errors
///
/// The reason if the file cannot be read, or there is no certificate.
pub async fn client_tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut trust = match ca_file {
        Some(file) => trust::Trust::File(file.into(), None),
        None => trust::Trust::System(Arc::default()),
    };
    trust.config().await.map_err(|failure| failure.to_string())
}

/// The TLS settings of a client that takes any certificate, for requests with responses that are no secrets.
///
/// # Errors
///
/// The reason if there are no such settings.
pub fn unverified_client_tls() -> Result<Arc<ClientConfig>, String> {
    trust::unverified()
}

/// The same TLS settings with the certificate of a client.
///
/// # Errors
///
/// The file and the reason if certificate and key cannot be read, or do not belong together.
pub async fn with_client_certificate(config: Arc<ClientConfig>, certificate: &ClientCertificate) -> Result<Arc<ClientConfig>, String> {
    let made = trust::with_client_certificate(config, certificate, FileRule::Lenient).await;
    made.map_err(|failure| failure.to_string())
}

/// Describes the files of an endpoint that cannot be used now. Each poll reads them, so they may be created later.
pub async fn unusable_files(endpoint: &Endpoint) -> Vec<String> {
    let mut found = Vec::new();
    if let Err(failure) = authorization::header(endpoint.credentials.as_ref(), FileRule::Lenient).await {
        found.push(failure.to_string());
    }
    if let Some(file) = &endpoint.ca_file
        && let Err(failure) = trust::Trust::File(file.clone().into(), None).config().await
    {
        found.push(failure.to_string());
    }
    if let Some(certificate) = &endpoint.certificate
        && let Err(failure) = trust::client_key(certificate, FileRule::Lenient).await
    {
        found.push(failure.to_string());
    }
    found
}

/// The service that polls.
#[derive(Debug)]
pub struct Polls {
    settings: watch::Receiver<Arc<PollSettings>>,
    /// True while this process polls; otherwise another replica of the cluster does.
    active: watch::Receiver<bool>,
    context: PollContext,
    shared: Arc<SharedResources>,
    /// The running endpoints by app, as many as the settings list.
    running: HashMap<AppName, RunningEndpoint>,
    tasks: JoinSet<(AppName, PollSchedule)>,
    /// True after the warning about unverified certificates.
    warned: bool,
}

#[derive(Debug)]
struct RunningEndpoint {
    target: Arc<Target>,
    stop: CancellationToken,
}

impl Polls {
    /// Creates the service: it polls the endpoints of `settings` while `active` is true, follows changes, and writes into `inlet` and
    /// `peer_samples`.
    #[must_use]
    pub fn new(
        settings: watch::Receiver<Arc<PollSettings>>,
        active: watch::Receiver<bool>,
        inlet: Inlet,
        peer_samples: PeerSamples,
        telemetry: SharedTelemetry,
        clock: Clock,
    ) -> Self {
        Self {
            settings,
            active,
            context: PollContext {
                inlet,
                peer_samples,
                telemetry,
                clock,
            },
            shared: Arc::default(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            warned: false,
        }
    }

    async fn work(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        self.follow_settings().await?;
        // Without a cluster nothing ever changes this, and the store has no polled apps of others.
        let is_replica = self.active.has_changed().is_ok();
        let mut ticks = interval(REMOVE_UNLISTED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let removes = is_replica && *self.active.borrow();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick(), if removes => self.remove_unlisted().await,
                Some(ended) = self.tasks.join_next() => anyhow::bail!("the polls of {} ended unexpectedly", ended?.0),
                Ok(()) = self.settings.changed() => self.follow_settings().await?,
                Ok(()) = self.active.changed() => self.follow_settings().await?,
            }
        }
    }

    /// Polls the endpoints of the current settings, or none while another replica does.
    async fn follow_settings(&mut self) -> anyhow::Result<()> {
        let settings = Arc::clone(&self.settings.borrow_and_update());
        if *self.active.borrow_and_update() {
            return self.apply(&settings).await;
        }
        // Their apps stay: the other replica updates them.
        let stopped = self.stop_all_but(&[]).await?;
        stopped.keys().for_each(|app| self.forget_metrics(app));
        if !stopped.is_empty() {
            tracing::info!("another replica polls the {} endpoints of this one", stopped.len());
        }
        Ok(())
    }

    /// Starts and stops endpoints according to `settings`.
    async fn apply(&mut self, settings: &PollSettings) -> anyhow::Result<()> {
        self.warn_once(settings);
        self.shared.set_max_body_bytes(settings.max_body_bytes);
        let wanted: Vec<_> = settings.targets().collect();
        let stopped = self.stop_all_but(&wanted).await?;
        let kept = self.running.len();
        for (target, offset) in wanted {
            if !self.running.contains_key(&target.endpoint.name) {
                self.start(target, offset, &stopped);
            }
        }
        let gone: Vec<_> = stopped.keys().filter(|app| !self.running.contains_key(*app)).collect();
        gone.iter().for_each(|app| self.forget(app));
        let (removed, changed, now) = (gone.len(), stopped.len() - gone.len(), self.running.len());
        if removed + now > kept {
            let added = now - kept - changed;
            tracing::info!(added, changed, removed, "polling {now} endpoints");
        }
        Ok(())
    }

    /// Removes polled apps that are no endpoints of the settings in force. Another replica has polled them, or this one in an earlier run, and
    /// no replica will again.
    async fn remove_unlisted(&self) {
        let is_polled = |origin: &Origin| origin.format == Format::Poll;
        let unlisted = unlisted_apps(&self.context.inlet, is_polled, |app| self.running.contains_key(app)).await;
        for app in &unlisted {
            self.forget(app);
            tokio::task::yield_now().await;
        }
        if !unlisted.is_empty() {
            let removed = unlisted.len();
            tracing::info!(removed, "removed polled apps of other replicas that are no endpoints of this one");
        }
    }

    /// Stops the tasks of removed and changed endpoints, and returns their schedules.
    async fn stop_all_but(&mut self, wanted: &[(Target, f64)]) -> anyhow::Result<HashMap<AppName, PollSchedule>> {
        let wanted: HashMap<_, _> = wanted.iter().map(|(target, _)| (&target.endpoint.name, target)).collect();
        let ended = self.running.extract_if(|app, running| wanted.get(app) != Some(&&*running.target));
        let mut left = ended.map(|(_, running)| running.stop.cancel()).count();
        let mut stopped = HashMap::new();
        while left > 0
            && let Some(ended) = self.tasks.join_next().await
        {
            stopped.extend([ended?]);
            left -= 1;
        }
        Ok(stopped)
    }

    fn start(&mut self, target: Target, offset: f64, stopped: &HashMap<AppName, PollSchedule>) {
        let (app, target) = (target.endpoint.name.clone(), Arc::new(target));
        let fresh = PollSchedule::new(Instant::now(), target.endpoint.interval, offset, target.endpoint.stale_after);
        let schedule = match stopped.get(&app) {
            Some(before) => fresh.resume(before),
            None => fresh,
        };
        let stop = CancellationToken::new();
        let task = EndpointTask::new(Arc::clone(&target), schedule, Arc::clone(&self.shared), self.context.clone());
        let work = task.run(stop.clone());
        let name = app.clone();
        self.tasks.spawn(async move { (name, work.await) });
        self.running.insert(app, RunningEndpoint { target, stop });
    }

    /// Removes an endpoint from the store and from the self metrics.
    fn forget(&self, app: &AppName) {
        let PollContext { inlet, clock, .. } = &self.context;
        inlet.remove(app, clock());
        self.forget_metrics(app);
    }

    /// Removes an endpoint from the self metrics.
    fn forget_metrics(&self, app: &AppName) {
        let PollContext {
            peer_samples, telemetry, ..
        } = &self.context;
        peer_samples.put(app, None);
        let theirs = |[endpoint]: &[Arc<str>; 1]| **endpoint == *app.as_str();
        telemetry.poll_up.forget(theirs);
        telemetry.poll_duration_seconds.forget(theirs);
        telemetry.poll_panics_total.forget(theirs);
    }

    fn warn_once(&mut self, settings: &PollSettings) {
        let now = settings.allow_invalid_certs && !settings.endpoints.is_empty();
        if now && !self.warned {
            tracing::warn!(
                "poll_external.allow_invalid_certs is on: certificates of https endpoints are not verified, so polls can be read and modified in transit"
            );
        }
        self.warned = now;
    }
}

impl Service for Polls {
    fn name(&self) -> &str {
        "polls"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.work(stop))
    }
}
