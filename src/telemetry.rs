//! What the program says of itself: its own counters, its log, its use of the machine.
//!
//! [`Telemetry`] is the one list of the program's instruments. The doc comment of a field is the HELP text of its
//! family and the field's name, with `exporter_proxy_` before it, the family's name, so neither can drift apart.

mod instruments;
mod log_queue;
mod logging;
mod process;
mod throttle;

pub use instruments::{Counter, Gauge, Instrument, Latency, PerLabel, Seconds, header, push_label, sample};
pub use logging::{DroppedLogLines, LogFormat, LogWriter, init as init_logging, print_line};
pub use process::Process;
pub use throttle::Throttle;

use std::sync::Arc;
use std::time::Instant;

use crate::model::ScraperId;

use crate::model::AppName;

/// What stands before the name of each of the program's own families.
pub const PREFIX: &str = "exporter_proxy_";

/// Builds the struct of instruments and its writer from one list.
macro_rules! instruments {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $( #[doc = $help:literal] $field:ident: $kind:ty = $init:expr, )* } $(beside { $extra:ident: $extra_kind:ty })?) => {
        $(#[$meta])*
        $vis struct $name {
            $( #[doc = $help] pub $field: $kind, )*
            $( $extra: $extra_kind, )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $init, )* $( $extra: <$extra_kind>::default(), )? }
            }
        }

        impl $name {
            /// Appends all families, in the order of the list, as text format 0.0.4.
            pub fn write(&self, out: &mut String) {
                $(
                    let start = out.len();
                    let name = concat!("exporter_proxy_", stringify!($field));
                    header(out, name, <$kind as Instrument>::KIND, $help);
                    let samples = out.len();
                    self.$field.write(out, name, "");
                    // A family that has no sample yet would be a header alone, which tells nobody anything.
                    if out.len() == samples {
                        out.truncate(start);
                    }
                )*
            }

            /// The names of all families, for the test that holds the documentation against the program.
            #[must_use]
            pub fn names() -> &'static [&'static str] {
                &[$( concat!("exporter_proxy_", stringify!($field)), )*]
            }
        }
    };
}

instruments! {
    /// The program's own instruments.
    #[derive(Debug)]
    pub struct Telemetry {
        /// Updates accepted, by the way in they took and the format they were written in.
        updates_total: PerLabel<Counter, 2> = PerLabel::new(["source", "format"]),
        /// Messages, parts of messages and requests refused, by the way in they took and the reason.
        rejected_total: PerLabel<Counter, 2> = PerLabel::new(["source", "reason"]),
        /// 1 if the last poll of the endpoint went well, 0 if it failed.
        poll_up: PerLabel<Gauge, 1> = PerLabel::new(["endpoint"]),
        /// Time in seconds that the last poll of the endpoint took, whether it went well or not.
        poll_duration_seconds: PerLabel<Seconds, 1> = PerLabel::new(["endpoint"]),
        /// Polls lost to a fault in this program; each is worth a report.
        poll_panics_total: PerLabel<Counter, 1> = PerLabel::new(["endpoint"]),
        /// Time in seconds from a scrape's request to the moment when its answer was ready to send.
        scrape_duration_seconds: Latency = Latency::default(),
        /// Bytes of exposition given to scrapers, by the encoding they were sent in.
        scrape_bytes_total: PerLabel<Counter, 1> = PerLabel::new(["encoding"]),
        /// One-shot events that a scraper will never get: forgotten with it, too many for it, or no scraper came for them.
        events_dropped_total: PerLabel<Counter, 1> = PerLabel::new(["reason"]),
        /// Applications forgotten because no update came within store.expire_after.
        expired_total: Counter = Counter::default(),
        /// Clients that follow the monitoring stream now.
        stream_subscribers: Gauge = Gauge::default(),
        /// Messages of the monitoring stream that a client did not get because it did not keep pace, summed over the clients.
        stream_dropped_total: Counter = Counter::default(),
        /// 1 if the monitoring stream of an upstream is being read, 0 if it cannot be.
        stream_upstream_up: PerLabel<Gauge, 1> = PerLabel::new(["upstream"]),
        /// 1 if the configuration was read well when it was read last, 0 if the earlier one is still in force.
        config_last_reload_successful: Gauge = { let ok = Gauge::default(); ok.set(1); ok },
        /// Log lines that standard error did not take: it was full, closed or too slow.
        log_lines_dropped_total: DroppedLogLines = DroppedLogLines::default(),
        /// Registrations at bridges, by the bridge's key and what came of them: updated, unchanged, refused, unreachable; lost and returned count aliases that another key took and left.
        p2p_registrations_total: PerLabel<Counter, 2> = PerLabel::new(["bridge", "result"]),
        /// 1 while the bridge has accepted us over a link that is up, or over HyperDHT at the last registration, else 0.
        p2p_connected: PerLabel<Gauge, 1> = PerLabel::new(["bridge"]),
        /// Links, by what became of them: opened, closed, lost, barred.
        p2p_links_total: PerLabel<Counter, 1> = PerLabel::new(["event"]),
        /// Scrapes over links, by what came of them: asked, answered, failed.
        p2p_scrapes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
    } beside { throttle: Throttle }
}

instruments! {
    /// The instruments of a bridge.
    #[derive(Debug)]
    pub struct BridgeTelemetry {
        /// Aliases registered and not expired.
        bridge_aliases: Gauge = Gauge::default(),
        /// Proxies connected now.
        bridge_connected: Gauge = Gauge::default(),
        /// Scrapes forwarded, by what came of them: ok, unknown_alias, unavailable, upstream_error, interrupted.
        bridge_scrapes_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Time in seconds from a scrape's request to the moment when the head of its answer was there.
        bridge_scrape_duration_seconds: Latency = Latency::default(),
        /// Registrations, by what came of them: updated, unchanged, refused.
        bridge_registrations_total: PerLabel<Counter, 1> = PerLabel::new(["result"]),
        /// Links of proxies, by what became of them: opened, closed, lost, barred, unreachable.
        bridge_links_total: PerLabel<Counter, 1> = PerLabel::new(["event"]),
        /// Aliases that another key has taken from the one that had them.
        bridge_takeovers_total: Counter = Counter::default(),
        /// Aliases forgotten because their proxies have not registered within bridge.entry_expiry.
        bridge_expired_total: Counter = Counter::default(),
        /// Log lines that standard error did not take: it was full, closed or too slow.
        log_lines_dropped_total: DroppedLogLines = DroppedLogLines::default(),
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
    /// What was wrong and where, for a person.
    pub detail: &'a str,
}

impl Telemetry {
    /// Counts a refusal and logs it, the log at most a few times a second for each source.
    pub fn reject(&self, rejection: Rejection<'_>) {
        let Rejection {
            source,
            peer,
            reason,
            detail,
        } = rejection;
        self.rejected_total.with([source, reason]).inc();
        let Some(unsaid) = self.throttle.admit(source, Instant::now()) else {
            return;
        };
        match unsaid {
            0 => tracing::warn!(source, peer, reason, "refused: {detail}"),
            unsaid => tracing::warn!(source, peer, reason, unsaid, "refused: {detail}"),
        }
    }
}

impl Telemetry {
    /// Logs what is wrong with an update that was taken; the number of its invalid lines is a metric of its own.
    pub fn complain(&self, source: &str, app: &AppName, complaint: &str) {
        let Some(unsaid) = self.throttle.admit(source, Instant::now()) else {
            return;
        };
        match unsaid {
            0 => tracing::warn!(source, app = app.as_str(), "not all of an update is shown: {complaint}"),
            unsaid => tracing::warn!(source, app = app.as_str(), unsaid, "not all of an update is shown: {complaint}"),
        }
    }
}

impl Telemetry {
    /// Rate limit for a repeated log line about `subject`, an app or a peer: `Some` if the line may be written, with the number of lines
    /// suppressed since the last one, for a field that is omitted if it is `None`.
    #[must_use]
    pub fn admit_line(&self, subject: &str) -> Option<Option<u64>> {
        let suppressed = self.throttle.admit(subject, Instant::now())?;
        Some((suppressed > 0).then_some(suppressed))
    }
}

impl Telemetry {
    /// Counts one-shot events that were lost to a scraper, or to all where there was none, and logs it, at most a few times in
    /// ten seconds for each reason.
    pub fn events_dropped(&self, reason: &'static str, scraper: Option<&ScraperId>, events: u64) {
        self.events_dropped_total.with([reason]).add(events);
        let Some(unsaid) = self.throttle.admit(&format!("events dropped: {reason}"), Instant::now()) else {
            return;
        };
        match scraper {
            Some(scraper) => tracing::warn!(%scraper, reason, events, unsaid, "events dropped: this scraper will not get them"),
            None => tracing::warn!(reason, events, unsaid, "events dropped: no scraper has come for them"),
        }
    }

    /// Logs that a scraper gets no events because there are too many others, at most a few times a second.
    pub fn untracked_scraper(&self, scraper: &ScraperId) {
        if self.throttle.admit("untracked scraper", Instant::now()).is_some() {
            tracing::warn!(%scraper, "too many scrapers: this one gets no events until another one is forgotten");
        }
    }
}

/// A handle that every part may hold.
pub type SharedTelemetry = Arc<Telemetry>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_under_its_source_and_reason() {
        let telemetry = Telemetry::default();
        for _ in 0..100 {
            telemetry.reject(Rejection {
                source: "s",
                peer: "p",
                reason: "malformed",
                detail: "d",
            });
        }
        let mut out = String::new();
        telemetry.write(&mut out);
        assert!(
            out.contains("exporter_proxy_rejected_total{source=\"s\",reason=\"malformed\"} 100\n"),
            "{out}"
        );
        assert!(out.contains("# TYPE exporter_proxy_scrape_duration_seconds histogram\n"), "{out}");
        assert!(
            !out.contains("exporter_proxy_updates_total"),
            "a family without samples has no header: {out}"
        );
    }
}
