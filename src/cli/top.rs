//! `exporter-proxy top`

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::DateTime;
use clap::Args;
use serde_json::Value;
use tabled::grid::util::string::get_line_width;
use terminal_size::{Height, Width, terminal_size};
use tokio::signal::unix::{SignalKind, signal};

use super::http_access::HttpAccess;
use super::server::ServerOptions;
use super::status::{parse, size, text, title, totals, troubles};
use super::target::{HttpServer, get};
use super::with_causes;
use crate::model::printable;
use crate::outlets::first_columns;
use crate::page::span;
use crate::supervise::signals::Signals;

/// The size of a page where the output is no terminal.
const PAGE: (usize, usize) = (80, 24);
/// Switches to the alternate screen without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Switches back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Moves to the top left corner and clears what follows.
const HOME: &str = "\x1b[H\x1b[J";
/// Lines about troubles on a page; the table needs the rest.
const MAX_TROUBLES: usize = 4;

#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    server: ServerOptions,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// Order of the apps.
    #[arg(long, value_name = "KEY", default_value = "state", value_parser = ["state", "name", "age", "series", "bytes", "source"])]
    sort: String,
    /// Print one page and end, also if the output is no terminal.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        super::block_on(async {
            let (server, access) = self.server.find(named).await?;
            if self.once || !std::io::stdout().is_terminal() {
                let page = self.page(&server, &access).await?;
                super::print(&format!("{page}\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            self.follow(&server, &access).await
        })
    }

    /// Shows pages until a signal, which cancels a request in flight.
    async fn follow(&self, server: &HttpServer, access: &HttpAccess) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::install().context("cannot catch signals")?;
        tokio::select! {
            _ = signals.first() => Ok(ExitCode::SUCCESS),
            failed = self.show_pages(server, access) => failed.map(|never| match never {}),
        }
    }

    /// Shows pages. A first failure is the outcome; a later one, as during a restart, is shown and may pass.
    async fn show_pages(&self, server: &HttpServer, access: &HttpAccess) -> anyhow::Result<Infallible> {
        let mut resized = signal(SignalKind::window_change()).context("cannot catch SIGWINCH")?;
        let mut page = self.page(server, access).await?;
        let screen = Screen::enter()?;
        loop {
            screen.show(&page)?;
            tokio::select! {
                _ = resized.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(self.interval)) => {}
            }
            page = match self.page(server, access).await {
                Ok(page) => page,
                Err(why) => printable(&with_causes(&why)).into_owned(),
            };
        }
    }

    async fn page(&self, server: &HttpServer, access: &HttpAccess) -> anyhow::Result<String> {
        let place = &server.place;
        let status = parse(place, &get(server, access, "/api/status", "application/json").await?)?;
        let path = match status["role"] == "bridge" {
            true => "/aliases".to_owned(),
            false => format!("/apps?sort={}", self.sort),
        };
        let list = get(server, access, &path, "application/json").await?;
        let list: Value = serde_json::from_str(&list).with_context(|| format!("the answer of {place} to {path} is not JSON"))?;
        let (width, height) = terminal_size().map_or(PAGE, |(Width(width), Height(height))| (width.into(), height.into()));
        let is_live = !self.once && std::io::stdout().is_terminal();
        Ok(page(place, &status, &list, width, is_live.then_some(height)))
    }
}

/// The alternate screen of the terminal, left when it is dropped.
struct Screen;

impl Screen {
    fn enter() -> std::io::Result<Self> {
        write(ENTER)?;
        Ok(Self)
    }

    fn show(&self, page: &str) -> std::io::Result<()> {
        write(&format!("{HOME}{page}"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => Err(why),
        _ => Ok(()),
    }
}

/// One page: what runs, what is wrong, and as many apps or aliases as fit into `height` lines; all of them without one.
fn page(place: &str, status: &Value, list: &Value, width: usize, height: Option<usize>) -> String {
    let mut head = vec![title(place, status), totals(status)];
    head.extend(troubles(status).into_iter().take(MAX_TROUBLES));
    head.push(String::new());
    let (columns, rows) = match status["role"] == "bridge" {
        true => (&ALIAS_COLUMNS[..], aliases(list)),
        false => (&APP_COLUMNS[..], apps(list)),
    };
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(head.len() + 1));
    let mut out: Vec<String> = head.iter().map(|line| cut(line, width)).collect();
    out.extend(table(columns, &rows, width).into_iter().take(room));
    if rows.len() >= room && room >= 2 {
        out.pop();
        out.push(cut(&format!("and {} more", rows.len() + 2 - room), width));
    }
    out.join("\n")
}

const APP_COLUMNS: [&str; 6] = ["App", "State", "Age", "Series", "Size", "Source"];
const ALIAS_COLUMNS: [&str; 6] = ["Alias", "State", "Round trip", "Over", "Service", "Hostname"];

fn apps(list: &Value) -> Vec<[String; 6]> {
    let time = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok();
    let now = time(&list["time"]);
    let age = |app: &Value| Some(span((now? - time(&app["last_update"])?).num_seconds().max(0).unsigned_abs()));
    let row = |app: &Value| {
        [
            text(&app["name"]),
            text(&app["status"]),
            age(app).unwrap_or_else(|| "-".to_owned()),
            text(&app["series"]),
            size(app["bytes"].as_u64().unwrap_or_default()),
            text(&app["source"]),
        ]
    };
    list["apps"].as_array().into_iter().flatten().map(row).collect()
}

fn aliases(list: &Value) -> Vec<[String; 6]> {
    let row = |alias: &Value| {
        let rtt = alias["round_trip_seconds"].as_f64();
        [
            text(&alias["alias"]),
            if alias["connected"] == true { "connected" } else { "not connected" }.to_owned(),
            rtt.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1_000.0)),
            text(&alias["over"]),
            text(&alias["service"]),
            text(&alias["hostname"]),
        ]
    };
    list.as_array().into_iter().flatten().map(row).collect()
}

/// The lines of a table. The first column is shortened so that the lines fit, then the lines are cut.
fn table(head: &[&str], rows: &[[String; 6]], width: usize) -> Vec<String> {
    let of = |column: usize| {
        let cells = rows.iter().map(|row| get_line_width(&row[column]));
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let mut widths: Vec<usize> = (0..head.len()).map(of).collect();
    let others = widths[1..].iter().map(|width| width + 2).sum::<usize>();
    widths[0] = widths[0].min(width.saturating_sub(others).max(MIN_NAME));
    let line = |cells: &[&str]| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let cell = cut(cell, *width);
            // Where a wide character does not fit, the cell is a column narrower.
            let padding = width.saturating_sub(get_line_width(&cell));
            let _ = write!(out, "{cell}{:padding$}  ", "");
        }
        cut(out.trim_end(), width)
    };
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect::<Vec<_>>());
    std::iter::once(line(head)).chain(rows.map(|row| line(&row))).collect()
}

/// The least width of a name: in less, names are not recognized.
const MIN_NAME: usize = 12;

/// A line cut to a width in columns, with an ellipsis at its end.
fn cut(line: &str, width: usize) -> String {
    if get_line_width(line) <= width {
        return line.to_owned();
    }
    format!("{}…", first_columns(line, width.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
