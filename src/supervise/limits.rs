//! The limit on open files, raised as far as we may.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors that are not connections: standard streams, listeners, the event queue, configuration and state files, polls.
const OTHER_FILES: u64 = 128;

/// Raises the soft limit on open files to the hard one and returns what holds now.
///
/// # Errors
///
/// When the limits can be neither read nor set.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// A sentence for the log where `limit` open files cannot hold `connections`, and none where they can.
#[must_use]
pub fn too_few_open_files(limit: u64, connections: u64) -> Option<String> {
    let needed = connections.saturating_add(OTHER_FILES);
    (limit < needed).then(|| {
        format!(
            "the limit on open files is {limit}, but the configured connections need {needed}: raise it (ulimit -n, LimitNOFILE=) or lower exporter.concurrent_requests"
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_open_files().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (raised, raised));
    }

    #[test]
    fn a_limit_that_is_too_low_is_said_with_both_numbers() {
        assert_eq!(too_few_open_files(4_096, 2_048), None);
        let text = too_few_open_files(1_024, 2_048).unwrap();
        assert!(text.contains("1024") && text.contains("2176"), "{text}");
    }
}
