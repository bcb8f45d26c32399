//! The wrapper directly around the byte stream, below HTTP and whatever encrypts it: counts, ends, errors, stalls.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Timers;
use super::connection::SharedConnection;
use super::stalled_responses::{STALLED_AFTER, Ticket};
use super::stats::{HttpStats, count};
use super::timer::Timer;

/// Looks at the send queue within one stall span: each second in a usual one. A kernel that wakes us up only when a third of a buffer of
/// megabytes is free makes a slow reader look dead for minutes, although its acknowledgements show that it reads.
const CHECKS: u32 = 60;

/// A byte stream that reports what happens to it.
#[derive(Debug)]
pub(super) struct TransportIo<S> {
    io: S,
    shared: Arc<SharedConnection>,
    stats: Arc<HttpStats>,
    limits: Limits,
    stall: Stall,
    /// Counts the response in work while it is stalled.
    ticket: Option<Ticket>,
    /// A byte that was read during a blocked write, kept for the next read.
    ahead: Option<u8>,
}

/// Timeouts of a write without progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// While the client might still read.
    pub(super) write_stall: Duration,
    /// After its end of file, when it has most likely gone.
    pub(super) lingering_close: Duration,
}

impl From<&Timers> for Limits {
    fn from(timers: &Timers) -> Self {
        let Timers {
            write_stall,
            lingering_close,
            ..
        } = *timers;
        Self {
            write_stall,
            lingering_close,
        }
    }
}

impl<S> TransportIo<S> {
    pub(super) fn new(io: S, shared: Arc<SharedConnection>, stats: Arc<HttpStats>, limits: Limits) -> Self {
        Self {
            io,
            shared,
            stats,
            limits,
            stall: Stall::default(),
            ticket: None,
            ahead: None,
        }
    }

    /// The connection that the stream belongs to.
    pub(super) fn shared(&self) -> &Arc<SharedConnection> {
        &self.shared
    }

    fn failed<T>(&self, error: io::Error) -> Poll<io::Result<T>> {
        self.shared.fail();
        Poll::Ready(Err(error))
    }

    /// Books a write that went on or failed.
    fn wrote(&mut self, outcome: io::Result<usize>) -> Poll<io::Result<usize>> {
        match outcome {
            Ok(bytes) => {
                self.stall.waiting = None;
                self.ticket = None;
                self.shared.count_written(bytes);
                Poll::Ready(Ok(bytes))
            }
            Err(e) => self.failed(e),
        }
    }
}

impl<S: AsyncRead + Unpin> TransportIo<S> {
    /// Waits for the client's first byte and keeps it for the next read. None at its end of file.
    pub(super) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        std::future::poll_fn(|cx| {
            if self.ahead.is_none() {
                ready!(self.poll_byte(cx))?;
            }
            Poll::Ready(Ok(self.ahead))
        })
        .await
    }

    /// Reads one byte at most.
    fn poll_byte(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.ahead = buf.filled().first().copied();
        if self.ahead.is_none() {
            self.shared.ended();
        }
        Poll::Ready(Ok(()))
    }

    /// A write cannot go on: looks whether the client is still there, and ends the wait after its limit.
    fn blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(e)) = self.look_ahead(cx) {
            return self.failed(e);
        }
        let ended = self.shared.state().has_ended();
        let limit = if ended {
            self.limits.lingering_close
        } else {
            self.limits.write_stall
        };
        let waited = self.stall.poll(cx, limit, || self.shared.unacked().and_then(Result::ok));
        if waited.is_ready() {
            count(&self.stats.stalled_readers);
            let subject = format!("stalled reader {}", self.shared.peer().log_subject());
            if let Some(suppressed) = self.stats.throttle.admit(&subject, std::time::Instant::now()) {
                let peer = self.shared.peer();
                let suppressed = (suppressed > 0).then_some(suppressed);
                tracing::info!(suppressed, "closed {peer}: it read nothing of a response for {limit:?}");
            }
            return self.failed(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading"));
        }
        if self.keeps_too_much(cx) {
            count(&self.stats.stalled_closed);
            let subject = format!("stalled response {}", self.shared.peer().log_subject());
            if let Some(suppressed) = self.stats.throttle.admit(&subject, std::time::Instant::now()) {
                let peer = self.shared.peer();
                let suppressed = (suppressed > 0).then_some(suppressed);
                tracing::warn!(
                    suppressed,
                    "closed {peer}: stalled responses hold too much memory, and this one has stalled longest"
                );
            }
            return self.failed(io::Error::new(io::ErrorKind::OutOfMemory, "stalled responses hold too much memory"));
        }
        Poll::Pending
    }

    /// Counts the memory that the response keeps, once it has stalled. Whether the connection is to be closed for it.
    fn keeps_too_much(&mut self, cx: &Context<'_>) -> bool {
        let (now, Some(since)) = (Instant::now(), self.stall.blocked_since()) else {
            return false;
        };
        if now.duration_since(since) < STALLED_AFTER {
            return false;
        }
        let ticket = self
            .ticket
            .get_or_insert_with(|| self.stats.stalled_responses.add(&self.shared.memory(), since, cx.waker()));
        ticket.must_close(now, cx.waker())
    }

    /// Reads one byte at most, to see an end of file that HTTP does not look for while it writes.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_some() || self.shared.state().has_ended() {
            return Poll::Pending;
        }
        ready!(self.poll_byte(cx))?;
        if self.ahead.is_some() {
            self.shared.state().read_ahead();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TransportIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Some(byte) = self.ahead.take() {
            buf.put_slice(&[byte]);
        } else if let Err(e) = ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            return self.failed(e);
        }
        let read = buf.filled().len() - before;
        if read == 0 && buf.remaining() > 0 {
            self.shared.ended();
        }
        self.shared.count_read(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TransportIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, buf) {
            Poll::Ready(outcome) => self.wrote(outcome),
            Poll::Pending => self.blocked(cx),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, bufs) {
            Poll::Ready(outcome) => self.wrote(outcome),
            Poll::Pending => self.blocked(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(e) => self.failed(e),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A peer that is gone cannot be shut down towards; whether it had everything is judged by what it acknowledged.
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The limit on a write that makes no progress: neither bytes taken by the transport nor bytes acknowledged by the peer.
#[derive(Debug, Default)]
struct Stall {
    timer: Timer,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The time from which on the transport has taken nothing.
    blocked: Instant,
    /// The last time that something moved.
    since: Instant,
    /// The next time to look.
    look: Instant,
    unacked: Option<u64>,
}

impl Stall {
    /// Since when the transport has taken nothing, if a write waits for it.
    fn blocked_since(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.blocked)
    }

    /// Ready when nothing has moved for as long as `limit` says.
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration, unacked: impl Fn() -> Option<u64>) -> Poll<()> {
        let step = limit / CHECKS;
        let now = Instant::now();
        let first = step.min(STALLED_AFTER);
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            blocked: now,
            since: now,
            look: now + first,
            unacked: unacked(),
        });
        // The limit may have become shorter since the last look.
        waiting.look = waiting.look.min(now + step).min(waiting.since + limit);
        loop {
            ready!(self.timer.poll_until(cx, waiting.look));
            let now = Instant::now();
            let left = unacked();
            if left < waiting.unacked {
                waiting.since = now;
            }
            waiting.unacked = left;
            if now.duration_since(waiting.since) >= limit {
                return Poll::Ready(());
            }
            waiting.look = (now + step).min(waiting.since + limit);
        }
    }
}

#[cfg(test)]
mod tests;
