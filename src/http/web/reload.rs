//! Follows the web configuration file and the files that it names.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::WebPolicy;
use crate::http::web_config::{CheckedWebConfig, read_web_config};
use crate::supervise::{Notes, Service, blocking};

/// Interval of looking at the files. A change is read once it has stood for one interval, because a certificate and its key are replaced
/// one after the other; so it is in force after two at most.
const LOOK: Duration = Duration::from_secs(1);

/// Device, inode, size, and times of change of each file; none for one that is not there.
type Seen = Vec<Option<[i64; 7]>>;

/// The service that reads the files again when they change. A file with faults changes nothing: the previous configuration stays.
#[derive(Debug)]
pub struct WebConfigReload {
    policy: Arc<WebPolicy>,
    notes: Arc<Notes>,
    files: Vec<PathBuf>,
    /// The state of the files that was read last.
    read: Seen,
    /// A newer state, at the last look.
    changed: Option<Seen>,
}

impl WebConfigReload {
    pub(super) async fn new(policy: Arc<WebPolicy>, files: Vec<PathBuf>, notes: Arc<Notes>) -> Self {
        Self {
            policy,
            notes,
            read: look(files.clone()).await,
            files,
            changed: None,
        }
    }

    async fn check(&mut self) {
        let seen = look(self.files.clone()).await;
        if seen == self.read {
            self.changed = None;
        } else if self.changed.as_ref() != Some(&seen) {
            self.changed = Some(seen);
        } else {
            self.changed = None;
            self.reload(seen).await;
        }
    }

    async fn reload(&mut self, seen: Seen) {
        let path = self.policy.file.clone();
        let reading = blocking(move || read_web_config(&path)).await;
        self.read = seen;
        if self.files != reading.files {
            self.files = reading.files;
            self.read = look(self.files.clone()).await;
        }
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
                self.check().await;
            }
        })
    }
}

async fn look(files: Vec<PathBuf>) -> Seen {
    let state = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let [device, inode, size] = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
        Some([
            device,
            inode,
            size,
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ])
    };
    blocking(move || files.iter().map(state).collect()).await
}
