//! `exporter-proxy status`

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::count;
use super::server::ServerOptions;
use super::target::get;
use crate::model::{printable, printable_json};
use crate::page::span;

/// Lines of a list that are printed: a terminal has about as many, and `--json` has all that the server lists.
const MAX_LINES: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerOptions,
    /// Print JSON, as GET /api/status.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (place, text) = super::block_on(async {
            let (server, access) = self.server.find(named).await?;
            let text = get(&server, &access, "/api/status", "application/json").await?;
            anyhow::Ok((server.place, text))
        })?;
        if self.json {
            super::print(&format!("{}\n", printable_json(text.trim_end())))?;
        } else {
            super::print(&describe(&place, &parse(&place, &text)?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a response of `/api/status`.
pub(super) fn parse(place: &str, text: &str) -> anyhow::Result<Value> {
    let status: Value = serde_json::from_str(text).with_context(|| format!("the answer of {place} to /api/status is not JSON"))?;
    anyhow::ensure!(
        status["role"].is_string(),
        "the answer of {place} to /api/status is not that of a proxy or a bridge"
    );
    Ok(status)
}

/// The text of a field, escaped for a terminal; empty if it is missing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text).replace(['\n', '\t'], " "),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A number of bytes with a unit.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

fn ago(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", span(seconds)))
}

/// The first line: program, address, time since the start, readiness.
pub(super) fn title(place: &str, status: &Value) -> String {
    let up = span(status["uptime_seconds"].as_u64().unwrap_or_default());
    let ready = if status["ready"] == true { "ready" } else { "NOT READY" };
    let (role, version) = (text(&status["role"]), text(&status["version"]));
    format!("exporter-proxy {version}, {role} at {}, up {up}, {ready}", printable(place))
}

/// The numbers of apps, or of aliases.
pub(super) fn totals(status: &Value) -> String {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    if status["role"] == "bridge" {
        let aliases = count(number("/aliases/total"), "alias", "aliases");
        return format!("{aliases}, {} connected", number("/aliases/connected"));
    }
    let series = match status.pointer("/apps/series").and_then(Value::as_u64) {
        Some(series) => format!("{series} series, "),
        None => String::new(),
    };
    format!(
        "{}: {} ok, {} stale, {} with faults; {series}{}",
        count(number("/apps/total"), "app", "apps"),
        number("/apps/ok"),
        number("/apps/stale"),
        number("/apps/fault"),
        size(number("/apps/bytes")),
    )
}

/// Reasons not to be ready, and notes, a line each.
pub(super) fn troubles(status: &Value) -> Vec<String> {
    let obstacles = items(&status["not_ready_because"])
        .iter()
        .map(|why| format!("not ready: {}", text(why)));
    let notes = items(&status["notes"]).iter().map(|note| format!("note: {}", text(note)));
    obstacles.chain(notes).collect()
}

/// The report for people.
fn describe(place: &str, status: &Value) -> String {
    let mut out = format!("{}\n{}\n", title(place, status), totals(status));
    for line in troubles(status) {
        let _ = writeln!(out, "{line}");
    }
    if status["role"] == "bridge" {
        let _ = writeln!(out, "public key {}", text(&status["key"]));
        cluster(&mut out, &status["cluster"]);
        list(&mut out, "Faults of links", &status["faults"], refused);
        return out;
    }
    list(&mut out, "Limits", &status["limits"], limit);
    list(&mut out, "Apps with faults, and stale ones", &status["faults"], |app| {
        format!("{}: {}", text(&app["name"]), text(&app["detail"]))
    });
    list(&mut out, "Refused", &status["refused"], refused);
    list(&mut out, "Removed apps", &status["removed"], |removed| {
        format!(
            "{}: {}, {}",
            text(&removed["app"]),
            text(&removed["reason"]),
            ago(&removed["age_seconds"])
        )
    });
    if status["events"].is_object() {
        let _ = writeln!(out, "\nEvents: {} accepted", text(&status["events"]["accepted"]));
        lines(&mut out, &status["events"]["scrapers"], |scraper| {
            format!(
                "{}: {} pending, {} in flight, {} lost",
                text(&scraper["scraper"]),
                text(&scraper["pending"]),
                text(&scraper["in_flight"]),
                text(&scraper["lost"])
            )
        });
    }
    list(&mut out, "Scrapers", &status["scrapers"], |scraper| {
        format!(
            "{} {}: {}, {} times, last {}",
            text(&scraper["client"]),
            text(&scraper["agent"]),
            text(&scraper["request"]),
            text(&scraper["count"]),
            ago(&scraper["age_seconds"])
        )
    });
    list(&mut out, "Links", &status["links"], |link| {
        let state = if link["registered"] == true {
            "registered"
        } else {
            "not registered"
        };
        let error = match text(&link["last_error"]) {
            error if error.is_empty() => String::new(),
            error => format!("; last error {}: {error}", ago(&link["last_error_age_seconds"])),
        };
        format!(
            "{}: {state}, last scrape {}{error}",
            text(&link["bridge"]),
            ago(&link["last_scrape_age_seconds"])
        )
    });
    cluster(&mut out, &status["cluster"]);
    out
}

/// The replicas of a cluster, or its bridges; nothing without one.
fn cluster(out: &mut String, cluster: &Value) {
    if !cluster.is_object() {
        return;
    }
    let state = if cluster["connected"] == true {
        "connected"
    } else {
        "NOT connected"
    };
    let _ = writeln!(
        out,
        "\nReplicas at {}, {state}, {} changes to be written:",
        text(&cluster["engine"]),
        text(&cluster["pending"])
    );
    if let Some(events @ 1..) = cluster["pending_events"].as_u64() {
        let _ = writeln!(out, "{} of this replica wait for the engine", count(events, "event", "events"));
    }
    lines(out, &cluster["members"], |member| {
        let polls = if member["polls"] == true { ", polls for all" } else { "" };
        let holds = match member["aliases"].as_u64() {
            Some(aliases) => count(aliases, "alias", "aliases"),
            None => format!("{} apps", text(&member["apps"])),
        };
        format!(
            "{} at {}: version {}, {holds}{polls}",
            text(&member["name"]),
            text(&member["http"]),
            text(&member["version"])
        )
    });
}

fn refused(refusal: &Value) -> String {
    format!(
        "{} from {}, {} times, last {}: {}",
        text(&refusal["reason"]),
        text(&refusal["client"]),
        text(&refusal["count"]),
        ago(&refusal["age_seconds"]),
        text(&refusal["detail"])
    )
}

fn limit(limit: &Value) -> String {
    let number = |field: &str| limit[field].as_u64().unwrap_or_default();
    let (used, most) = match limit["unit"] == "bytes" {
        true => (size(number("used")), size(number("limit"))),
        false => (number("used").to_string(), format!("{} {}", number("limit"), text(&limit["unit"]))),
    };
    let of = match text(&limit["of"]) {
        of if of.is_empty() => of,
        of => format!(" at {of}"),
    };
    format!("{}{of}: {used} of {most}", text(&limit["key"]))
}

/// Appends a list under its title, unless it is empty.
fn list(out: &mut String, title: &str, values: &Value, line: impl Fn(&Value) -> String) {
    if !items(values).is_empty() {
        let _ = writeln!(out, "\n{title}:");
        lines(out, values, line);
    }
}

fn lines(out: &mut String, values: &Value, line: impl Fn(&Value) -> String) {
    let values = items(values);
    for value in values.iter().take(MAX_LINES) {
        let _ = writeln!(out, "  {}", line(value));
    }
    if values.len() > MAX_LINES {
        let _ = writeln!(out, "  and {} more", values.len() - MAX_LINES);
    }
}

#[cfg(test)]
mod tests;
