//! The usual places of the receiver's Unix socket, for the proxy that binds one and for the commands that look for it.

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::config::USUAL_UNIX_SOCKET;
use crate::supervise::files::check_private_directory;

/// The socket in the user's runtime directory, if there is one.
pub(super) fn in_runtime_directory() -> Option<PathBuf> {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty())?;
    Some(Path::new(&directory).join(file_name()))
}

/// The socket in a directory of this user's own, `exporter-proxy-UID`, below the directory for temporary files.
pub(super) fn in_temporary_directory() -> PathBuf {
    let directory = format!("exporter-proxy-{}", geteuid());
    std::env::temp_dir().join(directory).join(file_name())
}

fn file_name() -> &'static Path {
    Path::new(USUAL_UNIX_SOCKET)
        .file_name()
        .map_or(Path::new("exporter-proxy-receiver.sock"), Path::new)
}

/// Returns the usual places that this user can trust, in the order in which a proxy tries them. One below the directory for temporary
/// files is left out unless this user alone can write there: another user could listen in its place.
#[must_use]
pub fn usual_sockets() -> Vec<PathBuf> {
    let temporary = in_temporary_directory();
    let is_trusted = temporary
        .parent()
        .is_some_and(|directory| check_private_directory(directory).is_ok());
    let usual = [PathBuf::from(USUAL_UNIX_SOCKET)].into_iter().chain(in_runtime_directory());
    usual.chain(is_trusted.then_some(temporary)).collect()
}
