//! `exporter-proxy tap`

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::sources::upstreams::Link;
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
        super::small_runtime()?.block_on(self.follow())
    }

    /// Follows until the stream or the reader of standard output ends.
    async fn follow(&self) -> anyhow::Result<ExitCode> {
        let lost = || format!("the stream of {}", self.from);
        let mut link = Link::open(&self.from).await.with_context(lost)?;
        loop {
            let mut lines = Vec::new();
            let mut next = Some(link.frame().await.with_context(lost)?);
            while let Some(frame) = next {
                self.print(link.text(&frame).with_context(lost)?, &mut lines);
                next = link.frame_at_hand().with_context(lost)?;
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
            // JSON has line breaks between its parts alone, where a space does as well.
            lines.extend(
                text.trim_ascii()
                    .iter()
                    .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
            );
        } else {
            lines.extend_from_slice(line(text).as_bytes());
        }
        lines.push(b'\n');
    }
}
