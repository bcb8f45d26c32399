//! Applications as people see them: a drawn table, JSON, and the facts of one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tabled::grid::util::string::get_line_width;

use super::app_filter::{AppCounts, Listed, State};
use crate::exposition::Fault;
use crate::exposition::negotiate::ContentEncoding;
use crate::http::Slices;
use crate::model::units::show_duration;
use crate::model::{Clock, Timestamp, printable, printable_json};
use crate::store::{App, MINUTES, MonotonicTime, Status, View};
use crate::telemetry::UpdateRun;

/// A point in time for people: UTC with milliseconds.
pub(super) fn clock_time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.as_millis())
        .map_or_else(|| "?".into(), |time| time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}

/// A point in time for machines: RFC 3339.
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    Some(DateTime::<Utc>::from_timestamp_millis(at.as_millis())?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// The present, for the state of applications: the time of day, which is only shown, the moment, and the limit on ages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    moment: MonotonicTime,
    expire_after: Option<Duration>,
}

impl Present {
    pub(super) fn of(view: &View, clock: Clock) -> Self {
        Self {
            moment: view.moment(clock()),
            expire_after: view.expire_after(),
        }
    }

    /// The age of an app's last update; `None` if it has had none.
    pub(super) fn age(&self, app: &App) -> Option<Duration> {
        app.updated.map(|_| self.moment.since(app.refreshed))
    }

    /// The number of an app's updates in each of the last minutes, the current one last.
    pub(super) fn rate(&self, app: &App) -> [u16; MINUTES] {
        app.rate.by_minute(self.moment)
    }

    /// The end of an app without further updates, for people.
    pub(super) fn expiry(&self, app: &App) -> String {
        match app.expiry(self.expire_after) {
            None => "never".to_owned(),
            Some(age) => {
                let rest = age.saturating_sub(self.moment.since(app.refreshed));
                format!(
                    "{} after its last update, in {}",
                    show_duration(age),
                    show_duration(Duration::from_secs(rest.as_secs()))
                )
            }
        }
    }

    pub(super) fn status(&self, app: &App) -> Status {
        app.status(self.moment, self.expire_after)
    }
}

/// The width of a terminal that the table of `/apps` fits.
pub(super) const TERMINAL: usize = 120;

/// Bytes of a listing that are kept in one slice.
const SLICE: usize = 64 * 1024;

const HEADINGS: [&str; 6] = ["App Name", "Last Update Time (UTC)", "Source", "Series", "Bytes", "Status"];

/// The lines above the table of applications: the frame of two rows that it stands in, of which the first is the time and a summary.
pub(super) fn draw_head(width: usize, now: Timestamp, counts: AppCounts) -> String {
    let edge = edge(width);
    let time = format!("Current time: {}", clock_time(now));
    format!("{edge}| {time:width$} |\n| {summary:width$} |\n{edge}", summary = summary(counts))
}

/// The apps of a listing in a line.
fn summary(counts: AppCounts) -> String {
    let number = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut line = number(counts.apps() as u64, "app");
    if counts.fault > 0 {
        let _ = write!(line, ", {} with faults", counts.fault);
    }
    if counts.stale > 0 {
        let _ = write!(line, ", {} stale", counts.stale);
    }
    if let Some(series) = counts.series {
        let _ = write!(line, ", {series} series");
    }
    let _ = write!(line, ", {}", number(counts.bytes, "byte"));
    line
}

/// The last line of the frame, and the notes below it.
pub(super) fn draw_end(width: usize, notes: &[String]) -> String {
    let mut end = edge(width);
    for note in notes {
        let _ = writeln!(end, "note: {}", printable(note));
    }
    end
}

fn edge(width: usize) -> String {
    format!("+{}+\n", "-".repeat(width + 2))
}

/// The characters of a row besides its cells: the frame, and the lines and spaces between cells.
const ROW_FRAME: usize = 23;
/// The least width of the last column, which wraps.
const MIN_STATUS: usize = 20;

/// The table of applications as it stands in its frame, and its width; with a limit on the width, long names and sources are shortened in the
/// middle and states are wrapped. It is drawn here and not by the library, which draws a frame around it in a hundred times the time and
/// memory.
pub(super) fn draw_rows(listed: &[Listed], terminal: Option<usize>) -> (Slices, usize) {
    let cells: Vec<_> = listed.iter().map(cells).collect();
    let mut widths = HEADINGS.map(get_line_width);
    for cells in &cells {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(get_line_width(cell));
        }
    }
    if let Some(terminal) = terminal {
        fit(&mut widths, terminal.saturating_sub(ROW_FRAME));
    }
    let mut line = String::from("| +");
    widths.iter().for_each(|width| {
        line.push_str(&"-".repeat(width + 2));
        line.push('+');
    });
    line.push_str(" |\n");
    let width = line.len() - "| ".len() - " |\n".len();
    let mut slices = SliceWriter::default();
    slices.push(|out| {
        out.push_str(&line);
        write_cells(out, &HEADINGS, &widths);
        out.push_str(&line);
    });
    for [name, updated, source, series, bytes, status] in &cells {
        let (name, source) = (shortened(name, widths[0]), shortened(source, widths[2]));
        slices.push(|out| {
            let mut first = [&*name, updated, &source, series, bytes, ""];
            for part in wrapped(status, widths[5]) {
                first[5] = part;
                write_cells(out, &first, &widths);
                first = [""; 6];
            }
            out.push_str(&line);
        });
    }
    (slices.finish(), width)
}

/// Narrows the columns of names, sources and states until all columns together have this width, if that is possible.
fn fit(widths: &mut [usize; 6], total: usize) {
    let [name, updated, source, series, bytes, status] = *widths;
    let rest = total.saturating_sub(updated + series + bytes);
    if name + source + status <= rest {
        return;
    }
    // Names and sources get their shares first, then the state, and what the state leaves is theirs again.
    let (least_name, least_source) = (rest * 2 / 5, rest / 4);
    let shared = [(name, least_name, HEADINGS[0]), (source, least_source, HEADINGS[2])];
    let [narrow_name, narrow_source] = shared.map(|(natural, share, heading)| natural.min(share.max(get_line_width(heading))));
    widths[5] = status.min(rest.saturating_sub(narrow_name + narrow_source).max(MIN_STATUS));
    let spare = rest.saturating_sub(narrow_name + narrow_source + widths[5]);
    widths[0] = name.min(narrow_name + spare);
    widths[2] = source.min(narrow_source + spare.saturating_sub(widths[0] - narrow_name));
}

/// A text of at most this width, with its middle left out.
fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    const GAP: &str = "...";
    if get_line_width(text) <= width {
        return text.into();
    }
    let rest = width.saturating_sub(GAP.len());
    let (head, tail) = (first_columns(text, rest - rest / 2), last_columns(text, rest / 2));
    format!("{head}{GAP}{tail}").into()
}

/// The first characters of a text that take at most this width, in columns of a terminal.
#[must_use]
pub fn first_columns(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += get_line_width(c.encode_utf8(&mut [0; 4]));
        taken > width
    });
    let mut head = &text[..end.map_or(text.len(), |(at, _)| at)];
    // A sequence can be wider than its characters one by one: U+FE0F widens the one before it.
    while get_line_width(head) > width {
        head = head.char_indices().next_back().map_or("", |(at, _)| &head[..at]);
    }
    head
}

/// The last characters of a text that take at most this width.
fn last_columns(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        taken += get_line_width(c.encode_utf8(&mut [0; 4]));
        taken > width
    });
    let mut tail = &text[start.map_or(0, |(at, c)| at + c.len_utf8())..];
    while get_line_width(tail) > width {
        tail = tail.char_indices().nth(1).map_or("", |(at, _)| &tail[at..]);
    }
    tail
}

/// The lines of a text of at most this width, broken at spaces where there are any.
fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while get_line_width(rest) > width {
        // A character that is wider than the column stands alone.
        let head = match first_columns(rest, width) {
            "" => &rest[..rest.chars().next().map_or(0, char::len_utf8)],
            head => head,
        };
        let ends_at_space = rest[head.len()..].starts_with(' ');
        let cut = match head.rfind(' ') {
            Some(space) if !ends_at_space && space > 0 => space,
            _ => head.len(),
        };
        lines.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
    }
    lines.push(rest);
    lines
}

fn cells((app, status): &Listed) -> [String; 6] {
    let updated = app.updated.map_or_else(|| "never".into(), clock_time);
    let cells = [
        app.name.to_string(),
        updated,
        app.origin.source.to_string(),
        series(app),
        app.text.body().len().to_string(),
        status.to_string(),
    ];
    cells.map(|cell| printable(&cell.replace(['\n', '\t'], " ")).into_owned())
}

fn write_cells(out: &mut String, cells: &[impl AsRef<str>; 6], widths: &[usize; 6]) {
    out.push_str("| |");
    for (cell, width) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        let padding = width.saturating_sub(get_line_width(cell));
        let _ = write!(out, " {cell}{:padding$} |", "");
    }
    out.push_str(" |\n");
}

/// The applications as CSV (RFC 4180), with a line of headings.
pub(super) fn csv(listed: &[Listed], present: Present) -> Slices {
    let mut slices = SliceWriter::default();
    slices.push(|out| out.push_str("name,state,detail,age_seconds,series,bytes,source,format,last_update\r\n"));
    for (app, status) in listed {
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        slices.push(|out| {
            let (age, updated) = (number(present.age(app).map(|age| age.as_secs())), app.updated.and_then(rfc3339));
            let _ = write!(
                out,
                "{},{},{},{age},{},{},{},{},{}\r\n",
                csv_field(app.name.as_str()),
                State::of(status).word(),
                csv_field(&status.to_string()),
                number(app.series()),
                app.text.body().len(),
                csv_field(&app.origin.source),
                app.origin.format.as_str(),
                updated.unwrap_or_default(),
            );
        });
    }
    slices.finish()
}

/// A quoted text. A program for tables takes one that begins like a formula for a formula, so such a text begins with an apostrophe.
fn csv_field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", printable(text).replace('"', "\"\""))
}

/// Text that grows into slices of about [`SLICE`] bytes.
#[derive(Default)]
struct SliceWriter {
    slices: Vec<Bytes>,
    text: String,
}

impl SliceWriter {
    fn push(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        if self.text.len() >= SLICE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.slices
                .push(std::mem::take(&mut self.text).into_boxed_str().into_boxed_bytes().into());
        }
    }

    fn finish(mut self) -> Slices {
        self.flush();
        Arc::new(self.slices)
    }
}

/// The applications as JSON, separated by commas.
pub(super) fn list(listed: &[Listed]) -> Slices {
    let mut slices = SliceWriter::default();
    for (n, (app, status)) in listed.iter().enumerate() {
        slices.push(|out| {
            let facts = facts(app, status).to_string();
            let _ = write!(out, "{}{}", if n > 0 { "," } else { "" }, printable_json(&facts));
        });
    }
    slices.finish()
}

/// The name of a content encoding, as in its header.
pub(super) const fn encoding(encoding: ContentEncoding) -> &'static str {
    match encoding {
        ContentEncoding::Identity => "identity",
        ContentEncoding::Gzip => "gzip",
    }
}

/// The number of series; a dash where texts are not read.
pub(super) fn series(app: &App) -> String {
    app.series().map_or_else(|| "-".to_owned(), |series| series.to_string())
}

/// One application as JSON. `status` is a word for machines (`ok`, `stale`, `fault`) and `detail` a text for people.
pub(super) fn facts(app: &App, status: &Status) -> Value {
    let word = State::of(status).word();
    json!({
        "name": app.name.as_str(),
        "source": &*app.origin.source,
        "format": app.origin.format.as_str(),
        "first_seen": rfc3339(app.first_seen),
        "last_update": app.updated.and_then(rfc3339),
        "families": app.text.exposition().map(|text| text.families().len()),
        "series": app.series(),
        "expire_after_seconds": app.expire_after.map(|age| age.as_secs()),
        "bytes": app.text.body().len(),
        "status": word,
        "detail": status.to_string(),
    })
}

/// As [`facts`], with all that is wrong with the application's text and between it and others, and what is worth knowing besides.
pub(super) fn all_facts(app: &App, present: Present, updates: &[UpdateRun]) -> Value {
    let mut value = facts(app, &present.status(app));
    let now = Instant::now();
    let age = |at: Instant| now.saturating_duration_since(at).as_secs();
    let update = |run: &UpdateRun| {
        json!({
            "source": &*run.source, "client": run.client.as_ref().map(ToString::to_string), "refused": run.refused, "count": run.count,
            "bytes": run.bytes, "smallest": run.smallest, "largest": run.largest,
            "age_seconds": age(run.last), "first_age_seconds": age(run.first),
        })
    };
    value["last_updates"] = updates.iter().map(update).collect();
    value["updates_by_minute"] = present.rate(app).to_vec().into();
    value["invalid_lines"] = app.invalid_lines().into();
    value["duplicate_series"] = app.duplicates.into();
    value["invalid_exemplars"] = app.invalid_exemplars().into();
    value["notes"] = app.notes().into();
    let faults = app.text.exposition().map(|text| text.faults().iter());
    let fault = |fault: &Fault| json!({ "line": fault.line, "column": fault.column, "place": fault.place, "reason": fault.reason });
    value["faults"] = faults.into_iter().flatten().map(fault).collect();
    value["conflicts"] = app.conflicts.listed.iter().map(ToString::to_string).collect();
    value
}

/// One application as lines for people.
pub(super) fn describe(app: &App, present: Present) -> String {
    let updated = app.updated.map_or_else(|| "never".into(), clock_time);
    let families = app
        .text
        .exposition()
        .map_or_else(|| "-".to_owned(), |text| text.families().len().to_string());
    let mut lines = format!(
        "App Name:     {}\nSource:       {}\nFormat:       {}\nFirst seen:   {}\nLast update:  {updated}\nFamilies:     {families}\n\
         Series:       {}\nBytes:        {}\nExpires:      {}\nStatus:       {}\n",
        app.name,
        app.origin.source,
        app.origin.format.as_str(),
        clock_time(app.first_seen),
        series(app),
        app.text.body().len(),
        present.expiry(app),
        present.status(app),
    );
    let faults = app.text.exposition().map(|text| text.faults().iter());
    for fault in faults.into_iter().flatten() {
        let _ = writeln!(lines, "Skipped:      {fault}");
    }
    for conflict in &app.conflicts.listed {
        let _ = writeln!(lines, "Conflict:     {conflict}");
    }
    let unlisted = app.conflicts.total - app.conflicts.listed.len() as u64;
    if unlisted > 0 {
        let _ = writeln!(lines, "              and {unlisted} more");
    }
    for note in app.notes() {
        let _ = writeln!(lines, "Note:         {note}");
    }
    lines
}

#[cfg(test)]
pub(super) mod tests;
