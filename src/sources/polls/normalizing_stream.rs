//! A connection to a target that normalizes response heads before the HTTP library parses them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::MAX_HEAD_BYTES;
use crate::wire::response_head::{end_of_head, is_interim, normalized};

/// Read size for heads: exporters send some hundred bytes of headers.
const READ_BYTES: usize = 4 << 10;

/// Flag for a [`NormalizingStream`] that the next bytes are a response head. Set before each request, after the previous response was read.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadExpected(Arc<AtomicBool>);

impl HeadExpected {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A byte stream that normalizes heads and passes bodies unchanged.
#[derive(Debug)]
pub(super) struct NormalizingStream<S> {
    io: S,
    expected: HeadExpected,
    in_head: bool,
    /// The part of a head that has arrived; at most [`MAX_HEAD_BYTES`] and a read more.
    head: Vec<u8>,
    /// Bytes to return next, from `given` on.
    out: Vec<u8>,
    given: usize,
}

impl<S> NormalizingStream<S> {
    pub(super) const fn new(io: S, expected: HeadExpected) -> Self {
        Self {
            io,
            expected,
            in_head: false,
            head: Vec::new(),
            out: Vec::new(),
            given: 0,
        }
    }

    /// Copies ready bytes into `buf`. Returns false if there are none.
    fn take_ready(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let ready = &self.out[self.given..];
        let count = ready.len().min(buf.remaining());
        buf.put_slice(&ready[..count]);
        self.given += count;
        if self.given == self.out.len() {
            (self.out, self.given) = (Vec::new(), 0);
        }
        count > 0
    }

    /// Normalizes the buffered head if it is complete, or passes it unchanged if it ended early or is too long.
    fn finish_head(&mut self, at_end: bool) {
        if let Some(end) = end_of_head(&self.head) {
            let rest = self.head.split_off(end);
            self.out = normalized(&self.head);
            if is_interim(&self.head) {
                self.head = rest;
                return;
            }
            self.out.extend_from_slice(&rest);
        } else if at_end || self.head.len() > MAX_HEAD_BYTES {
            self.out = std::mem::take(&mut self.head);
        } else {
            return;
        }
        (self.head, self.in_head) = (Vec::new(), false);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for NormalizingStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.in_head |= this.expected.0.swap(false, Ordering::Acquire);
        loop {
            if this.take_ready(buf) {
                return Poll::Ready(Ok(()));
            }
            if !this.in_head {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            this.finish_head(false);
            if !this.out.is_empty() || !this.in_head {
                continue;
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut read))?;
            this.head.extend_from_slice(read.filled());
            if read.filled().is_empty() {
                this.finish_head(true);
                if this.out.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for NormalizingStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
