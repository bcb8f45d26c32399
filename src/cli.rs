//! The command line: one file a subcommand, and no logic that a test needs.

mod apps;
mod bridge;
mod check;
mod completions;
mod healthcheck;
mod input;
mod keygen;
mod man;
mod run;
mod scrape;
mod send;
mod tap;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Environment;
use crate::telemetry::{LogFormat, LogWriter, init_logging, print_line};

/// One port for the Prometheus metrics of many applications.
///
/// Applications push their metrics over TCP, a Unix socket or HTTP; Prometheus scrapes them all from one place.
/// Without a command the proxy runs.
#[derive(Debug, Parser)]
#[command(name = "exporter-proxy", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigFile,
    /// How log lines are written to standard error; RUST_LOG filters them.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  exporter-proxy                                          run with ./config.toml, or with the built-in defaults
  exporter-proxy check -c config.toml                     what is wrong with a configuration, all at once
  printf 'jobs_done 7\\n' | exporter-proxy send my_job     push a metric
  curl http://127.0.0.1:6555/metrics                      scrape everything
  exporter-proxy apps                                     who has pushed what
  exporter-proxy tap                                      what happens, live (stream.listen_addresses)

Any key can be set by the environment: EXPORTER_PROXY__RECEIVER__FORMAT=json";

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file. Without it: $EXPORTER_PROXY_CONFIG, ./config.toml, /etc/exporter-proxy/config.toml, then the
    /// built-in defaults.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default).
    Run,
    /// Run a bridge: proxies register with it from afar, and Prometheus scrapes them through it.
    Bridge,
    /// Validate a configuration file, or exposition text with `check metrics`.
    Check(check::Check),
    /// Push metrics to a running proxy.
    Send(send::Send),
    /// Print the table of applications of a running proxy.
    Apps(apps::Apps),
    /// Follow a monitoring stream, one line an event.
    Tap(tap::Tap),
    /// Make a key for links, and print its public half.
    Keygen(keygen::Keygen),
    /// Scrape one proxy over a link, as a bridge would, and print the metrics.
    Scrape(scrape::Scrape),
    /// Ask a running proxy or bridge whether it is ready: exit code 0 if so, 1 if not.
    Healthcheck(healthcheck::Healthcheck),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Man),
}

/// Runs what the command line asks for and gives the exit code: 0 fine, 1 failure, 2 bad usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without a thread for the log there is none for the rest either, and nothing that could say so.
    let Ok(_log) = LogWriter::start(cli.log_format) else {
        return ExitCode::FAILURE;
    };
    // The proxy tells what it does; the other commands answer on standard output and only warn.
    let level = match cli.command {
        None | Some(Command::Run) => "info",
        Some(Command::Bridge) => Environment::from_pairs(std::env::vars_os()).log_level().unwrap_or("info"),
        // What fails on the link is the outcome, which is printed at the end.
        Some(Command::Scrape(_)) => "error",
        Some(_) => "warn",
    };
    let outcome = init_logging(cli.log_format, level).and_then(|()| match cli.command {
        None | Some(Command::Run) => run::run(cli.config.config.as_deref()),
        Some(Command::Bridge) => bridge::run(cli.config.config.as_deref()),
        Some(Command::Keygen(keygen)) => keygen.run(),
        Some(Command::Scrape(scrape)) => scrape.run(),
        Some(Command::Check(check)) => check.run(cli.config.config.as_deref()),
        Some(Command::Send(send)) => send.run(),
        Some(Command::Apps(apps)) => apps.run(),
        Some(Command::Tap(tap)) => tap.run(),
        Some(Command::Healthcheck(healthcheck)) => healthcheck.run(cli.config.config.as_deref()),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Man(man)) => man.run(),
    });
    outcome.unwrap_or_else(|error| {
        print_error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// Says on standard error what went wrong: an error is for the person at the terminal, whatever the log filter says.
fn print_error(what: &str) {
    print_line(&format!("exporter-proxy: {what}"));
}

/// Writes an answer to standard output. A reader that has gone away, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what may be no text.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write as _};
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A runtime for commands that talk to a proxy: one thread is plenty.
fn current_thread_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
