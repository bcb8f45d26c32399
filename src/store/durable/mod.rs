//! What survives a restart: the files of `store.path`.
//!
//! `events.log` holds events, cursors and keys ([`journal`]); `apps-N.log` hold the applications ([`app_log`]); `lock` is
//! locked by the process that uses the folder. Both logs have the form of [`frames`], and all their reading and writing
//! goes through [`folder`], so that tests can fill the disk and pull the plug at any byte.

mod codec;
mod entry_codec;
mod folder;
mod frames;
mod health;
mod journal;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod pretend;
mod writer;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use folder::Folder;

pub use frames::Unreadable;
pub use health::Health;
pub use journal::inspect as inspect_journal;
pub(super) use writer::{Door, Writer};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("{0} is in use by another exporter-proxy (store.path)")]
    InUse(String),
    /// The file system refuses.
    #[error("cannot {doing} {path}: {source} (store.path)")]
    Io {
        /// The folder or file.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// A file is there that is not to be believed; nothing was changed.
    #[error("cannot read {path}: {why} (store.path)")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: Unreadable,
    },
}

/// The state behind a lock; changes are whole, so one that a panic has left locked is taken all the same.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that a file of the name of our temporary one is what a crash of ours has left, which the next one replaces.
fn check_leftover(folder: &dyn Folder, name: &str) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io {
        path: folder.show(name),
        doing: "read",
        source,
    };
    match folder.read(name).map_err(fail)? {
        Some(bytes) if !frames::may_be_ours(&bytes) => Err(OpenError::Unreadable {
            path: folder.show(name),
            why: Unreadable::Foreign,
        }),
        _ => Ok(()),
    }
}

fn report_torn(path: &str, contents: &frames::Contents) {
    if contents.torn > 0 {
        tracing::warn!(
            file = path,
            bytes = contents.torn,
            "cut off what the last run had begun to write and not finished"
        );
    }
}
