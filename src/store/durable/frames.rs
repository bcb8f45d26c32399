//! The form of a log file: a header, then frames, each with a length and a checksum.
//!
//! Header, 28 bytes: `EXPPROXY`, four letters that say what the file holds, the version (u32), a random number that
//! differs from file to file (u64), and the CRC-32 of all that (u32). Frame: the random number again, by which frames are
//! found, the length of the payload (u32), the CRC-32 of the rest (u32), how many bytes of the file were known to be on
//! the disk when the frame was written (u64), the payload. Numbers are little-endian.
//!
//! A crash leaves a frame half written at the end; that is cut off. But pages of a file reach the disk in any order, so
//! bytes after a broken frame do not prove damage. What does is a later frame, intact, which says that the broken one
//! had been on the disk: then somebody has changed the file since, and nothing of it is to be believed or overwritten.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::ops::Range;

use super::folder::{Folder, LogFile};

const MAGIC: [u8; 8] = *b"EXPPROXY";
/// The version of the header, the frames and what is in them.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
const FRAME_HEAD_BYTES: usize = 24;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) [u8; 4]);

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It does not start as our files do.
    #[error("it was not written by exporter-proxy; move it away or choose another folder")]
    Foreign,
    /// It is of another version.
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// It was changed after it had been written.
    #[error("it is damaged at byte {at} ({what}); restore it from a copy, or move it away to start anew")]
    Damaged {
        /// Where the damage starts.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// What was found in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    salt: u64,
    /// Where the payloads are.
    pub(super) payloads: Vec<Range<usize>>,
    /// The length of the file without what a crash left half written.
    pub(super) good: usize,
    /// The bytes after that.
    pub(super) torn: usize,
}

/// The bytes that a payload takes in a file.
pub(super) fn framed(payload: usize) -> u64 {
    (FRAME_HEAD_BYTES + payload) as u64
}

fn header(kind: Kind, salt: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(kind.0);
    header.extend(VERSION.to_le_bytes());
    header.extend(salt.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// Whether this may be a file of ours whose writing was cut short: nothing, the beginning of one, or zeros in places that
/// never reached the disk.
pub(super) fn may_be_ours(bytes: &[u8]) -> bool {
    bytes.iter().zip(&MAGIC).all(|(&byte, &expected)| byte == expected || byte == 0)
}

/// Reads a file of this kind.
pub(super) fn read(bytes: &[u8], kind: Kind) -> Result<Contents, Unreadable> {
    if bytes.get(..8) != Some(&MAGIC[..]) || bytes.get(8..12) != Some(&kind.0[..]) {
        return Err(Unreadable::Foreign);
    }
    let damaged = Unreadable::Damaged { at: 0, what: "the header" };
    let (Some(version), Some(salt)) = (u32_at(bytes, 12), u64_at(bytes, 16)) else {
        return Err(damaged);
    };
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    if bytes.get(..HEADER_BYTES) != Some(&header(kind, salt)[..]) {
        return Err(damaged);
    }
    let (mut payloads, mut good) = (Vec::new(), HEADER_BYTES);
    while let Some((payload, _)) = frame(bytes, good, salt) {
        good = payload.end;
        payloads.push(payload);
    }
    if let Some(at) = proof_of_damage(bytes, good, salt) {
        tracing::debug!(broken = good, proof = at, "a later frame vouches for a broken one");
        let what = "a record that was complete once";
        return Err(Unreadable::Damaged { at: good as u64, what });
    }
    let torn = bytes.len() - good;
    Ok(Contents {
        salt,
        payloads,
        good,
        torn,
    })
}

/// The frame that starts here, if it is intact: its payload, and how much was on the disk when it was written.
fn frame(bytes: &[u8], at: usize, salt: u64) -> Option<(Range<usize>, u64)> {
    if u64_at(bytes, at)? != salt {
        return None;
    }
    let len = usize::try_from(u32_at(bytes, at + 8)?).ok()?;
    let crc = u32_at(bytes, at + 12)?;
    let durable = u64_at(bytes, at + 16)?;
    let start = at + FRAME_HEAD_BYTES;
    let end = start.checked_add(len)?;
    let payload = bytes.get(start..end)?;
    (checksum(durable, &[payload]) == crc).then_some((start..end, durable))
}

fn checksum(durable: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&durable.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The place of an intact frame that was written when more than `good` bytes were on the disk.
fn proof_of_damage(bytes: &[u8], good: usize, salt: u64) -> Option<usize> {
    let mark = salt.to_le_bytes();
    let places = memchr::memmem::find_iter(bytes.get(good..)?, &mark);
    let mut frames = places.filter_map(|place| Some((good + place, frame(bytes, good + place, salt)?.1)));
    frames.find(|(_, durable)| *durable > good as u64).map(|(at, _)| at)
}

/// A log file that is being written.
pub(super) struct FrameLog {
    file: Box<dyn LogFile>,
    salt: u64,
    written: u64,
    durable: u64,
    /// Whether a write has failed, so that anything may be behind `durable`.
    broken: bool,
}

impl FrameLog {
    /// Starts a file under a name, at once with these payloads, all of it on the disk. Until it is whole it has the name `temp`.
    ///
    /// What fails leaves what had the name untouched. Whether the new name survives a loss of power is up to [`Folder::sync`].
    pub(super) fn create(folder: &dyn Folder, kind: Kind, temp: &str, name: &str, payloads: &[Vec<u8>]) -> io::Result<Self> {
        let salt = std::hash::RandomState::new().build_hasher().finish();
        let mut log = Self {
            file: folder.create(temp)?,
            salt,
            written: 0,
            durable: 0,
            broken: false,
        };
        let finish = |log: &mut Self| {
            log.put(&[&header(kind, salt)])?;
            payloads.iter().try_for_each(|payload| log.append(&[payload]))?;
            log.sync()?;
            folder.rename(temp, name)
        };
        match finish(&mut log) {
            Ok(()) => Ok(log),
            Err(error) => {
                // It takes space that somebody lacks; if it cannot be removed, the next attempt replaces it.
                let _ = folder.remove(temp);
                Err(error)
            }
        }
    }

    /// Goes on with a file that was read, less what a crash left half written.
    pub(super) fn resume(folder: &dyn Folder, name: &str, contents: &Contents) -> io::Result<Self> {
        let mut log = Self {
            file: folder.open(name)?,
            salt: contents.salt,
            written: contents.good as u64,
            durable: contents.good as u64,
            broken: contents.torn > 0,
        };
        if log.broken {
            log.repair()?;
        }
        // What was read may have come from memory that no disk has yet.
        log.sync()?;
        Ok(log)
    }

    /// The length of the file.
    pub(super) fn len(&self) -> u64 {
        self.written
    }

    /// Whether something was appended that may not survive a loss of power.
    pub(super) fn is_unsynced(&self) -> bool {
        self.written > self.durable
    }

    /// Appends a frame whose payload is these parts. After an error nothing can be appended until [`FrameLog::repair`].
    pub(super) fn append(&mut self, payload: &[&[u8]]) -> io::Result<()> {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        let len = u32::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of more than 4 GiB"))?;
        let mut head = Vec::with_capacity(FRAME_HEAD_BYTES + payload.first().map_or(0, |part| part.len()));
        head.extend(self.salt.to_le_bytes());
        head.extend(len.to_le_bytes());
        head.extend(checksum(self.durable, payload).to_le_bytes());
        head.extend(self.durable.to_le_bytes());
        let Some((first, rest)) = payload.split_first() else {
            return self.put(&[&head]);
        };
        head.extend_from_slice(first);
        self.put(&[&head])?;
        self.put(rest)
    }

    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write has failed"));
        }
        for part in parts {
            self.broken = true;
            self.file.append(part)?;
            self.broken = false;
            self.written += part.len() as u64;
        }
        Ok(())
    }

    /// Puts all that was appended on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write has failed"));
        }
        self.broken = true;
        self.file.sync()?;
        self.broken = false;
        self.durable = self.written;
        Ok(())
    }

    /// Whether [`FrameLog::repair`] is needed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Drops all that was appended since the last sync. After a failed sync too, for then nobody knows what of it is on the disk.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        self.file.truncate(self.durable)?;
        self.written = self.durable;
        self.broken = false;
        self.sync()
    }

    /// Finds out whether so many more bytes would fit, and leaves the file as it was.
    pub(super) fn probe(&mut self, bytes: usize) -> io::Result<()> {
        self.put(&[&vec![0; bytes]])?;
        self.broken = true;
        self.file.sync()?;
        self.repair()
    }
}
