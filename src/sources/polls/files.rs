//! Small files that are read for each poll: tokens, passwords, certificates.

use std::io::Read as _;
use std::path::Path;

use tokio::sync::Semaphore;

use super::error::PollError;
use crate::supervise::files::open_regular;
use crate::supervise::lookup::LOOKUP_THREADS;
use crate::supervise::secret_file::{self, FileRule};
use crate::supervise::{MAX_HANGING, blocking_within};

/// Limit of a file in bytes: a bundle of all public CAs has about 250 kB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Files that are read at a time. Where a file system hangs, each read blocks a thread as long, and each poll begins another one: without a
/// bound they would take the threads that pushes and scrapes need.
const FILES_AT_ONCE: usize = 32;
const _: () = assert!(
    FILES_AT_ONCE + LOOKUP_THREADS <= MAX_HANGING,
    "files that hang must leave threads to other work"
);

static READS: Semaphore = Semaphore::const_new(FILES_AT_ONCE);

/// Reads a small regular file.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, PollError> {
    let file = path.to_owned();
    let bytes = blocking_within(&READS, move || read_bounded(&file)).await;
    bytes.map_err(|why| PollError::File {
        path: path.to_owned(),
        why,
    })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    // Reading a pipe or a device could block a thread forever.
    let file = open_regular(path).map_err(|why| why.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| why.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("longer than {MAX_FILE_BYTES} bytes"));
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
    let text = blocking_within(&READS, move || secret_file::read(&file, rule)).await;
    let text = text.map_err(|why| fail(why.to_string()))?;
    if text.is_empty() {
        return Err(fail("empty".to_owned()));
    }
    Ok(text)
}
