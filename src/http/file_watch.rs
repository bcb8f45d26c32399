//! Files that are read again when they change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::supervise::{Service, blocking};

/// Interval of looking at the files. A change is read once it has stood for one interval, because a certificate and its key are replaced
/// one after the other; so it is in force after two at most.
const LOOK: Duration = Duration::from_secs(1);

/// Device, inode, size, and times of change of a file; none for one that is not there.
type FileState = Option<[i64; 7]>;

/// Files that are read again when they change.
pub(super) trait WatchedFiles: Send + 'static {
    /// The name of the service, for its failures.
    fn name(&self) -> &'static str;

    /// The files to look at. Called before each look, because the set may change.
    fn files(&mut self) -> Vec<PathBuf>;

    /// Reads the files again and puts their content into force, or reports why not.
    fn reload(&mut self) -> impl Future<Output = ()> + Send;
}

/// The service that reads files again when they have changed.
#[derive(Debug)]
pub(super) struct FileReload<W> {
    watched: W,
    watch: FileWatch,
}

impl<W: WatchedFiles> FileReload<W> {
    /// Follows files that have just been read.
    pub(super) async fn new(mut watched: W) -> Self {
        let mut watch = FileWatch::default();
        watch.mark_read(watched.files()).await;
        Self { watched, watch }
    }

    async fn check(&mut self) {
        if self.watch.has_changed(self.watched.files()).await {
            self.watched.reload().await;
            // Files that the new content names have been read with it.
            self.watch.mark_read(self.watched.files()).await;
        }
    }
}

impl<W: WatchedFiles> Service for FileReload<W> {
    fn name(&self) -> &str {
        self.watched.name()
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

/// The states of files in which they were read.
#[derive(Debug, Default)]
struct FileWatch {
    /// The state that was read last. A file without one has not been read by this service, so it counts as changed.
    read: BTreeMap<PathBuf, FileState>,
    /// A newer state, at the last look.
    changed: Option<BTreeMap<PathBuf, FileState>>,
}

impl FileWatch {
    /// Takes the present states of files that were not looked at before for those that were read.
    async fn mark_read(&mut self, files: Vec<PathBuf>) {
        let is_new = |path: &PathBuf| !self.read.contains_key(path);
        let new = files.into_iter().filter(is_new).collect();
        self.read.extend(look(new).await);
    }

    /// Returns true if the files have changed since they were read, and not since the last look. They then have to be read.
    async fn has_changed(&mut self, files: Vec<PathBuf>) -> bool {
        let seen = look(files).await;
        self.read.retain(|path, _| seen.contains_key(path));
        if seen == self.read {
            self.changed = None;
            return false;
        }
        if self.changed.as_ref() != Some(&seen) {
            self.changed = Some(seen);
            return false;
        }
        self.changed = None;
        self.read = seen;
        true
    }
}

async fn look(files: Vec<PathBuf>) -> BTreeMap<PathBuf, FileState> {
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
    let states = move || {
        let with_state = |path| (state(&path), path);
        files.into_iter().map(with_state).map(|(state, path)| (path, state)).collect()
    };
    blocking(states).await
}

#[cfg(test)]
mod tests;
