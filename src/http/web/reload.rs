//! Reads the web configuration file and the files that it names again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::WebPolicy;
use crate::http::file_watch::WatchedFiles;
use crate::http::web_config::{CheckedWebConfig, read_web_config};
use crate::supervise::{Notes, blocking};

/// The files of a web configuration. Content with faults changes nothing: the previous configuration stays.
#[derive(Debug)]
pub(super) struct WebConfigFiles {
    pub(super) policy: Arc<WebPolicy>,
    pub(super) notes: Arc<Notes>,
    /// The file, and those that it names.
    pub(super) files: Vec<PathBuf>,
}

impl WatchedFiles for WebConfigFiles {
    fn name(&self) -> &'static str {
        "web configuration"
    }

    fn files(&mut self) -> Vec<PathBuf> {
        self.files.clone()
    }

    async fn reload(&mut self) {
        let path = self.policy.file.clone();
        let reading = blocking(move || read_web_config(&path)).await;
        self.files = reading.files;
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
