//! Metrics of an IPFS node's peers, with the names of the IPFS metric exporter's plugin.
//!
//! Texts of peers are untrusted: they are truncated, cleaned and limited in number. Metrics contain no peer ids, addresses or blocks.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::error::PollError;
use crate::model::Peer;
use crate::sources::LARGE_BYTES;
use crate::supervise::blocking;
use crate::telemetry::push_label;
use crate::wire::kubo::{Swarm, swarm_peers};

/// Limit of protocols with series of their own; honest nodes have dozens, hostile ones may invent any number.
const MAX_PROTOCOLS: usize = 500;
/// Limit of an agent or protocol in a label, in bytes.
const MAX_LABEL_BYTES: usize = 128;
/// Label value for all further agents or protocols together.
const OTHERS: &str = "others";

/// Converts a node's response to metrics and its peers. A large response is parsed on a blocking thread.
pub(super) async fn read(body: Bytes, agent_version_cutoff: usize) -> Result<(Bytes, (usize, Vec<Peer>)), PollError> {
    let large = body.len() > LARGE_BYTES;
    let work = move || {
        let swarm = swarm_peers(&body).map_err(|error| PollError::NotPeers(error.to_string()))?;
        let text = render(&swarm, agent_version_cutoff).into_bytes().into_boxed_slice();
        Ok((text.into(), (swarm.connections, swarm.peers)))
    };
    if large { blocking(work).await } else { work() }
}

/// The metrics of a node.
fn render(swarm: &Swarm, agent_version_cutoff: usize) -> String {
    let mut out = String::with_capacity(16 << 10);
    let agents = swarm.peers.iter().filter_map(|peer| peer.agent.as_ref()).map(|agent| (agent, 1));
    let mut agents = most_common(agents, agent_version_cutoff);
    if agents.last().is_none_or(|(name, _)| name != OTHERS) {
        agents.push((OTHERS.to_owned(), 0));
    }
    family(
        &mut out,
        "plugin_metric_export_peers_by_agent_version",
        "Connected peers of the IPFS node by what they say they run; those behind the most common ones count as others.",
        agents
            .iter()
            .map(|(agent, count)| (vec![("agent_version", agent.as_str())], *count)),
    );
    let protocols = swarm
        .peers
        .iter()
        .flat_map(|peer| peer.protocols.iter().collect::<HashSet<_>>())
        .map(|protocol| (protocol, 1));
    let protocols = most_common(protocols, MAX_PROTOCOLS);
    family(
        &mut out,
        "plugin_metric_export_peers_supported_protocols",
        "Connected peers of the IPFS node by the protocols that they say they speak.",
        protocols
            .iter()
            .map(|(protocol, count)| (vec![("protocol", protocol.as_str())], *count)),
    );
    let streams = most_common(swarm.streams.iter().map(|(protocol, count)| (protocol, *count)), MAX_PROTOCOLS);
    family(
        &mut out,
        "plugin_metric_export_open_streams",
        "Open streams of the IPFS node by protocol; the direction is not known through its RPC.",
        streams
            .iter()
            .map(|(protocol, count)| (vec![("protocol", protocol.as_str()), ("direction", "unknown")], *count)),
    );
    let (peers, connections) = (swarm.peers.len() as u64, swarm.connections as u64);
    family(
        &mut out,
        "plugin_metric_export_wiretap_peers",
        "Peers that the IPFS node is connected to.",
        [(vec![], peers)],
    );
    family(
        &mut out,
        "plugin_metric_export_wiretap_connections",
        "Connections of the IPFS node.",
        [(vec![], connections)],
    );
    out
}

/// The sums of the most common texts, the most common first, and last what all others come to, if there are others.
fn most_common<'a>(counts: impl Iterator<Item = (&'a Arc<str>, u64)>, keep: usize) -> Vec<(String, u64)> {
    // Two rounds, since there are far more mentions than texts.
    let mut by_text: HashMap<&str, u64> = HashMap::new();
    counts.for_each(|(text, count)| *by_text.entry(text).or_default() += count);
    let mut sums: HashMap<String, u64> = HashMap::new();
    by_text
        .into_iter()
        .for_each(|(text, count)| *sums.entry(clean(text)).or_default() += count);
    // Agents and protocols with this name are counted there as well.
    let mut rest = sums.remove(OTHERS);
    let mut sums: Vec<(String, u64)> = sums.into_iter().collect();
    sums.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    for (_, count) in sums.drain(keep.min(sums.len())..) {
        *rest.get_or_insert(0) += count;
    }
    sums.extend(rest.map(|count| (OTHERS.to_owned(), count)));
    sums
}

/// Prepares a peer's text for a label: truncated and without control characters.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_LABEL_BYTES);
    text[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn family<'a>(out: &mut String, name: &str, help: &str, series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in series {
        let mut pairs = String::new();
        labels.iter().for_each(|(label, value)| push_label(&mut pairs, label, value));
        let _ = match pairs.is_empty() {
            true => writeln!(out, "{name} {value}"),
            false => writeln!(out, "{name}{{{pairs}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests;
