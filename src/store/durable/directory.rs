//! The file system operations that the logs need, so that a test can replace the disk by one that fills up or fails.

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::OpenError;
use crate::supervise::files::{FileLock, LockError, check_regular, create_directory};

/// The file that is locked by the process that uses the directory. It stays empty.
const LOCK: &str = "lock";

/// Metrics may be confidential, so other users of the machine cannot read them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The permission that the directory must not give: others could put files of their own in the place of ours.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// A flat directory of files.
pub(super) trait Directory: Send + Sync {
    /// The path of a file, for messages.
    fn show(&self, name: &str) -> String;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The whole content of a file; `None` if there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// An empty file in the place of whatever had the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// A file that is there, to append to.
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renamings and removals so far survive a loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub(super) trait LogFile: Send {
    /// Appends all of it, or fails having appended any part of it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended survive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to a length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A directory on disk that this process alone uses.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// The directory itself, to be synced.
    directory: File,
    /// Holds the lock for as long as it is open.
    _lock: FileLock,
}

impl Disk {
    /// Takes the directory, making it if it is not there.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let fail = |doing| {
            let path = path.display().to_string();
            move |why| OpenError::Io { path, doing, why }
        };
        create_directory(path, DIRECTORY_MODE).map_err(fail("make the directory"))?;
        let directory = File::open(path).map_err(fail("open the directory"))?;
        let mode = directory.metadata().map_err(fail("read"))?.permissions().mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            let path = path.display().to_string();
            return Err(OpenError::TooOpen { path, mode });
        }
        let lock_name = path.join(LOCK);
        let lock = open_lock(&lock_name).map_err(|why| OpenError::Io {
            path: lock_name.display().to_string(),
            doing: "open the lock file",
            why,
        })?;
        let lock = FileLock::take(lock).map_err(|error| match error {
            LockError::Held(_) => OpenError::InUse(path.display().to_string(), error.to_string()),
            LockError::Unsupported(why) => fail("lock")(why),
        })?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            _lock: lock,
        })
    }
}

/// Opens the lock file, making it if it is not there. Opened for reading too, a FIFO does not wait for its other end.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let lock = options.custom_flags(flags.bits()).open(path)?;
    check_regular(&lock)?;
    Ok(lock)
}

impl Directory for Disk {
    fn show(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        // A name that is no text is none of ours.
        entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(about) if !about.is_file() => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
            Ok(_) => std::fs::read(&path).map(Some),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.remove(name)?;
        let path = self.path.join(name);
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
