//! Small files that are read for each poll: tokens, passwords, certificates.

use std::path::Path;

use tokio::io::AsyncReadExt;

use super::error::PollError;
use crate::supervise::blocking;
use crate::supervise::secret_file::{self, FileRule};

/// Limit of a file in bytes: a bundle of all public CAs has about 250 kB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a small regular file.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, PollError> {
    let fail = |why: String| PollError::File {
        path: path.to_owned(),
        why,
    };
    let io = |why: std::io::Error| fail(why.to_string());
    // Reading a pipe or a device could block a thread forever.
    if !tokio::fs::metadata(path).await.map_err(io)?.is_file() {
        return Err(fail("not a regular file".to_owned()));
    }
    let file = tokio::fs::File::open(path).await.map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).await.map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(fail(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Reads a file with a token or a password.
pub(super) async fn read_secret(path: &Path, rule: FileRule) -> Result<String, PollError> {
    let fail = |why: String| PollError::File {
        path: path.to_owned(),
        why,
    };
    let file = path.to_owned();
    let text = blocking(move || secret_file::read(&file, rule)).await;
    let text = text.map_err(|why| fail(why.to_string()))?;
    if text.is_empty() {
        return Err(fail("empty".to_owned()));
    }
    Ok(text)
}
