//! The reading half.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{App, Shared};
use crate::exposition::raw;

/// The reading half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Applications, those without data included.
    pub apps: usize,
    /// Bytes of exposition text.
    pub bytes: u64,
}

/// What was rendered last, and of which generation.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    generation: Option<u64>,
    segments: Arc<[Bytes]>,
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// All applications in the order of first sight.
    #[must_use]
    pub fn apps(&self) -> Vec<Arc<App>> {
        self.shared.latest().apps().cloned().collect()
    }

    /// One application.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<Arc<App>> {
        self.shared.latest().get(name).cloned()
    }

    /// How much is stored now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let latest = self.shared.latest();
        Totals {
            apps: latest.len(),
            bytes: latest.bytes(),
        }
    }

    /// A number that changes whenever an application's data or its time of update does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.latest().generation()
    }

    /// The age at which pushed applications are forgotten.
    #[must_use]
    pub fn expire_after(&self) -> Option<Duration> {
        self.shared.latest().limits.expire_after
    }

    /// The exposition of all applications, with every update that was acknowledged before this call.
    #[must_use]
    pub fn exposition(&self) -> Arc<[Bytes]> {
        // Whoever comes first renders while the others wait here; pushes only ever wait for the handles to be copied.
        let mut rendered = self.shared.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, bodies) = {
            let latest = self.shared.latest();
            if rendered.generation == Some(latest.generation()) {
                return Arc::clone(&rendered.segments);
            }
            (latest.generation(), latest.apps().map(|app| app.body.clone()).collect::<Vec<_>>())
        };
        *rendered = Rendered {
            generation: Some(generation),
            segments: raw::concatenate(&bodies).into(),
        };
        Arc::clone(&rendered.segments)
    }
}
