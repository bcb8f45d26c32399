//! A bidirectional QUIC stream as a byte stream for HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{ReadError, RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::tracker::{REPORT_TIMEOUT, StreamDelivery};
use super::turns::{LinkTurns, ResponseTurns};

/// The reset code of a stream with an undelivered response.
const RESET: VarInt = VarInt::from_u32(1);

/// A stream of the scraping end.
#[derive(Debug)]
pub(crate) struct LinkStream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl LinkStream {
    /// Resets the stream, so that the other end treats its response as not delivered.
    pub(crate) fn reset(mut self) {
        // Fails in a direction that has ended already.
        let _ = self.send.reset(RESET);
        let _ = self.recv.stop(RESET);
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.recv.poll_read_buf(cx, buf).map_err(io::Error::from)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, buf).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Fails if the stream has ended already.
        let _ = self.send.finish();
        Poll::Ready(Ok(()))
    }
}

/// A stream of the scraped end. It can outlive its connection: the delivery outcome of a completely written response is reported on this
/// link or, after its loss, on the next one.
pub(crate) struct ServedStream {
    stream: LinkStream,
    delivery: Arc<StreamDelivery>,
    turns: ResponseTurns,
    orphaned: Option<Pin<Box<Sleep>>>,
}

impl ServedStream {
    pub(crate) fn new((send, recv): (SendStream, RecvStream), delivery: Arc<StreamDelivery>, turns: &LinkTurns) -> Self {
        Self {
            stream: LinkStream { send, recv },
            delivery,
            turns: ResponseTurns::new(turns),
            orphaned: None,
        }
    }

    /// Waits for the delivery outcome after the loss of the connection, with a timeout.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.delivery.poll_delivered(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let timer = self.orphaned.get_or_insert_with(|| Box::pin(sleep(REPORT_TIMEOUT)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.orphaned.is_some() {
            return self.poll_outcome(cx);
        }
        match self.stream.recv.poll_read_buf(cx, buf) {
            Poll::Ready(Err(ReadError::ConnectionLost(_))) if self.delivery.has_request() => self.poll_outcome(cx),
            other => other.map_err(io::Error::from),
        }
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let room = ready!(this.turns.poll_room(cx));
        let outcome = Pin::new(&mut this.stream).poll_write(cx, &buf[..buf.len().min(room)])?;
        this.turns.wrote(&outcome, cx);
        outcome.map(Ok)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turns.release();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
