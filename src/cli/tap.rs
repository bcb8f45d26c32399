//! `exporter-proxy tap`

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::model::printable_json;
use crate::sources::upstreams::{ConnectionError, UpstreamConnection};
use crate::wire::monitoring::line;

/// Time for which a refused first connection is retried: `tap` is often started together with the proxy.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval of these retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Tap {
    /// Address of the monitoring stream.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8181")]
    from: String,
    /// Print messages as JSON.
    #[arg(long)]
    json: bool,
}

impl Tap {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        super::current_thread_runtime()?.block_on(self.follow())
    }

    /// Prints until the stream or the reader of standard output ends.
    async fn follow(&self) -> anyhow::Result<ExitCode> {
        // The error includes its causes.
        let lost = |why: ConnectionError| {
            let hint =
                matches!(why, ConnectionError::Connect(_)).then_some(". Is the proxy running there, with stream.listen_addresses set?");
            anyhow!("the stream of {}: {why}{}", self.from, hint.unwrap_or_default())
        };
        let mut link = self.connect().await.map_err(lost)?;
        loop {
            let mut lines = Vec::new();
            let mut next = Some(link.frame().await.map_err(lost)?);
            while let Some(frame) = next {
                self.print(link.text(&frame).map_err(lost)?, &mut lines);
                next = link.frame_at_hand().map_err(lost)?;
            }
            match std::io::stdout().lock().write_all(&lines) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Connects, with retries while the connection is refused.
    async fn connect(&self) -> Result<UpstreamConnection<TcpStream>, ConnectionError> {
        let began = Instant::now();
        loop {
            match UpstreamConnection::open(&self.from).await {
                Err(ConnectionError::Connect(why)) if why.kind() == ErrorKind::ConnectionRefused && began.elapsed() < RETRY_TIMEOUT => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn print(&self, text: &[u8], lines: &mut Vec<u8>) {
        if self.json {
            one_line(text, lines);
        } else {
            lines.extend_from_slice(line(text).as_bytes());
        }
        lines.push(b'\n');
    }
}

/// Writes JSON on one line, without terminal control sequences. Whitespace between tokens becomes a space; hidden characters in strings are
/// escaped.
fn one_line(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let line = text.replace(|c: char| c < ' ', " ");
    out.extend_from_slice(printable_json(&line).as_bytes());
}

#[cfg(test)]
mod tests;
