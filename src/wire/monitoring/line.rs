//! A message as one line of text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::model::printable;

/// Formats a message as one line: time, monitor, event. A text that is not a message is returned as it is. Characters that a terminal
/// interprets are escaped.
#[must_use]
pub fn line(text: &[u8]) -> String {
    let said = match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(mut message)) => match message.remove("event") {
            Some(Value::Object(event)) => describe(&event),
            _ => String::from_utf8_lossy(text).trim_end().to_owned(),
        },
        _ => String::from_utf8_lossy(text).trim_end().to_owned(),
    };
    printable(&said.replace(['\n', '\t'], " ")).into_owned()
}

fn describe(event: &Map<String, Value>) -> String {
    let text = |key| event.get(key).and_then(Value::as_str).unwrap_or("-");
    let (word, what) = detail(event);
    let mut out = format!(
        "{} {} {word:<12} {what}",
        text("timestamp"),
        event.get("monitor").and_then(Value::as_str).unwrap_or("-")
    );
    if let Some(seq) = event.get("seq") {
        let _ = write!(out, "  #{seq}");
    }
    out
}

/// The kind of the event and its details.
fn detail(event: &Map<String, Value>) -> (&'static str, String) {
    let peer = event.get("peer").and_then(Value::as_str).unwrap_or("-");
    let part = |key: &str| event.get(key).filter(|part| part.is_object());
    if let Some(update) = part("app_update") {
        return (
            "app_update",
            format!(
                "{}: {} bytes from {}",
                text(update, "app"),
                number(update, "bytes"),
                text(update, "source")
            ),
        );
    }
    if let Some(expired) = part("app_expired") {
        return ("app_expired", text(expired, "app"));
    }
    if let Some(poll) = part("poll") {
        let up = if poll["up"] == true { "up" } else { "down" };
        return (
            "poll",
            format!("{}: {up} after {} s", text(poll, "endpoint"), number(poll, "seconds")),
        );
    }
    if let Some(shot) = part("one_shot") {
        return (
            "one_shot",
            format!("{}{} {}", text(shot, "metric"), shot["labels"], number(shot, "value")),
        );
    }
    if let Some(connection) = part("connection_event") {
        let word = if connection["connection_event_type"] == 0 {
            "connected"
        } else {
            "disconnected"
        };
        return (word, format!("{peer} {}", text(connection, "remote")));
    }
    if let Some(message) = part("bitswap_message") {
        let count = |key: &str| message[key].as_array().map_or(0, Vec::len);
        let (wants, blocks, presences) = (count("wantlist_entries"), count("blocks"), count("block_presences"));
        return (
            "bitswap",
            format!("{peer}: {wants} wantlist entries, {blocks} blocks, {presences} block presences"),
        );
    }
    ("unknown", Value::Object(event.clone()).to_string())
}

fn text(part: &Value, key: &str) -> String {
    part[key].as_str().unwrap_or("-").to_owned()
}

/// A number, or the string for a number that JSON does not support.
fn number(part: &Value, key: &str) -> String {
    part[key].as_str().map_or_else(|| part[key].to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
