//! A look into the kernel's queues of a socket from outside of the task that owns it.

#![allow(
    unsafe_code,
    reason = "SIOCOUTQ and FIONREAD have no safe binding; the descriptor is kept open while they run"
)]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;
use socket2::SockRef;

nix::ioctl_read_bad!(
    /// Bytes in the send queue that the peer's kernel has not acknowledged (tcp(7), unix(7): SIOCOUTQ, the number of TIOCOUTQ).
    siocoutq,
    libc::TIOCOUTQ,
    libc::c_int
);
nix::ioctl_read_bad!(
    /// Unread bytes in the receive queue (tcp(7): FIONREAD).
    fionread,
    libc::FIONREAD,
    libc::c_int
);

/// A handle through which any thread may ask about a socket for as long as its owner keeps it open.
///
/// The owner withdraws the descriptor under the same lock before it closes it, so a number that was given to another file meanwhile is
/// never asked.
#[derive(Clone)]
pub struct Probe(Arc<Mutex<Option<RawFd>>>);

impl Probe {
    /// Lets others ask about `socket`; its owner must call [`Probe::withdraw`] before closing it.
    pub(super) fn new(socket: &impl AsRawFd) -> Self {
        Self(Arc::new(Mutex::new(Some(socket.as_raw_fd()))))
    }

    /// From now on there is nothing to ask.
    pub(super) fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sent bytes (with the end of file as one of them) that the peer's kernel has not acknowledged yet.
    ///
    /// On a Unix socket: bytes, with the kernel's overhead, that the peer's program has not read yet.
    ///
    /// # Errors
    ///
    /// The socket's own pending error, such as a reset, or [`io::ErrorKind::NotConnected`] once it is closed.
    pub fn unacked(&self) -> io::Result<u64> {
        self.ask(|fd| {
            if let Some(error) = SockRef::from(&fd).take_error()? {
                return Err(error);
            }
            queued(fd)
        })
    }

    /// Returns true if the peer's kernel had acknowledged all sent bytes by now, or by the reset that has ended the connection. Always false on a
    /// Unix socket, which forgets what was unread when the peer closes it.
    #[must_use]
    pub fn had_all(&self) -> bool {
        let left = self.ask(|fd| {
            SockRef::from(&fd).local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
            queued(fd)
        });
        left.is_ok_and(|left| left == 0)
    }

    /// Received bytes that were not read yet.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] once the socket is closed.
    pub fn unread(&self) -> io::Result<u64> {
        self.ask(|fd| {
            let mut queued: libc::c_int = 0;
            // SAFETY: the descriptor is open while it is borrowed, and the kernel writes one int into `queued`.
            unsafe { fionread(fd.as_raw_fd(), &raw mut queued) }?;
            Ok(u64::try_from(queued).unwrap_or(0))
        })
    }

    fn ask<T>(&self, question: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fd) = *held else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // SAFETY: the owner withdraws the descriptor before it closes it, and cannot do so while `held` is locked.
        question(unsafe { BorrowedFd::borrow_raw(fd) })
    }
}

/// Bytes in the send queue.
fn queued(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut queued: libc::c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes one int into `queued`.
    unsafe { siocoutq(fd.as_raw_fd(), &raw mut queued) }?;
    Ok(u64::try_from(queued).unwrap_or(0))
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

#[cfg(test)]
mod tests;
