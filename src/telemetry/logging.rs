//! Log lines: format, filter, and output to standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::Dispatch;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt as lines};

use super::log_queue::LogQueue;
use super::{Instrument, sample};

/// The libraries of the Bitswap monitor warn about each faulty peer without a limit; the monitor counts and logs refusals itself.
const UNLIMITED: &str = "libp2p=off,multistream_select=off,yamux=off";

/// Memory for lines that standard error has not taken: several thousand lines, which is minutes of what the rate limits let through.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Time at exit for standard error to take what is queued. A reader that has stopped must not keep the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a standard error that has failed is tried again while nothing is logged.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The lines of the whole process: it has one standard error, and `tracing` one global subscriber.
static QUEUE: LogQueue = LogQueue::new(QUEUE_BYTES);

/// The format of the whole process, for errors that are printed whatever the filter.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Text, one line each, colored on a terminal.
    #[default]
    Text,
    /// JSON, one object per line.
    Json,
}

/// The thread that writes to standard error. When dropped, waits for it to finish, but not for long.
#[derive(Debug)]
#[must_use = "lines still queued are lost if this is not held until the end of the process"]
pub struct LogWriter(());

impl LogWriter {
    /// Starts the thread. Lines logged earlier are not lost, only later.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        let _ = FORMAT.set(format);
        let write = move || QUEUE.write_to(StandardError, |dropped| report(format, dropped), RETRY_INTERVAL);
        std::thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self(()))
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        QUEUE.flush(FLUSH_TIMEOUT);
    }
}

/// Sends log lines, and the messages of panics, to standard error. `RUST_LOG` filters them; without it, lines of level `default` and above
/// are written. Directives of `RUST_LOG` that match no line are ignored with a warning.
///
/// # Errors
/// When `RUST_LOG` is not a valid filter, or when a log was set up before.
pub fn init(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let text = std::env::var("RUST_LOG").unwrap_or_default();
    let directives = directives(&text);
    for unmatched in directives.iter().filter(|directive| !can_match(directive)) {
        print_warning(&format!(
            "RUST_LOG: {unmatched:?} matches no log line and is ignored; use off, error, warn, info, debug, trace, or exporter_proxy=LEVEL"
        ));
    }
    let matching: Vec<&str> = directives.into_iter().filter(|directive| can_match(directive)).collect();
    let wanted = if matching.is_empty() {
        format!("{default},{UNLIMITED}")
    } else {
        matching.join(",")
    };
    let filter: Targets = wanted
        .parse()
        .map_err(|e| anyhow::anyhow!("RUST_LOG={text:?} is not a valid log filter: {e}"))?;
    let ansi = io::stderr().is_terminal();
    let result = subscriber(format, ansi, filter, BoxMakeWriter::new(|| QueueWriter)).try_init();
    result.map_err(|e| anyhow::anyhow!("cannot set up the log: {e}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Prints an error on standard error in the format of the log, whatever the filter: it is the outcome of the command.
pub fn print_error(text: &str) {
    match FORMAT.get().copied().unwrap_or_default() {
        LogFormat::Text => QUEUE.push(format!("exporter-proxy: {text}\n").as_bytes()),
        LogFormat::Json => QUEUE.push(&rendered(LogFormat::Json, || tracing::error!("{text}"))),
    }
}

/// Logs a warning whatever the filter: it may be about the filter itself.
pub fn print_warning(text: &str) {
    let format = FORMAT.get().copied().unwrap_or_default();
    QUEUE.push(&rendered(format, || tracing::warn!("{text}")));
}

/// The directives of a filter.
fn directives(filter: &str) -> Vec<&str> {
    filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Crates that write log lines. A directive matches all targets that begin with its own.
const LOGGING_CRATES: [&str; 15] = [
    "exporter_proxy",
    "exporter_proxy_hyperdht",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "rustls",
    "hyper",
    "hyper_util",
    "axum",
    "tokio",
    "tower",
    "mio",
    "libp2p",
    "multistream_select",
    "yamux",
];

/// Returns false for a directive that can match no line, such as a misspelled level, which a filter takes for a target.
fn can_match(directive: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let (target, _) = directive.split_once('=').unwrap_or((directive, ""));
    let is_level = LEVELS.iter().any(|level| target.eq_ignore_ascii_case(level)) || target.parse::<u8>().is_ok_and(|level| level <= 5);
    let is_level = is_level && !directive.contains('=');
    let root = target.split("::").next().unwrap_or_default();
    is_level
        || LOGGING_CRATES
            .iter()
            .any(|name| name.starts_with(target) || root == *name || root.starts_with("libp2p"))
}

fn subscriber(format: LogFormat, ansi: bool, filter: Targets, writer: BoxMakeWriter) -> Dispatch {
    // The layer would write to standard error itself.
    let layer = lines::layer().with_writer(writer).log_internal_errors(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => {
            let fields = debug_fn(write_field).delimited(" ");
            Box::new(layer.with_ansi(ansi).with_target(false).fmt_fields(fields))
        }
        LogFormat::Json => Box::new(layer.json().flatten_event(true)),
    };
    Registry::default().with(layer).with(filter).into()
}

/// Writes one field of a text line: the message with control characters escaped, so that each line is one physical line, other fields as
/// `name=value`, quoted if the value contains whitespace or quotes.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    if field.name() == "message" {
        return write_escaped(out, &text);
    }
    match out.has_ansi_escapes() {
        true => write!(out, "\x1b[3m{}\x1b[0m\x1b[2m=\x1b[0m", field.name())?,
        false => write!(out, "{}=", field.name())?,
    }
    // A string is already quoted by its `Debug`; the quotes are left out if nothing in it needs them.
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|_| text.len() > 1);
    let needs_quotes =
        |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\\');
    match inner {
        Some(inner) if !needs_quotes(inner) => out.write_str(inner),
        Some(_) => out.write_str(&text),
        None if needs_quotes(&text) => write!(out, "{text:?}"),
        None => out.write_str(&text),
    }
}

/// Writes a text with its control characters escaped.
fn write_escaped(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c.is_control() {
            true => write!(out, "{}", c.escape_default())?,
            false => out.write_char(c)?,
        }
    }
    Ok(())
}

/// The line in the log at the place of missing lines.
fn report(format: LogFormat, dropped: u64) -> Vec<u8> {
    rendered(format, || {
        tracing::warn!(dropped, "log lines dropped: standard error was full, closed or too slow");
    })
}

/// The line that `log` writes, in this format.
fn rendered(format: LogFormat, log: impl FnOnce()) -> Vec<u8> {
    let line = Captured::default();
    let writer = line.clone();
    let ansi = io::stderr().is_terminal();
    let writer = BoxMakeWriter::new(move || writer.clone());
    let filter = Targets::new().with_default(tracing::Level::WARN);
    let subscriber = subscriber(format, ansi, filter, writer);
    tracing::dispatcher::with_default(&subscriber, log);
    line.take()
}

/// A formatted line kept in memory.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs a panic. The standard hook would wait for standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no text)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    // Asks for RUST_BACKTRACE itself.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!("panicked at {location}: {message}\n{backtrace}");
    } else {
        tracing::error!("panicked at {location}: {message}");
    }
}

/// Appends each formatted line to the queue.
struct QueueWriter;

impl io::Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error without the lock of [`io::stderr`]: a thread that waits for a full pipe must not hold what others may need.
struct StandardError;

impl io::Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number of log lines that standard error did not take.
#[derive(Debug, Default)]
pub struct DroppedLogLines(());

impl Instrument for DroppedLogLines {
    const TYPE: &'static str = "counter";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, QUEUE.dropped_total());
    }
}

#[cfg(test)]
mod tests;
