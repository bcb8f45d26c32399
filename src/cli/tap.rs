//! `exporter-proxy tap`

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use crate::sources::upstreams::{ConnectionError, UpstreamConnection};
use crate::wire::monitoring::line;

#[derive(Debug, Args)]
pub(super) struct Tap {
    /// The monitoring stream to follow.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8181")]
    from: String,
    /// Print each message as the JSON that it is.
    #[arg(long)]
    json: bool,
}

impl Tap {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        super::current_thread_runtime()?.block_on(self.follow())
    }

    /// Follows until the stream or the reader of standard output ends.
    async fn follow(&self) -> anyhow::Result<ExitCode> {
        // The error says all that its causes say.
        let lost = |why: ConnectionError| {
            let hint = matches!(why, ConnectionError::Connect(_)).then_some("; does the proxy there serve one (stream.listen_addresses)?");
            anyhow!("the stream of {}: {why}{}", self.from, hint.unwrap_or_default())
        };
        let mut link = UpstreamConnection::open(&self.from).await.map_err(lost)?;
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

    fn print(&self, text: &[u8], lines: &mut Vec<u8>) {
        if self.json {
            one_line(text, lines);
        } else {
            lines.extend_from_slice(line(text).as_bytes());
        }
        lines.push(b'\n');
    }
}

/// JSON on one line, without what a terminal takes for a command. Between its parts JSON has blanks alone, where a space does as well as
/// any other; within its strings control characters above U+007E may stand as they are, and are escaped.
fn one_line(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text.trim_ascii());
    for c in text.chars() {
        match c {
            '\0'..' ' => out.push(b' '),
            '\u{7f}'..='\u{9f}' => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn json_is_one_line_says_the_same_and_commands_no_terminal() {
        let message = "{\r\n\t\"event\": {\"a\": \"\u{9b}2J\u{7f}\\u001b\u{e9}\"}}\n";
        let mut line = Vec::new();
        one_line(message.as_bytes(), &mut line);
        assert!(!String::from_utf8(line.clone()).unwrap().chars().any(char::is_control));
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&line), value(message.as_bytes()));
        line.clear();
        one_line(b"\x1b[2J\xff", &mut line);
        assert_eq!(line, " [2J\u{fffd}".as_bytes());
    }
}
