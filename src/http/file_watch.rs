//! Files that are read again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::supervise::blocking;

/// Interval of looking at the files. A change is read once it has stood for one interval, because a certificate and its key are replaced
/// one after the other; so it is in force after two at most.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Device, inode, size, and times of change of each file; none for one that is not there.
type Seen = Vec<Option<[i64; 7]>>;

/// A set of files and the state in which they were read.
#[derive(Debug)]
pub(super) struct FileWatch {
    files: Vec<PathBuf>,
    /// The state of the files that was read last.
    read: Seen,
    /// A newer state, at the last look.
    changed: Option<Seen>,
}

impl FileWatch {
    /// Files that have just been read.
    pub(super) async fn new(files: Vec<PathBuf>) -> Self {
        Self {
            read: look(files.clone()).await,
            files,
            changed: None,
        }
    }

    /// Watches other files, which have just been read.
    pub(super) async fn set_files(&mut self, files: Vec<PathBuf>) {
        if self.files != files {
            *self = Self::new(files).await;
        }
    }

    /// Returns true if the files have changed since they were read, and not since the last look. They then have to be read.
    pub(super) async fn has_changed(&mut self) -> bool {
        let seen = look(self.files.clone()).await;
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
