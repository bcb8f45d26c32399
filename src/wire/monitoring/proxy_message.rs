//! Messages about events of this proxy, and the envelope of relayed messages.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::object::{push, push_key, push_text};
use crate::model::{LabelPair, Timestamp};

/// A message of this proxy.
#[derive(Debug, Clone, Copy)]
pub struct ProxyMessage<'a> {
    /// Time of the event.
    pub at: Timestamp,
    /// The proxy's name, used as both peer and monitor.
    pub proxy: &'a str,
    /// Its sequence number in the stream.
    pub seq: u64,
    /// The event.
    pub event: ProxyEvent<'a>,
}

/// An event of this proxy, serialized as an object with one key, the topic.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyEvent<'a> {
    /// An application was updated.
    AppUpdate {
        /// Its name.
        app: &'a str,
        /// The source of the update, as in `/apps`.
        source: &'a str,
        /// Number of its families, if texts are parsed.
        #[serde(skip_serializing_if = "Option::is_none")]
        families: Option<usize>,
        /// Number of its series, likewise.
        #[serde(skip_serializing_if = "Option::is_none")]
        series: Option<u32>,
        /// Length of its exposition text.
        bytes: u64,
    },
    /// An application was forgotten.
    AppExpired {
        /// Its name.
        app: &'a str,
    },
    /// A one-shot event was accepted.
    OneShot {
        /// The family of its sample.
        metric: &'a str,
        /// Its labels, unescaped.
        #[serde(serialize_with = "as_object")]
        labels: &'a [LabelPair],
        /// Its value; a string for numbers that JSON does not support: `NaN`, `+Inf`, `-Inf`.
        #[serde(serialize_with = "as_number")]
        value: f64,
    },
    /// An endpoint was polled.
    Poll {
        /// The application's name.
        endpoint: &'a str,
        /// True if the poll succeeded.
        up: bool,
        /// Duration of the poll.
        seconds: f64,
    },
}

impl ProxyMessage<'_> {
    /// Appends the complete text of the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"event\":{");
        push_key(out, "timestamp", true);
        push_text(out, &rfc3339(self.at));
        push_key(out, "peer", false);
        push_text(out, self.proxy);
        push_key(out, "seq", false);
        push(out, self.seq);
        push_key(out, "monitor", false);
        push_text(out, self.proxy);
        let start = out.len();
        push(out, self.event);
        // The topic's object becomes one more key: its opening brace is replaced by a comma, its closing brace closes the event.
        out[start] = b',';
        out.extend_from_slice(b"}\n");
    }

    /// Appends the complete text of a relayed message: its event as written by [`super::UpstreamMessage::write`], and its sequence number.
    pub fn write_relayed(seq: u64, event: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"event\":{");
        push_key(out, "seq", true);
        push(out, seq);
        out.push(b',');
        out.extend_from_slice(&event[1..]);
        out.extend_from_slice(b"}\n");
    }
}

/// A time as RFC 3339 with nanoseconds, as the original writes it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(at.as_millis()).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_object<S: Serializer>(labels: &&[LabelPair], json: S) -> Result<S::Ok, S::Error> {
    json.collect_map(labels.iter().map(|(name, value)| (&**name, &**value)))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_number<S: Serializer>(value: &f64, json: S) -> Result<S::Ok, S::Error> {
    match *value {
        v if v.is_finite() => json.serialize_f64(v),
        v if v.is_nan() => json.serialize_str("NaN"),
        v if v > 0.0 => json.serialize_str("+Inf"),
        _ => json.serialize_str("-Inf"),
    }
}

#[cfg(test)]
mod tests;
