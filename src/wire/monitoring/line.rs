//! A message as one line of text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::model::printable;

/// Parts of a Bitswap message on a line.
const MAX_PARTS: usize = 4;

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
        let full = if message["full_wantlist"] == true { " (full)" } else { "" };
        return (
            "bitswap",
            format!(
                "{peer}: {wants} wantlist entries{full}, {blocks} blocks, {presences} block presences{}",
                parts(message)
            ),
        );
    }
    ("unknown", Value::Object(event.clone()).to_string())
}

/// The first parts of a Bitswap message, each with its CID.
fn parts(message: &Value) -> String {
    let items = |key: &str| message[key].as_array().into_iter().flatten();
    let wants = items("wantlist_entries").map(|want| {
        let word = match (want["Cancel"] == true, &want["WantType"]) {
            (true, _) => "cancel",
            (false, kind) if *kind == 1 => "want-have",
            _ => "want-block",
        };
        (word, &want["Cid"])
    });
    let blocks = items("blocks").map(|cid| ("block", cid));
    let presences = items("block_presences").map(|presence| {
        let word = if presence["block_presence_type"] == 0 {
            "have"
        } else {
            "dont-have"
        };
        (word, &presence["cid"])
    });
    let mut all = wants.chain(blocks).chain(presences);
    let mut out = String::new();
    for (at, (word, cid)) in all.by_ref().take(MAX_PARTS).enumerate() {
        let _ = write!(out, "{} {word} {}", if at == 0 { ":" } else { "," }, text(cid, "/"));
    }
    match all.count() {
        0 => out,
        more => out + &format!(", and {more} more"),
    }
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
