//! The wrapper directly below HTTP: sees plain bytes, tracks the phase of the connection, and applies the client's timeouts.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Timers;
use super::connection::SharedConnection;
use super::connection_state::{SlotNews, Wait};
use super::layer::Layer;
use super::stats::{HttpStats, count};
use super::timer::Timer;
use crate::supervise::Slot;

/// A stream of plain HTTP bytes that reports the turns of the conversation.
pub(super) struct HttpIo<S> {
    io: Layer<S>,
    shared: Arc<SharedConnection>,
    stats: Arc<HttpStats>,
    slot: Option<Arc<Slot>>,
    timers: Timers,
    timer: Timer,
    /// The protocol that the first bytes showed, once there are some.
    protocol: Option<Protocol>,
}

/// The protocol of a client, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP, or something that HTTP refuses.
    Http,
    /// JSON messages, as a receiver takes them.
    Json,
}

impl Protocol {
    /// No request begins with a brace.
    fn of(first: &[u8]) -> Self {
        match first {
            [b'{', ..] => Self::Json,
            _ => Self::Http,
        }
    }
}

/// Reports a change to the slot of a connection.
pub(super) fn report(slot: Option<&Slot>, news: Option<SlotNews>) {
    match (slot, news) {
        (Some(slot), Some(SlotNews::Busy)) => slot.busy(),
        (Some(slot), Some(SlotNews::Incomplete)) => slot.incomplete(),
        (Some(slot), Some(SlotNews::Requested)) => slot.requested(),
        (None, _) | (_, None) => {}
    }
}

impl<S> HttpIo<S> {
    pub(super) fn new(io: Layer<S>, shared: Arc<SharedConnection>, stats: Arc<HttpStats>, slot: Option<Arc<Slot>>, timers: Timers) -> Self {
        Self {
            io,
            shared,
            stats,
            slot,
            timers,
            timer: Timer::default(),
            protocol: None,
        }
    }

    /// Returns the protocol of the client; `None` before its first byte.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    pub(super) fn into_inner(self) -> Layer<S> {
        self.io
    }

    /// Nothing to read: ready once the client has taken too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (deadline, news) = {
            let mut state = self.shared.state();
            (state.deadline(&self.timers, Instant::now()), state.slot_news(true))
        };
        report(self.slot.as_deref(), news);
        let Some((deadline, wait)) = deadline else {
            return Poll::Pending;
        };
        ready!(self.timer.poll_until(cx, deadline));
        let what = match wait {
            // For HTTP this is an end of file, as if the client had hung up.
            Wait::Idle => return Poll::Ready(Ok(())),
            Wait::Head => {
                count(&self.stats.slow_heads);
                "timeout while reading the request head"
            }
            Wait::Body => {
                count(&self.stats.stalled_bodies);
                "timeout while reading the request body"
            }
        };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpIo<S> {
    /// Before a part of a response with an open outcome is written: bytes that wait unread are a request that does not follow its last byte.
    fn look_for_early_request(&mut self) {
        let is_open = self.shared.state().is_writing_open();
        if is_open && (self.io.has_decrypted() || self.shared.has_unread()) {
            self.shared.state().read_ahead();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HttpIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return self.wait(cx),
        }
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() {
            if *self.protocol.get_or_insert_with(|| Protocol::of(bytes)) != Protocol::Http {
                let what = "the client sends JSON messages, not HTTP";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
            let mut news = None;
            self.shared.change(|state| {
                let outcomes = state.read(bytes, Instant::now());
                news = state.slot_news(false);
                outcomes
            });
            report(self.slot.as_deref(), news);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HttpIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look_for_early_request();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.look_for_early_request();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // HTTP flushes once it holds nothing back, so after a body's end the transport has all of the response.
        let ends = self.shared.state().may_end();
        if let Some(is_followed) = ends {
            let quiet = is_followed && self.shared.is_quiet() && !self.io.has_decrypted();
            self.shared.change(|state| state.flushed(quiet, Instant::now()));
            if let Some(slot) = &self.slot {
                slot.answered();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.protocol == Some(Protocol::Json) {
            // The refusal is not written yet.
            return Poll::Ready(Ok(()));
        }
        if self.io.ends_with_data() && self.shared.state().has_open_responses() {
            // The lingering close first gives the client time to close by itself.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
