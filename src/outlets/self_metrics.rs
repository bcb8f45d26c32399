//! The proxy's own metrics: its instruments, the process, and what the store says of the applications.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::app_metrics::AppMetrics;
use crate::http::HttpStats;
use crate::store::View;
use crate::supervise::listen::ListenerStats;
use crate::telemetry::{PREFIX, Process, Telemetry, header, push_label, sample};

/// Lifetime of the cached process metrics: reading them takes a dozen system calls, as long as all the rest of a small scrape.
const PROCESS_STANDS: Duration = Duration::from_millis(100);

/// The numbers of each listener, by its address or path.
pub type Connections = Vec<(Arc<str>, Arc<ListenerStats>)>;

/// Writes the proxy's own metrics.
#[derive(Debug)]
pub struct SelfMetrics {
    connections: Connections,
    http: Arc<HttpStats>,
    telemetry: Arc<Telemetry>,
    process: Process,
    /// The cached process metrics and their time.
    process_said: Mutex<Option<(Instant, String)>>,
    app_metrics: AppMetrics,
}

impl SelfMetrics {
    /// Metrics of this process, these instruments, these listeners and their HTTP.
    #[must_use]
    pub fn new(telemetry: Arc<Telemetry>, process: Process, connections: Connections, http: Arc<HttpStats>) -> Self {
        Self {
            connections,
            http,
            telemetry,
            process,
            process_said: Mutex::default(),
            app_metrics: AppMetrics::default(),
        }
    }

    /// The own families that do not grow with the number of applications, as text format 0.0.4.
    #[must_use]
    pub fn render(&self, view: &View, now: Instant) -> Bytes {
        let mut out = String::with_capacity(8 * 1024);
        let totals = view.totals();
        let mut family = |name: &str, labels: &str, help: &str, value: u64| {
            let name = format!("{PREFIX}{name}");
            header(&mut out, &name, "gauge", help);
            sample(&mut out, &name, labels, value);
        };
        let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        family("build_info", version, "The version of the program; the value is always 1.", 1);
        family("apps", "", "Applications known, those without data included.", totals.apps as u64);
        family("bytes", "", "Bytes of exposition text stored.", totals.bytes);
        family(
            "store_memory_bytes",
            "",
            "Memory for texts, their index, tables and rendered forms, unfinished responses included; bounded by store.max_memory.",
            view.memory(),
        );
        family(
            "store_memory_limit_bytes",
            "",
            "Bound of exporter_proxy_store_memory_bytes: store.max_memory, or what follows from the machine.",
            view.memory_limit(),
        );
        if let Some(series) = totals.series {
            family("series", "", "Series stored.", series);
        }
        self.listeners(&mut out);
        self.requests(&mut out);
        self.telemetry.write(&mut out);
        self.process(&mut out, now);
        out.into()
    }

    fn process(&self, out: &mut String, now: Instant) {
        let mut said = self.process_said.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = said.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < PROCESS_STANDS);
        if let Some((_, text)) = stands {
            out.push_str(text);
            return;
        }
        let mut text = String::new();
        self.process.write(&mut text);
        out.push_str(&text);
        *said = Some((now, text));
    }

    fn listeners(&self, out: &mut String) {
        let mut family = |name: &str, kind: &str, help: &str, value: fn(&ListenerStats) -> &AtomicU64| {
            let name = format!("{PREFIX}{name}");
            header(out, &name, kind, help);
            for (place, stats) in &self.connections {
                let mut labels = String::new();
                push_label(&mut labels, "listener", place);
                sample(out, &name, &labels, value(stats).load(Ordering::Relaxed));
            }
        };
        family(
            "receiver_connections",
            "gauge",
            "Connections open now, by the address or path they came in on.",
            |stats| &stats.open,
        );
        family("connections_accepted_total", "counter", "Connections accepted.", |stats| {
            &stats.accepted
        });
        family(
            "connection_panics_total",
            "counter",
            "Connections lost to a fault in this program; each is worth a report.",
            |stats| &stats.panicked,
        );
        family(
            "accept_failures_total",
            "counter",
            "Times that the system had no file descriptor or memory for a connection.",
            |stats| &stats.accept_errors,
        );
    }

    fn requests(&self, out: &mut String) {
        let mut family = |name: &str, help: &str, value: &AtomicU64| {
            let name = format!("{PREFIX}http_{name}");
            header(out, &name, "counter", help);
            sample(out, &name, "", value.load(Ordering::Relaxed));
        };
        let http = &*self.http;
        family("requests_total", "Requests whose head was read.", &http.requests);
        family(
            "panics_total",
            "Requests answered with 500 because of a fault in this program; each is worth a report.",
            &http.panics,
        );
        family(
            "cross_site_refused_total",
            "Writes refused because a browser sent them from another site.",
            &http.cross_site,
        );
        family(
            "slow_requests_total",
            "Connections closed because a request's head took too long.",
            &http.slow_heads,
        );
        family(
            "stalled_bodies_total",
            "Request bodies given up because they stopped arriving.",
            &http.stalled_bodies,
        );
        family(
            "stalled_readers_total",
            "Connections closed because the client stopped reading its answer.",
            &http.stalled_readers,
        );
        family(
            "stalled_closed_total",
            "Connections closed because stalled responses kept too much memory and theirs had stalled longest.",
            &http.stalled_closed,
        );
        family(
            "evicted_total",
            "Connections closed to make room for another: idle ones, and incomplete requests of an address with too many.",
            &http.evicted,
        );
        let name = format!("{PREFIX}http_stalled_bytes");
        let help = "Memory that stalled responses keep beyond what is current.";
        header(out, &name, "gauge", help);
        sample(out, &name, "", http.stalled_responses.kept());
        http.write_web(out);
    }

    /// The self metrics about each app.
    #[must_use]
    pub const fn app_metrics(&self) -> &AppMetrics {
        &self.app_metrics
    }
}
