//! The process's own use of the machine, under `exporter_proxy_process_*` so that no application's `process_*` is touched.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{header, sample};

/// The clock ticks a second that Linux gives in `/proc`; the kernel's interface fixes it for every architecture we build on.
const TICKS_PER_SECOND: f64 = 100.0;
/// The bytes of a page as `/proc/self/statm` counts them, asked of the system once.
fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(4096)
}

/// Reads the process's figures when it is asked to write them.
#[derive(Debug)]
pub struct Process {
    started: Duration,
    page_bytes: u64,
}

impl Process {
    /// Remembers `started` as the start time of the process.
    #[must_use]
    pub fn new(started: SystemTime) -> Self {
        Self {
            started: started.duration_since(UNIX_EPOCH).unwrap_or_default(),
            page_bytes: page_bytes(),
        }
    }

    /// Appends the families that the system lets us know; one that cannot be read is left out.
    pub fn write(&self, out: &mut String) {
        if let Some(seconds) = cpu_seconds() {
            family(
                out,
                "cpu_seconds_total",
                "counter",
                "User and system CPU time spent in seconds.",
                seconds,
            );
        }
        if let Some((virtual_pages, resident_pages)) = memory_pages() {
            family(
                out,
                "virtual_memory_bytes",
                "gauge",
                "Virtual memory size in bytes.",
                virtual_pages * self.page_bytes,
            );
            family(
                out,
                "resident_memory_bytes",
                "gauge",
                "Resident memory size in bytes.",
                resident_pages * self.page_bytes,
            );
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            family(out, "open_fds", "gauge", "Number of open file descriptors.", entries.count());
        }
        if let Ok((soft, _)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
            family(out, "max_fds", "gauge", "Maximum number of open file descriptors.", soft);
        }
        family(
            out,
            "start_time_seconds",
            "gauge",
            "Start time of the process in seconds since the Unix epoch.",
            self.started.as_secs_f64(),
        );
    }
}

fn family(out: &mut String, name: &str, metric_type: &str, help: &str, value: impl std::fmt::Display) {
    let name = format!("{}process_{name}", super::PREFIX);
    header(out, &name, metric_type, help);
    sample(out, &name, "", value);
}

/// User and system time, fields 14 and 15 of `/proc/self/stat` as proc(5) numbers them.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command name in field 2 may hold blanks, so fields are counted from its closing parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// Total and resident pages, the first two fields of `/proc/self/statm`.
fn memory_pages() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = statm.split_ascii_whitespace().map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

#[cfg(test)]
mod tests;
