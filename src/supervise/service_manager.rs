//! systemd's protocols for services: notifications, the watchdog, and sockets that it has bound (socket activation).
//!
//! Without systemd's variables in the environment every function does nothing. Source of the protocols: the manual pages
//! `sd_notify(3)`, `sd_watchdog_enabled(3)` and `sd_listen_fds(3)`.

#![allow(
    unsafe_code,
    reason = "file descriptors that a parent process passes have no owner in this program yet"
)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sd_notify::NotifyState;
use socket2::{SockAddr, SockRef, Type};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Service, blocking};

/// Sockets that were passed. The process has one set of them, hence the static.
static PASSED: Mutex<Vec<Passed>> = Mutex::new(Vec::new());

/// A socket from the service manager.
struct Passed {
    /// None while a listener uses it.
    socket: Option<OwnedFd>,
    address: SockAddr,
    is_datagram: bool,
    /// True if it listens on `[::]` and takes connections over IPv4 as well, as of `ListenStream=6555`.
    is_dual_stack: bool,
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
        passed.push(Passed::new(socket).map_err(named)?);
    }
    *lock() = passed;
    Ok(())
}

/// Returns the passed TCP listener for an address, if there is one.
pub(super) fn tcp(address: SocketAddr) -> Option<TcpListener> {
    take_socket(false, address).map(TcpListener::from)
}

/// Returns true if a passed socket that is in use takes the connections of both `0.0.0.0` and `[::]` on the address's port, and the address
/// is one of the two: a listener of its own is neither possible nor needed.
#[must_use]
pub fn is_served(address: SocketAddr) -> bool {
    lock()
        .iter()
        .any(|passed| !passed.is_datagram && passed.socket.is_none() && passed.serves_both(address))
}

/// Returns the passed UDP socket for an address, if there is one.
#[must_use]
pub fn udp(address: SocketAddr) -> Option<UdpSocket> {
    take_socket(true, address).map(UdpSocket::from)
}

/// Returns the passed Unix listener for a path, if there is one.
pub(super) fn unix(path: &Path) -> Option<UnixListener> {
    take(|passed| !passed.is_datagram && passed.address.as_pathname() == Some(path)).map(UnixListener::from)
}

/// Closes the passed sockets that no configured address matches, and returns their addresses.
pub fn close_unused() -> Vec<String> {
    lock()
        .extract_if(.., |passed| passed.socket.is_some())
        .map(|passed| text(&passed.address))
        .collect()
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Passed>> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the socket of this very address, otherwise one for both families.
fn take_socket(is_datagram: bool, address: SocketAddr) -> Option<OwnedFd> {
    take(|passed| passed.is_datagram == is_datagram && passed.address.as_socket() == Some(address))
        .or_else(|| take(|passed| passed.is_datagram == is_datagram && passed.serves_both(address)))
}

fn take(fits: impl Fn(&Passed) -> bool) -> Option<OwnedFd> {
    let mut passed = lock();
    let unused = passed.iter_mut().find(|passed| passed.socket.is_some() && fits(passed));
    unused?.socket.take()
}

impl Passed {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let reference = SockRef::from(&socket);
        reference.set_nonblocking(true)?;
        let address = reference.local_addr()?;
        let is_any = address
            .as_socket()
            .is_some_and(|address| address.is_ipv6() && address.ip().is_unspecified());
        Ok(Self {
            is_datagram: reference.r#type()? == Type::DGRAM,
            is_dual_stack: is_any && !reference.only_v6()?,
            address,
            socket: Some(socket),
        })
    }

    /// Returns true if this socket takes connections of both families, and the configured address is one of the two forms of that.
    fn serves_both(&self, configured: SocketAddr) -> bool {
        let port = self.address.as_socket().map(|address| address.port());
        self.is_dual_stack && configured.ip().is_unspecified() && port == Some(configured.port())
    }
}

fn text(address: &SockAddr) -> String {
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "a socket without an address".to_owned(),
    }
}

/// Time for the service manager to take a notification. Its queue is full for so long only where it is stuck itself; a reload, and a stop,
/// must not wait for it longer.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Notifies the service manager that everything is bound, or that a reload has ended.
pub async fn ready(status: &'static str) {
    notify(vec![NotifyState::Ready, NotifyState::Status(status)]).await;
}

/// Notifies the service manager that the configuration is being read again; [`ready`] follows.
pub async fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(vec![NotifyState::Reloading, now]).await,
        Err(error) => tracing::warn!("cannot read the monotonic clock for the service manager: {error}"),
    }
}

/// Notifies the service manager of the beginning of the end.
pub async fn stopping() {
    notify(vec![NotifyState::Stopping]).await;
}

async fn notify(state: Vec<NotifyState<'static>>) {
    let Some(place) = std::env::var_os(NOTIFY_SOCKET) else { return };
    let message: String = state.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = deliver(place, message).await {
        let why = match error.kind() {
            io::ErrorKind::WouldBlock => format!("its socket did not take the notification within {} s", SEND_TIMEOUT.as_secs()),
            _ => error.to_string(),
        };
        tracing::warn!("cannot notify the service manager (NOTIFY_SOCKET): {why}");
    }
}

/// Sends a notification at once. Only where the receiver's queue is full does it wait, on a thread: the watchdog must not depend on one,
/// since all of them may be busy.
async fn deliver(place: OsString, message: String) -> io::Result<()> {
    match send(&place, message.as_bytes(), SendMode::AtOnce) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            blocking(move || send(&place, message.as_bytes(), SendMode::Waiting)).await
        }
        sent => sent,
    }
}

/// The variable with the service manager's socket.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The way to treat a receiver with a full queue.
#[derive(Debug, Clone, Copy)]
enum SendMode {
    /// Fail.
    AtOnce,
    /// Block, at most [`SEND_TIMEOUT`].
    Waiting,
}

/// Sends a datagram to a path, or to an abstract name that is written with an `@` in place of its NUL.
fn send(place: &OsStr, message: &[u8], mode: SendMode) -> io::Result<()> {
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name),
        None => unix::net::SocketAddr::from_pathname(place),
    };
    let socket = UnixDatagram::unbound()?;
    match mode {
        SendMode::AtOnce => socket.set_nonblocking(true)?,
        SendMode::Waiting => socket.set_write_timeout(Some(SEND_TIMEOUT))?,
    }
    socket.send_to_addr(message, &address?).map(|_| ())
}

/// Returns the address of an abstract name, which only Linux has.
#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    unix::net::SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<unix::net::SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
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
            let mut ticks = tokio::time::interval(self.interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let resets = async {
                loop {
                    ticks.tick().await;
                    notify(vec![NotifyState::Watchdog]).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = resets => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests;
