//! The limit on open files, raised as far as we may.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors that are not connections: standard streams, listeners, the event queue, configuration and state files, polls.
const OTHER_FILES: u64 = 128;

/// Raises the soft limit on open files to the hard one and returns what holds now.
///
/// # Errors
///
/// If the limits can be neither read nor set.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// The limit on open files of this process.
#[must_use]
pub fn open_files() -> u64 {
    // Without a readable limit the number of connections alone is the limit.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// The limit on connections of each of `listeners`: the `wanted` number, unless `limit` open files are too few. Then each gets an equal
/// share, so that clients of one listener never take the file descriptors that another one or a poll needs.
#[must_use]
pub fn connections_per_listener(limit: u64, listeners: usize, wanted: usize) -> usize {
    // A process that may open hardly anything still serves with half of it.
    let for_connections = limit - OTHER_FILES.min(limit / 2);
    // One more is accepted by each listener and waits for a slot.
    let share = (for_connections / listeners.max(1) as u64).saturating_sub(1);
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

/// A sentence for the log where `limit` open files cannot hold `connections`, and none where they can.
#[must_use]
pub fn too_few_open_files(limit: u64, connections: u64) -> Option<String> {
    let needed = connections.saturating_add(OTHER_FILES);
    (limit < needed).then(|| {
        format!(
            "the limit on open files is {limit}, but the configured connections need {needed}, so fewer are served at once: raise it (ulimit -n, LimitNOFILE=) or lower exporter.concurrent_requests"
        )
    })
}

#[cfg(test)]
mod tests;
