//! The monitor's state as exposition text: the names of the original client's and of its plugin's metrics.

use std::fmt::Write as _;

use super::super::upstreams::counts;
use crate::telemetry::push_label;
use crate::wire::monitoring::Tally;

/// The numbers that are rendered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The messages and connections.
    pub(super) tally: Tally,
    /// Peers that offer a supported version of Bitswap.
    pub(super) senders: usize,
    /// Connected peers.
    pub(super) peers: usize,
    /// Their connections.
    pub(super) connections: usize,
    /// Events of messages and connections, without those that were dropped.
    pub(super) events: u64,
    /// Events that the stream could not take.
    pub(super) dropped: u64,
    /// Bytes of the events that went to the stream, before their compression.
    pub(super) sent_bytes: u64,
    /// Peers that offered a version of Bitswap that is not supported.
    pub(super) newer: u64,
}

/// Renders the numbers. Labels contain no peer ids, addresses or CIDs.
pub(super) fn render(monitor: &str, numbers: &Numbers) -> String {
    let mut label = String::new();
    push_label(&mut label, "monitor", monitor);
    let mut out = counts::render(monitor, &numbers.tally);
    let mut family = |name: &str, kind: &str, help: &str, series: &[(&str, u64)]| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (more, value) in series {
            let _ = writeln!(out, "{name}{{{label}{more}}} {value}");
        }
    };
    family(
        "plugin_metric_export_bitswap_senders",
        "gauge",
        "Connected peers that offer a version of Bitswap which the monitor reads.",
        &[("", numbers.senders as u64)],
    );
    family(
        "plugin_metric_export_wiretap_peers",
        "gauge",
        "Connected peers of the monitor.",
        &[("", numbers.peers as u64)],
    );
    family(
        "plugin_metric_export_wiretap_connections",
        "gauge",
        "Connections of the monitor.",
        &[("", numbers.connections as u64)],
    );
    family(
        "plugin_metric_export_wiretap_processed_events",
        "counter",
        "Events of messages and connections, by whether they were dropped because they came faster than the stream can compress them.",
        &[(r#",dropped="false""#, numbers.events), (r#",dropped="true""#, numbers.dropped)],
    );
    family(
        "plugin_metric_export_wiretap_sent_bytes",
        "counter",
        "Bytes of the events that were given to the monitoring stream, before its compression.",
        &[(r#",compressed="false""#, numbers.sent_bytes)],
    );
    family(
        "bitswap_newer_protocol_peers",
        "counter",
        "Peers that offered a version of Bitswap which the monitor cannot read, at each connection.",
        &[("", numbers.newer)],
    );
    out
}
