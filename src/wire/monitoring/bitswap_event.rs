//! Events of the proxy's own Bitswap monitor, in the shape of the original's.

use std::io::Write as _;

use super::object::{push, push_key, push_text};
use super::proxy_message::rfc3339;
use super::{FULL_CONNECTED_ADDRESSES, FULL_REMOTE, Tally, legacy};
use crate::model::Timestamp;
use crate::wire::bitswap::{Cid, DONT_HAVE, HAVE, Message, WantType};

/// An event of a monitor, written as an object that is ready for
/// [`ProxyMessage::write_relayed`](super::ProxyMessage::write_relayed).
#[derive(Debug, Clone, Copy)]
pub struct BitswapEvent<'a> {
    /// Time of the event.
    pub at: Timestamp,
    /// The peer's id in base58.
    pub peer: &'a str,
    /// The monitor's name.
    pub monitor: &'a str,
    /// True if multiaddresses are converted for the original client, with the full ones beside them.
    pub legacy_addresses: bool,
}

impl BitswapEvent<'_> {
    /// Appends the event of a message from a peer that is connected from these addresses. `unlisted` is the key of the number of parts that
    /// are too many to be listed.
    pub fn write_message(&self, message: &Message<'_>, connected: &[&str], out: &mut Vec<u8>) {
        self.write_start(out);
        push_key(out, "bitswap_message", false);
        out.extend_from_slice(b"{\"wantlist_entries\":[");
        for (at, want) in message.wants.iter().enumerate() {
            let want_type = match want.want_type {
                WantType::Block => 0,
                WantType::Have => 1,
            };
            write_text(
                out,
                format_args!(
                    r#"{}{{"Cid":{{"/":"{}"}},"Priority":{},"WantType":{want_type},"Cancel":{},"SendDontHave":{}}}"#,
                    comma(at),
                    want.cid,
                    want.priority,
                    want.cancel,
                    want.send_dont_have
                ),
            );
        }
        write_text(out, format_args!(r#"],"full_wantlist":{},"blocks":["#, message.full));
        let cids = message.blocks.iter().filter_map(|block| block.cid());
        for (at, cid) in cids.enumerate() {
            if let Ok(cid) = Cid::read(&cid) {
                write_text(out, format_args!(r#"{}{{"/":"{cid}"}}"#, comma(at)));
            }
        }
        out.extend_from_slice(b"],\"block_presences\":[");
        for (at, presence) in message.presences.iter().enumerate() {
            let presence_type = if presence.have { HAVE } else { DONT_HAVE };
            write_text(
                out,
                format_args!(
                    r#"{}{{"cid":{{"/":"{}"}},"block_presence_type":{presence_type}}}"#,
                    comma(at),
                    presence.cid
                ),
            );
        }
        out.extend_from_slice(b"],\"connected_addresses\":");
        let cut: Vec<_> = connected.iter().map(|full| self.address(full)).collect();
        push(out, cut.iter().filter(|address| !address.is_empty()).collect::<Vec<_>>());
        out.push(b'}');
        if cut.iter().zip(connected).any(|(cut, full)| cut != full) {
            push_key(out, FULL_CONNECTED_ADDRESSES, false);
            push(out, connected);
        }
        if message.unlisted() > 0 {
            push_key(out, "unlisted", false);
            push(out, message.unlisted());
        }
        out.push(b'}');
    }

    /// Appends the event of a connection that was opened or closed.
    pub fn write_connection(&self, remote: &str, opened: bool, out: &mut Vec<u8>) {
        self.write_start(out);
        push_key(out, "connection_event", false);
        out.extend_from_slice(b"{\"remote\":");
        let cut = self.address(remote);
        push_text(out, &cut);
        write_text(out, format_args!(r#","connection_event_type":{}}}"#, u8::from(!opened)));
        if cut != remote {
            push_key(out, FULL_REMOTE, false);
            push_text(out, remote);
        }
        out.push(b'}');
    }

    fn write_start(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        push_key(out, "timestamp", true);
        push_text(out, &rfc3339(self.at));
        push_key(out, "peer", false);
        push_text(out, self.peer);
        push_key(out, "monitor", false);
        push_text(out, self.monitor);
    }

    fn address<'t>(&self, full: &'t str) -> std::borrow::Cow<'t, str> {
        if self.legacy_addresses { legacy(full) } else { full.into() }
    }
}

impl Tally {
    /// The counts of one message.
    #[must_use]
    pub fn of_message(message: &Message<'_>) -> Self {
        let counts = &message.counts;
        let has_wants = counts.wants() > 0;
        Self {
            messages: 1,
            wantlists_full: u64::from(has_wants && message.full),
            wantlists_incremental: u64::from(has_wants && !message.full),
            want_block: counts.want_block,
            want_have: counts.want_have,
            cancel: counts.cancel,
            blocks: counts.blocks,
            have: counts.have,
            dont_have: counts.dont_have,
            ..Self::default()
        }
    }
}

const fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}

fn write_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests;
