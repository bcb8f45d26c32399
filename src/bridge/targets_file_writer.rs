//! The service that writes the targets file and expires aliases.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::proxy_registry::ProxyRegistry;
use super::{Settings, targets_file};
use crate::supervise::{Readiness, Service, blocking};

/// Retry interval after a failed write.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The part of the program in its reasons for not being ready.
const PART: &str = "targets file";

/// Limit on the interval between searches for expired aliases.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(3_600);

pub(super) struct TargetsFileWriter {
    registry: Arc<ProxyRegistry>,
    path: PathBuf,
    settings: watch::Receiver<Settings>,
    readiness: Arc<Readiness>,
    written: Option<String>,
    warned: bool,
    /// True until the file is created, if it did not exist at start.
    missing: bool,
}

impl TargetsFileWriter {
    /// Reads the targets file of the last run.
    ///
    /// # Errors
    ///
    /// If the file exists and cannot be read. Starting with an empty list would make Prometheus drop all targets.
    pub(super) fn open(
        registry: Arc<ProxyRegistry>,
        settings: watch::Receiver<Settings>,
        readiness: Arc<Readiness>,
    ) -> anyhow::Result<Self> {
        let path = settings.borrow().targets_file.clone();
        let shown = path.display().to_string();
        targets_file::remove_leftovers(&path);
        let found = targets_file::load(&path).map_err(|e| anyhow::anyhow!("bridge.targets_file: cannot read {shown}: {e}"))?;
        let missing = found.is_none();
        if let Some(text) = found {
            // A container's mount may start as an empty file.
            if !text.trim().is_empty() {
                let (entries, faults) = targets_file::parse(&text, Instant::now()).map_err(|e| {
                    anyhow::anyhow!(
                        "bridge.targets_file: {shown} is not a valid targets file ({e}); move it away to start with an empty one"
                    )
                })?;
                for fault in faults {
                    tracing::warn!("skipped a target of the last run: {fault}");
                }
                registry.restore(entries);
            }
        }
        Ok(Self {
            registry,
            path,
            settings,
            readiness,
            written: None,
            warned: false,
            missing,
        })
    }

    /// The times at which expired aliases are removed. The first one is now.
    fn checks(&mut self) -> Interval {
        let mut checks = interval(check_interval(self.settings.borrow_and_update().entry_expiry));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks
    }

    /// Writes the file if its text has changed; returns false if that failed.
    async fn write(&mut self) -> bool {
        let text = self.registry.targets();
        if self.written.as_ref() == Some(&text) {
            return true;
        }
        let (path, to_write) = (self.path.clone(), text.clone());
        let outcome = blocking(move || targets_file::store(&path, &to_write)).await;
        let shown = self.path.display();
        match outcome {
            Ok(in_place) => {
                if in_place && !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!("{shown} cannot be replaced (bind mount?) and is written in place: a reader may see a partial file");
                }
                if self.readiness.clear(PART) {
                    tracing::info!("{shown} can be written again");
                }
                if std::mem::take(&mut self.missing) {
                    let made = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
                    tracing::info!("created the targets file {} (bridge.targets_file)", made.display());
                }
                self.written = Some(text);
                true
            }
            Err(error) => {
                let what = format!("cannot write {shown}: {error}");
                if self.readiness.obstruct(PART, what.clone()) {
                    tracing::error!("{what}; retrying every {} s", RETRY_INTERVAL.as_secs());
                }
                false
            }
        }
    }
}

/// The interval between searches for expired aliases: an alias lives for at most a third longer than configured, or an hour.
fn check_interval(entry_expiry: Duration) -> Duration {
    (entry_expiry / 3).min(MAX_CHECK_INTERVAL)
}

impl Service for TargetsFileWriter {
    fn name(&self) -> &str {
        "targets file"
    }

    fn run(mut self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut checks = self.checks();
            loop {
                let written_ok = self.write().await;
                let registry = self.registry.clone();
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = checks.tick() => registry.expire(),
                    () = registry.changed() => {}
                    // The first tick comes at once, so a shorter expiry takes effect now.
                    Ok(()) = self.settings.changed() => checks = self.checks(),
                    () = tokio::time::sleep(RETRY_INTERVAL), if !written_ok => {}
                }
            }
            self.write().await;
            Ok(())
        })
    }
}
