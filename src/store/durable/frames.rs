//! The form of a log file: a header, then frames, each with a length and checksums.
//!
//! Header, 28 bytes: `EXPPROXY`, four letters for the content, the version (u32), a random number that differs from file
//! to file (u64), and the CRC-32 of all that (u32). Head of a frame in version 2, 36 bytes: the random number again, by
//! which frames are found, the length of the payload (u32), its subject (u64, an app's place; 0 in events.log),
//! how many bytes of the file were known to be on the disk when the frame was written (u64), the CRC-32 of the payload
//! (u32), and the CRC-32 of the head so far (u32). The payload follows. In version 1 the head has 24 bytes: the random
//! number, the length, the CRC-32 of the rest, the number of bytes on the disk. Numbers are little-endian.
//!
//! A frame without payload is a seal. It ends each batch, so that a later frame vouches for every record: its number of
//! bytes on the disk covers them.
//!
//! A broken frame costs what is in it and nothing else: reading goes on at the next intact head. If a later frame vouches
//! for the broken one, the file was damaged after it had been written. If none does, the writing of that frame may have
//! been cut short as well: pages of a file reach the disk in any order, so intact frames behind it prove nothing.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::ops::Range;

use super::directory::{Directory, LogFile};

const MAGIC: [u8; 8] = *b"EXPPROXY";
/// The version of the header, the frames and what is in them, as written.
const VERSION: u32 = 2;
/// The version that is still read.
const OLD_VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
const FRAME_HEAD_BYTES: usize = 36;
const OLD_FRAME_HEAD_BYTES: usize = 24;

/// The kind of content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) [u8; 4]);

/// The reason for not reading a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It does not start as our files do.
    #[error("it was not written by exporter-proxy; move it away or choose another directory")]
    Foreign,
    /// It is of another version.
    #[error("it has version {0}, and this program reads versions {OLD_VERSION} and {VERSION}")]
    Version(u32),
    /// It was changed after it had been written.
    #[error("it is damaged at byte {at} ({what}); restore it from a copy, or move it away to start empty")]
    Damaged {
        /// The offset of the damage.
        at: u64,
        /// A description of the damage.
        what: &'static str,
    },
}

/// A stretch of a file between two intact frames, or behind the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    /// Its place.
    pub(super) range: Range<usize>,
    /// The payload and its subject, where only the payload is broken.
    pub(super) broken: Option<(Range<usize>, u64)>,
    /// True if a later frame confirms that it was on the disk: damage, not a write cut short.
    pub(super) vouched: bool,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// The payload of an intact frame.
    Payload(Range<usize>),
    /// Bytes that are no intact frame.
    Hole(Hole),
}

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    version: u32,
    salt: u64,
    /// True if the header is broken and its content was taken from the first frame.
    headless: bool,
    /// The intact frames and what is between them, in order.
    pub(super) pieces: Vec<Piece>,
    /// True if the last frame is a seal, and nothing is behind it.
    sealed: bool,
    /// The length of the file without what is torn or damaged at its end.
    pub(super) good: usize,
    /// The bytes after that.
    pub(super) torn: usize,
}

impl Contents {
    /// The holes between intact frames.
    pub(super) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(hole) => Some(hole),
            Piece::Payload(_) => None,
        })
    }

    /// The payloads of the intact frames.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &Range<usize>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Payload(payload) => Some(payload),
            Piece::Hole(_) => None,
        })
    }

    /// Returns true if nothing is missing in the middle, nor at the end of a file that another one follows. Version 1 has no
    /// seals, so there the end is not known.
    pub(super) fn is_whole(&self, followed: bool) -> bool {
        let ends = !followed || (self.torn == 0 && (self.sealed || self.version == OLD_VERSION));
        !self.headless && self.holes().next().is_none() && ends
    }

    /// Returns true if [`FrameLog::resume`] can append to the file.
    pub(super) fn is_resumable(&self) -> bool {
        self.version == VERSION && self.is_whole(false)
    }

    /// For records of which each needs all before it: what is behind the first hole counts as torn with it.
    ///
    /// # Errors
    /// Damage, because then records are missing that were complete once.
    pub(super) fn without_holes(mut self) -> Result<Self, Unreadable> {
        let damaged = |at: usize, what| Err(Unreadable::Damaged { at: at as u64, what });
        if self.headless {
            return damaged(0, "the header");
        }
        if let Some(hole) = self.holes().find(|hole| hole.vouched) {
            return damaged(hole.range.start, "a record that was complete once");
        }
        if let Some(at) = self.pieces.iter().position(|piece| matches!(piece, Piece::Hole(_))) {
            let end = self.good + self.torn;
            if let Piece::Hole(hole) = &self.pieces[at] {
                self.good = hole.range.start;
            }
            (self.torn, self.sealed) = (end - self.good, false);
            self.pieces.truncate(at);
        }
        Ok(self)
    }
}

/// The bytes that a payload takes in a file.
pub(super) fn framed(payload: usize) -> u64 {
    (FRAME_HEAD_BYTES + payload) as u64
}

fn header(kind: Kind, version: u32, salt: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(kind.0);
    header.extend(version.to_le_bytes());
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

/// True if this may be a file of ours that was written incompletely: empty, the beginning of one, or zeros in places that never reached the
/// disk.
pub(super) fn may_be_ours(bytes: &[u8]) -> bool {
    bytes.iter().zip(&MAGIC).all(|(&byte, &expected)| byte == expected || byte == 0)
}

/// Reads a file of this kind.
pub(super) fn read(bytes: &[u8], kind: Kind) -> Result<Contents, Unreadable> {
    let (form, headless) = form(bytes, kind)?;
    let (mut pieces, mut at, mut vouched, mut sealed) = (Vec::new(), HEADER_BYTES, 0, false);
    while at < bytes.len() {
        let Some(head) = form.head(bytes, at) else {
            let next = form.next_head(bytes, at + 1).unwrap_or(bytes.len());
            sealed = false;
            pieces.push(hole(at..next, None));
            at = next;
            continue;
        };
        vouched = vouched.max(head.durable);
        let intact = head.is_intact(bytes);
        let end = head.payload.end.min(bytes.len());
        sealed = intact && head.payload.is_empty();
        pieces.push(match intact {
            true => Piece::Payload(head.payload),
            false => hole(at..end, (head.payload.end <= bytes.len()).then_some((head.payload, head.subject))),
        });
        at = end;
    }
    for piece in &mut pieces {
        if let Piece::Hole(hole) = piece {
            hole.vouched = (hole.range.start as u64) < vouched;
        }
    }
    let mut good = bytes.len();
    while let Some(Piece::Hole(hole)) = pieces.pop_if(|piece| matches!(piece, Piece::Hole(hole) if !hole.vouched)) {
        good = hole.range.start;
    }
    Ok(Contents {
        version: form.version,
        salt: form.salt,
        headless,
        pieces,
        sealed,
        good,
        torn: bytes.len() - good,
    })
}

fn hole(range: Range<usize>, broken: Option<(Range<usize>, u64)>) -> Piece {
    Piece::Hole(Hole {
        range,
        broken,
        vouched: false,
    })
}

/// The version and the random number of a file; true if its header is broken, and they come from the first frame.
fn form(bytes: &[u8], kind: Kind) -> Result<(Form, bool), Unreadable> {
    let said = bytes.get(8..12).and_then(|kind| kind.first_chunk().copied()).map(Kind);
    if let (Some(said), Some(version), Some(salt)) = (said, u32_at(bytes, 12), u64_at(bytes, 16))
        && bytes.get(..HEADER_BYTES) == Some(&header(said, version, salt)[..])
    {
        return match version {
            _ if said != kind => Err(Unreadable::Foreign),
            OLD_VERSION | VERSION => Ok((Form { version, salt }, false)),
            other => Err(Unreadable::Version(other)),
        };
    }
    if let Some(salt) = u64_at(bytes, HEADER_BYTES) {
        let forms = [VERSION, OLD_VERSION].map(|version| Form { version, salt });
        if let Some(form) = forms.into_iter().find(|form| form.head(bytes, HEADER_BYTES).is_some()) {
            return Ok((form, true));
        }
    }
    match u32_at(bytes, 12) {
        _ if bytes.get(..8) != Some(&MAGIC[..]) || said != Some(kind) => Err(Unreadable::Foreign),
        Some(version) if version > VERSION => Err(Unreadable::Version(version)),
        _ => Err(Unreadable::Damaged { at: 0, what: "the header" }),
    }
}

/// The form of the frames of a file.
#[derive(Debug, Clone, Copy)]
struct Form {
    version: u32,
    salt: u64,
}

/// The head of a frame, intact by its own checksum.
struct Head {
    payload: Range<usize>,
    crc: u32,
    subject: u64,
    durable: u64,
}

impl Head {
    fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes
            .get(self.payload.clone())
            .is_some_and(|payload| crc32fast::hash(payload) == self.crc)
    }
}

impl Form {
    /// The head that starts here, if it is intact. In version 1 one checksum covers head and payload.
    fn head(&self, bytes: &[u8], at: usize) -> Option<Head> {
        if u64_at(bytes, at)? != self.salt {
            return None;
        }
        let len = usize::try_from(u32_at(bytes, at + 8)?).ok()?;
        if self.version == OLD_VERSION {
            let (crc, durable) = (u32_at(bytes, at + 12)?, u64_at(bytes, at + 16)?);
            let start = at + OLD_FRAME_HEAD_BYTES;
            let payload = start..start.checked_add(len)?;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&durable.to_le_bytes());
            hasher.update(bytes.get(payload.clone())?);
            let head = Head {
                crc: crc32fast::hash(&bytes[payload.clone()]),
                payload,
                subject: 0,
                durable,
            };
            return (hasher.finalize() == crc).then_some(head);
        }
        let start = at + FRAME_HEAD_BYTES;
        let head = Head {
            payload: start..start.checked_add(len)?,
            crc: u32_at(bytes, at + 28)?,
            subject: u64_at(bytes, at + 12)?,
            durable: u64_at(bytes, at + 20)?,
        };
        (crc32fast::hash(bytes.get(at..at + 32)?) == u32_at(bytes, at + 32)?).then_some(head)
    }

    /// The place of the next intact head.
    fn next_head(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mark = self.salt.to_le_bytes();
        let places = memchr::memmem::find_iter(bytes.get(from..)?, &mark);
        places.map(|place| from + place).find(|&place| self.head(bytes, place).is_some())
    }

    /// The head of a frame with these parts as its payload.
    fn write_head(&self, subject: u64, durable: u64, payload: &[&[u8]]) -> io::Result<Vec<u8>> {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        let len = u32::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of more than 4 GiB"))?;
        let mut hasher = crc32fast::Hasher::new();
        payload.iter().for_each(|part| hasher.update(part));
        let mut head = Vec::with_capacity(FRAME_HEAD_BYTES + payload.first().map_or(0, |part| part.len()));
        head.extend(self.salt.to_le_bytes());
        head.extend(len.to_le_bytes());
        head.extend(subject.to_le_bytes());
        head.extend(durable.to_le_bytes());
        head.extend(hasher.finalize().to_le_bytes());
        head.extend(crc32fast::hash(&head).to_le_bytes());
        Ok(head)
    }
}

/// A log file that is being written.
pub(super) struct FrameLog {
    file: Box<dyn LogFile>,
    form: Form,
    written: u64,
    durable: u64,
    /// True if the last frame is a seal, or the attempt to write one has failed. It need not be on the disk.
    sealed: bool,
    /// True if a write has failed, so that the content after `durable` is unknown.
    broken: bool,
}

impl FrameLog {
    /// Starts a file under a name, at once with these payloads, all of it on the disk. Until it is whole it has the name `temp`.
    ///
    /// A failure leaves the file that had the name untouched. The new name survives a loss of power after [`Directory::sync`].
    pub(super) fn create(directory: &dyn Directory, kind: Kind, temp: &str, name: &str, payloads: &[Vec<u8>]) -> io::Result<Self> {
        let salt = std::hash::RandomState::new().build_hasher().finish();
        let mut log = Self {
            file: directory.create(temp)?,
            form: Form { version: VERSION, salt },
            written: 0,
            durable: 0,
            sealed: false,
            broken: false,
        };
        let finish = |log: &mut Self| {
            log.put(&[&header(kind, VERSION, salt)])?;
            payloads.iter().try_for_each(|payload| log.append(0, &[payload]))?;
            log.sync()?;
            directory.rename(temp, name)
        };
        match finish(&mut log) {
            Ok(()) => Ok(log),
            Err(error) => {
                // It takes disk space that is short; if it cannot be removed, the next attempt replaces it.
                let _ = directory.remove(temp);
                Err(error)
            }
        }
    }

    /// Goes on with a file that was read and is [resumable](Contents::is_resumable), less what is torn at its end.
    pub(super) fn resume(directory: &dyn Directory, name: &str, contents: &Contents) -> io::Result<Self> {
        let mut log = Self {
            file: directory.open(name)?,
            form: Form {
                version: VERSION,
                salt: contents.salt,
            },
            written: contents.good as u64,
            durable: contents.good as u64,
            sealed: contents.sealed,
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

    /// Returns true if something was appended that may not survive a loss of power. A seal has nothing that could be lost.
    pub(super) fn is_unsynced(&self) -> bool {
        self.written > self.durable && !self.sealed
    }

    /// Returns true if the last batch ends with a seal.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Appends a frame with these parts as its payload. After an error nothing can be appended until [`FrameLog::repair`].
    pub(super) fn append(&mut self, subject: u64, payload: &[&[u8]]) -> io::Result<()> {
        let mut head = self.form.write_head(subject, self.durable, payload)?;
        self.sealed = false;
        let Some((first, rest)) = payload.split_first() else {
            return self.put(&[&head]);
        };
        head.extend_from_slice(first);
        self.put(&[&head])?;
        self.put(rest)
    }

    /// Vouches for all that was synced, by a frame of its own. Without one the next start cannot tell damage from a write
    /// cut short; a seal that does not fit on the disk is therefore no error.
    pub(super) fn seal(&mut self) {
        if self.broken || self.sealed || self.written > self.durable {
            return;
        }
        if self.append(0, &[]).is_err() {
            // What it left half written is cut off now, or before the next write.
            let _ = self.repair();
        }
        self.sealed = true;
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

    /// True if [`FrameLog::repair`] is needed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Drops all that was appended since the last sync. After a failed sync too, for then it is unknown what of it is on the disk.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        self.file.truncate(self.durable)?;
        (self.written, self.sealed) = (self.durable, false);
        self.broken = false;
        self.sync()
    }

    /// Checks that this many more bytes would fit, and leaves the file as it was.
    pub(super) fn probe(&mut self, bytes: usize) -> io::Result<()> {
        self.put(&[&vec![0; bytes]])?;
        self.broken = true;
        self.file.sync()?;
        self.repair()
    }
}
