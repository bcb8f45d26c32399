//! A bound on what the engine sends: a server that is none, or a hostile one, must not fill the memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Limit on the bytes of one reply. The longest one is a thousand changes or members of 500 bytes each, or a chunk of half a MiB.
const MAX_REPLY_BYTES: u64 = 4 << 20;

/// The commands of a connection without a reply, and the bytes received since the last one had its reply.
#[derive(Debug, Default)]
pub(super) struct ReplyAccount {
    waiting: AtomicU64,
    received: AtomicU64,
}

impl ReplyAccount {
    /// Notes a command. Its reply may come until the result is dropped.
    pub(super) fn command(self: &Arc<Self>) -> AwaitedReply {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        AwaitedReply(Arc::clone(self))
    }

    /// Counts bytes; an error if they are more than replies to the commands can have. Without a command there is the handshake.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let received = self
            .received
            .fetch_add(bytes as u64, Ordering::Relaxed)
            .saturating_add(bytes as u64);
        let most = MAX_REPLY_BYTES.saturating_mul(self.waiting.load(Ordering::Relaxed).max(1));
        if received > most {
            return Err(io::Error::other(format!(
                "it has sent more than {} MiB for a reply",
                MAX_REPLY_BYTES >> 20
            )));
        }
        Ok(())
    }
}

/// A command without a reply.
#[derive(Debug)]
pub(super) struct AwaitedReply(Arc<ReplyAccount>);

impl AwaitedReply {
    /// The reply has come.
    pub(super) fn arrived(self) {
        self.0.received.store(0, Ordering::Relaxed);
    }
}

impl Drop for AwaitedReply {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that fails once the server has sent more than replies can have.
#[derive(Debug)]
pub(super) struct ReplyBound<S> {
    stream: S,
    account: Arc<ReplyAccount>,
}

impl<S> ReplyBound<S> {
    pub(super) fn new(stream: S, account: Arc<ReplyAccount>) -> Self {
        Self { stream, account }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplyBound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.account.count(buf.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReplyBound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
