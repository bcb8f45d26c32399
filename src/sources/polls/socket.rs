//! The TCP connection of a poll, which is reset on close unless the response was received.
//!
//! A server of one-shot events counts the events of a response as acked when its client closes the connection gracefully with everything
//! acknowledged by TCP. Bytes in this machine's kernel are not yet in the event log: until they are, any end of the connection (a timeout,
//! an error, a `kill -9`) resets it, so that the events are unacked and due again.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The byte stream of a poll's connection.
#[derive(Debug)]
pub(super) struct PollSocket(Arc<TcpStream>);

/// Selects how a [`PollSocket`] is closed, wherever it is owned.
#[derive(Debug)]
pub(super) struct CloseMode(Weak<TcpStream>);

impl PollSocket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    pub(super) fn close_mode(&self) -> CloseMode {
        CloseMode(Arc::downgrade(&self.0))
    }
}

impl CloseMode {
    /// The connection will be reset on close.
    pub(super) fn set_reset(&self) {
        self.set(Some(Duration::ZERO));
    }

    /// The connection will be closed gracefully.
    pub(super) fn set_graceful(&self) {
        self.set(None);
    }

    fn set(&self, linger: Option<Duration>) {
        if let Some(stream) = self.0.upgrade() {
            // It fails only for a socket that is already closed.
            let _ = SockRef::from(&*stream).set_linger(linger);
        }
    }
}

impl AsyncRead for PollSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for PollSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // If the peer has closed the connection there is nothing to shut down.
        Poll::Ready(match SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests;
