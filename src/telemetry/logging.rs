//! Log lines: their format, their filter, and their way to standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_queue::LogQueue;
use super::{Instrument, sample};

/// The library of HyperDHT says that it has joined the network even where no node has answered.
const UNFOUNDED: &str = "peeroxide::_events=warn";

/// Memory for lines that standard error has not taken: several thousand lines, which is minutes of what the rate limits let through.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Time at exit for standard error to take what is queued. A reader that has stopped must not keep the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a standard error that has failed is tried again while nothing is logged.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The lines of the whole process: it has one standard error, and `tracing` one global subscriber.
static QUEUE: LogQueue = LogQueue::new(QUEUE_BYTES);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: one line each, coloured on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line.
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

/// Sends log lines, and the messages of panics, to standard error. `RUST_LOG` filters them; without it, `default` and worse are shown.
///
/// # Errors
/// When `RUST_LOG` is no filter, or when a log was set up before.
pub fn init(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|e| anyhow::anyhow!("RUST_LOG={text:?} is no log filter: {e}"))?
        }
        _ => EnvFilter::new(format!("{default},{UNFOUNDED}")),
    };
    let ansi = io::stderr().is_terminal();
    let result = subscriber(format, ansi, filter, || QueueWriter).try_init();
    result.map_err(|e| anyhow::anyhow!("cannot set up the log: {e}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Queues a line for standard error as it is, whatever the filter.
pub fn print_line(line: &str) {
    QUEUE.push(format!("{line}\n").as_bytes());
}

fn subscriber<W>(format: LogFormat, ansi: bool, filter: EnvFilter, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would write to standard error itself.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(ansi).with_target(false).finish().into(),
        LogFormat::Json => builder.json().flatten_event(true).finish().into(),
    }
}

/// The line that stands in the log where lines are missing.
fn report(format: LogFormat, dropped: u64) -> Vec<u8> {
    let line = Captured::default();
    let writer = line.clone();
    let ansi = io::stderr().is_terminal();
    let subscriber = subscriber(format, ansi, EnvFilter::new("warn"), move || writer.clone());
    tracing::dispatcher::with_default(&subscriber, || {
        tracing::warn!(dropped, "log lines dropped: standard error was full, closed or too slow");
    });
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_report_is_one_line_in_the_format_of_the_log() {
        let text = String::from_utf8(report(LogFormat::Text, 7)).unwrap();
        assert!(
            text.contains(" WARN log lines dropped: ") && text.ends_with("dropped=7\n"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_slice(&report(LogFormat::Json, 7)).unwrap();
        assert_eq!((&json["level"], &json["dropped"]), (&"WARN".into(), &7.into()));
    }
}
