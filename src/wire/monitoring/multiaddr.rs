//! Conversion of multiaddresses for the original client of 2022.

use std::borrow::Cow;

/// The protocols that it supports, with true if a value follows. It closes the connection at any other; `quic-v1` is listed because it is
/// replaced by `quic`.
const KNOWN: [(&str, bool); 30] = [
    ("quic-v1", false),
    ("ip4", true),
    ("ip6", true),
    ("tcp", true),
    ("udp", true),
    ("quic", false),
    ("p2p", true),
    ("p2p-circuit", false),
    ("dns", true),
    ("dns4", true),
    ("dns6", true),
    ("dnsaddr", true),
    ("ws", false),
    ("wss", false),
    ("tls", false),
    ("http", false),
    ("https", false),
    ("dccp", true),
    ("sctp", true),
    ("udt", false),
    ("utp", false),
    ("unix", true),
    ("onion", true),
    ("onion3", true),
    ("memory", true),
    ("p2p-websocket-star", false),
    ("p2p-webrtc-star", false),
    ("p2p-webrtc-direct", false),
    ("x-parity-ws", true),
    ("x-parity-wss", true),
];

/// Converts an address: `quic-v1` becomes `quic`, and everything from the first unsupported protocol on is removed.
#[must_use]
pub fn legacy(address: &str) -> Cow<'_, str> {
    let mut parts = address.split('/');
    if parts.next() != Some("") {
        return Cow::Borrowed("");
    }
    let (mut kept, mut converted) = (0, None);
    while let Some(part) = parts.next() {
        let Some(length) = known_length(part, &mut parts) else { break };
        if part == "quic-v1" {
            converted.get_or_insert_with(|| address[..kept].to_owned()).push_str("/quic");
        } else if let Some(converted) = &mut converted {
            converted.push_str(&address[kept..kept + length]);
        }
        kept += length;
    }
    converted.map_or(Cow::Borrowed(&address[..kept]), Cow::Owned)
}

/// Length of a supported protocol with its slash and its value, which is removed from `rest`; `None` if it is unsupported or its value is
/// missing.
fn known_length<'a>(part: &str, rest: &mut impl Iterator<Item = &'a str>) -> Option<usize> {
    let (_, has_value) = KNOWN.iter().find(|(name, _)| *name == part)?;
    let value = if *has_value { 1 + rest.next()?.len() } else { 0 };
    Some(1 + part.len() + value)
}

#[cfg(test)]
mod tests;
