//! Recordings of a monitoring stream: gzip files of JSON lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use chrono::{DateTime, Timelike as _, Utc};
use flate2::bufread::GzDecoder;
use flate2::read::MultiGzDecoder;

use crate::wire::monitoring::{Compressor, MAX_TEXT_BYTES};

/// Text that is compressed as one gzip member: large members compress better, and this one is complete within a moment.
const MEMBER_BYTES: usize = 256 << 10;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The time at which a recording begins another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// At this size in bytes.
    Size(u64),
    /// At each full hour, UTC.
    Hour,
}

impl FromStr for Rotation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "hour" {
            return Ok(Self::Hour);
        }
        match crate::config::parse_size(text) {
            Some(bytes @ 1..) => Ok(Self::Size(bytes)),
            _ => Err("expected a size such as 100MiB, or hour".to_owned()),
        }
    }
}

/// A file that messages are recorded in.
#[derive(Debug)]
pub(super) struct Recorder {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    /// Bytes of the file.
    size: u64,
    began: DateTime<Utc>,
    /// Lines that are not yet compressed; at most [`MEMBER_BYTES`] and one message.
    text: Vec<u8>,
    member: Vec<u8>,
    compressor: Compressor,
}

impl Recorder {
    /// Opens the file; a recording in it is continued. Only its owner can read a new file, because it has addresses of peers.
    ///
    /// An incomplete end, which a killed recording leaves, is cut off: nothing behind it could be replayed.
    ///
    /// # Errors
    /// If it cannot be opened or read, or holds something else than a recording.
    pub(super) fn open(path: &Path, rotation: Option<Rotation>, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let file = create(path)?;
        let shown = || path.display().to_string();
        let (size, complete) = (file.metadata().with_context(shown)?.len(), complete_len(&file).with_context(shown)?);
        if complete < size {
            tracing::warn!(
                bytes = size - complete,
                "truncated an incomplete record at the end of {}",
                path.display()
            );
            file.set_len(complete).with_context(shown)?;
        }
        let size = complete;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            file,
            size,
            began: now,
            text: Vec::new(),
            member: Vec::new(),
            compressor: Compressor::default(),
        })
    }

    /// Adds a message, which is one line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn push(&mut self, line: &[u8], now: DateTime<Utc>) -> anyhow::Result<()> {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        if self.text.len() < MEMBER_BYTES {
            return Ok(());
        }
        self.flush(now)
    }

    /// Writes what was added, and begins another file if that is due.
    ///
    /// # Errors
    /// If the file cannot be written or renamed.
    pub(super) fn flush(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        if self.is_due(now) {
            self.rotate(now)?;
        }
        self.member.clear();
        self.compressor.member(&self.text, &mut self.member);
        if let Err(why) = self.file.write_all(&self.member) {
            // What follows a part of a member could not be replayed. If this fails as well, the next recording cuts it off.
            let _ = self.file.set_len(self.size);
            return Err(why).with_context(|| format!("cannot write {}", self.path.display()));
        }
        self.size += self.member.len() as u64;
        self.text.clear();
        Ok(())
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        match self.rotation {
            _ if self.size == 0 => false,
            None => false,
            Some(Rotation::Size(limit)) => self.size >= limit,
            Some(Rotation::Hour) => hour(now) != hour(self.began),
        }
    }

    /// Renames the file after the time at which it began.
    fn rotate(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let to = (1..)
            .map(|number| finished(&self.path, self.began, number))
            .find(|path| !path.exists());
        let to = to.context("no name is free")?;
        fs::rename(&self.path, &to).with_context(|| format!("cannot rename {} to {}", self.path.display(), to.display()))?;
        self.file = create(&self.path)?;
        (self.size, self.began) = (0, now);
        Ok(())
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    // For reading as well: what is there is checked before it is continued.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// Returns the length of the complete gzip members at the start of a file, which is that of a whole recording.
///
/// # Errors
/// If it cannot be read, or has bytes that begin no gzip member.
fn complete_len(file: &File) -> io::Result<u64> {
    let (mut bytes, mut complete) = (BufReader::new(file), 0);
    while !bytes.fill_buf()?.is_empty() {
        let what = match io::copy(&mut GzDecoder::new(&mut bytes), &mut io::sink()) {
            Ok(_) => {
                complete = bytes.stream_position()?;
                continue;
            }
            Err(why) if why.kind() == ErrorKind::UnexpectedEof && begins_member(file, complete)? => break,
            Err(why) if why.kind() == ErrorKind::UnexpectedEof => "no gzip".to_owned(),
            Err(why) if matches!(why.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => why.to_string(),
            Err(why) => return Err(why),
        };
        let why = format!("no recording, or a corrupt one, from byte {complete} on ({what}); name another file, or move this one away");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(complete)
}

/// Returns whether the bytes of a file from this one on can be the start of a gzip member. A shorter one than its header ends a file early,
/// whatever it holds.
fn begins_member(file: &File, at: u64) -> io::Result<bool> {
    let mut start = [0; GZIP.len()];
    let read = file.read_at(&mut start, at)?;
    Ok(GZIP.starts_with(&start[..read]))
}

fn hour(time: DateTime<Utc>) -> (chrono::NaiveDate, u32) {
    (time.date_naive(), time.hour())
}

/// The name of a finished file: `trace-20261129T101500Z.jsonl.gz` for `trace.jsonl.gz`, with a number where that exists.
fn finished(path: &Path, began: DateTime<Utc>, number: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dot = name
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '.')
        .map_or(name.len(), |(at, _)| at);
    let (stem, ending) = name.split_at(dot);
    let more = if number > 1 { format!("-{number}") } else { String::new() };
    path.with_file_name(format!("{stem}-{}{more}{ending}", began.format("%Y%m%dT%H%M%SZ")))
}

/// Passes each message of a recording to `each`, as far as the file is complete. Plain JSON lines are read as well.
///
/// # Errors
/// If the file cannot be read, is truncated or corrupt, or has a line that is too long; and the errors of `each`.
pub(super) fn replay(path: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let mut file = BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    let is_gzip = file.fill_buf().with_context(shown)?.starts_with(&GZIP);
    let text: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let (mut lines, mut line) = (BufReader::new(text), Vec::new());
    for number in 1_u64.. {
        line.clear();
        let limit = MAX_TEXT_BYTES as u64 + 1;
        let read = lines.by_ref().take(limit).read_until(b'\n', &mut line);
        match read {
            Ok(0) => break,
            Ok(_) if line.len() > MAX_TEXT_BYTES => anyhow::bail!("{}: line {number} is longer than {MAX_TEXT_BYTES} bytes", shown()),
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::UnexpectedEof => {
                anyhow::bail!("{}: truncated after {} messages (the recording was killed)", shown(), number - 1)
            }
            Err(why) => return Err(why).with_context(|| format!("{}: after {} messages", shown(), number - 1)),
        }
        let message = line.trim_ascii();
        if !message.is_empty() {
            each(message)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
