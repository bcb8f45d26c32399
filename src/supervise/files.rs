//! Files as a daemon needs them: regular ones, which cannot block it, locks that one process holds, and names that survive a loss
//! of power.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use nix::unistd::geteuid;
use tokio::time::{Instant, sleep};

/// Interval of retries for a lock that another process holds.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Opens a file for reading, without waiting for a FIFO's other end.
///
/// # Errors
/// When it cannot be opened, or is no regular file; the error then names what it is.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    check_regular(&file)?;
    Ok(file)
}

/// Checks that a file that is open is a regular one: reading a FIFO or a device could take for ever.
///
/// # Errors
/// When it is none; the error names what it is.
pub fn check_regular(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_dir() => "a directory",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what} and no regular file"),
    ))
}

/// A lock on a file, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "closing it gives the lock up")] File);

/// The reason why a file was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("it is in use by {}", holder(.0))]
    Held(Option<u32>),
    /// The file system has no locks, or refuses this one.
    #[error("it cannot be locked: {0}")]
    Unsupported(#[source] io::Error),
}

impl FileLock {
    /// Locks a file for this process.
    ///
    /// # Errors
    /// When another process holds the lock, or the file system has none.
    pub fn take(file: File) -> Result<Self, LockError> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(lock_holder(&file))),
            Err(TryLockError::Error(why)) => Err(LockError::Unsupported(why)),
        }
    }

    /// Locks a file, and tries for `wait` while another process holds the lock: one that is about to end gives it up. Calls
    /// `waiting` once, with that process, before it waits.
    ///
    /// # Errors
    /// As [`FileLock::take`].
    pub async fn take_within(file: &File, wait: Duration, waiting: impl FnOnce(&LockError)) -> Result<Self, LockError> {
        let deadline = Instant::now() + wait;
        let mut waiting = Some(waiting);
        loop {
            let held = match Self::take(file.try_clone().map_err(LockError::Unsupported)?) {
                Err(held @ LockError::Held(_)) if Instant::now() < deadline => held,
                settled => return settled,
            };
            if let Some(waiting) = waiting.take() {
                waiting(&held);
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

fn holder(process: &Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

/// The process that holds the lock on a file, if the system knows it.
fn lock_holder(file: &File) -> Option<u32> {
    let about = file.metadata().ok()?;
    let device = format!("{:02x}:{:02x}", major(about.dev()), minor(about.dev()));
    find_holder(&fs::read_to_string("/proc/locks").ok()?, &device, about.ino())
}

/// Finds the holder in the text of `/proc/locks`. Some file systems name another device there than elsewhere, so one lock on a
/// file of this number is good enough.
fn find_holder(locks: &str, device: &str, inode: u64) -> Option<u32> {
    let holders = || {
        locks.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (kind, _, _) = (words.next()?, words.next()?, words.next()?);
            let (process, place) = (words.next()?, words.next()?);
            let (on, number) = place.rsplit_once(':')?;
            (kind == "FLOCK" && number.parse() == Ok(inode)).then_some((on, process.parse().ok()?))
        })
    };
    let exactly = holders().find(|(on, _)| *on == device);
    exactly.or_else(|| holders().next()).map(|(_, process)| process)
}

/// Makes the entries of a directory survive a loss of power: creations, renamings and removals so far.
///
/// # Errors
/// When the file system says so.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that holds a file or directory.
#[must_use]
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes a directory and those above it that are missing, so that they survive a loss of power. One that is there stays as it is.
///
/// # Errors
/// When one cannot be made, or something else has its name.
pub fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    missing.iter().rev().try_for_each(|made| sync_directory(&parent(made)))
}

/// The mode of a directory of one user alone.
const PRIVATE: u32 = 0o700;
/// Writing for all users, and the bit by which they cannot rename what belongs to others.
const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Makes a directory of mode 0700 below one that may be open to all users; one that is there is checked.
///
/// # Errors
/// When it cannot be made, and as [`check_private_directory`].
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(path) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(why),
        _ => check_private_directory(path),
    }
}

/// Checks that only this user can write in a directory, or rename it.
///
/// # Errors
/// When it cannot be looked at, is no directory, belongs to another user, has another mode than 0700, or when all users can rename it.
pub fn check_private_directory(path: &Path) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display())));
    let about = fs::symlink_metadata(path)?;
    let (mode, above) = (about.mode() & 0o7777, parent(path));
    if !about.is_dir() {
        return refuse("is no directory".to_owned());
    }
    if about.uid() != geteuid().as_raw() {
        return refuse(format!("belongs to the user {}", about.uid()));
    }
    if mode != PRIVATE {
        return refuse(format!("has mode {mode:04o}, expected {PRIVATE:04o}"));
    }
    let open = fs::metadata(&above)?.mode() & (WORLD_WRITABLE | STICKY) == WORLD_WRITABLE;
    if open {
        return refuse(format!(
            "can be renamed by all users, because {} has no sticky bit",
            above.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
