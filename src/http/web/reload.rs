//! Follows the web configuration file and the files that it names.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::WebPolicy;
use crate::http::file_watch::{FileWatch, LOOK};
use crate::http::web_config::{CheckedWebConfig, read_web_config};
use crate::supervise::{Notes, Service, blocking};

/// The service that reads the files again when they change. A file with faults changes nothing: the previous configuration stays.
#[derive(Debug)]
pub struct WebConfigReload {
    policy: Arc<WebPolicy>,
    notes: Arc<Notes>,
    watch: FileWatch,
}

impl WebConfigReload {
    pub(super) async fn new(policy: Arc<WebPolicy>, files: Vec<PathBuf>, notes: Arc<Notes>) -> Self {
        Self {
            policy,
            notes,
            watch: FileWatch::new(files).await,
        }
    }

    async fn reload(&mut self) {
        let path = self.policy.file.clone();
        let reading = blocking(move || read_web_config(&path)).await;
        self.watch.set_files(reading.files).await;
        let file = self.policy.file.display();
        let about = format!("web configuration {file}");
        let outcome = match reading.outcome {
            Ok(CheckedWebConfig { config, warnings }) => self.policy.replace(config).map(|()| warnings).map_err(str::to_owned),
            Err(faults) => Err(faults.to_string()),
        };
        self.policy.stats.web_config_failed.store(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.notes.clear(&about);
                tracing::info!("web configuration {file} reloaded");
            }
            Err(why) => {
                tracing::error!("web configuration {file} not reloaded, the previous one stays in force:\n{why}");
                self.notes.set(
                    &about,
                    format!("not reloaded, the previous one is in force: {}", why.replace('\n', "; ")),
                );
            }
        }
    }
}

impl Service for WebConfigReload {
    fn name(&self) -> &str {
        "web configuration"
    }

    fn run(mut self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(LOOK) => {}
                }
                if self.watch.has_changed().await {
                    self.reload().await;
                }
            }
        })
    }
}
