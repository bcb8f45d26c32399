//! Persistence: the files of `store.path`.
//!
//! `events.log` holds events, cursors and keys ([`journal`]); `apps-N.log` hold the apps ([`app_log`]); `lock` is
//! locked by the process that uses the directory. Both logs have the form of [`frames`], and all their reading and writing
//! goes through [`directory`], so that tests can fill the disk and pull the plug at any byte.

mod app_codec;
mod app_log;
pub(super) mod codec;
mod directory;
mod entry_codec;
#[cfg(test)]
mod fake;
mod frames;
mod health;
mod journal;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use app_log::{AppLog, Sizes};
use directory::{Directory, Disk};
use health::Health;
use journal::{Journal, REWRITE_SLACK};
use writer::JournalWriter;

use super::stored_apps::StoredApps;
use super::{EventOptions, Inlet, Limits, Mode, Shared, View};
use crate::model::Timestamp;

pub(super) use app_codec::{format_code, format_of};
pub use frames::Unreadable;
pub use threads::{Persistence, PersistenceHandle};
pub(super) use writer::JournalHandle;

/// The reason for not using a directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("{0} is in use by another exporter-proxy: {1} (store.path)")]
    InUse(String, String),
    /// Others than its owner and its group can write to it.
    #[error(
        "{path} can be written by others (mode {mode:04o}), who could put files of their own there; chmod o-w it, or name a directory inside it (store.path)"
    )]
    TooOpen {
        /// The directory.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file system refuses.
    #[error("cannot {doing} {path}: {why} (store.path)")]
    Io {
        /// The directory or file.
        path: String,
        /// The operation that failed.
        doing: &'static str,
        /// The error; part of the text already, so it is not reported as a source.
        why: io::Error,
    },
    /// A file is there that is not to be believed; nothing was changed.
    #[error("cannot read {path}: {why} (store.path)")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason.
        why: Unreadable,
    },
}

/// Opens the store of a directory, creating it if there is none, and locks the directory for this process. `now` is the time of the start,
/// at which the timeouts of scrapers begin again.
///
/// # Errors
/// When another process has the directory, when the file system refuses, and when a file there is foreign or damaged; then
/// nothing was changed.
pub fn open_in(
    path: &Path,
    limits: Limits,
    mode: Mode,
    events: EventOptions,
    now: Timestamp,
) -> Result<(Inlet, View, Persistence), OpenError> {
    let directory: Arc<dyn Directory> = Arc::new(Disk::take(path)?);
    let apps = Mutex::new(StoredApps::new(limits, mode));
    // The journal is read first, because what it cannot read is refused before the other log is touched.
    let (journal, events) = Journal::open(Arc::clone(&directory), events, now, REWRITE_SLACK)?;
    let app_log = AppLog::open(directory, &apps, Sizes::USUAL, now)?;
    let events = Arc::new(events);
    let (writer, journal) = JournalWriter::new(journal, Arc::clone(&events));
    let apps = apps.into_inner().unwrap_or_else(PoisonError::into_inner);
    let shared = Arc::new(Shared::new(apps, events, Some(journal)));
    // What the restart itself has changed, such as newly declared scrapers.
    shared.notify_journal(true);
    let persistence = Persistence {
        writer,
        app_log,
        shared: Arc::clone(&shared),
    };
    Ok((Inlet::new(Arc::clone(&shared)), View::new(shared), persistence))
}

/// Reads the bytes of a log file as a start would, without keeping anything: a log is foreign bytes, and whatever they are,
/// this must end well.
///
/// # Errors
/// When they are no log of ours, or a damaged one.
pub fn inspect_log(bytes: &[u8]) -> Result<(), Unreadable> {
    match app_log::inspect(bytes) {
        Err(Unreadable::Foreign) => journal::inspect(bytes),
        inspected => inspected,
    }
}

/// The state behind a lock; changes are whole, so one that a panic has left locked is taken all the same.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that a file of the name of our temporary one is what a crash of ours has left, which the next one replaces.
fn check_leftover(directory: &dyn Directory, name: &str) -> Result<(), OpenError> {
    let fail = |why| OpenError::Io {
        path: directory.show(name),
        doing: "read",
        why,
    };
    match directory.read(name).map_err(fail)? {
        Some(bytes) if !frames::may_be_ours(&bytes) => Err(OpenError::Unreadable {
            path: directory.show(name),
            why: Unreadable::Foreign,
        }),
        _ => Ok(()),
    }
}

/// Logs that a part of a file was left out: its writing was cut short, or it was damaged since. Without a later frame that
/// vouches for it the two look the same.
fn report_torn(path: &str, bytes: usize, kept: &str) {
    tracing::warn!(file = path, bytes, "skipped incomplete or damaged records, {kept} kept");
}
