//! `exporter-proxy tap`

mod recording;

use std::convert::Infallible;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::Utc;
use clap::Args;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::recording::{Recorder, Rotation, replay};
use super::server::{reachable, settings};
use crate::model::printable_json;
use crate::sources::upstreams::{ConnectionError, UpstreamConnection};
use crate::supervise::lookup::PeerLookup;
use crate::supervise::signals::Signals;
use crate::wire::monitoring::line;

/// The address without an option and without a configuration.
const DEFAULT: &str = "127.0.0.1:8181";
/// Time for which a refused first connection is retried: `tap` is often started together with the proxy.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval of these retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of writing what was recorded: a killed recording loses no more than that.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Tap {
    /// Address of the monitoring stream. Default: the first of stream.listen_addresses in the file of -c, otherwise 127.0.0.1:8181.
    #[arg(long, value_name = "HOST:PORT")]
    from: Option<String>,
    /// Print messages as JSON.
    #[arg(long)]
    json: bool,
    /// Record messages in a file, as gzip and JSON lines, instead of printing them. A recording in it is continued.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    record: Option<PathBuf>,
    /// Rename the recording at this size, or at each hour, and begin another one.
    #[arg(long, value_name = "SIZE|hour", requires = "record")]
    rotate: Option<Rotation>,
    /// Print the messages of a recording.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "from"])]
    replay: Option<PathBuf>,
}

impl Tap {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        match (&self.replay, &self.record) {
            (Some(file), _) => self.replay(file),
            (None, Some(file)) => super::block_on(self.record(file, named)),
            (None, None) => super::block_on(self.follow(named)),
        }
    }

    /// True if it reads a recording, for which no configuration counts.
    pub(super) const fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Prints a recording.
    fn replay(&self, file: &Path) -> anyhow::Result<ExitCode> {
        let mut line = Vec::new();
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let outcome = replay(file, |message| {
            line.clear();
            self.print(message, &mut line);
            out.write_all(&line)
        });
        let is_closed = |why: &std::io::Error| why.kind() == ErrorKind::BrokenPipe;
        match outcome.and_then(|()| Ok(out.flush()?)) {
            Err(error) if error.downcast_ref().is_some_and(is_closed) => Ok(ExitCode::SUCCESS),
            outcome => outcome.map(|()| ExitCode::SUCCESS),
        }
    }

    /// Records until the stream ends, or a signal comes.
    async fn record(&self, file: &Path, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let mut recorder = Recorder::open(file, self.rotate, Utc::now())?;
        let mut signals = Signals::install().context("cannot catch signals")?;
        let outcome = tokio::select! {
            // A connection that is not established is given up as well.
            _ = signals.first() => Ok(ExitCode::SUCCESS),
            lost = self.record_stream(&mut recorder, named) => lost.map(|never| match never {}),
        };
        recorder.flush(Utc::now())?;
        outcome
    }

    /// Records until the stream ends. What was not written yet is in the recorder, also if this is cancelled.
    async fn record_stream(&self, recorder: &mut Recorder, named: Option<&Path>) -> anyhow::Result<Infallible> {
        let (address, mut link) = self.connect(named).await?;
        let lost = |why: ConnectionError| lost(&address, &why);
        let mut ticks = interval(WRITE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let frame = tokio::select! {
                _ = ticks.tick() => {
                    recorder.flush(Utc::now())?;
                    continue;
                }
                frame = link.frame() => frame,
            };
            let mut next = Some(frame.map_err(lost)?);
            while let Some(frame) = next {
                let text = link.text(&frame).map_err(lost)?;
                let mut line = Vec::with_capacity(text.len());
                one_line(text, &mut line);
                recorder.push(&line, Utc::now())?;
                next = link.frame_at_hand().map_err(lost)?;
            }
        }
    }

    /// Prints until the stream or the reader of standard output ends.
    async fn follow(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (address, mut link) = self.connect(named).await?;
        let lost = |why: ConnectionError| lost(&address, &why);
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

    /// Connects, with retries while the connection is refused. Returns the address as well.
    async fn connect(&self, named: Option<&Path>) -> anyhow::Result<(String, UpstreamConnection<TcpStream>)> {
        let addresses = self.addresses(named).await?;
        let (began, mut lookup) = (Instant::now(), PeerLookup::default());
        loop {
            let (mut is_refused, mut failure) = (false, None);
            for address in &addresses {
                match UpstreamConnection::open(address, &mut lookup).await {
                    Ok(link) => return Ok((address.clone(), link)),
                    Err(why) => {
                        is_refused |= matches!(&why, ConnectionError::Connect(why) if why.kind() == ErrorKind::ConnectionRefused);
                        let error = lost(address, &why);
                        if !matches!(why, ConnectionError::Connect(_)) {
                            return Err(error);
                        }
                        failure = Some(error);
                    }
                }
            }
            if let Some(why) = failure.filter(|_| !is_refused || began.elapsed() >= RETRY_TIMEOUT) {
                return Err(why);
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// The addresses at which the stream may be reached: that of the option, otherwise those of the configuration file.
    async fn addresses(&self, named: Option<&Path>) -> anyhow::Result<Vec<String>> {
        let Some(file) = named.filter(|_| self.from.is_none()) else {
            return Ok(vec![self.from.clone().unwrap_or_else(|| DEFAULT.to_owned())]);
        };
        let settings = settings(file)?;
        let configured = settings.stream.listen_addresses.first();
        let address = configured.with_context(|| format!("{}: stream.listen_addresses is empty: there is no stream", file.display()))?;
        reachable(address).await
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

/// The error of a stream that cannot be reached or is lost, with its causes.
fn lost(address: &str, why: &ConnectionError) -> anyhow::Error {
    let hint = matches!(why, ConnectionError::Connect(_)).then_some(". Is the proxy running there, with stream.listen_addresses set?");
    anyhow!("the stream of {address}: {why}{}", hint.unwrap_or_default())
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
