//! Reload of the configuration.

use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::ConfigSource;
use super::secrets::check_secrets;
use crate::config::{self, ExpositionConfig, Settings};
use crate::http::{AccessControl, Tokens};
use crate::sources::events::PostRate;
use crate::sources::polls;
use crate::sources::receiver::{Budget, Limits};
use crate::store::Inlet;
use crate::supervise::{Service, service_manager};
use crate::telemetry::Telemetry;

/// Queued reload requests: more of them would all read the same file.
const WAITING: usize = 4;

/// A request to reload: receives the outcome, with the faults of the configuration.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// Handles that apply new settings at run time.
pub(super) struct Reloadable {
    pub(super) inlet: Inlet,
    /// The rules in force, since merging everything again is expensive.
    pub(super) exposition: ExpositionConfig,
    pub(super) receiver_limits: watch::Sender<Limits>,
    pub(super) budget: Arc<Budget>,
    pub(super) polls: watch::Sender<Arc<polls::PollSettings>>,
    pub(super) access: Arc<AccessControl>,
    pub(super) post_rate: Arc<PostRate>,
}

impl Reloadable {
    fn apply(&mut self, settings: &Settings, tokens: Tokens) {
        self.inlet.set_limits(settings.store.limits.clone());
        if self.exposition != settings.exposition {
            self.inlet.set_mode(settings.exposition.store_mode(&settings.events.metric_name));
            self.exposition = settings.exposition.clone();
        }
        // A disabled service has no receiver.
        let _ = self.receiver_limits.send(settings.receiver.limits.clone());
        let _ = self.polls.send(Arc::new(settings.polls.clone()));
        self.budget.set_limit(settings.receiver.max_inflight_bytes);
        self.post_rate.set(settings.events.post_rate.per_second());
        self.access.set(settings.access(), tokens);
    }
}

/// The part that reloads on SIGHUP and on request.
pub(super) struct Reloader {
    /// The settings in force.
    current: Settings,
    config_source: ConfigSource,
    reloadable: Reloadable,
    telemetry: Arc<Telemetry>,
    hangup: Signal,
    requests: mpsc::Receiver<Request>,
}

impl Reloader {
    pub(super) fn new(
        current: Settings,
        config_source: ConfigSource,
        reloadable: Reloadable,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<(Self, mpsc::Sender<Request>)> {
        let hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let (sender, requests) = mpsc::channel(WAITING);
        Ok((
            Self {
                current,
                config_source,
                reloadable,
                telemetry,
                hangup,
                requests,
            },
            sender,
        ))
    }

    /// Reads the configuration and applies its reloadable keys; a faulty one changes nothing.
    fn reload(&mut self) -> Result<(), String> {
        let loaded = config::load(self.config_source.named.as_deref(), &self.config_source.environment);
        let (loaded, exposed) = match loaded.and_then(|loaded| Ok((check_secrets(&loaded)?, loaded))) {
            Ok((exposed, loaded)) => (loaded, exposed),
            Err(faults) => return Err(self.not_reloaded(&faults.to_string())),
        };
        // What a user or a certificate name refers to may come with the next change of the web configuration file.
        let tokens = match loaded.settings.access().read_tokens() {
            Ok(tokens) => tokens,
            Err(faults) => return Err(self.not_reloaded(&format!("http.access: {}", faults.join("\n")))),
        };
        for warning in exposed {
            tracing::warn!("{warning}");
        }
        let changes = config::changes(&self.current, &loaded.settings);
        for key in &changes.needs_restart {
            tracing::warn!("{key} has changed and needs a restart");
        }
        self.current = self.current.with_reloaded(loaded.settings);
        self.reloadable.apply(&self.current, tokens);
        self.telemetry.config_last_reload_successful.set(1);
        if changes.reloaded.is_empty() {
            tracing::info!("configuration reloaded, no changes");
        } else {
            tracing::info!(changed = changes.reloaded.join(", "), "configuration reloaded");
        }
        Ok(())
    }

    /// Notes a failed reload; returns the faults.
    fn not_reloaded(&self, faults: &str) -> String {
        self.telemetry.config_last_reload_successful.set(0);
        tracing::error!("configuration not reloaded, the previous one stays in force:\n{faults}");
        faults.to_owned()
    }
}

impl Service for Reloader {
    fn name(&self) -> &str {
        "reloader"
    }

    fn run(mut self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            loop {
                let request = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    Some(()) = self.hangup.recv() => None,
                    Some(request) = self.requests.recv() => Some(request),
                };
                service_manager::reloading().await;
                let outcome = self.reload();
                service_manager::ready(match outcome {
                    Ok(()) => "configuration reloaded",
                    Err(_) => "the last reload failed, the earlier configuration is in force",
                })
                .await;
                if let Some(request) = request {
                    // The client may have disconnected.
                    let _ = request.send(outcome);
                }
            }
        })
    }
}
