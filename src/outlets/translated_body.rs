//! The body of a response in OpenMetrics 2.0, written while it is sent.
//!
//! Few scrapers ask for this format, so nothing is kept in it: it is made from the messages that the protobuf responses share, a frame at a
//! time, and a slow reader costs a frame.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::exposition::gzip::{CompressionLevel, CompressorPool, Joiner, Piece};
use crate::exposition::openmetrics2::Writer;
use crate::telemetry::Counter;

/// Text of one frame: writing and compressing it takes a millisecond or two, after which other connections of the thread get their turn.
const FRAME_TEXT: usize = 64 << 10;

/// A response that is written as it is sent.
pub(super) struct TranslatedBody {
    writer: Writer,
    gzip: Option<Gzip>,
    /// Counts what goes out.
    sent: Arc<Counter>,
    done: bool,
    /// True if a frame was given away since others had their turn.
    frame_sent: bool,
}

/// The gzip member that a response is written into.
struct Gzip {
    joiner: Joiner,
    compressors: Arc<CompressorPool>,
}

impl TranslatedBody {
    /// A body of what `writer` writes, as it is or as one gzip member.
    pub(super) fn new(writer: Writer, gzip: Option<Arc<CompressorPool>>, sent: Arc<Counter>) -> Self {
        Self {
            writer,
            gzip: gzip.map(|compressors| Gzip {
                joiner: Joiner::default(),
                compressors,
            }),
            sent,
            done: false,
            frame_sent: false,
        }
    }

    /// The next bytes to send; empty at the end.
    fn next_frame(&mut self) -> Bytes {
        if self.done {
            return Bytes::new();
        }
        let mut text = Vec::with_capacity(FRAME_TEXT + FRAME_TEXT / 8);
        self.done = !self.writer.write(&mut text, FRAME_TEXT);
        let frame = match &mut self.gzip {
            Some(gzip) => gzip.frame(text.into(), self.done),
            None => text.into(),
        };
        self.sent.add(frame.len() as u64);
        frame
    }
}

impl Gzip {
    fn frame(&mut self, text: Bytes, is_last: bool) -> Bytes {
        let piece = self
            .compressors
            .with(|compressor| Piece::compress(&[text], CompressionLevel::Fast, compressor));
        let mut slices = self.joiner.push(&piece);
        if is_last {
            slices.push(self.joiner.finish());
        }
        slices.concat().into()
    }
}

impl Body for TranslatedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.frame_sent) && !self.done {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.next_frame();
        self.frame_sent = true;
        Poll::Ready((!frame.is_empty()).then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests;
