//! Input of a command: a file or standard input.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;

/// The name of an input for messages.
pub(super) fn name(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// Reads a whole file, or standard input for `-`.
pub(super) fn read(file: &Path) -> anyhow::Result<Bytes> {
    if file != Path::new("-") {
        return Ok(std::fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .into());
    }
    if std::io::stdin().is_terminal() {
        // Standard error may be closed, and the text is for people only.
        let _ = std::io::stderr().write_all(b"reading metrics from the terminal; end them with Ctrl-D on a line of its own\n");
    }
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut text)
        .context("cannot read standard input")?;
    Ok(text.into())
}
