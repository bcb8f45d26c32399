//! The command line: one file per subcommand, without logic that needs a unit test.

mod apps;
mod bridge;
mod check;
mod completions;
mod healthcheck;
mod http_access;
mod import;
mod input;
mod keygen;
mod man;
mod run;
mod runtime;
mod scrape;
mod sd_config;
mod send;
mod server;
mod status;
mod tap;
mod target;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};

use self::runtime::current_thread_runtime;
use crate::config::{Environment, Settings};
use crate::model::printable;
use crate::supervise::signals::ignore_file_size_signal;
use crate::telemetry::{LONG_VERSION, LogFormat, LogWriter, init_logging, print_error, print_warning};

/// One port for the Prometheus metrics of many applications.
///
/// Applications push their metrics over TCP, a Unix socket or HTTP; Prometheus scrapes them all from one place.
/// Without a command the proxy runs.
#[derive(Debug, Parser)]
#[command(name = "exporter-proxy", version, long_version = LONG_VERSION, max_term_width = 80, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigFile,
    /// Format of the log lines and errors on standard error; RUST_LOG or LOG_LEVEL filters log lines.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Log more: -v debug lines, -vv trace lines. RUST_LOG has precedence.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:

  Run with ./config.toml, or with the built-in defaults:
    exporter-proxy
  Validate a configuration and report all faults:
    exporter-proxy check -c config.toml
  Push a metric:
    printf 'jobs_done 7\\n' | exporter-proxy send my_job
  Scrape everything:
    curl http://127.0.0.1:6555/metrics
  List the applications, or watch them:
    exporter-proxy apps
    exporter-proxy top
  Configure Prometheus for a running proxy:
    exporter-proxy sd-config --from http://127.0.0.1:6555
  Print live events (needs stream.listen_addresses):
    exporter-proxy tap

Environment variables override any key, such as
EXPORTER_PROXY__RECEIVER__FORMAT=json";

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file. Without it: $EXPORTER_PROXY_CONFIG, ./config.toml, /etc/exporter-proxy/config.toml, then the
    /// built-in defaults.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
struct WebConfigFile {
    /// The web configuration file: TLS, users, response headers and a rate limit of the HTTP port. Overrides http.web_config_file.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
}

impl WebConfigFile {
    /// Puts the option, if it was given, in place of the key.
    fn apply(self, settings: &mut Settings) {
        if self.web_config_file.is_some() {
            settings.http.web_config_file = self.web_config_file;
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default).
    Run(run::Run),
    /// Run a bridge: remote proxies register with it, and Prometheus scrapes them through it.
    Bridge(bridge::Bridge),
    /// Validate a configuration file, exposition text with `check metrics`, or a web configuration file with `check web-config`.
    Check(check::Check),
    /// Push metrics to a running proxy.
    Send(send::Send),
    /// Copy metrics from another program into a running proxy.
    Import(import::Import),
    /// Print the table of applications of a running proxy.
    Apps(apps::Apps),
    /// Print what a running proxy or bridge reports: readiness, faults, refusals, events, scrapers, links, limits.
    Status(status::Status),
    /// Show the applications of a running proxy, or the aliases of a bridge, and keep the table current.
    Top(top::Top),
    /// Print the scrape configuration for a Prometheus that scrapes a running proxy or bridge.
    SdConfig(sd_config::SdConfig),
    /// Print live events, one per line.
    Tap(tap::Tap),
    /// Create a key for links and print its public half, or print that of an existing key.
    Keygen(keygen::Keygen),
    /// Scrape one proxy over a link, as a bridge would, and print the metrics.
    Scrape(scrape::Scrape),
    /// Check that a running proxy or bridge is ready: exit code 0 if so, 1 if not.
    Healthcheck(healthcheck::Healthcheck),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Man),
}

impl Command {
    /// The name of a command for which no configuration file counts.
    const fn without_configuration(&self) -> Option<&'static str> {
        match self {
            Self::Completions(_) => Some("completions"),
            Self::Man(_) => Some("man"),
            Self::Tap(tap) if tap.is_replay() => Some("tap --replay"),
            Self::Check(check) if !check.is_of_configuration() => Some("a check of another file"),
            _ => None,
        }
    }
}

/// Runs the command and returns the exit code: 0 success, 1 failure, 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let (Some(_), Some(name)) = (&cli.config.config, cli.command.as_ref().and_then(Command::without_configuration)) {
        let text = format!("{name} uses no configuration file, so -c would have no effect");
        Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    // Without a thread for the log there is none for the rest, and no way to report it.
    let Ok(_log) = LogWriter::start(cli.log_format) else {
        return ExitCode::FAILURE;
    };
    // The services log their work; the other commands print to standard output and only warn.
    let level = match cli.command {
        _ if cli.verbose > 0 => {
            if cli.verbose == 1 {
                "debug"
            } else {
                "trace"
            }
        }
        None | Some(Command::Run(_) | Command::Bridge(_)) => service_log_level(),
        // A failed link is the outcome, which is printed at the end.
        Some(Command::Scrape(_)) => "error",
        Some(_) => "warn",
    };
    let named = cli.config.config.as_deref();
    let ready = init_logging(cli.log_format, level).and_then(|()| ignore_file_size_signal().context("cannot ignore SIGXFSZ"));
    let outcome = ready.and_then(|()| match cli.command {
        None => run::Run::default().run(named),
        Some(Command::Run(run)) => run.run(named),
        Some(Command::Bridge(bridge)) => bridge.run(named),
        Some(Command::Keygen(keygen)) => keygen.run(named),
        Some(Command::Scrape(scrape)) => scrape.run(named),
        Some(Command::Check(check)) => check.run(named),
        Some(Command::Send(send)) => send.run(named),
        Some(Command::Import(import)) => import.run(named),
        Some(Command::Apps(apps)) => apps.run(named),
        Some(Command::Status(status)) => status.run(named),
        Some(Command::Top(top)) => top.run(named),
        Some(Command::SdConfig(sd_config)) => sd_config.run(named),
        Some(Command::Tap(tap)) => tap.run(named),
        Some(Command::Healthcheck(healthcheck)) => healthcheck.run(named),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Man(man)) => man.run(),
    });
    outcome.unwrap_or_else(|error| {
        // It may repeat what a server has sent.
        print_error(&printable(&with_causes(&error)));
        ExitCode::FAILURE
    })
}

/// An error with its causes, each once: the text of some errors ends with that of their cause.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The default log level of `run` and `bridge`: `LOG_LEVEL`, otherwise `info`.
fn service_log_level() -> &'static str {
    let environment = Environment::from_pairs(std::env::vars_os());
    if let Some(warning) = environment.log_level_warning() {
        print_warning(&warning);
    }
    environment.log_level().unwrap_or("info")
}

/// Writes to standard output. A reader that has closed the pipe, such as `head`, is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print()`], for bytes that may not be text.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write as _};
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A number with its noun, such as `1 family` or `2 families`.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Runs a command that sends requests to a proxy.
///
/// The lookup of a name that the command has given up, at its timeout or at Ctrl-C, is not waited for: it takes as long as the resolver does.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    current_thread_runtime()?.block_on(command)
}

#[cfg(test)]
mod tests;
