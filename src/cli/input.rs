//! Input of a command: a file or standard input.

use std::io::Read as _;
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
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut text)
        .context("cannot read standard input")?;
    Ok(text.into())
}
