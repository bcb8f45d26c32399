//! Counts of one upstream as exposition text, with the names of the original client's metrics.
//!
//! The original has also labels for the sender's country and for known gateways; both need data that this program does not have. The text
//! contains no peer ids, addresses or blocks.

use std::fmt::Write as _;

use crate::telemetry::push_label;
use crate::wire::monitoring::Tally;

/// A family: its name, its help, and its series as further labels and their value.
type Family = (&'static str, &'static str, &'static [(&'static str, fn(&Tally) -> u64)]);

const FAMILIES: &[Family] = &[
    (
        "bitswap_messages_received",
        "Bitswap messages, requests and responses, by the monitor that received them.",
        &[("", |tally| tally.messages)],
    ),
    (
        "bitswap_blocks_received",
        "Blocks received in Bitswap messages, by monitor.",
        &[("", |tally| tally.blocks)],
    ),
    (
        "bitswap_block_presences_received",
        "Block presences received (HAVE and DONT_HAVE), by monitor.",
        &[
            (r#",presence_type="HAVE""#, |tally| tally.have),
            (r#",presence_type="DONT_HAVE""#, |tally| tally.dont_have),
        ],
    ),
    (
        "wantlists_received",
        "Bitswap messages with a wantlist that is not empty, by monitor and by full or incremental wantlist.",
        &[
            (r#",full="false""#, |tally| tally.wantlists_incremental),
            (r#",full="true""#, |tally| tally.wantlists_full),
        ],
    ),
    (
        "wantlist_entries_received",
        "Entries of wantlists, by monitor, type, and request for a response about missing blocks.",
        &[
            (r#",entry_type="cancel",send_dont_have="false""#, |tally| tally.cancel),
            (r#",entry_type="want_block",send_dont_have="false""#, |tally| tally.want_block[0]),
            (r#",entry_type="want_block",send_dont_have="true""#, |tally| tally.want_block[1]),
            (r#",entry_type="want_have",send_dont_have="false""#, |tally| tally.want_have[0]),
            (r#",entry_type="want_have",send_dont_have="true""#, |tally| tally.want_have[1]),
        ],
    ),
    (
        "connection_events_connected",
        "Connections opened between a monitor and its peers.",
        &[("", |tally| tally.connected)],
    ),
    (
        "connection_events_disconnected",
        "Connections closed between a monitor and its peers.",
        &[("", |tally| tally.disconnected)],
    ),
];

/// Renders the sums as exposition text.
pub(in crate::sources) fn render(monitor: &str, sums: &Tally) -> String {
    let (mut label, mut out) = (String::new(), String::with_capacity(4096));
    push_label(&mut label, "monitor", monitor);
    for (name, help, series) in FAMILIES {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (more, value) in *series {
            let _ = writeln!(out, "{name}{{{label}{more}}} {}", value(sums));
        }
    }
    out
}

#[cfg(test)]
mod tests;
