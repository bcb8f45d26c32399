//! Self metrics, the log, and the resource use of the process.
//!
//! [`Telemetry`] is the one list of the program's instruments. The doc comment of a field is the HELP text of its
//! family and the field's name, with `exporter_proxy_` before it, the family's name, so neither can drift apart.

mod build_info;
mod cluster_state;
mod instruments;
mod link_states;
mod log_queue;
mod logging;
mod process;
mod recent;
mod throttle;
mod update_history;

pub use build_info::{LONG_VERSION, REVISION};
pub use cluster_state::{ClusterMember, ClusterState, ClusterStates};
pub use instruments::{Counter, Gauge, Instrument, Latency, PerLabel, Seconds, header, push_label, sample};
pub use link_states::{LinkState, LinkStates};
pub use logging::{DroppedLogLines, LogFormat, LogWriter, init as init_logging, print_error, print_warning};
pub use process::Process;
pub use recent::{RecentRefusal, Removal, RemovalReason};
pub use throttle::Throttle;
pub use update_history::{UpdateOutcome, UpdateRun};

use recent::{RecentRefusals, RecentRemovals};
use update_history::UpdateHistory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::model::ScraperId;

use crate::model::AppName;

/// Prefix of the names of self metrics.
pub const PREFIX: &str = "exporter_proxy_";

/// Builds the struct of instruments and its writer from one list.
macro_rules! instruments {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $( #[doc = $help:literal] $field:ident: $type:ty = $init:expr, )* } $(beside { $( $extra:ident: $extra_kind:ty, )+ })?) => {
        $(#[$meta])*
        $vis struct $name {
            $( #[doc = $help] pub $field: $type, )*
            $( $( $extra: $extra_kind, )+ )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $init, )* $( $( $extra: <$extra_kind>::default(), )+ )? }
            }
        }

        impl $name {
            /// Appends all families, in the order of the list, as text format 0.0.4.
            pub fn write(&self, out: &mut String) {
                $(
                    let start = out.len();
                    let name = concat!("exporter_proxy_", stringify!($field));
                    header(out, name, <$type as Instrument>::TYPE, $help);
                    let samples = out.len();
                    self.$field.write(out, name, "");
                    // A family without samples would be only a header.
                    if out.len() == samples {
                        out.truncate(start);
                    }
                )*
            }

            /// The names of all families.
            #[cfg(test)]
            fn names() -> &'static [&'static str] {
                &[$( concat!("exporter_proxy_", stringify!($field)), )*]
            }
        }
    };
}

instruments! {
    /// The program's own instruments.
    #[derive(Debug)]
    pub struct Telemetry {
        /// Updates accepted, by source and format.
        updates_total: PerLabel<Counter, 2> = PerLabel::new(["source", "format"]),
        /// Messages, parts of messages and requests refused, by source and reason.
        rejected_total: PerLabel<Counter, 2> = PerLabel::new(["source", "reason"]),
        /// 1 if the last poll of the endpoint succeeded, 0 if it failed.
        poll_up: PerLabel<Gauge, 1> = PerLabel::new(["endpoint"]),
        /// Time in seconds that the last poll of the endpoint took, successful or not.
        poll_duration_seconds: PerLabel<Seconds, 1> = PerLabel::new(["endpoint"]),
        /// Polls ended by a bug (panic); please report it.
        poll_panics_total: PerLabel<Counter, 1> = PerLabel::new(["endpoint"]),
        /// Time in seconds from the request of a scrape until its response is ready to send.
        scrape_duration_seconds: Latency = Latency::default(),
        /// Bytes of exposition given to scrapers, by the encoding they were sent in.
        scrape_bytes_total: PerLabel<Counter, 1> = PerLabel::new(["encoding"]),
        /// One-shot events that were dropped for a scraper, by reason: expired, overflow, no_scraper.
        events_dropped_total: PerLabel<Counter, 1> = PerLabel::new(["reason"]),
        /// Applications forgotten because no update came within store.expire_after.
        expired_total: Counter = Counter::default(),
        /// Clients connected to the monitoring stream.
        stream_subscribers: Gauge = Gauge::default(),
        /// Messages of the monitoring stream that were dropped because a client was too slow, summed over the clients.
        stream_dropped_total: Counter = Counter::default(),
        /// 1 while the monitoring stream of an upstream is connected, otherwise 0.
        stream_upstream_up: PerLabel<Gauge, 1> = PerLabel::new(["upstream"]),
        /// 1 while the engine of the cluster is connected and all its apps are loaded, otherwise 0.
        cluster_connected: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// Replicas of the cluster at the last heartbeat, this one included.
        cluster_members: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// 1 while this replica polls for the cluster, otherwise 0.
        cluster_lease: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// Changes of apps that the engine of the cluster does not have yet.
        cluster_pending_changes: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// One-shot events that this replica has accepted and that the engine of the cluster does not have yet.
        cluster_pending_events: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// One-shot events to and from the engine of the cluster, by result: appended, read, unreadable.
        cluster_events_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Writes of apps to the engine, by result: stored, superseded by a later update at another replica, failed.
        cluster_writes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Changes of apps by other replicas that were read from the engine, by result: applied, skipped, refused.
        cluster_reads_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Time in seconds from a write of another replica to the engine until this one serves it.
        cluster_watch_delay_seconds: PerLabel<Latency, 1> = PerLabel::new(["engine"]),
        /// 1 if the last reload of the configuration succeeded, 0 if the previous one is still in force.
        config_last_reload_successful: Gauge = { let ok = Gauge::default(); ok.set(1); ok },
        /// Log lines that standard error did not take: it was full, closed or too slow.
        log_lines_dropped_total: DroppedLogLines = DroppedLogLines::default(),
        /// Registrations at bridges, by key of the bridge and result: updated, unchanged, refused, unreachable; lost and returned count aliases that another key took and gave up.
        p2p_registrations_total: PerLabel<Counter, 2> = PerLabel::new(["bridge", "result"]),
        /// 1 while this proxy is registered at the bridge over an open link, or over HyperDHT since the last registration, otherwise 0.
        p2p_connected: PerLabel<Gauge, 1> = PerLabel::new(["bridge"]),
        /// Links, by event: opened, closed, lost, rejected.
        p2p_links_total: PerLabel<Counter, 1> = PerLabel::new(["event"]),
        /// Scrapes over links, by result: started, answered, failed.
        p2p_scrapes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
    } beside {
        throttle: Throttle,
        refusals: RecentRefusals,
        removals: RecentRemovals,
        updates: UpdateHistory,
        links: LinkStates,
        cluster: ClusterStates,
    }
}

instruments! {
    /// The instruments of a bridge.
    #[derive(Debug)]
    pub struct BridgeTelemetry {
        /// Aliases registered and not expired, in a cluster at any of its bridges.
        bridge_aliases: Gauge = Gauge::default(),
        /// Links of proxies to this bridge that are open now.
        bridge_connected: Gauge = Gauge::default(),
        /// Aliases of proxies that are not connected, so that scrapes fail; without those that the bridge dials by key.
        bridge_disconnected_aliases: Gauge = Gauge::default(),
        /// Scrapes forwarded, by result: ok, unknown_alias, unavailable, upstream_error, interrupted.
        bridge_scrapes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Time in seconds from the request of a scrape to the head of its response.
        bridge_scrape_duration_seconds: Latency = Latency::default(),
        /// Registrations, by result: updated, unchanged, refused.
        bridge_registrations_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Links of proxies, by event: opened, closed, lost, rejected, unreachable.
        bridge_links_total: PerLabel<Counter, 1> = PerLabel::new(["event"]),
        /// Aliases that another key has taken over.
        bridge_takeovers_total: Counter = Counter::default(),
        /// Aliases forgotten because their proxies have not registered within bridge.entry_expiry.
        bridge_expired_total: Counter = Counter::default(),
        /// 1 while the engine of the cluster is connected and all its aliases are loaded, otherwise 0.
        cluster_connected: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// Bridges of the cluster at the last heartbeat, this one included.
        cluster_members: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// Changes of aliases that the engine of the cluster does not have yet.
        cluster_pending_changes: PerLabel<Gauge, 1> = PerLabel::new(["engine"]),
        /// Writes of aliases to the engine, by result: stored, superseded by a registration that came after a removal, failed.
        cluster_writes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Changes of aliases by other bridges that were read from the engine, by result: applied, skipped, refused.
        cluster_reads_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Time in seconds from a write of another bridge to the engine until this one has it.
        cluster_watch_delay_seconds: PerLabel<Latency, 1> = PerLabel::new(["engine"]),
        /// 1 if the last reload of the configuration succeeded, 0 if the previous one is still in force.
        config_last_reload_successful: Gauge = { let ok = Gauge::default(); ok.set(1); ok },
        /// Log lines that standard error did not take: it was full, closed or too slow.
        log_lines_dropped_total: DroppedLogLines = DroppedLogLines::default(),
    } beside {
        link_faults: RecentRefusals,
        cluster: ClusterStates,
    }
}

impl BridgeTelemetry {
    /// The cluster that this bridge belongs to.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterStates {
        &self.cluster
    }

    /// Records a fault of a link for the status page: the kind, the client or the key, the word for programs, and the text.
    pub fn link_fault(&self, source: &str, client: &str, reason: &'static str, detail: &str) {
        self.link_faults.record(source, client, reason, detail, Instant::now());
    }

    /// The latest faults of links, the last one first; those of one client for one reason are one entry.
    #[must_use]
    pub fn recent_link_faults(&self) -> Vec<RecentRefusal> {
        self.link_faults.list()
    }
}

/// A refusal: who sent what was refused, why, and what to write into the log.
#[derive(Debug, Clone, Copy)]
pub struct Rejection<'a> {
    /// The way in: the listener's address, the socket's path, `http`, a polled endpoint.
    pub source: &'a str,
    /// The peer, as well as it is known.
    pub peer: &'a str,
    /// The stable word for the `reason` label.
    pub reason: &'static str,
    /// Reason and position, for display.
    pub detail: &'a str,
}

impl Telemetry {
    /// Counts a refusal and logs it, at most a few times in ten seconds for each source and client.
    pub fn reject(&self, rejection: Rejection<'_>) {
        let Rejection {
            source,
            peer,
            reason,
            detail,
        } = rejection;
        self.record_rejection(rejection);
        let client = client(peer);
        if let Some(suppressed) = self.admit_line(&format!("{source} {client}")) {
            tracing::warn!(source, peer, reason, suppressed, "refused: {detail}");
        }
    }

    /// Counts a refusal and lists it among the latest, without a line in the log: for those that have a line of their own, as a failed poll.
    pub fn record_rejection(&self, rejection: Rejection<'_>) {
        self.rejected_total.with([rejection.source, rejection.reason]).inc();
        let client = client(rejection.peer);
        self.refusals
            .record(rejection.source, &client, rejection.reason, rejection.detail, Instant::now());
    }

    /// The latest refusals, the last one first; those of one client for one reason are one entry.
    #[must_use]
    pub fn recent_refusals(&self) -> Vec<RecentRefusal> {
        self.refusals.list()
    }

    /// Records that an app is no longer known.
    pub fn app_removed(&self, app: &AppName, reason: RemovalReason) {
        self.updates.forget(app);
        self.removals.record(Removal {
            app: app.clone(),
            reason,
            at: Instant::now(),
        });
    }

    /// Records an update of an app and its outcome.
    pub fn app_updated(&self, app: &AppName, outcome: UpdateOutcome<'_>) {
        self.updates.record(app, outcome, Instant::now());
    }

    /// The latest updates of an app, the last one first; successive ones of one client with the same outcome are one entry.
    #[must_use]
    pub fn recent_updates(&self, app: &AppName) -> Vec<UpdateRun> {
        self.updates.of(app)
    }

    /// The latest removals of apps, the last one first.
    #[must_use]
    pub fn recent_removals(&self) -> Vec<Removal> {
        self.removals.list()
    }

    /// The links to the bridges at which this proxy registers.
    #[must_use]
    pub const fn links(&self) -> &LinkStates {
        &self.links
    }

    /// The cluster that this proxy is a replica of.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterStates {
        &self.cluster
    }

    /// Logs the skipped lines of an accepted update, at most a few times in ten seconds for each app; the number of its invalid lines is a
    /// metric.
    pub fn log_skipped_lines(&self, source: &str, app: &AppName, skipped: &str) {
        if let Some(suppressed) = self.admit_line(&format!("app {app}")) {
            tracing::warn!(source, suppressed, "app {app}: {skipped}");
        }
    }

    /// Rate limit for a repeated log line about `subject`, an app or a peer: `Some` if the line may be written, with the number of lines
    /// suppressed since the last one, for a field that is omitted if it is `None`.
    #[must_use]
    pub fn admit_line(&self, subject: &str) -> Option<Option<u64>> {
        let suppressed = self.throttle.admit(subject, Instant::now())?;
        Some((suppressed > 0).then_some(suppressed))
    }

    /// Counts one-shot events that were dropped for a scraper, or for all if there was none, and logs it, at most a few times in ten seconds
    /// for each scraper and reason.
    pub fn events_dropped(&self, reason: &'static str, scraper: Option<&ScraperId>, events: u64) {
        self.events_dropped_total.with([reason]).add(events);
        let subject = scraper.map(ToString::to_string).unwrap_or_default();
        let Some(suppressed) = self.admit_line(&format!("events dropped: {reason} {subject}")) else {
            return;
        };
        match scraper {
            Some(scraper) => tracing::warn!(%scraper, reason, events, suppressed, "events dropped for this scraper"),
            None => tracing::warn!(
                reason,
                events,
                suppressed,
                "events dropped: no scrape within events.newcomer_window"
            ),
        }
    }

    /// Logs that a scraper gets no events because there are too many others, at most a few times in ten seconds.
    pub fn untracked_scraper(&self, scraper: &ScraperId) {
        if let Some(suppressed) = self.admit_line("untracked scraper") {
            tracing::warn!(%scraper, suppressed, "too many scrapers: this one gets no events until another one expires");
        }
    }
}

/// The client of a peer's address: the ports of its connections do not tell clients apart.
fn client(peer: &str) -> String {
    peer.parse::<SocketAddr>()
        .map_or_else(|_| peer.to_owned(), |address| address.ip().to_string())
}

/// A handle that every part may hold.
pub type SharedTelemetry = Arc<Telemetry>;

#[cfg(test)]
mod tests;
