//! systemd's protocols for services: notifications, the watchdog, and sockets that it has bound (socket activation).
//!
//! Without systemd's variables in the environment every function does nothing. Source of the protocols: the manual pages
//! `sd_notify(3)`, `sd_watchdog_enabled(3)` and `sd_listen_fds(3)`.

#![allow(
    unsafe_code,
    reason = "file descriptors that a parent process passes have no owner in this program yet"
)]

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sd_notify::NotifyState;
use socket2::{SockAddr, SockRef, Type};
use tokio_util::sync::CancellationToken;

use super::Service;

/// Sockets that were passed and are not in use yet. The process has one set of them, hence the static.
static PASSED: Mutex<Vec<Passed>> = Mutex::new(Vec::new());

/// A listening socket from the service manager.
struct Passed {
    socket: OwnedFd,
    address: SockAddr,
    is_datagram: bool,
}

/// Takes over the sockets that the service manager has passed (`LISTEN_FDS`). Call it once, before anything is bound.
///
/// # Errors
///
/// If `LISTEN_FDS` is malformed, or a passed file descriptor is not a socket.
pub fn accept_sockets() -> io::Result<()> {
    let mut taken = BTreeSet::new();
    let mut passed = Vec::new();
    for raw in sd_notify::listen_fds()?.filter(|&raw| taken.insert(raw)) {
        // SAFETY: LISTEN_PID names this process, so these descriptors are open and were passed to it alone; `taken` makes sure that each
        // gets one owner.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("file descriptor {raw}: {error}"));
        let (address, is_datagram) = {
            let reference = SockRef::from(&socket);
            reference.set_nonblocking(true).map_err(named)?;
            (
                reference.local_addr().map_err(named)?,
                reference.r#type().map_err(named)? == Type::DGRAM,
            )
        };
        passed.push(Passed {
            socket,
            address,
            is_datagram,
        });
    }
    *lock() = passed;
    Ok(())
}

/// Returns the passed TCP listener for an address, if there is one.
pub(super) fn tcp(address: SocketAddr) -> Option<TcpListener> {
    take(|passed| !passed.is_datagram && serves(&passed.address, address)).map(TcpListener::from)
}

/// Returns the passed UDP socket for an address, if there is one.
#[must_use]
pub fn udp(address: SocketAddr) -> Option<UdpSocket> {
    take(|passed| passed.is_datagram && serves(&passed.address, address)).map(UdpSocket::from)
}

/// Returns the passed Unix listener for a path, if there is one.
pub(super) fn unix(path: &Path) -> Option<UnixListener> {
    take(|passed| !passed.is_datagram && passed.address.as_pathname() == Some(path)).map(UnixListener::from)
}

/// Closes the passed sockets that no configured address matches, and returns their addresses.
pub fn close_unused() -> Vec<String> {
    lock().drain(..).map(|passed| text(&passed.address)).collect()
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Passed>> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(fits: impl Fn(&Passed) -> bool) -> Option<OwnedFd> {
    let mut passed = lock();
    let at = passed.iter().position(fits)?;
    Some(passed.swap_remove(at).socket)
}

/// Compares a passed address with a configured one. `ListenStream=6555` binds `[::]:6555`, which also takes the connections for
/// `0.0.0.0:6555`.
fn serves(passed: &SockAddr, configured: SocketAddr) -> bool {
    passed.as_socket().is_some_and(|passed| {
        passed == configured || (passed.port() == configured.port() && passed.ip().is_unspecified() && configured.ip().is_unspecified())
    })
}

fn text(address: &SockAddr) -> String {
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "a socket without an address".to_owned(),
    }
}

/// Notifies the service manager that everything is bound, or that a reload has ended.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies the service manager that the configuration is being read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot read the monotonic clock for the service manager: {error}"),
    }
}

/// Notifies the service manager of the beginning of the end.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager (NOTIFY_SOCKET): {error}");
    }
}

/// The service that resets the watchdog of the service manager (`WatchdogSec=`) twice within its time. It runs on the threads that
/// serve requests: when those are stuck the resets stop, and the service manager restarts the program.
#[derive(Debug)]
pub struct Watchdog {
    interval: Duration,
}

impl Watchdog {
    /// Returns the service if the service manager has set a watchdog for this process.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let interval = sd_notify::watchdog_enabled()? / 2;
        (!interval.is_zero()).then_some(Self { interval })
    }
}

impl Service for Watchdog {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            loop {
                notify(&[NotifyState::Watchdog]);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(self.interval) => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
