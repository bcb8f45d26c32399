//! The proxy's own metrics: its instruments, its server and process, and totals and applications of the store.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::app_metrics::AppMetrics;
use crate::http::ServerMetrics;
use crate::store::View;
use crate::telemetry::{PREFIX, Telemetry, header, sample};

/// Writes the proxy's own metrics.
#[derive(Debug)]
pub struct SelfMetrics {
    server: ServerMetrics,
    telemetry: Arc<Telemetry>,
    app_metrics: AppMetrics,
}

impl SelfMetrics {
    /// Metrics of this server and these instruments.
    #[must_use]
    pub fn new(telemetry: Arc<Telemetry>, server: ServerMetrics) -> Self {
        Self {
            server,
            telemetry,
            app_metrics: AppMetrics::default(),
        }
    }

    /// The own families that do not grow with the number of applications, as text format 0.0.4.
    #[must_use]
    pub fn render(&self, view: &View, now: Instant) -> Bytes {
        let mut out = String::with_capacity(8 * 1024);
        self.server.write(&mut out, now, |out| {
            totals(out, view);
            self.telemetry.write(out);
        });
        out.into()
    }

    /// The self metrics about each app.
    #[must_use]
    pub const fn app_metrics(&self) -> &AppMetrics {
        &self.app_metrics
    }
}

fn totals(out: &mut String, view: &View) {
    let totals = view.totals();
    let mut family = |name: &str, help: &str, value: u64| {
        let name = format!("{PREFIX}{name}");
        header(out, &name, "gauge", help);
        sample(out, &name, "", value);
    };
    family("apps", "Applications known, those without data included.", totals.apps as u64);
    family("bytes", "Bytes of exposition text stored.", totals.bytes);
    family(
        "store_memory_bytes",
        "Memory for texts, their index, tables and rendered forms, unfinished responses included; bounded by store.max_memory.",
        view.memory(),
    );
    family(
        "store_memory_limit_bytes",
        "Bound of exporter_proxy_store_memory_bytes: store.max_memory, or what follows from the machine.",
        view.memory_limit(),
    );
    if let Some(series) = totals.series {
        family("series", "Series stored.", series);
    }
}
