//! The health of the logs: reports when a log cannot be written, and when it can be written again.

use std::sync::Arc;

/// Called with the name of a log and its error, or `None` after a recovery.
pub(super) type StatusCallback = Arc<dyn Fn(&'static str, Option<&str>) + Send + Sync>;

/// The health of one log.
pub(super) struct Health {
    log: &'static str,
    failed: bool,
    on_change: StatusCallback,
}

impl Health {
    pub(super) fn new(log: &'static str, on_change: StatusCallback) -> Self {
        Self {
            log,
            failed: false,
            on_change,
        }
    }

    /// True if the last write has failed.
    pub(super) fn is_failed(&self) -> bool {
        self.failed
    }

    /// Something could not be written.
    pub(super) fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!(log = self.log, "cannot write to store.path: {why}");
            (self.on_change)(self.log, Some(why));
        }
    }

    /// Everything could be written.
    pub(super) fn recovered(&mut self) {
        if std::mem::replace(&mut self.failed, false) {
            tracing::info!(log = self.log, "writing to store.path works again");
            (self.on_change)(self.log, None);
        }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("log", &self.log)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
