//! Reload of the configuration, of the proxy and of the bridge.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::secrets::check_secrets;
use super::{ConfigSource, access, web};
use crate::config::{self, Environment, Loaded, ProgramKind, Settings};
use crate::http::{AccessControl, Tokens};
use crate::supervise::secret_file::FileRule;
use crate::supervise::{Service, blocking, service_manager};
use crate::telemetry::Gauge;

/// Queued reload requests: more of them would all read the same file.
const WAITING: usize = 4;

/// A request to reload: receives the outcome, with the faults of the configuration.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// The services of a program that take new settings at run time. The access settings of its HTTP port are the reloader's.
pub(super) trait Reloadable: Send + 'static {
    /// The program, which decides which keys concern it.
    const PROGRAM: ProgramKind;

    /// The metric of the outcome: 1 if the last reload succeeded, 0 if the previous configuration is still in force.
    fn successful(&self) -> &Gauge;

    /// Puts settings into force.
    fn apply(&mut self, settings: &Settings);
}

/// The service that reloads on SIGHUP and on request.
pub(super) struct Reloader<R> {
    /// The settings in force.
    current: Settings,
    /// The file that they were read from; `None` for the built-in defaults.
    file: Option<PathBuf>,
    environment: Arc<Environment>,
    access: Arc<AccessControl>,
    secret_rule: watch::Sender<FileRule>,
    reloadable: R,
    hangup: Signal,
    requests: mpsc::Receiver<Request>,
}

impl<R: Reloadable> Reloader<R> {
    /// The service, and the sender of requests to it.
    pub(super) fn new(
        current: Settings,
        config_source: ConfigSource,
        (access, secret_rule): (Arc<AccessControl>, watch::Sender<FileRule>),
        reloadable: R,
        hangup: Signal,
    ) -> (Self, mpsc::Sender<Request>) {
        let (sender, requests) = mpsc::channel(WAITING);
        let reloader = Self {
            current,
            file: config_source.file,
            environment: Arc::new(config_source.environment),
            access,
            secret_rule,
            reloadable,
            hangup,
            requests,
        };
        (reloader, sender)
    }

    /// Reads the configuration and applies its reloadable keys; a faulty one changes nothing.
    async fn reload(&mut self) -> Result<(), String> {
        let ReadConfig { loaded, tokens, warnings } = match self.read().await {
            Ok(read) => read,
            Err(faults) => {
                self.reloadable.successful().set(0);
                tracing::error!("configuration not reloaded, the previous one stays in force:\n{faults}");
                return Err(faults);
            }
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let changes = config::changes(&self.current, &loaded.settings, R::PROGRAM);
        for key in &changes.needs_restart {
            tracing::warn!("{key} has changed and needs a restart");
        }
        self.file = loaded.source.file;
        self.current = self.current.with_reloaded(loaded.settings);
        self.reloadable.apply(&self.current);
        self.access.set(self.current.access(), tokens);
        // Without a cluster it has no receiver.
        self.secret_rule.send_replace(self.current.secrets.file_rule());
        self.reloadable.successful().set(1);
        if changes.reloaded.is_empty() {
            tracing::info!("configuration reloaded, no changes");
        } else {
            tracing::info!(changed = changes.reloaded.join(", "), "configuration reloaded");
        }
        Ok(())
    }

    /// Reads the configuration, and refuses what a start would refuse. Exclusive, because the services that take settings need not be `Sync`.
    async fn read(&mut self) -> Result<ReadConfig, String> {
        let (file, environment) = (self.file.clone(), Arc::clone(&self.environment));
        let mut read = blocking(move || ReadConfig::read(file.as_deref(), &environment)).await?;
        let settings = &read.loaded.settings;
        // The web configuration file is that of the start. One with faults is reported where it is followed.
        let web = web::read(&self.current).await.ok().flatten();
        let faults = access::identity_faults(&self.current.with_reloaded(settings.clone()), web.as_ref());
        if let Some(faults) = read.loaded.faults(faults) {
            return Err(faults.to_string());
        }
        read.warnings.extend(match R::PROGRAM {
            ProgramKind::Proxy => settings.warnings(),
            ProgramKind::Bridge => settings.bridge_warnings(),
        });
        Ok(read)
    }
}

/// A configuration that can be put into force.
struct ReadConfig {
    loaded: Loaded,
    /// The tokens of all files in its tables.
    tokens: Tokens,
    /// Warnings of the kinds that a start logs.
    warnings: Vec<String>,
}

impl ReadConfig {
    /// Reads the file and the token files that it names. Blocks on the file system.
    fn read(file: Option<&Path>, environment: &Environment) -> Result<Self, String> {
        let loaded = config::load_again(file, environment).map_err(|faults| faults.to_string())?;
        let warnings = check_secrets(&loaded).map_err(|faults| faults.to_string())?;
        let tokens = loaded.settings.access().read_tokens();
        let tokens = tokens.map_err(|faults| format!("http.access: {}", faults.join("\n")))?;
        Ok(Self { loaded, tokens, warnings })
    }
}

impl<R: Reloadable> Service for Reloader<R> {
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
                let outcome = self.reload().await;
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
