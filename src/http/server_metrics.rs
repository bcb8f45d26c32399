//! The self metrics that the proxy and the bridge have in common: version, listeners, requests, and the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::HttpStats;
use crate::supervise::ListenerStats;
use crate::telemetry::{PREFIX, Process, REVISION, header, push_label, sample};

/// Lifetime of the cached process metrics: reading them takes a dozen system calls, as long as all the rest of a small scrape.
const PROCESS_CACHED: Duration = Duration::from_millis(100);

/// The numbers of each listener, by its address or path.
pub type Connections = Vec<(Arc<str>, Arc<ListenerStats>)>;

/// Writes the self metrics of a program that serves HTTP.
#[derive(Debug)]
pub struct ServerMetrics {
    connections: Connections,
    http: Arc<HttpStats>,
    process: Process,
    /// The cached process metrics and their time.
    cached_process: Mutex<Option<(Instant, String)>>,
}

impl ServerMetrics {
    /// Metrics of this process, these listeners and their HTTP.
    #[must_use]
    pub fn new(process: Process, connections: Connections, http: Arc<HttpStats>) -> Self {
        Self {
            connections,
            http,
            process,
            cached_process: Mutex::default(),
        }
    }

    /// Writes all families as text format 0.0.4; `own` writes those of the program among them.
    pub fn write(&self, out: &mut String, now: Instant, own: impl FnOnce(&mut String)) {
        let name = format!("{PREFIX}build_info");
        header(
            out,
            &name,
            "gauge",
            "The version of the program and its commit; the value is always 1.",
        );
        let mut labels = String::new();
        push_label(&mut labels, "version", env!("CARGO_PKG_VERSION"));
        push_label(&mut labels, "revision", REVISION.split(' ').next().unwrap_or_default());
        sample(out, &name, &labels, 1);
        self.listeners(out);
        self.requests(out);
        own(out);
        self.process(out, now);
    }

    fn process(&self, out: &mut String, now: Instant) {
        let mut cached = self.cached_process.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = cached
            .as_ref()
            .filter(|(at, _)| now.saturating_duration_since(*at) < PROCESS_CACHED);
        if let Some((_, text)) = fresh {
            out.push_str(text);
            return;
        }
        let mut text = String::new();
        self.process.write(&mut text);
        out.push_str(&text);
        *cached = Some((now, text));
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
            "Connections ended by a bug (panic); please report.",
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
            "Requests answered with 500 because of a bug (panic); please report.",
            &http.panics,
        );
        family(
            "cross_site_refused_total",
            "Writes refused because a browser sent them from a page of another site, or to a name that is not known.",
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
}
