//! The memory that the control group of this process may use.

use std::path::{Path, PathBuf};

/// The most that is used where nothing else is configured.
const MOST: u64 = 4 << 30;

/// The memory for stored data where none is configured: 4 GiB, or three quarters of the control group's limit if that is less. The last
/// quarter is for connections, messages that are being received, and the allocator.
#[must_use]
pub fn default_memory_limit() -> u64 {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files(&groups)
        .into_iter()
        .filter_map(|file| limit(&std::fs::read_to_string(file).ok()?));
    limits.map(|limit| limit / 4 * 3).fold(MOST, u64::min)
}

/// The files that may hold a limit of this process: those of its group and of all groups above it, as `/proc/self/cgroup` names them in
/// version 2 (`0::/PATH`) and version 1 (`N:memory:/PATH`) of the interface.
fn files(groups: &str) -> Vec<PathBuf> {
    let named = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        Some((root, Path::new(path.trim_start_matches('/')), file))
    });
    // In a container the group may be mounted as the root although the path is the one seen from outside.
    named
        .flat_map(|(root, path, file)| path.ancestors().map(move |group| Path::new(root).join(group).join(file)))
        .collect()
}

/// The limit in such a file; nothing where it says that there is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests;
