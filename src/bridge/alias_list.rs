//! The aliases of a bridge as a table and as JSON, written piece by piece: with those of other bridges there may be hundreds of thousands.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tabled::grid::util::string::get_line_width;

use super::alias_table::Transport;
use super::proxy_registry::AliasListing;
use crate::model::{Timestamp, printable, printable_json};
use crate::page::PieceWriter;

const COLUMNS: [&str; 7] = ["Alias", "Hostname", "Service", "Key", "Registered", "Expires", "State"];

/// A time of a listing: RFC 3339, in seconds.
pub(super) fn time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.as_millis())
        .map_or_else(|| "?".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The table columns of one alias.
pub(super) fn columns(listed: &AliasListing) -> [String; 7] {
    let AliasListing {
        entry,
        registered,
        expires,
        link,
        bridge,
        ..
    } = listed;
    let state = match link {
        Some(link) => format!("connected, {:.1} ms away", link.rtt().as_secs_f64() * 1_000.0),
        None if bridge.is_some() => format!("over the bridge {}", bridge.as_ref().map_or("", |bridge| &bridge.name)),
        None if entry.transport == Transport::Hyperdht => "dialed over HyperDHT".to_owned(),
        None => "not connected".to_owned(),
    };
    [
        printable(entry.alias.as_str()).into_owned(),
        printable(&entry.hostname).into_owned(),
        printable(&entry.service).into_owned(),
        entry.key.to_string(),
        time(*registered),
        time(*expires),
        state,
    ]
}

fn facts(listed: &AliasListing) -> Value {
    let AliasListing {
        entry,
        registered,
        expires,
        link,
        bridge,
        ..
    } = listed;
    json!({
        "alias": entry.alias.as_str(),
        "hostname": entry.hostname,
        "service": entry.service,
        "key": entry.key.to_string(),
        "registered": time(*registered),
        "expires": time(*expires),
        "over": match (link, entry.transport) {
            (Some(_), _) | (None, Transport::Quic) => Some("quic"),
            (None, Transport::Hyperdht) => Some("hyperdht"),
            (None, Transport::Unknown) => None,
        },
        "connected": listed.is_connected(),
        "bridge": bridge.as_ref().map(|bridge| &bridge.name),
        "round_trip_seconds": link.as_ref().map(|link| link.rtt().as_secs_f64()),
    })
}

/// Bytes of a list of aliases, without those of their apps.
pub(super) fn list_bytes(list: &[AliasListing]) -> u64 {
    let texts = |listed: &AliasListing| listed.entry.alias.as_str().len() + listed.entry.hostname.len() + listed.entry.service.len();
    (size_of_val(list) + list.iter().map(texts).sum::<usize>()) as u64
}

/// A list of aliases as JSON.
pub(super) struct AliasJsonWriter {
    list: Vec<AliasListing>,
    next: usize,
}

impl AliasJsonWriter {
    pub(super) fn new(list: Vec<AliasListing>) -> Self {
        Self { list, next: 0 }
    }
}

impl PieceWriter for AliasJsonWriter {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while out.len() < enough {
            let is_first = self.next == 0;
            let Some(listed) = self.list.get(self.next) else {
                out.extend_from_slice(if is_first { "[]\n" } else { "]\n" }.as_bytes());
                return false;
            };
            out.push(if is_first { b'[' } else { b',' });
            out.extend_from_slice(printable_json(&facts(listed).to_string()).as_bytes());
            self.next += 1;
        }
        true
    }

    fn memory(&self) -> u64 {
        list_bytes(&self.list)
    }
}

/// A list of aliases as a table, with notes below it. It is drawn here and not by the library, which takes many times the time and memory.
pub(super) struct AliasTableWriter {
    list: Vec<AliasListing>,
    next: usize,
    notes: String,
    /// Once it is begun.
    frame: Option<TableFrame>,
}

/// The widths of the columns, and the line between two rows.
struct TableFrame {
    widths: [usize; 7],
    line: String,
}

impl TableFrame {
    fn of(list: &[AliasListing]) -> Self {
        let mut widths = COLUMNS.map(get_line_width);
        for listed in list {
            for (width, cell) in widths.iter_mut().zip(cells(listed)) {
                *width = (*width).max(get_line_width(&cell));
            }
        }
        let mut line = String::from("+");
        for width in widths {
            line.push_str(&"-".repeat(width + 2));
            line.push('+');
        }
        line.push('\n');
        Self { widths, line }
    }

    /// Writes a row and the line below it.
    fn write_row(&self, out: &mut Vec<u8>, cells: &[impl AsRef<str>; 7]) {
        out.push(b'|');
        for (cell, width) in cells.iter().zip(self.widths) {
            let cell = cell.as_ref();
            let padding = width.saturating_sub(get_line_width(cell));
            // Writing to memory cannot fail.
            let _ = write!(out, " {cell}{:padding$} |", "");
        }
        out.push(b'\n');
        out.extend_from_slice(self.line.as_bytes());
    }
}

/// The columns, each in one line.
fn cells(listed: &AliasListing) -> [String; 7] {
    columns(listed).map(|cell| cell.replace(['\n', '\t'], " "))
}

impl AliasTableWriter {
    pub(super) fn new(list: Vec<AliasListing>, notes: String) -> Self {
        Self {
            list,
            next: 0,
            notes,
            frame: None,
        }
    }
}

impl PieceWriter for AliasTableWriter {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        let list = &self.list;
        let frame = self.frame.get_or_insert_with(|| {
            let frame = TableFrame::of(list);
            out.extend_from_slice(frame.line.as_bytes());
            frame.write_row(out, &COLUMNS);
            frame
        });
        while out.len() < enough {
            let Some(listed) = list.get(self.next) else {
                out.extend_from_slice(printable(&self.notes).as_bytes());
                if out.last().is_some_and(|byte| *byte != b'\n') {
                    out.push(b'\n');
                }
                return false;
            };
            frame.write_row(out, &cells(listed));
            self.next += 1;
        }
        true
    }

    fn memory(&self) -> u64 {
        list_bytes(&self.list) + self.notes.len() as u64
    }
}

#[cfg(test)]
pub(super) mod tests;
