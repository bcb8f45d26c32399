//! Binding a Unix socket: what is replaced, what is refused, and who may connect.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, os::unix};

use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Group, User};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::listen::{BACKLOG, BindErrorKind};

/// Owner and permissions of a socket file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixAccess {
    /// Name or number of the owner; none: the user of the process.
    pub user: Option<String>,
    /// Name or number of the group; none: the group of the process.
    pub group: Option<String>,
    /// The permission bits, such as 0o660; writing is what it takes to connect.
    pub mode: u32,
}

/// The file of a bound socket, removed by drop as long as it is still the one that we made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // What cannot be removed is stale from now on and replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of what stands at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Binds and listens.
///
/// The file is created without permissions: Linux uses the mode of the unbound socket. Owner and group are set next, then the mode, and
/// then the socket listens, so that no client can connect early that may not connect in the end. The umask is not used, because it
/// belongs to the whole process and other threads create files too.
pub(super) async fn bind(path: &Path, access: &UnixAccess) -> Result<(UnixListener, SocketFile), BindErrorKind> {
    let (user, group) = owner(access)?;
    clear(path).await?;
    let socket = UnixSocket::new_stream().map_err(BindErrorKind::Bind)?;
    fchmod(&socket, Mode::empty()).map_err(|e| BindErrorKind::Bind(e.into()))?;
    socket.bind(path).map_err(BindErrorKind::Bind)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path),
    };
    if user.is_some() || group.is_some() {
        unix::fs::lchown(path, user, group).map_err(BindErrorKind::Owner)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).map_err(BindErrorKind::Mode)?;
    let listener = socket.listen(BACKLOG).map_err(BindErrorKind::Bind)?;
    Ok((listener, file))
}

/// Checks that the path is free, and removes a stale socket.
async fn clear(path: &Path) -> Result<(), BindErrorKind> {
    if let Some(folder) = missing_folder(path) {
        return Err(BindErrorKind::NoFolder(folder));
    }
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(BindErrorKind::Bind(e)),
    };
    if !meta.file_type().is_socket() {
        return Err(BindErrorKind::NoSocket);
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(BindErrorKind::Stale),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(BindErrorKind::Foreign(e)),
        // In use, full (EAGAIN) or of another type (EPROTOTYPE): in each case a process listens there.
        Ok(_) | Err(_) => Err(BindErrorKind::Live),
    }
}

/// Returns what [`Listener::unix`](super::Listener::unix) would refuse without touching the socket's path: a user or a group that
/// does not exist, a directory that is not there.
#[must_use]
pub fn foresee(path: Option<&Path>, access: &UnixAccess) -> Vec<BindErrorKind> {
    let user = UnixAccess {
        group: None,
        ..access.clone()
    };
    let group = UnixAccess {
        user: None,
        ..access.clone()
    };
    let owners = [user, group].into_iter().filter_map(|access| owner(&access).err());
    let folder = path.and_then(missing_folder).map(BindErrorKind::NoFolder);
    owners.chain(folder).collect()
}

/// The directory of a path, if it is not there.
fn missing_folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| folder.to_owned())
}

/// The numbers of owner and group.
fn owner(access: &UnixAccess) -> Result<(Option<u32>, Option<u32>), BindErrorKind> {
    let user = access
        .user
        .as_deref()
        .map(|name| number(name, user_id, || BindErrorKind::NoUser(name.to_owned())))
        .transpose()?;
    let group = access
        .group
        .as_deref()
        .map(|name| number(name, group_id, || BindErrorKind::NoGroup(name.to_owned())))
        .transpose()?;
    Ok((user, group))
}

/// A name of the user or group database, or else a number.
fn number(name: &str, known: fn(&str) -> Option<u32>, unknown: impl FnOnce() -> BindErrorKind) -> Result<u32, BindErrorKind> {
    known(name).or_else(|| name.parse().ok()).ok_or_else(unknown)
}

/// The number of a user in the user database.
#[must_use]
pub fn user_id(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group_id(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests;
