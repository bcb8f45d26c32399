//! The reading half.

use std::sync::Arc;
use std::time::Duration;

use super::{App, Exposed, Prepared, Shared, Text};
use crate::exposition::catalog::{Selection, alone};
use crate::exposition::raw;
use crate::exposition::render::Variant;

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
    /// Series; `None` where texts are not read.
    pub series: Option<u64>,
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
            series: self.shared.reads.then(|| latest.series()),
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

    /// Whether texts are read and merged, so that they can be given in any format.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.shared.reads
    }

    /// The exposition of these applications, with every update that was acknowledged before this call, as far as it is
    /// prepared; [`Prepared::finish`] does what is left to do.
    #[must_use]
    pub fn exposition(&self, variant: Variant, which: &Selection<'_>) -> Prepared {
        let Selection::Apps(names) = which else {
            return Prepared::everything(Arc::clone(&self.shared), variant);
        };
        let mut latest = self.shared.latest();
        if let Some(catalog) = latest.catalog() {
            return Prepared::planned(Arc::clone(&self.shared), catalog.plan(variant, which));
        }
        let chosen = latest.apps().filter(|app| names.contains(&app.name.as_str()));
        let bodies = chosen.map(|app| app.text.body().clone()).collect();
        Prepared::raw(Arc::clone(&self.shared), bodies)
    }

    /// What one application has handed in, without added labels; `None` if it is unknown.
    #[must_use]
    pub fn app_exposition(&self, name: &str, variant: Variant) -> Option<Exposed> {
        let app = self.app(name)?;
        Some(match &app.text {
            Text::Read(exposition) => Exposed::merged(alone(exposition, variant)),
            Text::Raw(body, _) => Exposed::raw(raw::concatenate([body])),
        })
    }
}
