//! One connected stream, whichever kind of socket it came in through.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::probe::Probe;

/// A connected TCP or Unix stream. Vectored writes go through to the kernel as they are.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    peer: Option<SocketAddr>,
    probe: Option<Probe>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// An accepted TCP connection, from now on without Nagle's delay.
    #[must_use]
    pub fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        // It fails only on a connection that is gone, as the first read will tell.
        let _ = stream.set_nodelay(true);
        Self {
            kind: Kind::Tcp(stream),
            peer: Some(peer),
            probe: None,
        }
    }

    /// A connected Unix stream.
    #[must_use]
    pub fn unix(stream: UnixStream) -> Self {
        Self {
            kind: Kind::Unix(stream),
            peer: None,
            probe: None,
        }
    }

    /// The other end's address; none on a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The user id of the other end as the kernel recorded it when the connection was made; none on a TCP socket.
    #[must_use]
    pub fn peer_uid(&self) -> Option<u32> {
        match &self.kind {
            Kind::Tcp(_) => None,
            Kind::Unix(stream) => stream.peer_cred().ok().map(|peer| peer.uid()),
        }
    }

    /// Returns true if the kernel has unread bytes, even if the runtime has not noticed them yet.
    pub fn has_unread(&mut self) -> bool {
        self.probe().unread().is_ok_and(|unread| unread > 0)
    }

    /// Waits for the first byte of a TCP connection and leaves it unread. `None` at the end of file, and on a Unix socket.
    ///
    /// # Errors
    ///
    /// When the connection has failed.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let Kind::Tcp(stream) = &self.kind else { return Ok(None) };
        let mut byte = [0];
        Ok((stream.peek(&mut byte).await? > 0).then_some(byte[0]))
    }

    /// A way to ask about the kernel's queues for as long as this stream is open.
    pub fn probe(&mut self) -> Probe {
        let kind = &self.kind;
        let made = || match kind {
            Kind::Tcp(stream) => Probe::new(stream),
            Kind::Unix(stream) => Probe::new(stream),
        };
        self.probe.get_or_insert_with(made).clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(probe) = &self.probe {
            probe.withdraw();
        }
    }
}

/// Forwards a poll to whichever stream it is.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().kind {
            Kind::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Kind::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}
