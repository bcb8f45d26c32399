//! Where log lines go and what they look like.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The library of HyperDHT says that it has joined the network even where no node has answered.
const UNFOUNDED: &str = "peeroxide::_events=warn";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: one line each, coloured on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Sends log lines to standard error. `RUST_LOG` filters them; without it, `default` and worse are shown.
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|e| anyhow::anyhow!("cannot set up the log: {e}"))
}
