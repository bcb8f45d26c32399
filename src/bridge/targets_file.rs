//! The targets file, read by Prometheus (`file_sd_configs`) and by the bridge itself at its next start.
//!
//! The format is that of the hyperdht-prometheus-bridge program: JSON with one space of indentation, one group with the label
//! `job="aliases"`, and a target `ALIAS:KEY:HOSTNAME:SERVICE` for each alias, with the key in z-base-32.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::alias_table::{AliasEntry, Transport};
use crate::peer::Alias;
use crate::supervise::files::{check_regular, create_directory, open_regular, parent, sync_directory};

/// The mode of a new file: Prometheus may run as another user.
const MODE: u32 = 0o644;

/// The suffix of a temporary file's name, and the number of random digits before it.
const SUFFIX: &str = ".new";
const RANDOM_DIGITS: usize = 16;

/// Limit on the size of the file. The maximum number of aliases at maximum length stays below it.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Placeholder for an empty hostname or service: patterns that split a target expect text between the colons.
const NOTHING: &str = "-";

#[derive(Serialize, Deserialize)]
struct Group {
    #[serde(default)]
    labels: Labels,
    targets: Vec<String>,
}

#[derive(Serialize, Deserialize, Default)]
struct Labels {
    #[serde(default)]
    job: String,
}

/// Renders the text of the file.
pub(super) fn render<'e>(entries: impl Iterator<Item = &'e AliasEntry>) -> String {
    let group = Group {
        labels: Labels { job: "aliases".to_owned() },
        targets: entries.map(target).collect(),
    };
    let mut text = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, style);
    // Serializing strings into a vector cannot fail.
    let _ = [group].serialize(&mut writer);
    String::from_utf8(text).unwrap_or_default()
}

fn target(entry: &AliasEntry) -> String {
    let part = |text: &str| {
        let text = text.replace(':', "-");
        if text.is_empty() { NOTHING.to_owned() } else { text }
    };
    format!("{}:{}:{}:{}", entry.alias, entry.key, part(&entry.hostname), part(&entry.service))
}

/// Parses the text of the file. Returns the entries, all registered `now`, and the faults of invalid targets.
///
/// # Errors
///
/// If the text is not a targets file.
pub(super) fn parse(text: &str, now: Instant) -> Result<(Vec<AliasEntry>, Vec<String>), serde_json::Error> {
    let groups: Vec<Group> = serde_json::from_str(text)?;
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for target in groups.into_iter().flat_map(|group| group.targets) {
        match read(&target, now) {
            Ok(entry) => entries.push(entry),
            Err(why) => faults.push(format!("{target:?}: {why}")),
        }
    }
    Ok((entries, faults))
}

/// A targets file, as a bridge takes it over at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedTargets {
    /// The file with the valid targets alone, as the bridge writes it.
    pub text: String,
    /// The invalid targets with the reasons, which the bridge leaves out.
    pub faults: Vec<String>,
}

/// Checks the text of a targets file.
///
/// # Errors
///
/// The reason if it is no targets file.
pub fn check_targets(text: &str) -> Result<CheckedTargets, String> {
    let (entries, faults) = parse(text, Instant::now()).map_err(|why| why.to_string())?;
    Ok(CheckedTargets {
        text: render(entries.iter()),
        faults,
    })
}

/// Checks a targets file; one that does not exist is an empty one.
///
/// # Errors
///
/// The reason if it cannot be read, or is no targets file.
pub fn check_targets_file(path: &Path) -> Result<Vec<String>, String> {
    match load(path).map_err(|why| why.to_string())? {
        Some(text) => Ok(check_targets(&text)?.faults),
        None => Ok(Vec::new()),
    }
}

/// Splits a target from the right, so that everything before the key is the alias.
fn read(target: &str, now: Instant) -> Result<AliasEntry, String> {
    let mut parts = target.rsplitn(4, ':');
    let (service, hostname, key, alias) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(service), Some(hostname), Some(key), Some(alias)) = (service, hostname, key, alias) else {
        return Err("expected ALIAS:KEY:HOSTNAME:SERVICE".to_owned());
    };
    Ok(AliasEntry {
        alias: Alias::new(alias).map_err(|e| e.to_string())?,
        key: key.parse().map_err(|e| format!("the key: {e}"))?,
        hostname: hostname.to_owned(),
        service: service.to_owned(),
        transport: Transport::Unknown,
        link: None,
        renewed: now,
    })
}

/// Reads the file; `None` if it does not exist.
///
/// # Errors
///
/// If it exists and cannot be read.
pub(super) fn load(path: &Path) -> io::Result<Option<String>> {
    let file = match open_regular(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.len() > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    io::read_to_string(file).map(Some)
}

/// Removes temporary files that a crash of an earlier run left beside the file.
pub(super) fn remove_leftovers(path: &Path) {
    let (Some(name), Ok(entries)) = (path.file_name(), fs::read_dir(parent(path))) else {
        return;
    };
    let name = name.to_string_lossy();
    let is_leftover = |entry: &fs::DirEntry| {
        let other = entry.file_name();
        let random = other.to_str().and_then(|other| {
            other
                .strip_prefix('.')?
                .strip_prefix(&*name)?
                .strip_prefix('.')?
                .strip_suffix(SUFFIX)
        });
        let is_ours = random.is_some_and(|random| random.len() == RANDOM_DIGITS && random.bytes().all(|b| b.is_ascii_hexdigit()));
        is_ours && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    for leftover in entries.flatten().filter(is_leftover) {
        // A file that cannot be removed does no harm except for its size.
        let _ = fs::remove_file(leftover.path());
    }
}

/// Replaces the file atomically: writes a temporary file beside it, syncs it and renames it. Keeps the mode of an existing file. If the
/// file is a mount point that cannot be replaced, or its directory is not writable, writes it in place and returns `true`.
///
/// # Errors
///
/// If it cannot be written. The old text is unchanged then.
pub(super) fn store(path: &Path, text: &str) -> io::Result<bool> {
    // The umask applies to the mode.
    create_directory(&parent(path), 0o777)?;
    match replace(path, text) {
        Ok(()) => Ok(false),
        Err(error) if must_stay_in_place(&error) && path.exists() => in_place(path, text).map(|()| true),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(MODE, |about| about.permissions().mode() & 0o777);
    let beside = temporary(path)?;
    let written = write_new(&beside, text, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The file may not exist, depending on the step that failed.
        let _ = fs::remove_file(&beside);
        return written;
    }
    sync_directory(&parent(path))
}

/// Returns an unpredictable name for a temporary file beside the file.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; RANDOM_DIGITS / 2];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{digits}{SUFFIX}"));
    Ok(path.with_file_name(name))
}

/// Writes a file that must not exist, not even as a symbolic link.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask was applied to the mode above.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Returns true for errors of a file that cannot be replaced. A full disk is not one of them.
fn must_stay_in_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices | io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Overwrites the file in place. First reserves the disk space by appending spaces, which keeps the old text readable. The new text is
/// padded to at least the length of the old text before the file is truncated.
fn in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path)?;
    check_regular(&file)?;
    let mut old = Vec::new();
    (&file).take(MAX_FILE_BYTES).read_to_end(&mut old)?;
    let length = old.len().max(text.len());
    let spaces = |count: usize| vec![b' '; count];
    let grown = file
        .write_all_at(&spaces(length - old.len()), old.len() as u64)
        .and_then(|()| file.sync_all());
    if grown.is_err() {
        let _ = file.set_len(old.len() as u64);
        return grown;
    }
    let padded = [text.as_bytes(), &spaces(length - text.len())].concat();
    let written = file.write_all_at(&padded, 0).and_then(|()| file.sync_all());
    if written.is_err() {
        // Some file systems need additional space for overwriting, too; restoring the old text releases it.
        let _ = file.write_all_at(&old, 0);
        let _ = file.set_len(old.len() as u64);
        return written;
    }
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
