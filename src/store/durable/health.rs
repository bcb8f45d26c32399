//! Whether what has to survive can be written, told when that changes.

use std::sync::Arc;

/// What is told: which log, and what is wrong with it, or `None` once it is well again.
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

    /// Whether the last thing that was tried has failed.
    pub(super) fn is_failed(&self) -> bool {
        self.failed
    }

    /// Something could not be written.
    pub(super) fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!(log = self.log, "cannot write: {why}");
            (self.on_change)(self.log, Some(why));
        }
    }

    /// Everything could be written.
    pub(super) fn recovered(&mut self) {
        if std::mem::replace(&mut self.failed, false) {
            tracing::info!(log = self.log, "can be written again");
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
