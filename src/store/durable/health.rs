//! Whether what has to survive can be written, told when that changes.

use std::sync::Arc;

/// What is told: which log, and what is wrong with it, or `None` once it is well again.
pub(super) type Told = Arc<dyn Fn(&'static str, Option<&str>) + Send + Sync>;

/// The health of one log.
pub(super) struct Health {
    log: &'static str,
    ill: bool,
    told: Told,
}

impl Health {
    pub(super) fn new(log: &'static str, told: Told) -> Self {
        Self { log, ill: false, told }
    }

    /// Whether the last thing that was tried has failed.
    pub(super) fn is_ill(&self) -> bool {
        self.ill
    }

    /// Something could not be written.
    pub(super) fn ill(&mut self, why: &str) {
        if !std::mem::replace(&mut self.ill, true) {
            tracing::error!(log = self.log, "cannot write: {why}");
            (self.told)(self.log, Some(why));
        }
    }

    /// Everything could be written.
    pub(super) fn well(&mut self) {
        if std::mem::replace(&mut self.ill, false) {
            tracing::info!(log = self.log, "can be written again");
            (self.told)(self.log, None);
        }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("log", &self.log)
            .field("ill", &self.ill)
            .finish_non_exhaustive()
    }
}
