//! A claim on an alias as the bridges of a cluster exchange it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use ring::digest;
use serde::{Deserialize, Serialize};

use super::alias_table::Transport;
use crate::model::AppName;
use crate::peer::{Alias, MAX_NAME_BYTES, PublicKey};

/// Limit on a record: three names of 255 bytes, each up to six times as long as JSON, and the rest.
const MAX_RECORD_BYTES: usize = 8 << 10;

/// Limit on the id of a bridge; its own have 32 digits.
const MAX_ID_BYTES: usize = 64;

/// The version of the record. Bridges ignore records of other versions.
const VERSION: u32 = 1;

/// The place of a claim in the order of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ClaimOrder {
    /// The engine's time in milliseconds.
    pub millis: u64,
    /// The number within that millisecond.
    pub sequence: u64,
}

impl ClaimOrder {
    /// After all claims that the engine has.
    pub(super) const LAST: Self = Self {
        millis: u64::MAX,
        sequence: u64::MAX,
    };
}

impl fmt::Display for ClaimOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

impl FromStr for ClaimOrder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, sequence) = text.split_once('-').ok_or(())?;
        Ok(Self {
            millis: millis.parse().map_err(drop)?,
            sequence: sequence.parse().map_err(drop)?,
        })
    }
}

/// A claim of one bridge on an alias, which only that bridge writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedClaim {
    pub(super) alias: Alias,
    pub(super) key: PublicKey,
    pub(super) hostname: String,
    pub(super) service: String,
    pub(super) transport: Transport,
    /// True while the bridge reaches the proxy: over a link, or by dialing its key.
    pub(super) connected: bool,
    /// The address that has registered it, if known.
    pub(super) address: Option<SocketAddr>,
    /// The id of the bridge.
    pub(super) bridge: String,
    /// The order since which the key holds the alias at the bridge; `None`: since this record.
    pub(super) since: Option<ClaimOrder>,
    /// The order of the last registration; `None`: that of this record.
    pub(super) registered: Option<ClaimOrder>,
}

/// The record as JSON.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    bridge: String,
    alias: String,
    key: String,
    hostname: String,
    service: String,
    over: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<String>,
}

const QUIC: &str = "quic";
const HYPERDHT: &str = "hyperdht";

impl SharedClaim {
    /// The claim as bytes; [`SharedClaim::decode`] reads them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let record = Record {
            version: VERSION,
            bridge: self.bridge.clone(),
            alias: self.alias.to_string(),
            key: self.key.to_string(),
            hostname: self.hostname.clone(),
            service: self.service.clone(),
            over: if self.transport == Transport::Hyperdht { HYPERDHT } else { QUIC }.to_owned(),
            connected: self.connected,
            address: self.address.map(|address| address.to_string()),
            since: self.since.map(|order| order.to_string()),
            registered: self.registered.map(|order| order.to_string()),
        };
        // Serializing strings into a vector cannot fail.
        serde_json::to_vec(&record).unwrap_or_default().into()
    }

    /// Reads a record of [`SharedClaim::encode`]; `None` for other bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        let record: Record = serde_json::from_slice(bytes).ok()?;
        let is_name = |text: &str| text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        let is_valid = record.version == VERSION && is_name(&record.hostname) && is_name(&record.service) && is_id(&record.bridge);
        if !is_valid {
            return None;
        }
        let order = |text: Option<String>| text.map(|text| text.parse()).transpose().ok();
        Some(Self {
            alias: Alias::new(&record.alias).ok()?,
            key: record.key.parse().ok()?,
            hostname: record.hostname,
            service: record.service,
            transport: match &*record.over {
                QUIC => Transport::Quic,
                HYPERDHT => Transport::Hyperdht,
                _ => return None,
            },
            connected: record.connected,
            address: record.address.and_then(|address| address.parse().ok()),
            bridge: record.bridge,
            since: order(record.since)?,
            registered: order(record.registered)?,
        })
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The name under which the engine has the claim of a bridge on an alias. An alias may be as long as a name, so its digest stands there.
pub(super) fn record_name(bridge: &str, alias: &Alias) -> Option<AppName> {
    let digest = digest::digest(&digest::SHA256, alias.as_str().as_bytes());
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    AppName::new(&format!("{bridge}/{digits}")).ok()
}

/// The id of the bridge that writes a record of this name.
pub(super) fn bridge_of(name: &AppName) -> &str {
    name.as_str().split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
