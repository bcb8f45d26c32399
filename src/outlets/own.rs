//! The proxy's own metrics: its instruments, the process, and what the store says of the applications.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::http::HttpStats;
use crate::store::{App, View};
use crate::supervise::listen::ListenerStats;
use crate::telemetry::{PREFIX, Process, Telemetry, header, push_label, sample};

/// The numbers of each listener, by its address or path.
pub type Connections = Vec<(Arc<str>, Arc<ListenerStats>)>;

/// Writes the proxy's own metrics.
#[derive(Debug)]
pub struct Own {
    connections: Connections,
    http: Arc<HttpStats>,
    telemetry: Arc<Telemetry>,
    process: Process,
    /// What grows with the number of applications, kept until one of them changes.
    per_app: Mutex<(Option<u64>, Bytes)>,
}

impl Own {
    /// Metrics of this process, these instruments, these listeners and their HTTP.
    #[must_use]
    pub fn new(telemetry: Arc<Telemetry>, process: Process, connections: Connections, http: Arc<HttpStats>) -> Self {
        Self {
            connections,
            http,
            telemetry,
            process,
            per_app: Mutex::default(),
        }
    }

    /// All own families as text format 0.0.4.
    #[must_use]
    pub fn render(&self, view: &View) -> Vec<Bytes> {
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
        if let Some(series) = totals.series {
            family("series", "", "Series stored.", series);
        }
        self.listeners(&mut out);
        self.requests(&mut out);
        self.telemetry.write(&mut out);
        self.process.write(&mut out);
        vec![self.per_app(view), out.into()]
            .into_iter()
            .filter(|bytes| !bytes.is_empty())
            .collect()
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
            |stats| &stats.starved,
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
            "evicted_total",
            "Idle connections closed because a newcomer needed the place.",
            &http.evicted,
        );
    }

    /// The families with one sample for each application.
    fn per_app(&self, view: &View) -> Bytes {
        let mut kept = self.per_app.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = view.generation();
        if kept.0 != Some(generation) {
            *kept = (Some(generation), per_app(&view.apps()).into());
        }
        kept.1.clone()
    }
}

/// What is said of each application.
fn per_app(apps: &[Arc<App>]) -> String {
    let mut out = String::new();
    let mut family = |name: &str, help: &str, with_source: bool, value: fn(&App) -> Option<String>| {
        let name = format!("{PREFIX}{name}");
        let mut begun = false;
        for app in apps {
            let Some(value) = value(app) else { continue };
            if !begun {
                header(&mut out, &name, "gauge", help);
                begun = true;
            }
            let mut labels = String::new();
            push_label(&mut labels, "app", app.name.as_str());
            if with_source {
                push_label(&mut labels, "source", &app.origin.source);
            }
            sample(&mut out, &name, &labels, value);
        }
    };
    let help = "When the last update of an application arrived, in seconds since the Unix epoch.";
    family("app_last_update_timestamp_seconds", help, true, |app| {
        let millis = app.updated?.as_millis();
        Some(format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000)))
    });
    family(
        "invalid_lines",
        "Lines of an application's text that could not be used.",
        false,
        |app| Some(app.invalid_lines()).filter(|&lines| lines > 0).map(|lines| lines.to_string()),
    );
    family(
        "duplicate_series",
        "Series of an application that other applications have as well.",
        false,
        |app| Some(app.duplicates).filter(|&series| series > 0).map(|series| series.to_string()),
    );
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::{AppName, Format, Origin, Timestamp, Update};
    use crate::store::{Limits, Mode, open};

    #[test]
    fn what_is_prepared_follows_the_updates() {
        let (inlet, view) = open(Limits::default(), Mode::Raw);
        let own = Own::new(
            Arc::default(),
            Process::new(std::time::SystemTime::now()),
            Connections::default(),
            Arc::default(),
        );
        let text = || String::from_utf8(own.render(&view).concat()).unwrap();
        assert!(!text().contains("app_last_update"));
        for at in [1_500, 2_007] {
            inlet
                .put(Update {
                    app: AppName::new("a\"b").unwrap(),
                    body: Bytes::new(),
                    syntax: None,
                    labels: [].into(),
                    origin: Origin {
                        source: "s".into(),
                        format: Format::Push,
                    },
                    at: Timestamp::from_millis(at),
                })
                .unwrap();
        }
        assert!(
            text().contains("exporter_proxy_app_last_update_timestamp_seconds{app=\"a\\\"b\",source=\"s\"} 2.007\n"),
            "{}",
            text()
        );
    }
}
