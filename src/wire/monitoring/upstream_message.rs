//! Messages of upstream servers: parsed, counted, and rewritten for subscribers.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::object::{MAX_KEYS, Object, push, push_key, push_text};
use super::{FULL_CONNECTED_ADDRESSES, FULL_REMOTE, legacy};
use crate::model::Topic;

/// The keys of an event that a proxy writes.
const OURS: [&str; 5] = ["monitor", "seq", "hops", FULL_REMOTE, FULL_CONNECTED_ADDRESSES];
/// Limit of other keys per event, so that the next proxy accepts it with ours added.
const MAX_FOREIGN_KEYS: usize = MAX_KEYS - OURS.len();

/// A message of an upstream server.
#[derive(Debug)]
pub struct UpstreamMessage<'a> {
    event: Object<'a>,
    /// Its topic; `None` if it has no known key.
    pub topic: Option<Topic>,
    /// Its counts.
    pub tally: Tally,
    /// Number of proxies that relayed it, by which loops are detected.
    pub hops: u32,
    addresses: Addresses<'a>,
}

/// Error of a message. The stream itself can be continued.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamMessageError {
    /// It is not the JSON of the protocol.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It has too many keys.
    #[error("the event has more than {MAX_FOREIGN_KEYS} keys")]
    TooManyKeys,
    /// It has no event.
    #[error("it has no event")]
    NoEvent,
    /// The time or the peer is missing, or not a string.
    #[error("{0:?} is missing or not a string")]
    NoText(&'static str),
    /// An unknown number of a kind.
    #[error("{0} has the unknown value {1}")]
    Kind(&'static str, u8),
}

/// Counts of messages, with the names of the original client's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bitswap messages.
    pub messages: u64,
    /// Full wantlists.
    pub wantlists_full: u64,
    /// Incremental wantlists.
    pub wantlists_incremental: u64,
    /// Wantlist entries for a block: without and with `SendDontHave`.
    pub want_block: [u64; 2],
    /// Wantlist entries for the presence of a block: without and with `SendDontHave`.
    pub want_have: [u64; 2],
    /// Wantlist entries that cancel a request.
    pub cancel: u64,
    /// Blocks.
    pub blocks: u64,
    /// Statements of having a block.
    pub have: u64,
    /// Statements of not having a block.
    pub dont_have: u64,
    /// Connections opened.
    pub connected: u64,
    /// Connections closed.
    pub disconnected: u64,
}

/// A string that borrows from the message unless it contains escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct BitswapMessage<'a> {
    wantlist_entries: Vec<WantlistEntry>,
    full_wantlist: bool,
    blocks: Vec<IgnoredAny>,
    block_presences: Vec<Presence>,
    #[serde(borrow)]
    connected_addresses: Vec<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WantlistEntry {
    want_type: u8,
    cancel: bool,
    send_dont_have: bool,
}

#[derive(Deserialize)]
struct Presence {
    block_presence_type: u8,
}

#[derive(Deserialize)]
struct ConnectionEvent<'a> {
    #[serde(borrow)]
    remote: Text<'a>,
    connection_event_type: u8,
}

/// The multiaddresses of a message.
#[derive(Debug, Default)]
struct Addresses<'a> {
    connected: Vec<Text<'a>>,
    remote: Option<Text<'a>>,
}

impl<'a> UpstreamMessage<'a> {
    /// Parses the text of a message.
    ///
    /// # Errors
    /// If it violates the protocol. Unknown keys are accepted.
    pub fn read(text: &'a [u8]) -> Result<Self, UpstreamMessageError> {
        let envelope: Object<'a> = serde_json::from_slice(text)?;
        let event: Object<'a> = serde_json::from_str(envelope.get("event").ok_or(UpstreamMessageError::NoEvent)?.get())?;
        if event.keys().filter(|key| !OURS.contains(key)).count() > MAX_FOREIGN_KEYS {
            return Err(UpstreamMessageError::TooManyKeys);
        }
        for key in ["timestamp", "peer"] {
            if !event.get(key).is_some_and(|value| value.get().starts_with('"')) {
                return Err(UpstreamMessageError::NoText(key));
            }
        }
        let (mut tally, mut addresses) = (Tally::default(), Addresses::default());
        if let Some(message) = event.get("bitswap_message") {
            let message: BitswapMessage<'a> = serde_json::from_str(message.get())?;
            tally.count_message(&message)?;
            addresses.connected = message.connected_addresses;
        }
        if let Some(connection) = event.get("connection_event") {
            let connection: ConnectionEvent<'a> = serde_json::from_str(connection.get())?;
            tally.count_connection(connection.connection_event_type)?;
            addresses.remote = Some(connection.remote);
        }
        Ok(Self {
            topic: topic(&event),
            hops: hops(&event),
            tally,
            addresses,
            event,
        })
    }

    /// Appends the event for subscribers: its object with the name of its `monitor`, ready for
    /// [`ProxyMessage::write_relayed`](super::ProxyMessage::write_relayed). With `legacy_addresses` its addresses are
    /// converted for the original client, and the full ones are added.
    pub fn write(&self, monitor: &str, legacy_addresses: bool, out: &mut Vec<u8>) {
        let changed = if legacy_addresses {
            self.addresses.rewritten()
        } else {
            Rewritten::default()
        };
        let ours = |key: &str| {
            matches!(key, "monitor" | "seq" | "hops")
                || (key == FULL_REMOTE && changed.remote.is_some())
                || (key == FULL_CONNECTED_ADDRESSES && changed.connected.is_some())
        };
        self.event.write_open(out, ours, |key, value, out| changed.write(key, value, out));
        push_key(out, "monitor", false);
        push_text(out, monitor);
        if self.hops > 0 {
            push_key(out, "hops", false);
            push(out, self.hops.saturating_add(1));
        }
        if let (Some(_), Some(Text(full))) = (&changed.remote, &self.addresses.remote) {
            push_key(out, FULL_REMOTE, false);
            push_text(out, full);
        }
        if changed.connected.is_some() {
            push_key(out, FULL_CONNECTED_ADDRESSES, false);
            push(out, self.addresses.connected.iter().map(|Text(full)| full).collect::<Vec<_>>());
        }
        out.push(b'}');
    }
}

/// The topic of an event.
fn topic(event: &Object<'_>) -> Option<Topic> {
    if event.get("bitswap_message").is_some() || event.get("connection_event").is_some() {
        return Some(Topic::Bitswap);
    }
    Topic::ALL
        .into_iter()
        .find(|topic| *topic != Topic::Bitswap && event.get(topic.as_str()).is_some())
}

/// The number of proxies that relayed an event: the first one adds a monitor, further ones a count.
fn hops(event: &Object<'_>) -> u32 {
    match (event.get("monitor"), event.get("hops")) {
        (None, _) => 0,
        (Some(_), None) => 1,
        (Some(_), Some(hops)) => serde_json::from_str(hops.get()).unwrap_or(u32::MAX),
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.wantlists_full += more.wantlists_full;
        self.wantlists_incremental += more.wantlists_incremental;
        for at in 0..2 {
            self.want_block[at] += more.want_block[at];
            self.want_have[at] += more.want_have[at];
        }
        self.cancel += more.cancel;
        self.blocks += more.blocks;
        self.have += more.have;
        self.dont_have += more.dont_have;
        self.connected += more.connected;
        self.disconnected += more.disconnected;
    }
}

impl Tally {
    fn count_message(&mut self, message: &BitswapMessage<'_>) -> Result<(), UpstreamMessageError> {
        self.messages += 1;
        self.blocks += message.blocks.len() as u64;
        match (message.wantlist_entries.is_empty(), message.full_wantlist) {
            (true, _) => {}
            (false, true) => self.wantlists_full += 1,
            (false, false) => self.wantlists_incremental += 1,
        }
        for entry in &message.wantlist_entries {
            match (entry.cancel, entry.want_type) {
                (true, 0 | 1) => self.cancel += 1,
                (false, 0) => self.want_block[usize::from(entry.send_dont_have)] += 1,
                (false, 1) => self.want_have[usize::from(entry.send_dont_have)] += 1,
                (_, kind) => return Err(UpstreamMessageError::Kind("WantType", kind)),
            }
        }
        for presence in &message.block_presences {
            match presence.block_presence_type {
                0 => self.have += 1,
                1 => self.dont_have += 1,
                kind => return Err(UpstreamMessageError::Kind("block_presence_type", kind)),
            }
        }
        Ok(())
    }

    fn count_connection(&mut self, kind: u8) -> Result<(), UpstreamMessageError> {
        match kind {
            0 => self.connected += 1,
            1 => self.disconnected += 1,
            kind => return Err(UpstreamMessageError::Kind("connection_event_type", kind)),
        }
        Ok(())
    }
}

/// The addresses that change for the original client.
#[derive(Debug, Default)]
struct Rewritten {
    connected: Option<Vec<String>>,
    remote: Option<String>,
}

impl Addresses<'_> {
    fn rewritten(&self) -> Rewritten {
        let connected = self.connected.iter().any(|Text(full)| legacy(full) != *full).then(|| {
            let cut = self.connected.iter().map(|Text(full)| legacy(full).into_owned());
            // Addresses without a supported part are omitted; the full list has them.
            cut.filter(|address| !address.is_empty()).collect()
        });
        let remote = self.remote.as_ref().and_then(|Text(full)| {
            let cut = legacy(full);
            (cut != *full).then(|| cut.into_owned())
        });
        Rewritten { connected, remote }
    }
}

impl Rewritten {
    /// Writes the value of a key of `event` if one of its addresses changed. Returns true if it did.
    fn write(&self, key: &str, value: &RawValue, out: &mut Vec<u8>) -> bool {
        match (key, &self.connected, &self.remote) {
            ("bitswap_message", Some(connected), _) => replace(value, "connected_addresses", connected, out),
            ("connection_event", _, Some(remote)) => replace(value, "remote", remote, out),
            _ => false,
        }
    }
}

/// Writes an object with another value for one key.
fn replace(object: &RawValue, key: &str, with: impl serde::Serialize, out: &mut Vec<u8>) -> bool {
    let Ok(object) = serde_json::from_str::<Object<'_>>(object.get()) else {
        return false;
    };
    let change = |name: &str, _: &RawValue, out: &mut Vec<u8>| {
        let here = name == key;
        if here {
            push(out, &with);
        }
        here
    };
    object.write_open(out, |_| false, change);
    out.push(b'}');
    true
}

#[cfg(test)]
mod tests;
