//! Polling: exporters that do not push are asked, each on its own clock.
//!
//! [`Polls`] follows the settings: endpoints that appear are announced to the store and polled, endpoints that disappear are
//! removed from it, endpoints that stay the same notice nothing. One task owns one endpoint, so polls of it never overlap,
//! and whatever a target does costs its own task's time alone.

mod authorization;
mod body;
mod course;
mod endpoint;
mod failure;
mod fetch;
mod files;
mod ipfs;
mod lenient;
mod link;
mod settings;
mod socket;
mod trust;

pub use settings::{Credentials, Endpoint, Password, Question, Settings};

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::{AppName, Clock};
use crate::store::Inlet;
use crate::supervise::Service;
use crate::telemetry::SharedTelemetry;
use course::Course;
use endpoint::{Listeners, Worker};
use fetch::Shared;
use settings::Target;

/// Returns the files of an endpoint that cannot be used now, as texts. A poll reads them each time, so they may come later.
pub async fn unusable_files(endpoint: &Endpoint) -> Vec<String> {
    let mut found = Vec::new();
    if let Err(failure) = authorization::header(endpoint.credentials.as_ref()).await {
        found.push(failure.to_string());
    }
    if let Some(file) = &endpoint.ca_file
        && let Err(failure) = trust::Trust::File(file.clone().into(), None).config().await
    {
        found.push(failure.to_string());
    }
    found
}

/// The part that polls.
#[derive(Debug)]
pub struct Polls {
    settings: watch::Receiver<Arc<Settings>>,
    listeners: Listeners,
    shared: Arc<Shared>,
    /// The endpoints at work, by app. As many as the settings list.
    running: HashMap<AppName, Running>,
    tasks: JoinSet<(AppName, Course)>,
    /// Whether it was said that certificates are not checked.
    warned: bool,
}

#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    stop: CancellationToken,
}

impl Polls {
    /// A part that polls what `settings` says at any time and writes what it finds into `inlet`.
    #[must_use]
    pub fn new(settings: watch::Receiver<Arc<Settings>>, inlet: Inlet, telemetry: SharedTelemetry, clock: Clock) -> Self {
        Self {
            settings,
            listeners: Listeners { inlet, telemetry, clock },
            shared: Arc::default(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            warned: false,
        }
    }

    async fn work(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let settings = Arc::clone(&self.settings.borrow_and_update());
        self.apply(&settings).await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = self.tasks.join_next() => anyhow::bail!("the polls of {} ended although nobody asked them to", ended?.0),
                Ok(()) = self.settings.changed() => {
                    let settings = Arc::clone(&self.settings.borrow_and_update());
                    self.apply(&settings).await?;
                }
            }
        }
    }

    /// Makes the endpoints at work those of `settings`.
    async fn apply(&mut self, settings: &Settings) -> anyhow::Result<()> {
        self.warn_once(settings);
        let wanted: Vec<_> = settings.targets().collect();
        let stopped = self.stop_all_but(&wanted).await?;
        let kept = self.running.len();
        for (target, place) in wanted {
            if !self.running.contains_key(&target.endpoint.name) {
                self.start(target, place, &stopped);
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

    /// Ends the tasks of endpoints that are gone or have changed, and gives back how they have been doing.
    async fn stop_all_but(&mut self, wanted: &[(Target, f64)]) -> anyhow::Result<HashMap<AppName, Course>> {
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

    fn start(&mut self, target: Target, place: f64, stopped: &HashMap<AppName, Course>) {
        let (app, target) = (target.endpoint.name.clone(), Arc::new(target));
        let fresh = Course::new(Instant::now(), target.endpoint.interval, place, target.endpoint.stale_after);
        let course = match stopped.get(&app) {
            Some(before) => fresh.resume(before),
            None => fresh,
        };
        let stop = CancellationToken::new();
        let worker = Worker::new(Arc::clone(&target), course, Arc::clone(&self.shared), self.listeners.clone());
        let work = worker.run(stop.clone());
        let name = app.clone();
        self.tasks.spawn(async move { (name, work.await) });
        self.running.insert(app, Running { target, stop });
    }

    /// Forgets all that is known of an endpoint.
    fn forget(&self, app: &AppName) {
        let Listeners { inlet, telemetry, clock } = &self.listeners;
        inlet.remove(app, clock());
        inlet.put_peers(app, None);
        let theirs = |[endpoint]: &[Arc<str>; 1]| **endpoint == *app.as_str();
        telemetry.poll_up.forget(theirs);
        telemetry.poll_duration_seconds.forget(theirs);
        telemetry.poll_panics_total.forget(theirs);
    }

    fn warn_once(&mut self, settings: &Settings) {
        let now = settings.allow_invalid_certs && !settings.endpoints.is_empty();
        if now && !self.warned {
            tracing::warn!(
                "poll_external.allow_invalid_certs is on: whoever sits between the proxy and a polled https endpoint can read and change what it says"
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
